//! The rules that an operator can apply, under WAL-G's names, and the policy of the configuration.

use jiff::Timestamp;

use super::RetentionPolicy;
use crate::catalog::BackupName;

/// A moment or a backup that separates old from new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cutoff {
    /// The backup itself counts as new.
    Backup(BackupName),
    /// A backup that started at this moment counts as new.
    Time(Timestamp),
}

/// What to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RetentionRule {
    /// All ordinary backups but the newest `count`, and those that are newer than `after`.
    Retain {
        /// At least 1.
        count: usize,
        /// Keeps more than `count` if need be.
        after: Option<Cutoff>,
    },
    /// All ordinary backups that are older than this. The newest ordinary backup stays.
    Before(Cutoff),
    /// One ordinary backup.
    Target(BackupName),
    /// All ordinary backups, and all WAL that no permanent one needs.
    Everything,
    /// No backup; only what interrupted runs left, and WAL that nothing needs.
    Garbage,
    /// All ordinary backups that the policy does not keep, and the WAL beyond what it promises.
    Policy(RetentionPolicy),
}
