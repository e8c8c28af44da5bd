//! Why an object stays or goes, as data and in words.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Period, RestorePlace};
use crate::catalog::{BackupName, RestorePointName, WalGName};
use crate::postgres::TimelineId;

/// Why a backup stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// It is permanent.
    Permanent,
    /// It is among the newest.
    AmongNewest(usize),
    /// It is not older than the cutoff.
    NotOlder,
    /// The rule names another backup.
    NotNamed,
    /// The rule deletes no backups.
    NotGarbage,
    /// It is newer than those that are kept, and it is not known whether it can be restored.
    NotReady,
    /// The storage system keeps it until then.
    Locked(Timestamp),
    /// It is restored somewhere, which may need its snapshot, and as long as it recovers its WAL.
    Restored(RestorePlace),
    /// It had not finished when the recovery window begins.
    InWindow,
    /// On this timeline it is the newest that had finished when the recovery window begins: what lies in the window is reached from it.
    WindowBase(TimelineId),
    /// What this timeline descends from cannot be read, so it may be what the recovery window is reached from.
    DescentUnknown(TimelineId),
    /// It is one of the few that always stay.
    Minimum(usize),
    /// It is younger than the second tier is long.
    SecondTier,
    /// It is the newest of a day, a week, a month or a year.
    NewestOf(Period),
    /// It is the last one that a drill proved.
    LastProven,
}

/// Why a backup goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoveReason {
    /// It is older than the rule keeps.
    TooOld,
    /// The rule names it.
    Named,
    /// The rule names all.
    Everything,
    /// Its deletion began in an earlier run.
    Condemned,
    /// It can never be restored.
    Failed,
}

/// Keep or remove, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It stays.
    Keep(KeepReason),
    /// It goes.
    Remove(RemoveReason),
}

/// Why a WAL file stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalReason {
    /// Timeline histories always stay.
    History,
    /// The backup cannot be restored without it.
    PartOfBackup(BackupName),
    /// The restore point cannot be reached without it.
    PartOfIncrement(RestorePointName),
    /// Point-in-time recovery from this backup needs it.
    Recovery(BackupName),
    /// This backup runs, or was interrupted and is not settled yet.
    RunningBackup(BackupName),
    /// No backup stays that could tell what is needed, and the rule is not `everything`.
    NothingToJudgeBy,
    /// The base backup of WAL-G cannot be restored without it.
    PartOfWalG(WalGName),
    /// Point-in-time recovery from this base backup of WAL-G needs it.
    RecoveryFromWalG(WalGName),
    /// This base backup of WAL-G runs, or was interrupted.
    UnfinishedWalG(WalGName),
    /// A base backup of WAL-G cannot be read, so that it is not known what it needs.
    UnreadableWalG(Arc<str>),
}

impl Reason {
    /// Whether the object stays.
    #[must_use]
    pub fn keeps(&self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(reason) => reason.fmt(formatter),
            Self::Remove(reason) => reason.fmt(formatter),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permanent => formatter.write_str("permanent"),
            Self::AmongNewest(count) => write!(formatter, "among the newest {count}"),
            Self::NotOlder => formatter.write_str("not older than the cutoff"),
            Self::NotNamed => formatter.write_str("another backup is named"),
            Self::NotGarbage => formatter.write_str("published, and so no garbage"),
            Self::NotReady => formatter.write_str("not known to be ready, and so not counted; `stillframe backup-list` asks"),
            Self::Locked(until) => write!(formatter, "locked until {until}"),
            Self::Restored(place) => write!(formatter, "{place}; release it first"),
            Self::InWindow => formatter.write_str("in the recovery window"),
            Self::WindowBase(timeline) => write!(formatter, "the recovery window is reached from it on timeline {timeline}"),
            Self::DescentUnknown(timeline) => {
                write!(formatter, "timeline {timeline}, whose history cannot be read, may descend from it")
            }
            Self::Minimum(count) => write!(formatter, "at least {count} must stay"),
            Self::SecondTier => formatter.write_str("in the second tier"),
            Self::NewestOf(period) => write!(formatter, "the newest of {period}"),
            Self::LastProven => formatter.write_str("the last one that a drill proved"),
        }
    }
}

impl fmt::Display for RemoveReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooOld => "older than the rule keeps",
            Self::Named => "named by the rule",
            Self::Everything => "the rule names everything",
            Self::Condemned => "its deletion was interrupted",
            Self::Failed => "its snapshot failed",
        })
    }
}

impl fmt::Display for WalReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History => formatter.write_str("timeline history"),
            Self::PartOfBackup(name) => write!(formatter, "part of the backup {name}"),
            Self::PartOfIncrement(name) => write!(formatter, "part of the restore point `{name}`"),
            Self::Recovery(name) => write!(formatter, "point-in-time recovery from {name}"),
            Self::RunningBackup(name) => write!(formatter, "the backup {name} runs or is not settled"),
            Self::NothingToJudgeBy => formatter.write_str("no backup stays that could tell what is needed"),
            Self::PartOfWalG(name) => write!(formatter, "part of WAL-G's backup {name}"),
            Self::RecoveryFromWalG(name) => write!(formatter, "point-in-time recovery from WAL-G's {name}"),
            Self::UnfinishedWalG(name) => write!(formatter, "WAL-G's backup {name} runs or was interrupted"),
            Self::UnreadableWalG(reason) => write!(formatter, "not all of WAL-G's backups can be read: {reason}"),
        }
    }
}
