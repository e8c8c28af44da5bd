//! The process itself, and its group: watching it, ending it, reaping it.
//!
//! It stays unreaped as long as anybody signals its group: only then is the group's number certainly its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

/// A process that leads a group.
pub(super) struct Process {
    child: Child,
    id: Pid,
    /// Readable when it has ended; none where the kernel has no such thing.
    descriptor: Option<OwnedFd>,
}

impl Process {
    /// Takes over a child that was started in a group of its own.
    pub(super) fn new(child: Child) -> Self {
        let id = Pid::from_child(&child);
        let descriptor = rustix::process::pidfd_open(id, PidfdFlags::empty()).ok();
        Self { child, id, descriptor }
    }

    /// What becomes readable when it ends.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// Whether it has ended; it stays unreaped.
    pub(super) fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(rustix::process::waitid(WaitId::Pid(self.id), options)?.is_some())
    }

    /// Takes its status once it has ended.
    pub(super) fn reap(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Asks it and its group to end, kills what is left after a while, and waits until all are gone. `wait` is called in between,
    /// with the process as long as its end can be waited for.
    pub(super) fn end(self, grace: Duration, mut wait: impl FnMut(Option<&Self>)) -> io::Result<ExitStatus> {
        let kill_at = Instant::now() + grace;
        let mut is_killed = false;
        self.signal(Signal::TERM);
        // What has been stopped (as by a question that it put to a terminal) would not see the signal. Where this fails, the other has
        // failed before.
        let _ = rustix::process::kill_process_group(self.id, Signal::CONT);
        loop {
            let has_ended = self.has_ended()?;
            if has_ended && !self.has_followers() {
                return self.reap();
            }
            if !is_killed && kill_at <= Instant::now() {
                tracing::warn!("the process {} ignores SIGTERM, and is killed", self.id.as_raw_nonzero());
                self.signal(Signal::KILL);
                is_killed = true;
            }
            wait((!has_ended).then_some(&self));
        }
    }

    fn signal(&self, signal: Signal) {
        match rustix::process::kill_process_group(self.id, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            // A program that has become root, as `sudo` does. It is waited for instead.
            Err(error) => tracing::warn!("the process {} cannot be ended, and is waited for: {error}", self.id.as_raw_nonzero()),
        }
    }

    /// Whether another process of the group lives. Where that cannot be known, only the leader counts.
    fn has_followers(&self) -> bool {
        let Ok(entries) = Path::new("/proc").read_dir() else { return false };
        let group = self.id.as_raw_nonzero().get();
        entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit)).any(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            is_alive_in(&stat, group)
        })
    }
}

/// Whether a line of `/proc/PID/stat` is of a living process in this group. Its second field may hold anything, also spaces and
/// parentheses.
fn is_alive_in(stat: &str, group: i32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next();
    let found = fields.nth(1).and_then(|field| field.parse::<i32>().ok());
    !matches!(state, Some("Z" | "X") | None) && found == Some(group)
}

#[cfg(test)]
mod tests {
    use super::is_alive_in;

    #[test]
    fn finds_the_group_behind_any_name() {
        assert!(is_alive_in("12 (sh) S 1 10 10 0 -1", 10));
        assert!(is_alive_in("12 (a) Z 1 11 (b) R 1 10 10 0", 10));
        for other in ["12 (sh) Z 1 10 10", "12 (sh) X 1 10 10", "12 (sh) S 10 11 10", "", "12 (sh)", "12 (sh) S 1"] {
            assert!(!is_alive_in(other, 10), "{other}");
        }
    }
}
