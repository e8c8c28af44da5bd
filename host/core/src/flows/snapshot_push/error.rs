//! Why a backup was not taken.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::{ColdError, StandbyError};
use crate::catalog::{ArchiveError, BackupName, CatalogError, LeaseError};
use crate::error::{Classify, ErrorClass, chain};
use crate::paths::PathError;
use crate::postgres::{ConnectionError, TimelineId, WalFileName};
use crate::provider::ProviderError;

/// Why a backup was not taken.
#[derive(Debug, Error)]
pub enum PushError {
    /// The server failed, or the session was lost.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Somebody deletes, or announces a backup, for longer than this one may wait.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The server's directories are not what or where it says.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The server of a cold backup.
    #[error(transparent)]
    Cold(#[from] ColdError),
    /// Standby and primary do not belong together, or the standby does not follow.
    #[error(transparent)]
    Standby(#[from] StandbyError),
    /// The server does not archive its WAL.
    #[error("the server does not archive its WAL: `{setting}`")]
    NotArchiving {
        /// The setting and its value.
        setting: &'static str,
    },
    /// Its WAL is in an archive that cannot be read here, and no server says how far it is archived.
    #[error("nobody tells whether the WAL of a standby is archived where it cannot be read")]
    NobodyTells,
    /// What another tool keeps cannot be read.
    #[error("what the other tool has archived cannot be read")]
    ExternalUnreadable(#[source] ArchiveError),
    /// No provider is named for a directory.
    #[error("no provider is named for `{}`", path.display())]
    NoProvider {
        /// The directory.
        path: PathBuf,
    },
    /// The set changes with the live cluster.
    #[error("the provider's set is not isolated: it would change with the live cluster")]
    NotIsolated,
    /// The operator interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A disk takes too long.
    #[error("the file systems of the cluster were not flushed within {} s", .0.as_secs())]
    FlushDeadline(Duration),
    /// The cut took too long.
    #[error("backup mode took longer than {} s", .0.as_secs())]
    CutDeadline(Duration),
    /// The server was promoted, or restarted on another timeline, in the middle.
    #[error("the server was promoted during the backup: it was on timeline {before} and is on {after}")]
    Promoted {
        /// Timeline before.
        before: TimelineId,
        /// Timeline after.
        after: TimelineId,
    },
    /// The server's answers about the backup contradict each other.
    #[error("the server's backup_label does not describe this backup: {0}")]
    Label(String),
    /// A tablespace that did not exist at the beginning.
    #[error("the tablespace with oid {oid} was created while the backup began, and is not in the snapshot")]
    NewTablespace {
        /// Its object identifier.
        oid: u32,
    },
    /// WAL of the backup is missing in the archive.
    #[error("`{missing}` is not in the archive after {} s", .waited.as_secs())]
    NotArchived {
        /// First file that is missing.
        missing: WalFileName,
        /// Deadline.
        waited: Duration,
        /// What the server says its archiver failed on last.
        last_failed: Option<String>,
    },
    /// WAL of a standby's backup is missing in the archive, and no primary could be asked to end its segment.
    #[error("`{missing}` is not in the archive after {} s: perhaps the primary still writes to it", .waited.as_secs())]
    NotEnded {
        /// First file that is missing.
        missing: WalFileName,
        /// Deadline.
        waited: Duration,
    },
    /// All segments are in the archive, and the server has not put them there.
    #[error("the WAL is in the archive, and the server has not archived it by itself within {} s", .waited.as_secs())]
    NotArchivedByServer {
        /// Deadline.
        waited: Duration,
        /// What the server says its archiver failed on last.
        last_failed: Option<String>,
    },
    /// The storage system gave up.
    #[error("the snapshot `{member}` failed in the storage system: {reason}")]
    SnapshotFailed {
        /// Its id there.
        member: String,
        /// Its words.
        reason: String,
    },
    /// The storage system takes too long.
    #[error("the snapshot set is not ready after {} s", .0.as_secs())]
    NotReady(Duration),
    /// The intent's time ran out before the sentinel could be written.
    #[error("the backup took longer than all its deadlines together, until {at}")]
    Expired {
        /// The moment.
        at: Timestamp,
    },
    /// It failed, and what it had cut could not be removed.
    #[error("the backup failed, and what it had cut could not be removed: it stays recorded as the intent `{name}`")]
    LeftUnderIntent {
        /// The backup.
        name: BackupName,
        /// Why the backup failed.
        #[source]
        cause: Box<PushError>,
        /// Why the removal failed.
        removal: Box<PushError>,
    },
}

impl Classify for PushError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Connection(error) => error.class(),
            Self::Provider(error) => error.class(),
            Self::Catalog(error) => error.class(),
            Self::Lease(error) => error.class(),
            Self::Archive(error) | Self::ExternalUnreadable(error) => error.class(),
            Self::Path(error) => error.class(),
            Self::Cold(error) => error.class(),
            Self::Standby(error) => error.class(),
            Self::NotArchiving { .. } | Self::NoProvider { .. } | Self::NobodyTells => ErrorClass::Config,
            Self::NotIsolated => ErrorClass::Refused,
            Self::Interrupted
            | Self::FlushDeadline(_)
            | Self::CutDeadline(_)
            | Self::Promoted { .. }
            | Self::NewTablespace { .. }
            | Self::NotArchived { .. }
            | Self::NotEnded { .. }
            | Self::NotArchivedByServer { .. }
            | Self::SnapshotFailed { .. }
            | Self::NotReady(_)
            | Self::Expired { .. } => ErrorClass::Transient,
            Self::Label(_) => ErrorClass::Internal,
            Self::LeftUnderIntent { cause, .. } => cause.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Connection(error) => error.hint(),
            Self::Provider(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Lease(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Path(error) => error.hint(),
            Self::Cold(error) => error.hint(),
            Self::Standby(error) => error.hint(),
            Self::NotArchiving { .. } => {
                Some("set archive_mode = on and archive_command = 'stillframe wal-push %p', then restart the server".to_owned())
            }
            Self::NobodyTells => Some("set `primary_conninfo`, whose archiver is asked then; or add --unproven".to_owned()),
            Self::ExternalUnreadable(_) => Some(
                "see with that tool whether it is whole; if the tool encrypts, which cannot be read here, add --unproven".to_owned(),
            ),
            Self::NoProvider { .. } => Some(
                "name one for it under `[paths]`, or one for all others with --provider or `provider` under `[backup]`".to_owned(),
            ),
            Self::NotIsolated => Some("choose another `method` or provider; for a test, add --allow-not-isolated".to_owned()),
            Self::NotArchived { last_failed: Some(file), .. } | Self::NotArchivedByServer { last_failed: Some(file), .. } => {
                Some(format!("the server's archiver fails on `{file}`: its log shows what archive_command said"))
            }
            Self::NotArchived { .. } => {
                Some("does archive_command push into the place that is looked at?".to_owned())
            }
            Self::NotEnded { .. } => Some(
                "name the primary by `primary_conninfo` under `[cluster]`: it is then asked to end the segment, which an idle one does \
                 not by itself"
                    .to_owned(),
            ),
            Self::NotArchivedByServer { .. } => {
                Some("was this server cloned or rolled back? Segments of the same names may be from before".to_owned())
            }
            Self::FlushDeadline(_) => Some("look for a disk that hangs, or raise `cut_timeout_secs` under `[backup]`".to_owned()),
            Self::CutDeadline(_) => Some("raise `cut_timeout_secs` under `[backup]`".to_owned()),
            Self::NotReady(_) => Some("raise `ready_timeout_secs` under `[backup]`".to_owned()),
            Self::Promoted { .. } | Self::NewTablespace { .. } | Self::Expired { .. } => Some("run it again".to_owned()),
            Self::LeftUnderIntent { removal, .. } => Some(format!(
                "removing it failed because {}; `stillframe reconcile` shows it, and `stillframe delete garbage` tries again once \
                 the intent has expired",
                chain(removal)
            )),
            Self::Interrupted | Self::Label(_) | Self::SnapshotFailed { .. } => None,
        }
    }
}
