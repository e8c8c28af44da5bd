//! Which instance of a cluster this is: facts that a clone has otherwise, and the same server has again after a restart.
//!
//! Host and path tell most copies apart. The identity of the directory tells one that was made anew in the same place: a file
//! system keeps inode and time of birth over restarts, and gives others to a copy. None of it tells a machine that was rolled back
//! as a whole; only the content of what it archives does.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::data_directory::{InspectError, read_control};
use crate::error::{Classify, ErrorClass};
use crate::files::FileError;
use crate::postgres::{ControlFileError, PgControl, SystemIdentifier, TimelineId};

/// What a running server leaves in its data directory; the second line is the path of that.
const SERVER_FILE: &str = "postmaster.pid";

/// It has some eight short lines.
const MAX_SERVER_FILE_BYTES: u64 = 64 << 10;

/// A server that archives, as it is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Where it is.
    pub place: Place,
    /// Its cluster.
    pub system_identifier: SystemIdentifier,
    /// The newest timeline that it is known to have reached.
    pub timeline: TimelineId,
    /// Whether it only replays what others wrote.
    pub is_in_recovery: bool,
}

/// Where an instance is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The host, or the name that the operator gave to the instance.
    pub host: String,
    /// The data directory, without links.
    pub data_directory: String,
    /// Which directory it is, of those that have had this path.
    pub directory: DirectoryIdentity,
}

/// What a file system says about a directory, and does not say about a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryIdentity {
    /// Its inode.
    pub inode: u64,
    /// When it was made, where the file system knows.
    pub born_at: Option<Timestamp>,
}

impl DirectoryIdentity {
    /// Whether it is the same directory. A time of birth that one of them lacks, as after an update of the kernel, says nothing.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.inode == other.inode && (self.born_at == other.born_at || self.born_at.is_none() || other.born_at.is_none())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` on `{}`", self.data_directory, self.host)
    }
}

impl Instance {
    /// Reads the facts; `name` is the host's, or what the operator chose instead.
    ///
    /// Of several paths to the directory, as with a bind mount, the one counts that the server itself was started with, so that an
    /// operator who is told another one speaks of the same place.
    ///
    /// They change: a standby is promoted, a directory replaced. So this is done for every push, which costs two small reads.
    pub fn observe(data_directory: &Path, name: &str) -> Result<Self, InstanceError> {
        let unreadable = |path: &Path, source| InstanceError::Read { path: path.to_owned(), source };
        let known = path_of_server(data_directory);
        let data_directory = known.as_deref().unwrap_or(data_directory);
        let canonical = data_directory.canonicalize().map_err(|source| unreadable(data_directory, source))?;
        let metadata = canonical.metadata().map_err(|source| unreadable(&canonical, source))?;
        let born_at = metadata.created().ok().and_then(|time| Timestamp::try_from(time).ok());
        let control = control_file(&canonical)?;
        Ok(Self {
            place: Place {
                host: name.to_owned(),
                data_directory: canonical.to_string_lossy().into_owned(),
                directory: DirectoryIdentity { inode: metadata.ino(), born_at },
            },
            system_identifier: control.system_identifier(),
            timeline: control.timeline().max(control.recovery_timeline()).unwrap_or(TimelineId::FIRST),
            is_in_recovery: control.is_in_recovery(),
        })
    }
}

/// The path by which the running server calls this directory; none when it does not run, or the file is that of another directory,
/// of which this one is a copy.
fn path_of_server(data_directory: &Path) -> Option<PathBuf> {
    let mut text = Vec::new();
    File::open(data_directory.join(SERVER_FILE)).ok()?.take(MAX_SERVER_FILE_BYTES).read_to_end(&mut text).ok()?;
    let line = text.split(|byte| *byte == b'\n').nth(1)?;
    let path = PathBuf::from(OsStr::from_bytes(line));
    let (ours, theirs) = (data_directory.metadata().ok()?, path.metadata().ok()?);
    (path.is_absolute() && (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino())).then_some(path)
}

fn control_file(data_directory: &Path) -> Result<PgControl, InstanceError> {
    let absent = || InstanceError::Read { path: data_directory.join(PgControl::PATH), source: Errno::NOENT.into() };
    let control = read_control(data_directory).map_err(|error| match error {
        InspectError::File(FileError { path, source, .. }) => InstanceError::Read { path, source },
        InspectError::Control { path, source } => InstanceError::Control { path, source },
    })?;
    control.ok_or_else(absent)
}

/// Why the instance cannot be known.
#[derive(Debug, Error)]
pub enum InstanceError {
    /// The directory or its control file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The control file is damaged.
    #[error("cannot tell from `{path}` which cluster it is")]
    Control {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ControlFileError,
    },
}

impl Classify for InstanceError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Read { .. } => ErrorClass::Config,
            Self::Control { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => {
                Some("run it in the data directory, as the user that runs PostgreSQL, with the right `pgdata`".to_owned())
            }
            Self::Control { source, .. } => source.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_directory(at: &Path) {
        std::fs::create_dir_all(at.join("global")).unwrap();
        std::fs::write(at.join(PgControl::PATH), crate::postgres::control_image(42, 288)).unwrap();
    }

    #[test]
    fn the_same_directory_is_itself_by_any_path_and_a_copy_in_its_place_is_another() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        data_directory(&path);
        let first = Instance::observe(&path, "db1").unwrap();
        assert_eq!((first.system_identifier.0, first.timeline, first.is_in_recovery), (42, TimelineId::FIRST, false));
        std::os::unix::fs::symlink(&path, root.path().join("link")).unwrap();
        assert_eq!(Instance::observe(&root.path().join("link"), "db1").unwrap(), first);
        // The original stays beside it, as with any copy that was made before it was removed: its inode is not free.
        std::fs::rename(&path, root.path().join("old")).unwrap();
        data_directory(&path);
        let second = Instance::observe(&path, "db1").unwrap();
        assert_eq!(second.place.data_directory, first.place.data_directory);
        assert!(!second.place.directory.is(&first.place.directory));
    }

    #[test]
    fn of_several_paths_the_running_servers_own_is_taken_and_that_of_a_copied_file_is_not() {
        let root = tempfile::tempdir().unwrap();
        let (path, link, copy) = (root.path().join("data"), root.path().join("link"), root.path().join("copy"));
        data_directory(&path);
        data_directory(&copy);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(path_of_server(&path), None, "it does not run");
        for (named, found) in [(&link, Some(link.clone())), (&copy, None), (&root.path().join("gone"), None)] {
            std::fs::write(path.join(SERVER_FILE), format!("42\n{}\n1700000000\n5432\n", named.display())).unwrap();
            assert_eq!(path_of_server(&path), found);
            assert_eq!(
                Instance::observe(&path, "db1").unwrap().place.data_directory,
                path.canonicalize().unwrap().to_str().unwrap()
            );
        }
        for damaged in ["", "42", "42\n\n", "42\n.\n"] {
            std::fs::write(path.join(SERVER_FILE), damaged).unwrap();
            assert_eq!(path_of_server(&path), None, "{damaged:?}");
        }
    }

    #[test]
    fn a_time_of_birth_that_is_not_known_says_nothing() {
        let (old, new) = (Some(Timestamp::UNIX_EPOCH), Some(Timestamp::MAX));
        let identity = |inode, born_at| DirectoryIdentity { inode, born_at };
        assert!(identity(1, old).is(&identity(1, None)) && identity(1, None).is(&identity(1, new)));
        assert!(!identity(1, old).is(&identity(1, new)) && !identity(1, None).is(&identity(2, None)));
    }
}
