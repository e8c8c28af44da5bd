//! An earlier clone of the same source, and the proof that a file has not changed since.
//!
//! PostgreSQL writes its files in place, so a wrong answer here would put an old page into a new backup. A file is linked only
//! when its device, inode, size and both times are those of the base's index, and when both times were already older than the
//! base's begin by a margin: only then did every later write have to change them. In any doubt the file is copied.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::beneath::{self, Identity};
use super::facts;
use super::index::{self, Fingerprint, Index};
use super::location::Place;
use super::parents::Parents;

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

    /// Its directory of this path; none when it has none.
    pub(super) fn directory(&self, path: &Path) -> Option<File> {
        beneath::open_directory(&self.directory, path).ok()
    }

    /// Links the base's file into the clone, when the source's file has provably not changed since; gives the latter's fingerprint
    /// when it did. Opens nothing: most files of most clones end here.
    pub(super) fn link(&self, path: &Path, parents: &Parents) -> io::Result<Option<Fingerprint>> {
        let (Some(kept), Some(name)) = (&parents.base, path.file_name()) else { return Ok(None) };
        let Ok(Some(source)) = Fingerprint::of_name(&parents.source, name) else { return Ok(None) };
        if !self.holds(path, &source) {
            return Ok(None);
        }
        // A server that somebody started on the base changes its files.
        let Ok(Some(ours)) = Fingerprint::of_name(kept, name) else { return Ok(None) };
        if (ours.size_bytes, ours.modified_nanos) != (source.size_bytes, source.modified_nanos) {
            return Ok(None);
        }
        match link(kept, &parents.clone, name, Identity { device: ours.device, inode: ours.inode }) {
            Ok(linked) => Ok(linked.then_some(source)),
            // Another file system, too many links, links forbidden, gone: a copy serves as well.
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether its file has what this file of the source has, by the rule above.
    fn holds(&self, path: &Path, source: &Fingerprint) -> bool {
        let oldest = self.index.begin_nanos - MARGIN_NANOS;
        let settled = source.modified_nanos < oldest && source.changed_nanos < oldest;
        settled && source.device == self.device && self.index.files.get(path) == Some(source)
    }
}

/// Makes a hard link of the same name in another directory, and takes it back when it is not the file that was meant.
pub(super) fn link(from: &File, to: &File, name: &OsStr, expected: Identity) -> Result<bool, Errno> {
    rustix::fs::linkat(from, name, to, name, AtFlags::empty())?;
    if Fingerprint::of_name(to, name)?.is_some_and(|linked| Identity { device: linked.device, inode: linked.inode } == expected) {
        return Ok(true);
    }
    rustix::fs::unlinkat(to, name, AtFlags::empty())?;
    Ok(false)
}
