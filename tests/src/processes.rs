//! Finds and kills the binary where PostgreSQL has started it: a child of the archiver or of the recovery.

use std::fs;

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::binary_path;

/// A process of the binary that somebody else has started. The number may be given to another process; this may not.
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

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}
