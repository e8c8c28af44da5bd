//! What is different when a cold backup is restored: its WAL comes with it, and its own end has no record behind it.
//!
//! A server that is told to stop as soon as it is consistent looks for a record at which to stop. Behind a shutdown there is none until
//! the server has gone on, and from 13 on it fails then. So it gets no target and nothing to replay: its `restore_command` gives it
//! histories, by which it chooses a new timeline, and no segment, and recovery ends with the WAL that the backup has kept.

use super::{FetchError, FetchRequest};
use crate::catalog::{BackupName, Sentinel};
use crate::data_directory::{KeptWal, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::postgres::{Lsn, Shutdown, ShutdownError};

/// Stands before a `restore_command` that is to find histories and nothing else.
const HISTORIES_ONLY: &str = "case %f in *.history) ;; *) exit 1 ;; esac; ";

/// Reads the WAL that a backup keeps and proves all of it; none of a backup that keeps none.
pub(in crate::flows) async fn read_kept(ports: &Ports<'_>, sentinel: &Sentinel) -> Result<Option<KeptWal>, KeptWalError> {
    let Some(name) = sentinel.kept_segment() else { return Ok(None) };
    let missing = || KeptWalError::Missing { name: sentinel.name.clone() };
    let object = ports.catalog().kept_wal(sentinel, &ports.archive()).await?.ok_or_else(missing)?;
    let (_, content) = object.write_to(Vec::new()).await?;
    let shutdown = Shutdown {
        checkpoint: sentinel.start_lsn,
        timeline: sentinel.timeline,
        segment_size: sentinel.segment_size,
        system_identifier: sentinel.system_identifier,
    };
    shutdown.prove_segment(&content).map_err(|source| KeptWalError::NotIt { name: sentinel.name.clone(), source })?;
    Ok(Some(KeptWal { name, content }))
}

/// How a copy recovers; as asked for, unless it is to go to the end of a cold backup.
pub(super) fn recovery(request: &FetchRequest, sentinel: &Sentinel) -> Result<RecoverySettings, FetchError> {
    let asked = request.recovery.clone();
    let stop = sentinel.stop_lsn;
    let goes_on = match asked.target {
        _ if !sentinel.is_cold => true,
        RecoveryTarget::Immediate => false,
        // The record that begins there is the shutdown itself, from which replay begins.
        RecoveryTarget::Lsn(position) if position == stop => return Err(at_shutdown(sentinel, stop)),
        RecoveryTarget::Lsn(_)
        | RecoveryTarget::EndOfWal
        | RecoveryTarget::Time(_)
        | RecoveryTarget::Xid(_)
        | RecoveryTarget::Name(_) => true,
    };
    if goes_on {
        return Ok(asked);
    }
    if asked.action != TargetAction::Promote {
        tracing::warn!("the copy opens for writing as soon as it has recovered: behind a shutdown there is no record to wait at");
    }
    Ok(RecoverySettings {
        restore_command: format!("{HISTORIES_ONLY}{}", asked.restore_command),
        target: RecoveryTarget::EndOfWal,
        timeline: TargetTimeline::Current,
        ..asked
    })
}

fn at_shutdown(sentinel: &Sentinel, stop: Lsn) -> FetchError {
    let reason = format!("the server was shut down at {stop}: `--target-immediate` restores the state of the shutdown");
    FetchError::Unreachable { name: sentinel.name.clone(), reason }
}

/// The WAL of a cold backup cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeptWalError {
    /// It cannot be read, or is damaged.
    #[error(transparent)]
    Archive(#[from] crate::catalog::ArchiveError),
    /// It is gone.
    #[error("the store has lost the WAL that the backup `{name}` keeps for itself")]
    Missing {
        /// The backup.
        name: BackupName,
    },
    /// It is something else.
    #[error("what the backup `{name}` keeps for itself is not its WAL")]
    NotIt {
        /// The backup.
        name: BackupName,
        /// What is wrong with it.
        #[source]
        source: ShutdownError,
    },
}

impl Classify for KeptWalError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Archive(error) => error.class(),
            Self::Missing { .. } | Self::NotIt { .. } => ErrorClass::Corrupt,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Missing { .. } | Self::NotIt { .. } => Some("use another backup: see `stillframe backup-list`".to_owned()),
        }
    }
}
