//! Finds and kills processes that others have started: the binary below a server, a server's backends, what a provider runs; and
//! watches command lines.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::binary_path;

/// Shorter than any command lives.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// A process that somebody else has started. The number may be given to another process; this may not.
#[derive(Debug)]
pub struct Found {
    handle: OwnedFd,
}

impl Found {
    /// A process of the binary among the descendants of this one, if there is any now.
    pub fn below(ancestor: u32) -> Option<Self> {
        let mut open = children(ancestor);
        while let Some(pid) = open.pop() {
            // The handle first: whose it is does not change any more.
            let handle = i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            if let Some(Ok(handle)) = handle
                && runs_the_binary(pid)
            {
                return Some(Self { handle });
            }
            open.extend(children(pid));
        }
        None
    }

    /// A child of this process that runs another program, if there is any now: what a provider runs, for example.
    pub fn program_of(parent: u32) -> Option<Self> {
        let is_program = |pid: &u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok() && !runs_the_binary(*pid);
        children(parent).into_iter().filter(is_program).find_map(|pid| Self::child(parent, pid))
    }

    /// A child of this process; none when it has ended, or the number is somebody else's.
    pub fn child(parent: u32, pid: u32) -> Option<Self> {
        let pid_of_kernel = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
        let handle = pidfd_open(pid_of_kernel, PidfdFlags::empty()).ok()?;
        // After the handle was opened: from here on it is this process or none.
        children(parent).contains(&pid).then_some(Self { handle })
    }

    /// Kills it without any warning; false when it had ended by itself.
    pub fn kill9(&self) -> bool {
        pidfd_send_signal(&self.handle, Signal::KILL).is_ok()
    }
}

/// Whether this process runs the binary, and not yet or no longer what started it.
pub fn runs_the_binary(pid: u32) -> bool {
    let executable = fs::read_link(format!("/proc/{pid}/exe"));
    executable.is_ok_and(|executable| Some(executable) == binary_path().canonicalize().ok())
}

/// Whether a process is there and not only its exit status.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// What any thread of a process has started.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Looks at the command lines of all processes that start, again and again, for what must not stand there.
#[derive(Debug)]
pub struct CommandLines {
    end: Arc<AtomicBool>,
    looking: JoinHandle<BTreeSet<String>>,
}

impl CommandLines {
    /// Begins to look for these texts.
    pub fn watch(secrets: Vec<String>) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        // To read the lines of those as well takes longer than a command lives.
        let older = processes();
        let looking = thread::spawn(move || {
            let mut found = BTreeSet::new();
            loop {
                // Once more after the end is told.
                let is_last = ended.load(Ordering::SeqCst);
                let started = processes().into_iter().filter(|process| !older.contains(process));
                let lines = started.filter_map(|process| command_line(&process));
                found.extend(lines.filter(|line| secrets.iter().any(|secret| line.contains(secret))));
                if is_last {
                    return found;
                }
                thread::sleep(LOOK_INTERVAL);
            }
        });
        Self { end, looking }
    }

    /// Ends; gives the command lines that held one of the texts.
    pub fn found(self) -> BTreeSet<String> {
        self.end.store(true, Ordering::SeqCst);
        self.looking.join().expect("nothing here panics")
    }
}

fn processes() -> BTreeSet<OsString> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit)).collect()
}

/// None when it has ended.
fn command_line(process: &OsStr) -> Option<String> {
    let line = fs::read(Path::new("/proc").join(process).join("cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).replace('\0', " "))
}
