//! Why a restore point was not made, found or removed.

use std::path::PathBuf;

use thiserror::Error;

use crate::catalog::{ArchiveError, BackupName, CatalogError, LeaseError, RestorePointName};
use crate::error::{Classify, ErrorClass};
use crate::flows::{MapError, MissingFiles, PushError};
use crate::postgres::{ConnectionError, Lsn, SystemIdentifier, WalSegmentSize};
use crate::window::Refusal;

/// Why a restore point was not made, found or removed.
#[derive(Debug, Error)]
pub enum RestorePointError {
    /// The server failed, or the session was lost.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archive could not be looked at.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Somebody deletes for longer than this may wait.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The WAL of the point did not reach the archive.
    #[error(transparent)]
    Wait(#[from] PushError),
    /// The server only replays WAL.
    #[error("the server is a standby: a restore point is written where WAL is written")]
    Standby,
    /// The catalog has one of that name.
    #[error("there is a restore point `{0}` already")]
    NameTaken(RestorePointName),
    /// The catalog has none of that name.
    #[error("the catalog holds no restore point `{0}`")]
    NoSuchRestorePoint(RestorePointName),
    /// There is no such backup.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(BackupName),
    /// No backup can be the parent.
    #[error("there is no backup from which this server's WAL can be replayed")]
    NoParent {
        /// Why the newest cannot.
        #[source]
        newest: Option<Box<RestorePointError>>,
    },
    /// The backup is of another cluster.
    #[error("the backup `{name}` is of cluster {expected}, and the server is {found}")]
    OtherCluster {
        /// The backup.
        name: BackupName,
        /// Of the server.
        found: SystemIdentifier,
        /// Of the backup.
        expected: SystemIdentifier,
    },
    /// Its snapshots are not ready, or change with the live cluster.
    #[error("the backup `{0}` is not known to be restorable")]
    NotRestorable(BackupName),
    /// The WAL behind it was given up.
    #[error("the backup `{0}` stands alone: the WAL behind its end was given up")]
    Standalone(BackupName),
    /// The server was put back.
    #[error("the server is at {position}, before the end of the backup `{name}` at {stop}")]
    ServerIsBehind {
        /// The backup.
        name: BackupName,
        /// Its end.
        stop: Lsn,
        /// Where the server is.
        position: Lsn,
    },
    /// The WAL does not lead from the parent to the point.
    #[error("the restore point cannot be reached{missing}")]
    Unreachable {
        /// Why.
        #[source]
        refusal: Refusal,
        /// What is missing, in words.
        missing: String,
    },
    /// A copy of its parent may be on its way to it.
    #[error("the parent of `{name}` is restored to `{}` on `{hostname}`, and may be on its way there", destination.display())]
    Restored {
        /// The increment.
        name: RestorePointName,
        /// The copy.
        destination: PathBuf,
        /// Its host.
        hostname: String,
    },
}

impl RestorePointError {
    pub(super) fn refused(refusal: Refusal, size: WalSegmentSize) -> Self {
        let missing = match &refusal {
            Refusal::WalMissing { missing, .. } => format!(": {} missing", MissingFiles::new(missing, size)),
            _ => String::new(),
        };
        Self::Unreachable { refusal, missing }
    }

    /// Whether it may be over once the history of a timeline is archived.
    pub(super) fn lacks_history(&self) -> bool {
        match self {
            Self::NoParent { newest: Some(error) } => error.lacks_history(),
            Self::Unreachable { refusal, .. } => matches!(refusal, Refusal::NoSuchTimeline(_)),
            _ => false,
        }
    }
}

impl Classify for RestorePointError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connection(error) => error.class(),
            Self::Catalog(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::Map(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Wait(error) => error.class(),
            Self::Standby
            | Self::NameTaken(_)
            | Self::NoSuchRestorePoint(_)
            | Self::NoSuchBackup(_)
            | Self::NoParent { .. }
            | Self::OtherCluster { .. }
            | Self::NotRestorable(_)
            | Self::Standalone(_)
            | Self::ServerIsBehind { .. }
            | Self::Unreachable { .. }
            | Self::Restored { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connection(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Map(error) => error.hint(),
            Self::Lease(error) => error.hint(),
            Self::Wait(error) => error.hint(),
            Self::Standby => {
                Some("run it for the primary, or set `primary_conninfo` under `[cluster]` to that of the primary".to_owned())
            }
            Self::NameTaken(_) => Some("choose another name; `stillframe restore-point list` shows them".to_owned()),
            Self::NoSuchRestorePoint(_) => {
                Some("`stillframe restore-point list` shows them, with --others those that are only in the WAL".to_owned())
            }
            Self::NoSuchBackup(_) => Some("`stillframe backup-list` shows the backups".to_owned()),
            Self::NoParent { .. } => Some("take one with `stillframe snapshot-push`".to_owned()),
            Self::NotRestorable(_) => Some("`stillframe backup-list` asks whether its snapshots are ready".to_owned()),
            Self::Standalone(_) | Self::Unreachable { .. } | Self::OtherCluster { .. } => {
                Some("take a new backup with `stillframe snapshot-push`, or name another one with --parent".to_owned())
            }
            Self::ServerIsBehind { .. } => Some("was this server cloned or rolled back? Take a new backup".to_owned()),
            Self::Restored { destination, .. } => {
                Some(format!("when it has recovered, run `stillframe snapshot-release {}`", destination.display()))
            }
        }
    }
}
