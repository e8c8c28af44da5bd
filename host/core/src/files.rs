//! Files, as a seam: the only place in core that writes one so that it survives a crash.
//!
//! A file is whole or absent: written beside its place, flushed, renamed, and the directory flushed. What is removed is removed
//! without ever following a symbolic link, since a link in a restored tree may lead into the live cluster.

mod change;
pub mod nameless;

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use thiserror::Error;

pub(crate) use change::{FileStep, change};

use crate::error::{Classify, ErrorClass};
use crate::store::Space;

/// What `mkfs` makes in the root of a file system; it belongs to the file system, not to what lies on it.
pub const LOST_AND_FOUND: &str = "lost+found";

/// Ends the name of every temporary file, so that a later run knows what a crash left behind.
const TEMPORARY_SUFFIX: &str = ".stillframe";

/// Makes temporary names unique within the process.
static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// Replaces a file as a whole; when this returns, the new contents survive a crash, and until then the old ones are there.
///
/// Run by root in a directory of somebody else, it gives the file to that owner: PostgreSQL could not read it otherwise.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let (temporary, file) = create_beside(directory, path, mode)?;
    let written = change(FileStep::Write, path, || fill(&file, directory, bytes, mode))
        .and_then(|()| change(FileStep::Flush, path, || file.sync_all()))
        .map_err(|source| FileError::new("write", path, source))
        .and_then(|()| rename(&temporary, path));
    if let Err(error) = written {
        // The first error is the one to tell; a file that stays behind is recognised by its name.
        let _ = change(FileStep::Remove, &temporary, || std::fs::remove_file(&temporary));
        return Err(error);
    }
    sync_directory(directory)
}

/// Flushes the whole file system that holds a directory.
pub fn sync_file_system(directory: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::new("flush the file system of", directory, source);
    let opened = File::open(directory).map_err(failed)?;
    change(FileStep::FlushFileSystem, directory, || Ok(rustix::fs::syncfs(opened)?)).map_err(failed)
}

/// Room on the file system that holds this place, as far as it is left to us.
pub fn space(path: &Path) -> Result<Space, FileError> {
    let failed = |errno: Errno| FileError::new("look at the file system of", path, errno.into());
    let found = rustix::fs::statvfs(path).map_err(failed)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space { free_bytes: bytes(found.f_bavail), total_bytes: bytes(found.f_blocks) })
}

/// Replaces a file as a whole, for what need not survive a crash.
pub fn write_unflushed(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut file = Unfinished::beside(path, mode)?;
    file.write_all(bytes).map_err(|source| FileError::new("write", path, source))?;
    file.finish()
}

/// A file that is being written for a place, and is gone unless it gets there.
///
/// For what need not survive a crash, but must never be seen in part.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    /// Its name beside the place; none where the file system has files without a name, of which a crash leaves nothing.
    temporary: Option<PathBuf>,
    path: PathBuf,
}

impl Unfinished {
    /// Begins an empty file for `path`, with this mode and the owner that a file there is to have.
    pub fn beside(path: &Path, mode: u32) -> Result<Self, FileError> {
        let failed = |source| FileError::new("write", path, source);
        let directory = directory_of(path);
        let opened = File::open(directory).map_err(failed)?;
        let (temporary, file) = match nameless::open(opened.as_fd(), mode).map_err(|errno| failed(errno.into()))? {
            Some(file) => (None, file),
            None => create_beside(directory, path, mode).map(|(temporary, file)| (Some(temporary), file))?,
        };
        let unfinished = Self { file, temporary, path: path.to_owned() };
        dress(&unfinished.file, directory, mode).map_err(failed)?;
        Ok(unfinished)
    }

    /// Copies all that is left of a file to it; returns how many bytes that is.
    pub fn copy_from(&mut self, source: &mut File) -> io::Result<u64> {
        io::copy(source, &mut self.file)
    }

    /// Gives it its name, in place of what bore it; in between there may be none of that name. It is not flushed to the disk.
    pub fn finish(self) -> Result<(), FileError> {
        let failed = |source| FileError::new("replace", &self.path, source);
        let Some(temporary) = &self.temporary else {
            loop {
                match change(FileStep::PutInPlace, &self.path, || Ok(nameless::link(&self.file, CWD, &self.path)?)) {
                    Ok(()) => return Ok(()),
                    // Renaming over it would need a name, which a crash could leave behind.
                    Err(source) if source.kind() == ErrorKind::AlreadyExists => drop(remove_file_if_present(&self.path)?),
                    Err(source) => return Err(failed(source)),
                }
            }
        };
        change(FileStep::PutInPlace, &self.path, || std::fs::rename(temporary, &self.path)).map_err(failed)
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is gone when it got its name; what stays behind otherwise is recognised by its own.
            let _ = change(FileStep::Remove, temporary, || std::fs::remove_file(temporary));
        }
    }
}

/// Makes a directory; root gives it to the owner of the directory that it lies in. It exists already: a success.
pub fn create_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    let failed = |source| FileError::new("make the directory", path, source);
    match change(FileStep::Make, path, || std::fs::DirBuilder::new().mode(mode).create(path)) {
        Ok(()) => {}
        Err(source) if source.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        Err(source) => return Err(failed(source)),
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    if let Some((user, group)) = owner_to_be(parent).map_err(failed)? {
        std::os::unix::fs::chown(path, Some(user), Some(group)).map_err(failed)?;
    }
    sync_directory(parent)
}

/// Replaces a link, a file or an empty directory by a symbolic link, atomically but for the directory.
pub fn link_atomically(target: &Path, path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::new("make the link", path, source);
    let directory = path.parent().unwrap_or(Path::new("/"));
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        change(FileStep::Remove, path, || std::fs::remove_dir(path)).map_err(failed)?;
    }
    let temporary = loop {
        let temporary = temporary_beside(directory, path);
        match std::os::unix::fs::symlink(target, &temporary) {
            Ok(()) => break temporary,
            Err(source) if source.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed(source)),
        }
    };
    let owned = owner_to_be(directory).and_then(|owner| match owner {
        Some((user, group)) => std::os::unix::fs::lchown(&temporary, Some(user), Some(group)),
        None => Ok(()),
    });
    if let Err(source) = owned.and_then(|()| change(FileStep::Link, path, || std::fs::rename(&temporary, path))) {
        let _ = change(FileStep::Remove, &temporary, || std::fs::remove_file(&temporary));
        return Err(failed(source));
    }
    sync_directory(directory)
}

/// Takes all rights to a directory away that are not allowed. They are on the disk with the next flush of the directory.
pub fn narrow(directory: &Path, allowed: u32) -> Result<(), FileError> {
    let failed = |source| FileError::new("change the mode of", directory, source);
    let mode = std::fs::metadata(directory).map_err(failed)?.mode() & 0o7777;
    if mode & !allowed == 0 {
        return Ok(());
    }
    std::fs::set_permissions(directory, Permissions::from_mode(mode & allowed)).map_err(failed)
}

/// Makes what was created, renamed or removed in a directory survive a crash.
pub fn sync_directory(directory: &Path) -> Result<(), FileError> {
    change(FileStep::FlushDirectory, directory, || File::open(directory)?.sync_all())
        .map_err(|source| FileError::new("flush the directory", directory, source))
}

/// Removes all that a directory holds, but not the directory; returns how many entries it held.
///
/// A symbolic link is removed, never followed; a directory that is itself a link is refused. `lost+found` stays.
pub fn remove_tree_contents(directory: &Path) -> Result<usize, FileError> {
    let refused = |source: io::Error| FileError::new("empty the directory", directory, source);
    let opened = open_directory(CWD, directory).map_err(|errno| refused(errno.into()))?;
    let empty = || Ok(remove_entries(opened.as_fd(), Some(OsStr::new(LOST_AND_FOUND)))?);
    change(FileStep::Empty, directory, empty).map_err(refused)
}

/// Removes a file; absent is a success. Returns whether it was there.
pub fn remove_file_if_present(path: &Path) -> Result<bool, FileError> {
    match change(FileStep::Remove, path, || std::fs::remove_file(path)) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(FileError::new("remove", path, source)),
    }
}

/// Reads a whole file; none when it does not exist.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::new("read", path, source)),
    }
}

/// Whether a file of this name is one that [`write_atomically`] had not finished when its process died.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX))
}

/// One failed operation on one file.
#[derive(Debug, Error)]
#[error("cannot {operation} `{}`", path.display())]
pub struct FileError {
    /// `write`, `read`, `remove`, ...
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Names the operation and the path of an error.
    #[must_use]
    pub fn new(operation: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { operation, path: path.into(), source }
    }
}

impl Classify for FileError {
    fn class(&self) -> ErrorClass {
        match self.source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => ErrorClass::Config,
            ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::DirectoryNotEmpty => ErrorClass::Refused,
            // A full disk, a device that fails, too many open files: the contents are sound, the machine is not.
            _ => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self.source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on its file system, then run it again",
            ErrorKind::PermissionDenied => "run as the user who owns the data directory, usually `postgres`",
            ErrorKind::ReadOnlyFilesystem => "its file system is mounted read-only",
            ErrorKind::NotFound => "check that the path is right and that its file system is mounted",
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// The directory of a file; that of a bare name is the working directory.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn create_beside(directory: &Path, path: &Path, mode: u32) -> Result<(PathBuf, File), FileError> {
    loop {
        let temporary = temporary_beside(directory, path);
        // `create_new` never opens what is there already, not even through a link.
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // Left by an earlier process with the same id.
            Err(source) if source.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(FileError::new("write", path, source)),
        }
    }
}

fn temporary_beside(directory: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    directory.join(format!(".{name}.{}-{number}{TEMPORARY_SUFFIX}", std::process::id()))
}

/// Whom root gives a new file to: the owner of its directory. None when that is root, or when this is not root.
fn owner_to_be(directory: &Path) -> io::Result<Option<(u32, u32)>> {
    let owner = std::fs::metadata(directory)?;
    Ok((rustix::process::geteuid().is_root() && owner.uid() != 0).then(|| (owner.uid(), owner.gid())))
}

/// Gives a new file its owner and its mode.
fn dress(file: &File, directory: &Path, mode: u32) -> io::Result<()> {
    if let Some((user, group)) = owner_to_be(directory)? {
        std::os::unix::fs::fchown(file, Some(user), Some(group))?;
    }
    // Again and exactly: the mode at creation passes through the umask.
    file.set_permissions(Permissions::from_mode(mode))
}

fn fill(mut file: &File, directory: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    dress(file, directory, mode)?;
    file.write_all(bytes)
}

/// Gives a file that survives a crash its name.
fn rename(temporary: &Path, path: &Path) -> Result<(), FileError> {
    change(FileStep::Rename, path, || std::fs::rename(temporary, path)).map_err(|source| FileError::new("replace", path, source))
}

fn open_directory(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn remove_entries(directory: BorrowedFd<'_>, kept: Option<&OsStr>) -> rustix::io::Result<usize> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." && kept.is_none_or(|kept| kept.as_encoded_bytes() != name) {
            entries.push(entry);
        }
    }
    for entry in &entries {
        let name = entry.file_name();
        let file_type = match entry.file_type() {
            // Not every file system tells the type in a listing.
            FileType::Unknown => FileType::from_raw_mode(rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            known => known,
        };
        if file_type == FileType::Directory {
            remove_entries(open_directory(directory, name)?.as_fd(), None)?;
            rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
        } else {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
        }
    }
    Ok(entries.len())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_contents_and_mode_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "old and longer").unwrap();
        write_atomically(&path, b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::create_dir_all(path.join("in the way")).unwrap();
        let error = write_atomically(&path, b"new", 0o600).unwrap_err();
        assert_eq!(error.operation, "replace");
        assert_eq!(names(directory.path()), ["file"]);
        assert_eq!(names(&path), ["in the way"]);
    }

    #[test]
    fn an_unfinished_file_is_seen_whole_or_never() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "old and longer").unwrap();
        let mut given_up = Unfinished::beside(&path, 0o600).unwrap();
        given_up.write_all(b"ne").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old and longer");
        drop(given_up);
        assert_eq!(names(directory.path()), ["file"]);
        let mut finished = Unfinished::beside(&path, 0o640).unwrap();
        finished.write_all(b"new").unwrap();
        finished.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(names(directory.path()), ["file"]);
    }

    #[test]
    fn a_write_through_a_link_replaces_the_link_and_not_its_target() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("live"), directory.path().join("link"));
        std::fs::write(&target, "live").unwrap();
        symlink(&target, &link).unwrap();
        write_atomically(&link, b"restored", 0o600).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"live");
        assert_eq!(std::fs::read(&link).unwrap(), b"restored");
    }

    #[test]
    fn a_link_replaces_a_link_and_an_empty_directory_but_no_data() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg_wal");
        create_directory(&path, 0o700).unwrap();
        std::fs::write(path.join("segment"), "").unwrap();
        link_atomically(Path::new("/new"), &path).unwrap_err();
        std::fs::remove_file(path.join("segment")).unwrap();
        link_atomically(Path::new("/new"), &path).unwrap();
        link_atomically(Path::new("/newer"), &path).unwrap();
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("/newer"));
        assert_eq!(names(directory.path()), ["pg_wal"]);
    }

    #[test]
    fn removing_a_tree_follows_no_link() {
        let live = tempfile::tempdir().unwrap();
        std::fs::write(live.path().join("segment"), "live").unwrap();
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("a/b")).unwrap();
        std::fs::create_dir_all(tree.path().join("lost+found")).unwrap();
        std::fs::write(tree.path().join("a/b/file"), "").unwrap();
        symlink(live.path(), tree.path().join("a/b/directory")).unwrap();
        symlink(live.path(), tree.path().join("link")).unwrap();
        assert_eq!(remove_tree_contents(tree.path()).unwrap(), 2);
        assert_eq!(names(tree.path()), ["lost+found"]);
        assert_eq!(names(live.path()), ["segment"]);
    }

    #[test]
    fn refuses_to_empty_what_a_link_leads_to() {
        let live = tempfile::tempdir().unwrap();
        std::fs::write(live.path().join("segment"), "live").unwrap();
        let tree = tempfile::tempdir().unwrap();
        let link = tree.path().join("pg_wal");
        symlink(live.path(), &link).unwrap();
        remove_tree_contents(&link).unwrap_err();
        assert_eq!(names(live.path()), ["segment"]);
    }

    #[test]
    fn knows_its_own_leftovers_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pg_control");
        let (temporary, _file) = create_beside(directory.path(), &path, 0o600).unwrap();
        assert!(is_temporary(temporary.file_name().unwrap()));
        assert!(!is_temporary(path.file_name().unwrap()));
    }

    #[test]
    fn a_full_disk_may_be_tried_again_and_a_missing_right_may_not() {
        let class = |kind: ErrorKind| FileError::new("write", "/x", io::Error::from(kind)).class();
        assert_eq!(class(ErrorKind::StorageFull), ErrorClass::Transient);
        assert_eq!(class(ErrorKind::PermissionDenied), ErrorClass::Config);
        assert_eq!(class(ErrorKind::NotFound), ErrorClass::Refused);
        let faulty_device = FileError::new("write", "/x", io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        assert_eq!(faulty_device.class(), ErrorClass::Transient);
    }
}
