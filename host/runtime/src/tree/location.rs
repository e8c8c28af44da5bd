//! Places under a root, and the rules that their names obey.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::index::Index;
use super::{OpenRoot, TreeError, beneath};

/// What the names begin with that belong to the host.
pub(super) const RESERVED_PREFIX: &str = ".stillframe-";

/// A place under a root; the empty path is the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// Name of the root.
    pub(crate) root: String,
    /// Relative path with `/` between its parts.
    pub(crate) path: String,
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.root, self.path)
    }
}

/// A location whose root is open and whose path obeys the rules.
pub(super) struct Place<'a> {
    /// The root.
    pub(super) root: &'a OpenRoot,
    /// Path relative to the root.
    pub(super) path: PathBuf,
    /// For messages.
    pub(super) location: Location,
}

impl<'a> Place<'a> {
    pub(super) fn new(root: &'a OpenRoot, location: &Location) -> Result<Self, TreeError> {
        let path = if location.path.is_empty() { PathBuf::new() } else { relative_path(&location.path)? };
        Ok(Self { root, path, location: location.clone() })
    }

    /// Whether it is the root itself.
    pub(super) fn is_root(&self) -> bool {
        self.path.as_os_str().is_empty()
    }

    /// Its own name; the empty one for the root itself.
    pub(super) fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// Fails when it is a clone or lies in one: what the host has cloned, a provider moves and removes, but does not see.
    pub(super) fn refuse_in_clone(&self) -> Result<(), TreeError> {
        let failed = |cause: io::Error| TreeError::of("look beside", &self.location, &cause);
        for path in self.path.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            let is_clone = match beneath::open_parent(&self.root.directory, path) {
                Ok((parent, name)) => Index::lies_beside(&parent, name).map_err(failed)?,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => false,
                Err(cause) => return Err(failed(cause)),
            };
            if is_clone {
                let clone = Location { root: self.location.root.clone(), path: path.to_string_lossy().into_owned() };
                return Err(TreeError::Denied(format!(
                    "`{}` cannot be read: `{clone}` is a clone, which holds the cluster's own files",
                    self.location
                )));
            }
        }
        Ok(())
    }

    /// Fails when this directory, or one on the way to it, is on another file system than the root, or in a subvolume of its own: a
    /// snapshot that a program has made there holds the cluster's files as a clone does.
    pub(super) fn refuse_other_storage(&self, directory: &Path) -> Result<(), TreeError> {
        let failed = |cause: io::Error| TreeError::of("look at", &self.location, &cause);
        let root = beneath::Identity::of(&self.root.directory).map_err(failed)?;
        for path in directory.ancestors().filter(|path| !path.as_os_str().is_empty()) {
            let device = match beneath::open_directory(&self.root.directory, path) {
                Ok(opened) => beneath::Identity::of(&opened).map_err(failed)?.device,
                // What is not there is told by whoever opens it.
                Err(_) => continue,
            };
            if device != root.device {
                return Err(TreeError::Denied(format!(
                    "`{}` cannot be read: `{}` is a file system or subvolume of its own, and may be a snapshot of the cluster's files",
                    self.location,
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// Opens it as a directory.
    pub(super) fn open_directory(&self) -> Result<File, TreeError> {
        beneath::open_directory(&self.root.directory, &self.path)
            .map_err(|cause| TreeError::of("open the directory", &self.location, &cause))
    }

    /// Opens the directory that holds it, or the deepest that is there, with whether it is the former.
    pub(super) fn open_existing_parent(&self) -> Result<(File, bool), TreeError> {
        let mut path = self.parent();
        loop {
            match beneath::open_directory(&self.root.directory, path) {
                Ok(directory) => return Ok((directory, path == self.parent())),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound && path != Path::new("") => {
                    path = path.parent().unwrap_or(Path::new(""));
                }
                Err(cause) => return Err(TreeError::of("open the directory", &self.location, &cause)),
            }
        }
    }

    /// Opens the directory that holds it, and makes it, durably, where it is missing.
    pub(super) fn make_parent(&self) -> Result<File, TreeError> {
        let failed = |cause: io::Error| TreeError::of("make the parent directory of", &self.location, &cause);
        let mut directory = beneath::open_directory(&self.root.directory, Path::new("")).map_err(failed)?;
        for name in self.parent() {
            match rustix::fs::mkdirat(&directory, name, Mode::RWXU) {
                Ok(()) => directory.sync_all().map_err(failed)?,
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
            directory = beneath::open_directory(&directory, Path::new(name)).map_err(failed)?;
        }
        Ok(directory)
    }

    /// Opens it as a regular file for reading.
    pub(super) fn open_file(&self) -> Result<File, TreeError> {
        let failed = |cause: io::Error| TreeError::of("open the file", &self.location, &cause);
        // Without NONBLOCK the opening of a named pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = beneath::open(&self.root.directory, &self.path, flags, Mode::empty()).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(TreeError::Failed(format!("`{}` is not a regular file", self.location)));
        }
        Ok(file)
    }

    /// Path of the directory that holds it, relative to the root.
    pub(super) fn parent(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}

/// Reads a relative path; what it refuses, it refuses with the rule's name.
pub(super) fn relative_path(text: &str) -> Result<PathBuf, TreeError> {
    let denied = |rule: &str| Err(TreeError::Denied(format!("the path {text:?} {rule}")));
    if text.starts_with('/') {
        return denied("is absolute; paths are relative to a root");
    }
    if text.contains('\0') {
        return denied("holds a NUL byte");
    }
    for part in text.split('/') {
        match part {
            "" => return denied("has an empty part"),
            "." | ".." => return denied("has a part `.` or `..`"),
            own if own.starts_with(RESERVED_PREFIX) => {
                return denied("uses a name that begins with `.stillframe-`, the host's own");
            }
            _ => {}
        }
    }
    Ok(PathBuf::from(text))
}
