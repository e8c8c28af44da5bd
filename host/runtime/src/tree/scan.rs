//! The walk over a source: what there is to clone.
//!
//! The server goes on working meanwhile, so whatever vanishes is left out: WAL replay creates and removes it again.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::beneath::{self, Identity};
use super::location::RESERVED_PREFIX;
use super::rules::Rules;
use super::{StopFlag, TreeError};

/// Deepest nesting of directories that is cloned: PostgreSQL uses 4, and each level costs the removal an open file.
const MAX_DEPTH: usize = 128;

/// Everything that a clone will consist of, except the files that come last.
#[derive(Default)]
pub(super) struct Scan {
    /// Each before what it holds; the first is the source itself.
    pub(super) directories: Vec<(PathBuf, Metadata)>,
    /// Regular files.
    pub(super) files: Vec<PathBuf>,
    /// Symbolic links and what they hold.
    pub(super) links: Vec<(PathBuf, OsString)>,
}

/// Walks the source.
///
/// `forbidden` is where the clone is being built: meeting it means that the clone would hold itself.
pub(super) fn scan(source: &File, rules: &Rules, forbidden: Identity, stop: &StopFlag) -> Result<Scan, TreeError> {
    let mut found = Scan::default();
    let mut pending = vec![PathBuf::new()];
    while let Some(path) = pending.pop() {
        stop.check()?;
        let read = match read_directory(source, &path) {
            Ok(read) => read,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !path.as_os_str().is_empty() => continue,
            Err(cause) => return Err(TreeError::of("read the directory", &path.display(), &cause)),
        };
        if read.identity == forbidden {
            return Err(TreeError::Denied("the destination lies inside the source".to_owned()));
        }
        if path.components().count() > MAX_DEPTH {
            return Err(TreeError::Failed(format!("the directory `{}` lies more than {MAX_DEPTH} levels deep", path.display())));
        }
        for (name, kind) in read.names {
            let entry = path.join(&name);
            if name.as_bytes().starts_with(RESERVED_PREFIX.as_bytes()) || rules.is_last(&entry) || rules.skips(&entry) {
                continue;
            }
            match kind {
                FileType::Directory => pending.push(entry),
                FileType::RegularFile => found.files.push(entry),
                FileType::Symlink => found.links.extend(read_link(&read.directory, entry, &name)?),
                // Sockets, pipes and devices hold no data.
                _ => {}
            }
        }
        found.directories.push((path, read.metadata));
    }
    Ok(found)
}

struct Opened {
    directory: File,
    metadata: Metadata,
    identity: Identity,
    names: Vec<(OsString, FileType)>,
}

fn read_directory(source: &File, path: &Path) -> io::Result<Opened> {
    let directory = beneath::open_directory(source, path)?;
    let metadata = directory.metadata()?;
    let identity = Identity::of(&directory)?;
    let names = beneath::names(&directory)?;
    Ok(Opened { directory, metadata, identity, names })
}

fn read_link(directory: &File, path: PathBuf, name: &OsString) -> Result<Option<(PathBuf, OsString)>, TreeError> {
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Ok(target) => Ok(Some((path, std::ffi::OsStr::from_bytes(target.as_bytes()).to_owned()))),
        // It vanished, or a directory took its place: the server is at work.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => Ok(None),
        Err(errno) => Err(TreeError::of("read the symbolic link", &path.display(), &errno.into())),
    }
}
