//! What was asked of a recovery, written into the data directory that recovers, so that its server can be judged by it later.
//!
//! The settings tell it as well, until somebody changes them; this file is ours alone, and each restore writes it anew.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Inclusion, Preparation, RecoveryTarget, TargetAction, TargetTimeline};
use crate::error::{Classify, ErrorClass};
use crate::files::{self, FileError};
use crate::postgres::{Lsn, PgVersion, SystemIdentifier, TimelineId};

/// The file.
const ASKED_FILE: &str = "stillframe_recovery.json";

/// The form that is written, and the only one that is read.
const FORMAT_VERSION: u32 = 1;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRecovery {
    /// Name of the backup.
    pub backup: String,
    /// Its cluster.
    pub system_identifier: SystemIdentifier,
    /// Its server.
    pub version: PgVersion,
    /// Its timeline.
    pub backup_timeline: TimelineId,
    /// Before this position the copy is not consistent.
    pub stop_lsn: Lsn,
    /// Where to stop.
    pub target: RecoveryTarget,
    /// Whether what is exactly there belongs to the result.
    pub inclusive: Inclusion,
    /// Which timeline to follow.
    pub timeline: TargetTimeline,
    /// What to do at the target.
    pub action: TargetAction,
    /// The only role that may connect until the recovery is accepted.
    pub lock_out: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format_version: u32,
    backup: String,
    system_identifier: u64,
    pg_version: u32,
    backup_timeline: TimelineId,
    stop_lsn: String,
    target: StoredTarget,
    inclusive: bool,
    timeline: StoredTimeline,
    action: StoredAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lock_out: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredTarget {
    EndOfWal,
    Time(Timestamp),
    Lsn(String),
    Xid(u64),
    Name(String),
    Immediate,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredTimeline {
    Latest,
    Current,
    Number(TimelineId),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredAction {
    Pause,
    Promote,
    Shutdown,
}

impl AskedRecovery {
    pub(super) fn of(preparation: &Preparation) -> Self {
        let recovery = &preparation.recovery;
        Self {
            backup: preparation.backup.clone(),
            system_identifier: preparation.system_identifier,
            version: preparation.version,
            backup_timeline: preparation.label.timeline(),
            stop_lsn: preparation.stop_lsn,
            target: recovery.target.clone(),
            inclusive: recovery.inclusive,
            timeline: recovery.timeline,
            action: recovery.action,
            lock_out: preparation.lock_out.as_ref().map(|lock_out| lock_out.role().to_owned()),
        }
    }

    pub(super) fn write(self, directory: &Path, file_mode: u32) -> Result<(), FileError> {
        let path = directory.join(ASKED_FILE);
        let stored = serde_json::to_vec_pretty(&Stored::from(self));
        let stored = stored.map_err(|source| FileError::new("write", &path, source.into()))?;
        files::write_atomically(&path, &stored, file_mode)
    }

    /// Reads it; none where no restore has left it.
    pub fn read(directory: &Path) -> Result<Option<Self>, ReadAskedError> {
        let path = directory.join(ASKED_FILE);
        let Some(bytes) = files::read_if_present(&path)? else { return Ok(None) };
        let damaged = |reason: String| ReadAskedError::Damaged { path: path.clone(), reason };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if stored.format_version != FORMAT_VERSION {
            return Err(damaged(format!("it has version {}, and this program knows {FORMAT_VERSION}", stored.format_version)));
        }
        Self::try_from(stored).map(Some).map_err(damaged)
    }
}

impl From<AskedRecovery> for Stored {
    fn from(asked: AskedRecovery) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            backup: asked.backup,
            system_identifier: asked.system_identifier.0,
            pg_version: asked.version.0,
            backup_timeline: asked.backup_timeline,
            stop_lsn: asked.stop_lsn.to_string(),
            target: match asked.target {
                RecoveryTarget::EndOfWal => StoredTarget::EndOfWal,
                RecoveryTarget::Time(moment) => StoredTarget::Time(moment),
                RecoveryTarget::Lsn(position) => StoredTarget::Lsn(position.to_string()),
                RecoveryTarget::Xid(number) => StoredTarget::Xid(number),
                RecoveryTarget::Name(name) => StoredTarget::Name(name),
                RecoveryTarget::Immediate => StoredTarget::Immediate,
            },
            inclusive: asked.inclusive == Inclusion::Inclusive,
            timeline: match asked.timeline {
                TargetTimeline::Latest => StoredTimeline::Latest,
                TargetTimeline::Current => StoredTimeline::Current,
                TargetTimeline::Number(timeline) => StoredTimeline::Number(timeline),
            },
            action: match asked.action {
                TargetAction::Pause => StoredAction::Pause,
                TargetAction::Promote => StoredAction::Promote,
                TargetAction::Shutdown => StoredAction::Shutdown,
            },
            lock_out: asked.lock_out,
        }
    }
}

impl TryFrom<Stored> for AskedRecovery {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let position = |text: &str| text.parse::<Lsn>().map_err(|error| error.to_string());
        Ok(Self {
            backup: stored.backup,
            system_identifier: SystemIdentifier(stored.system_identifier),
            version: PgVersion(stored.pg_version),
            backup_timeline: stored.backup_timeline,
            stop_lsn: position(&stored.stop_lsn)?,
            target: match stored.target {
                StoredTarget::EndOfWal => RecoveryTarget::EndOfWal,
                StoredTarget::Time(moment) => RecoveryTarget::Time(moment),
                StoredTarget::Lsn(text) => RecoveryTarget::Lsn(position(&text)?),
                StoredTarget::Xid(number) => RecoveryTarget::Xid(number),
                StoredTarget::Name(name) => RecoveryTarget::Name(name),
                StoredTarget::Immediate => RecoveryTarget::Immediate,
            },
            inclusive: if stored.inclusive { Inclusion::Inclusive } else { Inclusion::Exclusive },
            timeline: match stored.timeline {
                StoredTimeline::Latest => TargetTimeline::Latest,
                StoredTimeline::Current => TargetTimeline::Current,
                StoredTimeline::Number(timeline) => TargetTimeline::Number(timeline),
            },
            action: match stored.action {
                StoredAction::Pause => TargetAction::Pause,
                StoredAction::Promote => TargetAction::Promote,
                StoredAction::Shutdown => TargetAction::Shutdown,
            },
            lock_out: stored.lock_out,
        })
    }
}

/// Why it is not known what was asked.
#[derive(Debug, Error)]
pub enum ReadAskedError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what was written.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Classify for ReadAskedError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Damaged { .. } => ErrorClass::Corrupt,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Damaged { .. } => None,
        }
    }
}
