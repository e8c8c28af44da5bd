//! Looks for a way out of the sandbox, and tells what it found.

use std::fmt::Debug;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::process::Command;
use std::{env, fs, io, thread};

use crate::bindings::stillframe::provider::tree::{self, CloneMethod, CloneOptions, Location};

/// Tries one way out, to a target that is there; none when there is no such probe.
pub(crate) fn probe(name: &str, target: &str) -> Option<String> {
    Some(match name {
        "read-file" => told(fs::read_to_string(target)),
        "list-directory" => told(fs::read_dir(target).map(Iterator::count)),
        "list-here" => told(fs::read_dir(".").map(Iterator::count)),
        "write-file" => told(fs::write(target, "x")),
        "environment" => format!("{:?}", env::vars().collect::<Vec<_>>()),
        "arguments" => format!("{:?}", env::args().collect::<Vec<_>>()),
        "stdin" => told(io::read_to_string(io::stdin())),
        "tcp" => told(TcpStream::connect(target)),
        "listen" => told(TcpListener::bind("127.0.0.1:0")),
        "udp" => told(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"x", target))),
        "resolve-name" => told(target.to_socket_addrs().map(Iterator::count)),
        "process" => told(Command::new(target).status()),
        "thread" => told(thread::Builder::new().spawn(|| {}).map(|_| ())),
        "tree-roots" => tree_roots(),
        "tree-escape" => {
            let outside = Location { root: "snapshots".to_owned(), path: "../secret".to_owned() };
            format!("{:?}", tree::read_file(&outside))
        }
        "tree-foreign" => {
            let foreign = Location { root: "source-data".to_owned(), path: "PG_VERSION".to_owned() };
            format!("{:?}", tree::read_file(&foreign))
        }
        _ => return None,
    })
}

/// What the capability `tree` says of its roots.
pub(crate) fn tree_roots() -> String {
    match tree::roots() {
        Ok(roots) => {
            let roots: Vec<String> = roots.iter().map(|root| format!("{} writable={}", root.name, root.writable)).collect();
            format!("roots: {roots:?}")
        }
        Err(error) => format!("{error:?}"),
    }
}

/// Tries to see what a root of the host's holds: directly, and by way of a clone among its own files.
pub(crate) fn spy(root: &str) -> String {
    let place = |root: &str, path: &str| Location { root: root.to_owned(), path: path.to_owned() };
    let options = |base| CloneOptions { method: CloneMethod::Copy, base, skip: Vec::new(), last: Vec::new() };
    let attempts = [
        format!("read: {:?}", tree::read_file(&place(root, "pg_hba.conf")).map(drop)),
        format!("list: {:?}", tree::list_entries(&place(root, "")).map(drop)),
        format!(
            "base: {:?}",
            tree::clone_tree(&place("snapshots", "own"), &place("snapshots", "new"), &options(Some(place(root, "")))).map(drop)
        ),
        format!("write: {:?}", tree::write_file(&place(root, "new"), "x")),
        format!("clone: {:?}", tree::clone_tree(&place(root, ""), &place("snapshots", "clone"), &options(None)).map(drop)),
        format!("read the clone: {:?}", tree::read_file(&place("snapshots", "clone/pg_hba.conf")).map(drop)),
        format!("list the clone: {:?}", tree::list_entries(&place("snapshots", "clone")).map(drop)),
    ];
    attempts.join("; ")
}

fn told<T: Debug>(outcome: io::Result<T>) -> String {
    match outcome {
        Ok(found) => format!("reached: {found:?}"),
        Err(error) => format!("refused: {error}"),
    }
}
