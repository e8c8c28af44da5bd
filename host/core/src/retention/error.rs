//! Why a rule cannot be applied.

use jiff::Timestamp;
use thiserror::Error;

use super::{InvalidPolicy, RestorePlace};
use crate::catalog::BackupName;
use crate::error::{Classify, ErrorClass};

/// A rule that cannot be applied.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The rule names a backup that is not there.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(BackupName),
    /// The rule names a permanent backup.
    #[error("the backup `{0}` is permanent")]
    Permanent(BackupName),
    /// The rule names a locked backup.
    #[error("the backup `{name}` is locked until {until}")]
    Locked {
        /// The backup.
        name: BackupName,
        /// The end of its lock.
        until: Timestamp,
    },
    /// The rule names a backup that is restored somewhere.
    #[error("the backup `{name}` is {place}")]
    Restored {
        /// The backup.
        name: BackupName,
        /// Where.
        place: RestorePlace,
    },
    /// Nothing ordinary would stay.
    #[error("no ordinary backup is as new as {0}, so the rule would delete the last one")]
    NothingAsNew(String),
    /// `retain 0`.
    #[error("`retain` must keep at least 1 backup")]
    RetainNothing,
    /// The policy contradicts itself.
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
}

impl Classify for PlanError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::RetainNothing => ErrorClass::Usage,
            Self::Policy(error) => error.class(),
            Self::NoSuchBackup(_) | Self::Permanent(_) | Self::Locked { .. } | Self::Restored { .. } | Self::NothingAsNew(_) => {
                ErrorClass::Refused
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Policy(error) => return error.hint(),
            Self::NoSuchBackup(_) => "see the names with `stillframe backup-list`".to_owned(),
            Self::Permanent(name) => format!("make it ordinary first: `stillframe backup-mark {name} --impermanent`"),
            Self::Locked { name, .. } => format!("a governance lock is lifted with `stillframe backup-lock {name} --release`"),
            Self::Restored { place, .. } => {
                format!("release it first, on `{}`: `stillframe snapshot-release {}`", place.hostname, place.destination.display())
            }
            Self::NothingAsNew(_) => "take a new backup first, or use `stillframe delete everything`".to_owned(),
            Self::RetainNothing => "use `stillframe delete everything` to delete all".to_owned(),
        })
    }
}
