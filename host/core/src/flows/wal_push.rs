//! Archives one WAL file, for `archive_command`.
//!
//! Success means durable, and nothing less: PostgreSQL recycles the segment on our word. A file that does not belong to this
//! cluster is refused before it reaches the archive.

mod segment;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::catalog::{ArchiveError, PushOutcome};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::postgres::{ControlFileError, HeaderError, InvalidHistory, InvalidWalName, SystemIdentifier, WalFileName};

/// Archives the file at `path`, which PostgreSQL names by `%p`.
///
/// `data_directory` is where the cluster's identity is read from.
pub async fn wal_push(ports: &Ports<'_>, data_directory: &Path, path: &Path) -> Result<PushOutcome, WalPushError> {
    segment::archive_file(ports, data_directory, path).await
}

/// Why a file was not archived.
#[derive(Debug, Error)]
pub enum WalPushError {
    /// Not the name of a WAL file.
    #[error(transparent)]
    Name(#[from] InvalidWalName),
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The segment is not what its name says.
    #[error("`{name}` is not the segment that its name says")]
    Header {
        /// The file.
        name: WalFileName,
        /// What is wrong with it.
        #[source]
        source: HeaderError,
    },
    /// The segment is of another cluster.
    #[error("`{name}` belongs to the cluster {found}, and the data directory to {ours}")]
    ForeignCluster {
        /// The file.
        name: WalFileName,
        /// The segment's cluster.
        found: SystemIdentifier,
        /// The cluster of the data directory.
        ours: SystemIdentifier,
    },
    /// The history file is damaged.
    #[error("`{name}` is damaged")]
    History {
        /// The file.
        name: WalFileName,
        /// What is wrong with it.
        #[source]
        source: InvalidHistory,
    },
    /// The file is longer than any of its kind.
    #[error("`{name}` is longer than 1 MiB")]
    TooLong {
        /// The file.
        name: WalFileName,
    },
    /// The cluster's control file is damaged.
    #[error("cannot read the system identifier from `{path}`")]
    Control {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ControlFileError,
    },
    /// The archive failed or refused it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Classify for WalPushError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Name(_) => ErrorClass::Usage,
            Self::Read { .. } => ErrorClass::Config,
            Self::ForeignCluster { .. } => ErrorClass::Refused,
            Self::Header { .. } | Self::History { .. } | Self::TooLong { .. } | Self::Control { .. } => ErrorClass::Corrupt,
            Self::Archive(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(_) => Some("PostgreSQL must call it: archive_command = 'stillframe wal-push %p'".to_owned()),
            Self::Read { .. } => {
                Some("run it in the data directory, as the user that runs PostgreSQL, with the right `pgdata`".to_owned())
            }
            Self::ForeignCluster { .. } => Some("is `pgdata` under `[cluster]` the data directory of this server?".to_owned()),
            Self::Archive(error) => error.hint(),
            Self::Header { .. } | Self::History { .. } | Self::TooLong { .. } | Self::Control { .. } => None,
        }
    }
}
