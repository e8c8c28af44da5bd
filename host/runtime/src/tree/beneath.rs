//! System calls relative to an open directory, which no name can leave.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

/// Times that `openat2` is repeated when the kernel could not rule out a race with a rename elsewhere.
const RACE_RETRIES: usize = 1_000;

/// Opens a path beneath the directory, through no symbolic link. The empty path is the directory itself.
pub(super) fn open(directory: &File, path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    let mut attempts = 0;
    loop {
        match rustix::fs::openat2(directory, path, flags, mode, resolve) {
            Ok(descriptor) => return Ok(descriptor.into()),
            Err(Errno::AGAIN | Errno::INTR) if attempts < RACE_RETRIES => attempts += 1,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Opens a directory beneath the directory.
pub(super) fn open_directory(directory: &File, path: &Path) -> io::Result<File> {
    open(directory, path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Opens the directory that holds a path beneath the directory, and splits the path's own name off.
pub(super) fn open_parent<'a>(directory: &File, path: &'a Path) -> io::Result<(File, &'a OsStr)> {
    let parent = open_directory(directory, path.parent().unwrap_or(Path::new("")))?;
    Ok((parent, path.file_name().unwrap_or_default()))
}

/// Names and types of a directory's entries.
pub(super) fn names(directory: &File) -> io::Result<Vec<(OsString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        match type_of(directory, name, entry.file_type()) {
            Ok(kind) => names.push((name.to_owned(), kind)),
            // It vanished since the directory was read.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(names)
}

/// What a name stands for; a link is one.
pub(super) fn kind(directory: &File, name: &OsStr) -> io::Result<FileType> {
    Ok(type_of(directory, name, FileType::Unknown)?)
}

/// Some file systems leave the type out of a directory's entries.
fn type_of(directory: &File, name: &OsStr, listed: FileType) -> Result<FileType, Errno> {
    if listed != FileType::Unknown {
        return Ok(listed);
    }
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Whether the directory has an entry of this name.
pub(super) fn exists(directory: &File, name: &OsStr) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Renames within a directory, and replaces nothing.
///
/// `OpenZFS` before 2.2 and some network file systems do not know how. There a name that is free is renamed to plainly: what could come
/// between is another process with the same name, which holds another lock, and a directory never replaces one with anything in it.
pub(super) fn rename(directory: &File, from: &OsStr, to: &OsStr) -> Result<(), Errno> {
    match rustix::fs::renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        outcome => return outcome,
    }
    match rustix::fs::statat(directory, to, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => rustix::fs::renameat(directory, from, directory, to),
        Ok(_) => Err(Errno::EXIST),
        Err(errno) => Err(errno),
    }
}

/// What tells one file or directory from every other: device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

impl Identity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// The identity of whatever has this name now, a symbolic link itself included.
    pub(super) fn of_name(directory: &File, name: &OsStr) -> io::Result<Self> {
        let path_only = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(directory, name, path_only, Mode::empty())?;
        Self::of(&File::from(descriptor))
    }
}

/// Whether `inner` is `outer` or lies somewhere below it.
pub(super) fn lies_inside(inner: &File, outer: Identity) -> io::Result<bool> {
    let mut here = inner.try_clone()?;
    loop {
        let identity = Identity::of(&here)?;
        if identity == outer {
            return Ok(true);
        }
        let above: File =
            rustix::fs::openat(&here, "..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?.into();
        if Identity::of(&above)? == identity {
            return Ok(false);
        }
        here = above;
    }
}

/// Removes everything in the directory. What vanishes meanwhile is fine.
pub(super) fn empty(directory: &File, keep_on: &dyn Fn() -> bool) -> io::Result<()> {
    for (name, kind) in names(directory)? {
        if !keep_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        remove(directory, &name, kind, keep_on)?;
    }
    Ok(())
}

/// Removes one entry with everything below it.
pub(super) fn remove(directory: &File, name: &OsStr, kind: FileType, keep_on: &dyn Fn() -> bool) -> io::Result<()> {
    if kind != FileType::Directory {
        return absent_is_fine(rustix::fs::unlinkat(directory, name, AtFlags::empty()));
    }
    match open_directory(directory, Path::new(name)) {
        Ok(below) => empty(&below, keep_on)?,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    }
    absent_is_fine(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR))
}

fn absent_is_fine(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
