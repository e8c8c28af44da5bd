//! Why a drill could not be held, or not be ended. None of it is about the backup: what is, is a finding.

use std::path::PathBuf;

use thiserror::Error;

use crate::catalog::{ArchiveError, BackupName, CatalogError};
use crate::data_directory::{InspectError, PrepareError};
use crate::error::{Classify, ErrorClass, chain};
use crate::files::FileError;
use crate::flows::{FetchError, ReleaseError};
use crate::postgres::{ConnectionError, InvalidTablespaceMap, Lsn, ServerError};

/// Why a drill was not held.
#[derive(Debug, Error)]
pub enum DrillError {
    /// The backup cannot be restored here and now.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The restore cannot be released.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The programs of PostgreSQL, or its processes.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The server does not answer as it should.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A file or directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// The copy cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The stored tablespace map is damaged.
    #[error(transparent)]
    Map(#[from] InvalidTablespaceMap),
    /// The operator interrupted.
    #[error("interrupted")]
    Interrupted,
    /// Somebody else drills there.
    #[error("another drill is under way in `{}`", .0.display())]
    Busy(PathBuf),
    /// Others may change what is in the directory.
    #[error("`{}` belongs to somebody else, or others may write to it", .0.display())]
    OpenDirectory(PathBuf),
    /// The name of the server's socket would be too long.
    #[error("the path `{}` is {excess} letters too long for the socket of a server in it", directory.display())]
    LongPath {
        /// The directory.
        directory: PathBuf,
        /// By how much.
        excess: usize,
    },
    /// The drill would lie in what is backed up, or in a snapshot.
    #[error("`{}` lies in `{}`, which belongs to a living cluster or to its snapshots", directory.display(), living.display())]
    InsideCluster {
        /// The directory.
        directory: PathBuf,
        /// What it lies in.
        living: PathBuf,
    },
    /// The copy does not fit.
    #[error("`{}` has room for {available} bytes, and the drill needs {needed}", directory.display())]
    NoRoom {
        /// The directory.
        directory: PathBuf,
        /// What the copy and its WAL need.
        needed: u64,
        /// What there is.
        available: u64,
    },
    /// Replaying it would write to a place outside of the copy.
    #[error(
        "recovery of the backup `{name}` would replay at {position} that a tablespace is made in `{}`, and write there",
        location.display()
    )]
    TablespaceOutside {
        /// The backup.
        name: BackupName,
        /// Where the WAL says so.
        position: Lsn,
        /// The place.
        location: PathBuf,
    },
    /// It would end where the server was shut down.
    #[error(
        "nothing is archived behind {position}, where the server of the cold backup `{name}` was shut down: there is no record at which \
         a drill could stop"
    )]
    AtShutdown {
        /// The backup.
        name: BackupName,
        /// Where the shutdown lies.
        position: Lsn,
    },
    /// The archive went away in the middle.
    #[error("the server of the drill could not reach the archive any more, and ended: {0}")]
    Unreachable(String),
    /// The server is not what it was started as.
    #[error("the server of the drill is not on its own: its `{setting}` is `{found}`")]
    NotOnItsOwn {
        /// The setting.
        setting: String,
        /// Its value.
        found: String,
    },
    /// Something is left.
    #[error("the drill has left something in `{}`", directory.display())]
    NotCleared {
        /// The room of the drill.
        directory: PathBuf,
        /// Why it could not be cleared.
        #[source]
        removal: Box<DrillError>,
        /// Why there was nothing to report, if so.
        cause: Option<Box<DrillError>>,
    },
}

/// Why an attempt ends.
#[derive(Debug)]
pub(super) enum Stop {
    /// Because of the backup.
    Failed(String),
    /// Because of anything else.
    Error(DrillError),
}

impl<Cause: Into<DrillError>> From<Cause> for Stop {
    fn from(cause: Cause) -> Self {
        Self::Error(cause.into())
    }
}

/// Tells a backup that cannot be restored from one that could not be restored just now.
pub(super) fn judge(error: FetchError) -> Stop {
    let is_about_the_backup = match &error {
        FetchError::WalMissing { .. } | FetchError::SetGone { .. } | FetchError::SetFailed { .. } => true,
        FetchError::NotReleased { .. } | FetchError::Prepare(PrepareError::File(_)) => false,
        // What was refused is what the snapshot holds.
        FetchError::Prepare(error) => matches!(error.class(), ErrorClass::Refused | ErrorClass::Corrupt),
        other => other.class() == ErrorClass::Corrupt,
    };
    match (is_about_the_backup, error) {
        (true, error) => Stop::Failed(chain(&error)),
        (false, FetchError::Interrupted) => Stop::Error(DrillError::Interrupted),
        (false, error) => Stop::Error(error.into()),
    }
}

impl Classify for DrillError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Fetch(error) => error.class(),
            Self::Release(error) => error.class(),
            Self::Catalog(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::Server(error) => error.class(),
            Self::Connection(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Inspect(error) => error.class(),
            Self::Map(error) => error.class(),
            Self::Interrupted | Self::Busy(_) | Self::NoRoom { .. } | Self::Unreachable(_) => ErrorClass::Transient,
            Self::OpenDirectory(_) | Self::LongPath { .. } => ErrorClass::Config,
            Self::InsideCluster { .. } | Self::TablespaceOutside { .. } | Self::AtShutdown { .. } => ErrorClass::Refused,
            Self::NotOnItsOwn { .. } => ErrorClass::Internal,
            Self::NotCleared { removal, cause, .. } => cause.as_ref().unwrap_or(removal).class(),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Fetch(error) => return error.hint(),
            Self::Release(error) => return error.hint(),
            Self::Catalog(error) => return error.hint(),
            Self::Archive(error) => return error.hint(),
            Self::Server(error) => return error.hint(),
            Self::Connection(_) => {
                "look at what the server of the drill said, and at `user` and `database` under `[drill]`".to_owned()
            }
            Self::File(error) => return error.hint(),
            Self::Inspect(error) => return error.hint(),
            Self::Map(error) => return error.hint(),
            Self::NotOnItsOwn { .. } => return None,
            Self::Interrupted => "the backup was not judged, and what an earlier drill found stays recorded".to_owned(),
            Self::Unreachable(_) => {
                "the backup was not judged, and what an earlier drill found stays recorded: drill again when the store answers"
                    .to_owned()
            }
            Self::Busy(_) => "wait for its end, or name another directory with --directory".to_owned(),
            Self::OpenDirectory(directory) => {
                format!("make a directory for drills of your own: `install -d -m 700 {}/drill`", directory.display())
            }
            Self::LongPath { .. } => "name a directory with a shorter path".to_owned(),
            Self::InsideCluster { .. } => "name a directory elsewhere with --directory, or `directory` under `[drill]`".to_owned(),
            Self::NoRoom { .. } => "make room there, or name a directory on another file system with --directory".to_owned(),
            Self::AtShutdown { name, .. } => format!(
                "drill it once the server has gone on and archived; until then restore it: `stillframe snapshot-fetch DIRECTORY {name} \
                 --target-immediate`"
            ),
            Self::TablespaceOutside { position, .. } => format!(
                "it may be the living cluster's; recover to before it with `--target-lsn` below {position} or `--target-immediate`, or \
                 take a new backup, which knows the tablespace"
            ),
            Self::NotCleared { removal, cause, .. } => {
                let why = cause.as_ref().map(|cause| format!("the drill itself ended because {}; ", chain(cause.as_ref())));
                let how = removal.hint().map(|hint| format!("{hint}; ")).unwrap_or_default();
                format!("{}{how}then run `stillframe drill --clean-up`", why.unwrap_or_default())
            }
        })
    }
}
