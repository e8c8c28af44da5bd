//! How one regular file gets from the source to the clone.

use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::ops::AddAssign;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::base::{self, Base};
use super::beneath::{self, Identity};
use super::flush::Flush;
use super::index::Fingerprint;
use super::parents::Parents;
use super::rules::CloneMethod;
use super::{StopFlag, TreeError};

/// Bytes that are read at once: large enough for the disk, small enough to stop soon.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

/// What a clone did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CloneStats {
    /// Regular files in the clone.
    pub(crate) files: u64,
    /// Directories in the clone, its own included.
    pub(crate) directories: u64,
    /// Bytes of all regular files.
    pub(crate) bytes_total: u64,
    /// Bytes that were read and written.
    pub(crate) bytes_copied: u64,
    /// Files that share extents with the source.
    pub(crate) files_reflinked: u64,
    /// Files that were hard-linked.
    pub(crate) files_linked: u64,
}

impl AddAssign for CloneStats {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.directories += other.directories;
        self.bytes_total += other.bytes_total;
        self.bytes_copied += other.bytes_copied;
        self.files_reflinked += other.files_reflinked;
        self.files_linked += other.files_linked;
    }
}

/// From where to where, and how.
pub(super) struct Transfer<'a> {
    pub(super) source: &'a File,
    pub(super) clone: &'a File,
    pub(super) method: CloneMethod,
    pub(super) base: Option<&'a Base>,
    pub(super) flush: Flush<'a>,
    pub(super) stop: &'a StopFlag,
}

impl Transfer<'_> {
    /// Clones one file; none when it has vanished. The fingerprint is from before the first byte was read.
    pub(super) fn file(
        &self,
        path: &Path,
        parents: &Parents,
        buffer: &mut [u8],
    ) -> Result<Option<(Fingerprint, CloneStats)>, TreeError> {
        let failed = |cause: io::Error| TreeError::of("clone the file", &path.display(), &cause);
        if self.method != CloneMethod::Shared
            && let Some(base) = self.base
            && let Some(fingerprint) = base.link(path, parents).map_err(failed)?
        {
            let size_bytes = fingerprint.size_bytes;
            let stats = CloneStats { files: 1, files_linked: 1, bytes_total: size_bytes, ..CloneStats::default() };
            return Ok(Some((fingerprint, stats)));
        }
        let name = Path::new(path.file_name().unwrap_or_default());
        // Without NONBLOCK the opening of a named pipe would wait for a writer.
        let from = match beneath::open(&parents.source, name, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(from) => from,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(cause)),
        };
        let metadata = from.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let fingerprint = Fingerprint::of(&metadata);
        let mut stats = CloneStats { files: 1, bytes_total: metadata.len(), ..CloneStats::default() };
        if self.method == CloneMethod::Shared {
            stats.files_linked = 1;
            return Ok(link_to_source(path, parents, &fingerprint)?.then_some((fingerprint, stats)));
        }
        let to = create(&parents.clone, path)?;
        if self.reflink(path, &from, &to)? {
            stats.files_reflinked = 1;
        } else {
            stats.bytes_copied = self.copy(path, &from, &to, metadata.len(), buffer)?;
            stats.bytes_total = stats.bytes_copied;
        }
        finish(&to, &metadata, self.flush).map_err(failed)?;
        Ok(Some((fingerprint, stats)))
    }

    /// Shares the file's extents; false when the file system cannot and the method allows a copy.
    fn reflink(&self, path: &Path, from: &File, to: &File) -> Result<bool, TreeError> {
        if self.method == CloneMethod::Copy {
            return Ok(false);
        }
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::PERM | Errno::TXTBSY)
                if self.method == CloneMethod::Auto =>
            {
                Ok(false)
            }
            Err(Errno::XDEV | Errno::INVAL | Errno::NOTTY) => {
                Err(TreeError::Unsupported(format!("`{}` cannot share its extents with a file of the destination", path.display())))
            }
            Err(errno) => Err(TreeError::of("share the extents of", &path.display(), &errno.into())),
        }
    }

    /// Copies at most `size` bytes, so that a file that grows is cut where it was; returns how many there were.
    fn copy(&self, path: &Path, from: &File, to: &File, size: u64, buffer: &mut [u8]) -> Result<u64, TreeError> {
        let mut offset = 0;
        while offset < size {
            self.stop.check()?;
            let want = usize::try_from(size - offset).unwrap_or(usize::MAX).min(buffer.len());
            let read = match from.read_at(&mut buffer[..want], offset) {
                Ok(0) => break,
                Ok(read) => read,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(TreeError::of("read", &path.display(), &cause)),
            };
            to.write_all_at(&buffer[..read], offset)
                .map_err(|cause| TreeError::of("write the copy of", &path.display(), &cause))?;
            offset += read as u64;
        }
        Ok(offset)
    }
}

fn link_to_source(path: &Path, parents: &Parents, source: &Fingerprint) -> Result<bool, TreeError> {
    let identity = Identity { device: source.device, inode: source.inode };
    match base::link(&parents.source, &parents.clone, path.file_name().unwrap_or_default(), identity) {
        Ok(true) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Ok(false) => Err(TreeError::Failed(format!("`{}` was replaced while it was linked", path.display()))),
        Err(errno @ (Errno::XDEV | Errno::PERM | Errno::MLINK)) => {
            Err(TreeError::Unsupported(format!("cannot link to `{}`: {errno}", path.display())))
        }
        Err(errno) => Err(TreeError::of("link to", &path.display(), &errno.into())),
    }
}

/// Makes a new, empty file of the clone, in this directory, that only we can open.
pub(super) fn create(parent: &File, path: &Path) -> Result<File, TreeError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let name = Path::new(path.file_name().unwrap_or_default());
    beneath::open(parent, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|cause| TreeError::of("create the copy of", &path.display(), &cause))
}

/// Gives a file or directory the source's owner (as root), mode and times.
pub(super) fn finish(to: &File, source: &Metadata, flush: Flush<'_>) -> io::Result<()> {
    // Each change is a transaction of the file system, and most files have the owner and the mode from the beginning.
    let has = to.metadata()?;
    let is_given = (has.uid(), has.gid()) != (source.uid(), source.gid()) && rustix::process::geteuid().is_root();
    if is_given {
        std::os::unix::fs::fchown(to, Some(source.uid()), Some(source.gid()))?;
    }
    if is_given || has.mode() & 0o7777 != source.mode() & 0o7777 {
        to.set_permissions(PermissionsExt::from_mode(source.mode() & 0o7777))?;
    }
    to.set_times(FileTimes::new().set_modified(source.modified()?))?;
    flush.one(to)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_that_grows_is_cut_where_it_was() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("file"), "0123456789").unwrap();
        let (source, stop) = (File::open(home.path()).unwrap(), StopFlag::default());
        let transfer =
            Transfer { source: &source, clone: &source, method: CloneMethod::Copy, base: None, flush: Flush::Each, stop: &stop };
        let (from, to) = (File::open(home.path().join("file")).unwrap(), create(&source, Path::new("copy")).unwrap());
        let copied = transfer.copy(Path::new("file"), &from, &to, 7, &mut [0; 4]).unwrap();
        assert_eq!((copied, fs::read_to_string(home.path().join("copy")).unwrap().as_str()), (7, "0123456"));
        stop.stop();
        assert_eq!(transfer.copy(Path::new("file"), &from, &to, 7, &mut [0; 4]), Err(TreeError::TimedOut));
    }

    #[test]
    fn a_file_that_has_vanished_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        let (source, stop) = (File::open(home.path()).unwrap(), StopFlag::default());
        let transfer =
            Transfer { source: &source, clone: &source, method: CloneMethod::Copy, base: None, flush: Flush::Each, stop: &stop };
        let parents = Parents::follow(None, &transfer, Path::new("")).unwrap().unwrap();
        assert_eq!(transfer.file(Path::new("gone"), &parents, &mut [0; 4]), Ok(None));
        assert!(Parents::follow(Some(parents), &transfer, Path::new("gone")).unwrap().is_none());
    }
}
