//! Archives one WAL file, for `archive_command`.
//!
//! Success means durable, and nothing less: PostgreSQL recycles the segment on our word. A file that does not belong to this
//! cluster is refused before it reaches the archive.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::catalog::{ArchiveError, PushOutcome};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::postgres::{
    ControlFileError, HeaderError, InvalidHistory, InvalidWalName, PgControl, SegmentHeader, SystemIdentifier, TimelineHistory,
    WalFileName,
};

/// Longest `.history` or `.backup` file that makes sense.
const MAX_TEXT_BYTES: usize = 1 << 20;

/// Archives the file at `path`, which PostgreSQL names by `%p`.
///
/// `data_directory` is where the cluster's identity is read from.
pub async fn wal_push(ports: &Ports<'_>, data_directory: &Path, path: &Path) -> Result<PushOutcome, WalPushError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: WalFileName = name.parse()?;
    let content = std::fs::read(path).map_err(|source| WalPushError::Read { path: path.to_owned(), source })?;
    check(name, &content, || identity(data_directory))?;
    Ok(ports.archive().push(name, &content).await?)
}

/// Refuses a file that is not what its name says, or is of another cluster.
fn check(
    name: WalFileName,
    content: &[u8],
    identity: impl FnOnce() -> Result<SystemIdentifier, WalPushError>,
) -> Result<(), WalPushError> {
    match name {
        WalFileName::Segment { .. } | WalFileName::Partial { .. } => {
            let header = SegmentHeader::prove(name, content).map_err(|source| WalPushError::Header { name, source })?;
            let ours = identity()?;
            if header.system_identifier != ours {
                return Err(WalPushError::ForeignCluster { name, found: header.system_identifier, ours });
            }
            Ok(())
        }
        WalFileName::History { timeline } => {
            let text = String::from_utf8_lossy(content);
            TimelineHistory::parse(timeline, &text).map_err(|source| WalPushError::History { name, source })?;
            Ok(())
        }
        WalFileName::BackupHistory { .. } if content.len() > MAX_TEXT_BYTES => Err(WalPushError::TooLong { name }),
        WalFileName::BackupHistory { .. } => Ok(()),
    }
}

/// Reads the system identifier. `pg_control` may be torn by a write at this very moment: then it is read again.
fn identity(data_directory: &Path) -> Result<SystemIdentifier, WalPushError> {
    const ATTEMPTS: usize = 5;
    let path = data_directory.join(PgControl::PATH);
    let mut attempt = 1;
    loop {
        let bytes = std::fs::read(&path).map_err(|source| WalPushError::Read { path: path.clone(), source })?;
        match PgControl::parse(&bytes) {
            Ok(control) => return Ok(control.system_identifier()),
            Err(source) if attempt == ATTEMPTS => return Err(WalPushError::Control { path, source }),
            Err(_) => attempt += 1,
        }
    }
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
