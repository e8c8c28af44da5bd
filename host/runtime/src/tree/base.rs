//! An earlier clone of the same source, and the proof that a file has not changed since.
//!
//! PostgreSQL writes its files in place, so a wrong answer here would put an old page into a new backup. A file is linked only
//! when its device, inode, size and both times are those of the base's index, and when both times were already older than the
//! base's begin by a margin: only then did every later write have to change them. In any doubt the file is copied.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::{self, Identity};
use super::facts;
use super::index::{self, Fingerprint, Index};
use super::location::Place;

/// How much older than the base a file's times must be. A kernel stamps times from a clock that ticks every few milliseconds (and
/// some file systems round to whole seconds), so a write shortly after the base read the file may have left them as they were.
const MARGIN_NANOS: i128 = 2_000_000_000;

/// An earlier clone that files may be linked from.
pub(super) struct Base {
    directory: File,
    index: Index,
    /// Of the source: below another mount point its file system's times may prove nothing.
    device: u64,
}

impl Base {
    /// Opens the base; none when it is absent, when anything about it is in doubt, or when the source's times prove nothing.
    pub(super) fn open(place: &Place<'_>, source: &File) -> Option<Self> {
        if place.is_root() || !facts::times_are_proof(source) {
            return None;
        }
        let directory = place.open_directory().ok()?;
        let (parent, _) = place.open_existing_parent().ok()?;
        let index = Index::read(&parent, place.name())?;
        let same = Identity::of(&directory).ok()? == index.clone;
        // After a power failure a file can have newer content than its times say.
        let boot = index::this_boot();
        let continuous = !boot.is_empty() && boot == index.boot;
        let device = Identity::of(source).ok()?.device;
        (index.isolated && same && continuous).then_some(Self { directory, index, device })
    }

    /// Links the base's file into the clone, when the source's file has provably not changed since; tells whether it did.
    pub(super) fn link(&self, path: &Path, source: &Fingerprint, clone: &File) -> io::Result<bool> {
        let oldest = self.index.begin_nanos - MARGIN_NANOS;
        let settled = source.modified_nanos < oldest && source.changed_nanos < oldest;
        if !settled || source.device != self.device || self.index.files.get(path) != Some(source) {
            return Ok(false);
        }
        let Some(identity) = self.untouched(path, source) else { return Ok(false) };
        match link(&self.directory, clone, path, identity) {
            Ok(linked) => Ok(linked),
            // Another file system, too many links, links forbidden, gone: a copy serves as well.
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOENT | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The base's file, when it still looks as the clone left it. A server that somebody started on the base changes it.
    fn untouched(&self, path: &Path, source: &Fingerprint) -> Option<Identity> {
        let file = beneath::open(&self.directory, path, OFlags::PATH, Mode::empty()).ok()?;
        let metadata = file.metadata().ok()?;
        let ours = Fingerprint::of(&metadata);
        let untouched = metadata.is_file() && ours.size_bytes == source.size_bytes && ours.modified_nanos == source.modified_nanos;
        untouched.then_some(Identity { device: ours.device, inode: ours.inode })
    }
}

/// Makes a hard link at the same path below another directory, and takes it back when it is not the file that was meant.
pub(super) fn link(from: &File, to: &File, path: &Path, expected: Identity) -> Result<bool, Errno> {
    let of_errno = |cause: io::Error| Errno::from_io_error(&cause).unwrap_or(Errno::IO);
    let (from, name) = beneath::open_parent(from, path).map_err(of_errno)?;
    let (to, _) = beneath::open_parent(to, path).map_err(of_errno)?;
    rustix::fs::linkat(&from, name, &to, name, AtFlags::empty())?;
    if Identity::of_name(&to, name).map_err(of_errno)? == expected {
        return Ok(true);
    }
    rustix::fs::unlinkat(&to, name, AtFlags::empty())?;
    Ok(false)
}
