//! Archives one WAL file, for `archive_command`.
//!
//! Success means durable, and nothing less: PostgreSQL recycles the segment on our word. A file that does not belong to this
//! cluster is refused before it reaches the archive.

mod ahead;
pub(super) mod guard;
mod segment;

use std::path::{Path, PathBuf};

use thiserror::Error;

use ahead::Ahead;
use guard::Guarding;

use crate::catalog::{ArchiveError, InstanceError, PushOutcome};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::postgres::{HeaderError, InvalidHistory, InvalidWalName, SystemIdentifier, WalFileName};
use crate::spool::AheadSettings;

/// Who pushes.
#[derive(Debug, Clone, Copy)]
pub struct Pusher<'a> {
    /// Where the cluster's files lie; its identity is read from there.
    pub data_directory: &'a Path,
    /// Name of the host, or what the operator calls the instance instead.
    pub name: &'a str,
    /// What happens when another instance archives the timeline.
    pub guarding: Guarding,
}

/// Archives the file at `path`, which PostgreSQL names by `%p`, or recalls that an earlier call has; then pushes what else waits,
/// until `stop`.
///
/// The result tells about the file asked for and nothing else. It waits for the others, within bounds: PostgreSQL asks for one
/// file at a time, and what is pushed while it waits costs it no call of its own.
pub async fn wal_push(
    ports: &Ports<'_>,
    settings: &AheadSettings,
    pusher: &Pusher<'_>,
    path: &Path,
    stop: impl Future<Output = ()>,
) -> Result<WalPushed, WalPushError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: WalFileName = name.parse()?;
    let ahead = Ahead::open(ports, settings, pusher, name, path);
    if let Some(ahead) = &ahead
        && ahead.recall(name, path).await
    {
        return Ok(WalPushed::Before);
    }
    match (segment::archive_file(ports, pusher, name, path).await?, ahead) {
        (PushOutcome::Stored, Some(ahead)) => {
            let count = ahead.push_others(name, stop).await;
            tracing::debug!(count, "pushed ahead");
            Ok(WalPushed::Stored)
        }
        (PushOutcome::Stored, None) => Ok(WalPushed::Stored),
        // What was there already does not prove that the next ones are ours to write: a machine that was rolled back a little also
        // begins with what it had archived.
        (PushOutcome::AlreadyStored, _) => Ok(WalPushed::AlreadyStored),
        (PushOutcome::Parked, _) => Ok(WalPushed::Parked),
    }
}

/// How the file asked for came to be in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalPushed {
    /// This call stored it.
    Stored,
    /// The same content was there: a retry of PostgreSQL after a crash.
    AlreadyStored,
    /// An earlier call pushed it ahead, and it has not changed since.
    Before,
    /// Another server has left a `.partial` file of this name; this one is kept beside it.
    Parked,
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
    /// It cannot be known who pushes.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// Another instance archives this timeline, or this one was rolled back.
    #[error(transparent)]
    Guard(#[from] guard::GuardError),
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
            Self::Header { .. } | Self::History { .. } | Self::TooLong { .. } => ErrorClass::Corrupt,
            Self::Instance(error) => error.class(),
            Self::Guard(error) => error.class(),
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
            Self::Guard(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Instance(error) => error.hint(),
            Self::Header { .. } | Self::History { .. } | Self::TooLong { .. } => None,
        }
    }
}
