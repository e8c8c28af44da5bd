//! Why a data directory cannot be read, or must not be prepared.

use std::path::PathBuf;

use thiserror::Error;

use super::InvalidTarget;
use crate::error::{Classify, ErrorClass};
use crate::files::FileError;
use crate::postgres::{ControlFileError, InvalidTablespaceMap, Lsn, SystemIdentifier, TimelineId};

/// A data directory that cannot be read.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// `pg_control` is there and unusable.
    #[error("cannot use `{}`", path.display())]
    Control {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ControlFileError,
    },
}

impl Classify for InspectError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Control { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Control { source, .. } => source.hint(),
        }
    }
}

/// A data directory that is not prepared. Every refusal comes before the first change.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The directory cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A step failed; the copy is sealed and cannot start, and a second run completes it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The stored tablespace map is damaged.
    #[error(transparent)]
    Map(#[from] InvalidTablespaceMap),
    /// The recovery target is none.
    #[error(transparent)]
    Target(#[from] InvalidTarget),
    /// There is no copy of a cluster.
    #[error("`{}` is no restored data directory: it lacks `{missing}`", directory.display())]
    NotACluster {
        /// The directory.
        directory: PathBuf,
        /// The file that it lacks.
        missing: &'static str,
    },
    /// It is a copy of something else.
    #[error("`{}` belongs to the cluster {found}, and the backup to the cluster {expected}", directory.display())]
    OtherCluster {
        /// The directory.
        directory: PathBuf,
        /// In its `pg_control`.
        found: SystemIdentifier,
        /// In the backup.
        expected: SystemIdentifier,
    },
    /// It is a copy from before or after a major upgrade.
    #[error("`{}` is of PostgreSQL {found}, and the backup of PostgreSQL {expected}", directory.display())]
    OtherVersion {
        /// The directory.
        directory: PathBuf,
        /// In its `PG_VERSION`.
        found: String,
        /// In the backup.
        expected: u32,
    },
    /// A server runs on it.
    #[error("a server runs on `{}` (process {pid})", directory.display())]
    Running {
        /// The directory.
        directory: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// It is this cluster at another time.
    #[error(
        "`{}` was not cut by this backup: its {what} is {found}, not between {start} and {stop}",
        directory.display()
    )]
    OtherMoment {
        /// The directory.
        directory: PathBuf,
        /// Which position in its `pg_control` says so.
        what: &'static str,
        /// That position.
        found: Lsn,
        /// The same of the checkpoint with which the backup began.
        start: Lsn,
        /// Where the backup stopped.
        stop: Lsn,
    },
    /// It is this cluster after a promotion, its own perhaps.
    #[error("`{}` was not cut by this backup: its checkpoint is not on timeline {expected}", directory.display())]
    OtherTimeline {
        /// The directory.
        directory: PathBuf,
        /// Timeline of the backup.
        expected: TimelineId,
    },
    /// A server has run on the copy of a cold backup.
    #[error("`{}` was not cut by this backup: a server runs, or has crashed, on it since", directory.display())]
    NotShutDown {
        /// The directory.
        directory: PathBuf,
    },
    /// A server has been shut down on it.
    #[error("`{}` was not cut by this backup: a server has been shut down on it since", directory.display())]
    ShutDown {
        /// The directory.
        directory: PathBuf,
    },
    /// A directory of data that is a link: what it leads to is no part of the copy.
    #[error("`{}` is a symbolic link: what it leads to is not in the snapshot, and may be the original cluster's", path.display())]
    LinkedDirectory {
        /// The link.
        path: PathBuf,
    },
    /// The directory for the WAL holds something.
    #[error("the WAL directory `{}` is not empty: it holds `{example}`", directory.display())]
    WalDirectoryInUse {
        /// Where the link `pg_wal` points, or shall point.
        directory: PathBuf,
        /// One entry.
        example: String,
    },
    /// A tablespace has no directory.
    #[error("tablespace {oid} has no directory `{}`", location.display())]
    TablespaceMissing {
        /// Its object identifier.
        oid: u32,
        /// Where it should be.
        location: PathBuf,
    },
    /// A tablespace's directory holds something else.
    #[error("`{}` is not tablespace {oid} of this cluster: it lacks `{expected}`", location.display())]
    TablespaceForeign {
        /// Its object identifier.
        oid: u32,
        /// Where it should be.
        location: PathBuf,
        /// The directory that it lacks.
        expected: String,
    },
    /// A link leads to where the original cluster has its tablespace.
    #[error("tablespace {oid} would use `{}`, where the original cluster has it", location.display())]
    TablespaceAtOriginal {
        /// Its object identifier.
        oid: u32,
        /// The original location.
        location: PathBuf,
    },
    /// Two tablespaces in one directory.
    #[error("two tablespaces would use `{}`", location.display())]
    TablespaceShared {
        /// The directory.
        location: PathBuf,
    },
    /// `OLD=NEW` where no tablespace is at OLD.
    #[error("no tablespace of the backup is at `{}`", from.display())]
    UnknownMapping {
        /// OLD.
        from: PathBuf,
    },
    /// A location that releases of PostgreSQL read differently.
    #[error("`{}` holds a backslash or a line break, which a tablespace cannot be moved to", path.display())]
    AmbiguousLocation {
        /// NEW.
        path: PathBuf,
    },
    /// A path that depends on the working directory.
    #[error("`{}` is not an absolute path", path.display())]
    Relative {
        /// The path.
        path: PathBuf,
    },
}

impl Classify for PrepareError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Inspect(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Map(error) => error.class(),
            Self::Target(error) => error.class(),
            Self::UnknownMapping { .. } | Self::AmbiguousLocation { .. } | Self::Relative { .. } => ErrorClass::Usage,
            _ => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::Inspect(error) => return error.hint(),
            Self::File(error) => return error.hint(),
            Self::Map(error) => return error.hint(),
            Self::Target(error) => return error.hint(),
            Self::NotACluster { .. } => "mount or restore the snapshot there first",
            Self::OtherCluster { .. } | Self::OtherVersion { .. } => "check the directory and the name of the backup",
            Self::Running { .. } => "never restore over a running server; stop it, or choose another directory",
            Self::OtherMoment { .. } => {
                "it may have been restored from another backup: name that one, or empty the directory and restore this one; what you \
                 mount must be the snapshots that `backup-show` lists for this backup"
            }
            Self::OtherTimeline { .. } | Self::ShutDown { .. } | Self::NotShutDown { .. } => {
                "start again from the snapshot: a copy that has run is not the backup any more"
            }
            Self::LinkedDirectory { .. } => "only `pg_wal` and tablespaces may lie outside the data directory",
            Self::WalDirectoryInUse { .. } => {
                "it may be the WAL of the original cluster; name an empty directory with `--wal-directory`"
            }
            Self::TablespaceMissing { .. } | Self::TablespaceForeign { .. } => {
                "restore the tablespace first, and tell where it is with `--tablespace-mapping OLD=NEW`"
            }
            Self::TablespaceAtOriginal { .. } => {
                "the copy would write into it; restore the tablespace elsewhere and use `--tablespace-mapping OLD=NEW`"
            }
            Self::TablespaceShared { .. } => "give each tablespace a directory of its own",
            Self::UnknownMapping { .. } => "`backup-show` lists where the tablespaces of the backup were",
            Self::AmbiguousLocation { .. } => "use a directory with a plain name",
            Self::Relative { .. } => "write the whole path",
        };
        Some(advice.to_owned())
    }
}
