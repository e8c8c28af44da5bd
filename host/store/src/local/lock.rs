//! Keeps listings and replacements apart.
//!
//! On some file systems (btrfs, where it was seen) a directory that is read while a rename replaces a file in it can lack that file's
//! name altogether. A backup that a listing lacks loses its WAL to retention. So a listing holds the marker's lock shared and a
//! replacement holds it alone; to create or to delete needs no lock, because then either answer is right. The kernel frees the lock
//! of a process that dies.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::fault::Fault;
use super::tree::Root;

/// Longest wait: a listing of a large archive takes seconds, and who waits longer waits for a process that is stopped.
const MAX_WAIT: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(2);

/// The lock, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Lock {
    _marker: OwnedFd,
}

impl Lock {
    /// Waits until nothing is being replaced.
    pub(super) fn for_listing(root: &Root) -> Result<Self, Fault> {
        Self::acquire(root, OFlags::RDONLY, FlockOperation::NonBlockingLockShared)
    }

    /// Waits until nobody lists or replaces.
    pub(super) fn for_replacing(root: &Root) -> Result<Self, Fault> {
        // NFS gives a lock of one's own only to those who may write.
        Self::acquire(root, OFlags::RDWR, FlockOperation::NonBlockingLockExclusive)
    }

    fn acquire(root: &Root, access: OFlags, operation: FlockOperation) -> Result<Self, Fault> {
        let marker = root.open_marker(access)?.ok_or(Fault::MarkerVanished)?;
        let began = Instant::now();
        loop {
            match flock(&marker, operation) {
                Ok(()) => return Ok(Self { _marker: marker }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if began.elapsed() < MAX_WAIT => sleep(POLL),
                Err(Errno::WOULDBLOCK) => return Err(Fault::LockHeld { waited_secs: MAX_WAIT.as_secs() }),
                Err(errno) => return Err(Fault::at("lock the marker of the store")(errno)),
            }
        }
    }
}
