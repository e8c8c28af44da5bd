//! The client against daemons that lie, die or are of somebody else: it never takes them at their word.

use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

use super::{Call, Outcome, Path, PathBuf, Read, Work, Write};

const SEGMENT: &str = "000000010000000000000003";

fn parse(line: &str) -> Option<Call> {
    Call::parse(line.split_whitespace().map(Into::into))
}

#[test]
fn finds_the_call_among_the_flags_that_every_command_takes() {
    for (config, line) in [
        (None, "wal-push --daemon /s pg_wal/X"),
        (Some("/c".into()), "--config /c wal-push --daemon=/s pg_wal/X"),
        (Some("/c".into()), "-v wal-push pg_wal/X --daemon /s --config=/c -vv --verbose"),
    ] {
        let push = Call { socket: "/s".into(), config, work: Work::Push { path: "pg_wal/X".into() } };
        assert_eq!(parse(line), Some(push), "{line}");
    }
    let fetch = Work::Fetch { name: "X".to_owned(), destination: "pg_wal/RECOVERYXLOG".into() };
    assert_eq!(parse("wal-fetch --daemon /s X pg_wal/RECOVERYXLOG"), Some(Call { socket: "/s".into(), config: None, work: fetch }));
}

#[test]
fn leaves_everything_else_to_the_plain_command() {
    for line in [
        "",
        "wal-push pg_wal/X",
        "wal-push --daemon",
        "wal-push --daemon /s",
        "wal-push --daemon /s a b",
        "wal-fetch --daemon /s X",
        "wal-push --daemon /s --unknown pg_wal/X",
        "wal-push --help --daemon /s x",
        "wal-push --json --daemon /s x",
        "backup-list --daemon /s",
        "--config wal-push --daemon /s",
        "--config /c --config=/d wal-push --daemon /s x",
        "wal-push --daemon /s --daemon /t x",
    ] {
        assert_eq!(parse(line), None, "{line}");
    }
}

/// A daemon that answers each message with the next of these bytes, and closes when there is none.
fn daemon(directory: &Path, answers: &'static [u8]) -> (PathBuf, JoinHandle<()>) {
    let socket = directory.join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let serves = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            let mut head = [0; 3];
            if stream.read_exact(&mut head).is_err() {
                return;
            }
            let mut body = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]])) - 3];
            stream.read_exact(&mut body).unwrap();
            stream.write_all(&[*answer]).unwrap();
        }
    });
    (socket, serves)
}

/// What comes of a call when the daemon answers so; the destination is there beforehand or not.
fn called(work: impl Fn(&Path) -> Work, answers: &'static [u8]) -> Result<Outcome, String> {
    let directory = tempfile::tempdir().unwrap();
    let (socket, serves) = daemon(directory.path(), answers);
    let result = Call { socket, config: Some(directory.path().to_owned()), work: work(directory.path()) }.send();
    serves.join().unwrap();
    result
}

fn push(directory: &Path) -> Work {
    Work::Push { path: directory.join(SEGMENT) }
}

fn fetch(directory: &Path) -> Work {
    Work::Fetch { name: SEGMENT.to_owned(), destination: directory.join("RECOVERYXLOG") }
}

fn fetch_to_what_is_there(directory: &Path) -> Work {
    std::fs::write(directory.join("RECOVERYXLOG"), b"").unwrap();
    fetch(directory)
}

#[test]
fn only_a_clear_word_of_the_daemon_counts() {
    assert_eq!(called(push, b"SO"), Ok(Outcome::Done));
    assert_eq!(called(fetch, b"SN"), Ok(Outcome::Missing));
    assert_eq!(called(fetch_to_what_is_there, b"SO"), Ok(Outcome::Done));
    for (what, answers) in [
        ("another directory", &b"E"[..]),
        ("a check that finds nothing", b"N"),
        ("another configuration", b"R"),
        ("a daemon of another program, which says so to any check", b"OO"),
        ("closed before the check", b""),
        ("closed before the answer", b"S"),
        ("failed", b"SE"),
        ("no answer of the protocol", b"S\x01"),
        ("no answer to this", b"SS"),
    ] {
        called(push, answers).expect_err(what);
        called(fetch, answers).expect_err(what);
    }
    called(push, b"SN").expect_err("a push finds nothing absent");
    called(fetch, b"SO").expect_err("restored, it says, and there is no file");
}

#[test]
fn a_daemon_that_is_gone_or_takes_nobody_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let config = Some(directory.path().to_owned());
    let call = || Call { socket: socket.clone(), config: config.clone(), work: push(directory.path()) };
    call().send().unwrap_err();
    drop(UnixListener::bind(&socket).unwrap());
    call().send().unwrap_err();
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, b"").unwrap();
    call().send().unwrap_err();
}
