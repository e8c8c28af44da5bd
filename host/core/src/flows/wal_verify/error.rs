//! Why the archive was not verified, or is not whole.

use thiserror::Error;

use crate::catalog::{ArchiveError, CatalogError};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::archive_map::MapError;
use crate::postgres::{SystemIdentifier, TimelineId};

/// Why the archive was not verified, or is not whole.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// Archive or catalog could not be read.
    #[error(transparent)]
    Map(#[from] MapError),
    /// There is nothing that the archive could be verified against.
    #[error("there is no backup, and so nothing to verify against")]
    NoBackups,
    /// The named backup is not there.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(String),
    /// The named timeline is not there.
    #[error("the archive holds nothing of timeline {0}")]
    NoSuchTimeline(TimelineId),
    /// Nothing tells the segment size.
    #[error("nothing tells how large the segments of this archive are")]
    UnknownSegmentSize,
    /// The server is not the one that the backups are of.
    #[error("the server belongs to the cluster {found}, and the newest backup to {expected}")]
    OtherCluster {
        /// The server's.
        found: SystemIdentifier,
        /// The newest backup's.
        expected: SystemIdentifier,
    },
    /// Needed objects are damaged.
    #[error("{count} needed WAL files are damaged, and {missing} are missing")]
    Damaged {
        /// How many are damaged.
        count: u64,
        /// How many are missing besides.
        missing: u64,
    },
    /// Needed files are not archived.
    #[error("{count} WAL files that restoring needs are missing")]
    Missing {
        /// How many.
        count: u64,
    },
    /// The archive knows a later timeline than the server.
    #[error("the archive holds timeline {0}, which is newer than the server's")]
    NewerTimeline(TimelineId),
    /// A backup's record cannot be read.
    #[error("what is needed is not wholly known: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
        /// The class of the cause.
        class: ErrorClass,
        /// What the operator can do about the cause.
        advice: Option<String>,
    },
    /// The reading ended before its end.
    #[error("not every needed object was read: {reason}")]
    Stopped {
        /// Why.
        reason: String,
        /// The class of the cause.
        class: ErrorClass,
        /// What the operator can do about the cause.
        advice: Option<String>,
    },
    /// Backups have their WAL elsewhere.
    #[error("{}", unverified(*.count))]
    External {
        /// How many.
        count: u64,
    },
    /// Objects could not be verified.
    #[error("{count} needed WAL files could not be verified")]
    NotVerified {
        /// How many.
        count: u64,
    },
}

impl VerifyError {
    pub(super) fn unreadable(error: &CatalogError) -> Self {
        Self::Unreadable { reason: chain(error), class: error.class(), advice: error.hint() }
    }

    pub(super) fn stopped(error: &ArchiveError) -> Self {
        Self::Stopped { reason: chain(error), class: error.class(), advice: error.hint() }
    }
}

impl Classify for VerifyError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Map(error) => error.class(),
            // Missing files are no damage, and another try finds no more of them: they are named and do not exist.
            Self::NoBackups
            | Self::NoSuchBackup(_)
            | Self::NoSuchTimeline(_)
            | Self::OtherCluster { .. }
            | Self::Missing { .. }
            | Self::NewerTimeline(_) => ErrorClass::Refused,
            Self::Damaged { .. } => ErrorClass::Corrupt,
            Self::UnknownSegmentSize | Self::NotVerified { .. } | Self::External { .. } => ErrorClass::Config,
            Self::Unreadable { class, .. } | Self::Stopped { class, .. } => *class,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Map(error) => error.hint(),
            Self::NoBackups => Some("take one with `stillframe snapshot-push`: WAL alone restores nothing".to_owned()),
            Self::NoSuchBackup(_) => Some("see the names with `stillframe backup-list`".to_owned()),
            Self::NoSuchTimeline(_) => Some("see the timelines with `stillframe wal-show`".to_owned()),
            Self::UnknownSegmentSize => {
                Some("say it with `--segment-size`; `SHOW wal_segment_size` tells it, and 16 MiB is usual".to_owned())
            }
            Self::OtherCluster { .. } => Some("see that `conninfo` and the cluster's name belong together".to_owned()),
            Self::NewerTimeline(_) => Some(
                "a standby was promoted, or a copy of this cluster archives here; connect to the server that is the primary now"
                    .to_owned(),
            ),
            Self::Damaged { .. } | Self::Missing { .. } => Some(
                "copy the files from another archive or from the server's pg_wal if they are still there; else take a new backup"
                    .to_owned(),
            ),
            Self::Unreadable { advice, .. } | Self::Stopped { advice, .. } => advice.clone(),
            Self::External { .. } => Some(
                "verify it with that tool, which `backup-show` names; what WAL-G keeps is read where `[external_archive]` names its place"
                    .to_owned(),
            ),
            Self::NotVerified { .. } => {
                Some("verify where the private key is: set `identity_file` or `identity_command` in [archive]".to_owned())
            }
        }
    }
}

fn unverified(backups: u64) -> String {
    match backups {
        1 => "the WAL of one backup is kept by another tool, and was not verified".to_owned(),
        count => format!("the WAL of {count} backups is kept by another tool, and was not verified"),
    }
}
