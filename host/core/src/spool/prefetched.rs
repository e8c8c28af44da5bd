//! Prefetched segments of one server, and the process that tends them.
//!
//! A segment lies here under its own name only after the archive's digest was checked, and is checked again when it is taken: its
//! size, its header, the cluster, its age, its owner. One process at a time tends the directory, under a lock that ends with it.
//! Whoever takes a segment needs no lock: a rename gives it to one. A segment counts although the store was emptied since: what was
//! archived never changes, so it is what the archive had.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::{FILE_MODE, Place, SpoolError, age, make_private};
use crate::error;
use crate::files::{FileError, FileStep, Unfinished, change, directory_of, remove_file_if_present, write_unflushed};
use crate::postgres::{SegmentHeader, SystemIdentifier, WalFileName, WalSegmentSize};

/// Older segments are of a recovery that nobody knows any more.
pub(super) const LIFETIME: Duration = Duration::from_hours(1);

/// Locked by the process that tends the directory.
pub(super) const LOCK: &str = "lock";

/// Names the segment that PostgreSQL was last given from elsewhere.
const POSITION: &str = "position";

/// Ends the name of an empty file that says that its segment is under way.
const UNDER_WAY: &str = ".under-way";

/// As much of a segment as its header needs.
const HEADER_BYTES: u64 = 64;

/// How often the lock is tried: somebody who only looks whether it is held holds it for a moment.
const LOCK_ATTEMPTS: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The prefetched segments of one server.
#[derive(Debug, Clone)]
pub(crate) struct Prefetched {
    directory: PathBuf,
    system_identifier: SystemIdentifier,
}

impl Prefetched {
    /// The segments of the server of this place; nothing is made.
    pub(crate) fn of(place: &Place) -> Self {
        Self { directory: place.fetched(), system_identifier: place.system_identifier }
    }

    /// Moves a segment to its destination; none when there is no such segment, or one that does not prove itself.
    ///
    /// Returns its size.
    pub(crate) fn take(&self, name: WalFileName, destination: &Path, now: Timestamp) -> Option<WalSegmentSize> {
        let path = self.path(name);
        let size = match self.prove(name, &path, destination, now) {
            Ok(size) => size,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::debug!(segment = %name, %error, "a prefetched segment is not used");
                self.remove(name);
                return None;
            }
        };
        move_into_place(&path, destination)
            .map(|()| size)
            .inspect_err(|error| tracing::debug!(segment = %name, error = error::chain(error), "is not moved"))
            .ok()
    }

    /// Whether the process that tends the directory works on the segment.
    pub(crate) fn is_under_way(&self, name: WalFileName) -> bool {
        self.under_way(name).exists() && self.is_tended()
    }

    /// Whether a process tends the directory.
    pub(crate) fn is_tended(&self) -> bool {
        let Ok(lock) = File::open(self.directory.join(LOCK)) else { return false };
        matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
    }

    /// Tells the process that tends the directory how far PostgreSQL is.
    pub(crate) fn note_position(&self, name: WalFileName) -> Result<(), FileError> {
        write_unflushed(&self.directory.join(POSITION), name.to_string().as_bytes(), FILE_MODE)
    }

    /// Begins to tend the directory; none when another process does.
    pub(crate) fn tend(self) -> Result<Option<Tender>, SpoolError> {
        make_private(&self.directory)?;
        let path = self.directory.join(LOCK);
        let failed = |source| SpoolError::Unusable { path: path.clone(), source };
        for _ in 0..LOCK_ATTEMPTS {
            let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path).map_err(failed)?;
            // A process that ends removes the lock with the directory: then this is the lock of nothing.
            let is_current = || lock.metadata().is_ok_and(|held| path.metadata().is_ok_and(|found| found.ino() == held.ino()));
            if lock.try_lock().is_ok() && is_current() {
                return Ok(Some(Tender { prefetched: self, _lock: lock }));
            }
            drop(lock);
            std::thread::sleep(LOCK_PAUSE);
        }
        Ok(None)
    }

    fn path(&self, name: WalFileName) -> PathBuf {
        self.directory.join(name.to_string())
    }

    fn under_way(&self, name: WalFileName) -> PathBuf {
        self.directory.join(format!("{name}{UNDER_WAY}"))
    }

    fn remove(&self, name: WalFileName) {
        // What stays behind has to prove itself again.
        let _ = remove_file_if_present(&self.path(name));
    }

    /// Proves that the file is the segment of its name, of this cluster, and readable for the server.
    fn prove(&self, name: WalFileName, path: &Path, destination: &Path, now: Timestamp) -> io::Result<WalSegmentSize> {
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let segment = OpenOptions::new().read(true).custom_flags(no_link).open(path)?;
        let found = segment.metadata()?;
        if age(&found, now).is_none_or(|age| age > LIFETIME) {
            return Err(doubt("it is too old, or of a time to come"));
        }
        if found.uid() != directory_of(destination).metadata()?.uid() {
            return Err(doubt("it belongs to another user than the destination"));
        }
        let mut beginning = Vec::new();
        segment.take(HEADER_BYTES).read_to_end(&mut beginning)?;
        let header = SegmentHeader::prove_beginning(name, &beginning, found.len())
            .map_err(|source| io::Error::new(ErrorKind::InvalidData, source))?;
        if header.system_identifier != self.system_identifier {
            return Err(doubt("it is of another cluster"));
        }
        u32::try_from(found.len())
            .ok()
            .and_then(|size| WalSegmentSize::try_from(size).ok())
            .ok_or_else(|| doubt("its size is impossible"))
    }
}

/// The right to fill and to empty the directory; it ends with the process.
#[derive(Debug)]
pub(crate) struct Tender {
    prefetched: Prefetched,
    _lock: File,
}

impl Tender {
    /// Where a segment is to be written, as a whole or not at all.
    pub(crate) fn path(&self, name: WalFileName) -> PathBuf {
        self.prefetched.path(name)
    }

    /// Says that a segment is under way, until the returned value is dropped.
    pub(crate) fn announce(&self, name: WalFileName) -> UnderWay {
        let path = self.prefetched.under_way(name);
        // Without it a server fetches the segment itself instead of waiting a little.
        let _ = File::create(&path);
        UnderWay { path }
    }

    /// Whether the segment is still there.
    pub(crate) fn holds(&self, name: WalFileName) -> bool {
        self.path(name).exists()
    }

    /// Removes a segment that nobody will ask for.
    pub(crate) fn remove(&self, name: WalFileName) {
        self.prefetched.remove(name);
    }

    /// The segment that PostgreSQL was last given from elsewhere.
    pub(crate) fn position(&self) -> Option<WalFileName> {
        std::fs::read_to_string(self.prefetched.directory.join(POSITION)).ok()?.parse().ok()
    }

    /// Removes what a process that was killed left behind, and returns the segments that are whole.
    pub(crate) fn clean(&self, now: Timestamp) -> io::Result<Vec<WalFileName>> {
        let mut whole = Vec::new();
        for entry in std::fs::read_dir(&self.prefetched.directory)? {
            let entry = entry?;
            let segment = entry.file_name().to_str().and_then(|name| name.parse::<WalFileName>().ok());
            let is_young = entry.metadata().is_ok_and(|found| age(&found, now).is_some_and(|age| age <= LIFETIME));
            match segment {
                Some(name @ WalFileName::Segment { .. }) if is_young => whole.push(name),
                _ if entry.file_name() == LOCK => {}
                _ => {
                    let _ = remove_file_if_present(&entry.path());
                }
            }
        }
        Ok(whole)
    }

    /// Bytes that are free where the segments lie.
    pub(crate) fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.prefetched.directory).map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Removes everything. The lock goes last: whoever makes a new one finds a directory that nobody writes to.
    pub(crate) fn end(self) {
        let Self { prefetched, _lock } = self;
        if let Ok(entries) = std::fs::read_dir(&prefetched.directory) {
            for entry in entries.flatten().filter(|entry| entry.file_name() != LOCK) {
                let _ = remove_file_if_present(&entry.path());
            }
        }
        let _ = remove_file_if_present(&prefetched.directory.join(LOCK));
        let _ = std::fs::remove_dir(&prefetched.directory);
    }
}

/// A segment that is under way.
#[derive(Debug)]
#[must_use]
pub(crate) struct UnderWay {
    path: PathBuf,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _ = remove_file_if_present(&self.path);
    }
}

fn doubt(reason: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

/// Renames, or copies to another file system. Neither is flushed: PostgreSQL removes what lies at its destination before each call,
/// and flushes itself what it keeps.
fn move_into_place(path: &Path, destination: &Path) -> Result<(), FileError> {
    match change(FileStep::PutInPlace, destination, || std::fs::rename(path, destination)) {
        Err(source) if source.kind() == ErrorKind::CrossesDevices => copy_into_place(path, destination),
        renamed => renamed.map_err(|source| FileError::new("replace", destination, source)),
    }
}

fn copy_into_place(path: &Path, destination: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::new("write", destination, source);
    let mut segment = File::open(path).map_err(failed)?;
    let length = segment.metadata().map_err(failed)?.len();
    let mut file = Unfinished::beside(destination, FILE_MODE)?;
    if file.copy_from(&mut segment).map_err(failed)? != length {
        return Err(failed(io::Error::new(ErrorKind::UnexpectedEof, "the copy is not whole")));
    }
    file.finish()?;
    // What stays behind proves itself again, or is swept.
    let _ = remove_file_if_present(path);
    Ok(())
}
