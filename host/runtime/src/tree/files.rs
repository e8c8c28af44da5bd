//! Small text files, which providers keep their records in, and directory listings.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::beneath::Identity;
use super::flush::Flush;
use super::location::{Place, RESERVED_PREFIX};
use super::{TreeError, beneath};

/// Longest file that is read or written whole: records are a few KiB, and the content crosses the sandbox's border as one string.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What the names begin with of files that are being written.
const TEMPORARY_PREFIX: &str = ".stillframe-write-";

/// Longest listing, for the same reason.
const MAX_ENTRIES: usize = 10_000;

/// One directory entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) kind: EntryKind,
    /// Bytes, for a regular file.
    pub(crate) size_bytes: u64,
    /// Milliseconds since 1970 of its last modification.
    pub(crate) modified_ms: u64,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, not followed.
    Symlink,
    /// A socket, a pipe or a device.
    Other,
}

pub(super) fn list_entries(place: &Place<'_>) -> Result<Vec<Entry>, TreeError> {
    let failed = |cause: io::Error| TreeError::of("list", &place.location, &cause);
    place.refuse_in_clone()?;
    place.refuse_other_storage(&place.path)?;
    let directory = place.open_directory()?;
    let mut entries = Vec::new();
    for (name, kind) in beneath::names(&directory).map_err(failed)? {
        let Some(text) = name.to_str().filter(|name| !name.starts_with(RESERVED_PREFIX)) else { continue };
        if entries.len() == MAX_ENTRIES {
            return Err(TreeError::Failed(format!("`{}` has more than {MAX_ENTRIES} entries", place.location)));
        }
        match entry(&directory, text, kind) {
            Ok(entry) => entries.push(entry),
            // It vanished since the directory was read.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

fn entry(directory: &File, name: &str, kind: FileType) -> io::Result<Entry> {
    let path_only = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let metadata = File::from(rustix::fs::openat(directory, name, path_only, Mode::empty())?).metadata()?;
    let kind = match kind {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        _ => EntryKind::Other,
    };
    let modified_ms = metadata.mtime().saturating_mul(1_000).saturating_add(metadata.mtime_nsec() / 1_000_000);
    Ok(Entry {
        name: name.to_owned(),
        kind,
        size_bytes: if kind == EntryKind::File { metadata.len() } else { 0 },
        modified_ms: u64::try_from(modified_ms).unwrap_or(0),
    })
}

pub(super) fn read_file(place: &Place<'_>) -> Result<String, TreeError> {
    let mut content = Vec::new();
    place.refuse_in_clone()?;
    // Of the directory, for a layered file system gives files the numbers of the layers.
    place.refuse_other_storage(place.parent())?;
    place
        .open_file()?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|cause| TreeError::of("read", &place.location, &cause))?;
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(TreeError::Failed(format!("`{}` is longer than {MAX_FILE_BYTES} bytes", place.location)));
    }
    String::from_utf8(content).map_err(|_| TreeError::Failed(format!("`{}` is not UTF-8 text", place.location)))
}

pub(super) fn write_file(place: &Place<'_>, content: &str) -> Result<(), TreeError> {
    if place.is_root() {
        return Err(TreeError::Denied(format!("`{}` is a root and cannot be written as a file", place.location)));
    }
    if content.len() as u64 > MAX_FILE_BYTES {
        return Err(TreeError::Denied(format!("the content for `{}` is longer than {MAX_FILE_BYTES} bytes", place.location)));
    }
    let parent = place.make_parent()?;
    if let Err(cause) = sweep(&parent) {
        // The next write tries again.
        tracing::debug!(file = %place.location, %cause, "what dead processes have left beside it stays for now");
    }
    write_durably(&parent, place.name(), content.as_bytes()).map_err(|cause| TreeError::of("write", &place.location, &cause))
}

/// Writes a file so that after a crash its name holds either the old content or the new.
pub(super) fn write_durably(directory: &File, name: &OsStr, content: &[u8]) -> io::Result<()> {
    write_whole(directory, name, content, Flush::Each)
}

/// The same of a file that is part of what will be flushed in this way.
pub(super) fn write_whole(directory: &File, name: &OsStr, content: &[u8], flush: Flush<'_>) -> io::Result<()> {
    let (mut file, temporary) = create_temporary(directory)?;
    let written = file
        .write_all(content)
        .and_then(|()| flush.one(&file))
        .and_then(|()| Ok(rustix::fs::renameat(directory, &temporary, directory, name)?));
    if let Err(cause) = written {
        // The cause is what the caller needs; a temporary file that stays goes with its directory.
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
        return Err(cause);
    }
    flush.one(directory)
}

/// A file of which nobody takes the name away: its lock tells that its writer lives.
fn create_temporary(directory: &File) -> io::Result<(File, String)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY_PREFIX}{}-{number}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        match beneath::open(directory, Path::new(&name), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) if is_kept(directory, &file, &name) => return Ok((file, name)),
            Ok(_) => {}
            // Left by a dead process with our number.
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// Locks a new file; false when it was swept before. Where there are no locks nobody sweeps either.
fn is_kept(directory: &File, file: &File, name: &str) -> bool {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let identities = (Identity::of(file), Identity::of_name(directory, OsStr::new(name)));
            matches!(identities, (Ok(own), Ok(named)) if own == named)
        }
        Err(Errno::WOULDBLOCK) => false,
        Err(_) => true,
    }
}

/// Removes what dead processes have left of their writing here, which nobody else would: no record leads to it.
fn sweep(directory: &File) -> io::Result<()> {
    for (name, kind) in beneath::names(directory)? {
        if kind != FileType::RegularFile || !name.as_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            continue;
        }
        let left = match beneath::open(directory, Path::new(&name), OFlags::RDWR, Mode::empty()) {
            Ok(left) => left,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        match flock(&left, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
