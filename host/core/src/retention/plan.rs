//! The plan of a deletion: a decision and a reason for every object.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use thiserror::Error;

use super::protected::KeepRecovery;
use super::{Ancestry, Cutoff, ProtectedWal, RetentionRule, WalReason};
use crate::catalog::{
    ArchivedFile, Backup, BackupName, BackupState, CatalogContents, Intent, Permanence, RestoreRecord, WalGContents,
};
use crate::error::{Classify, ErrorClass};

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
}

/// Where a backup is restored, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePlace {
    /// The restored data directory.
    pub destination: PathBuf,
    /// Host on which it is.
    pub hostname: String,
    /// When the restore began.
    pub since: Timestamp,
}

impl RestorePlace {
    /// The oldest of the restores of a backup.
    fn of(backup: &BackupName, restores: &[RestoreRecord]) -> Option<Self> {
        let record = restores.iter().filter(|record| record.backup == *backup).min_by_key(|record| record.begun_at)?;
        Some(Self { destination: record.destination.clone(), hostname: record.hostname.clone(), since: record.begun_at })
    }
}

impl fmt::Display for RestorePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "restored to `{}` on `{}` since {:.0}", self.destination.display(), self.hostname, self.since)
    }
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

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(KeepReason::Permanent) => formatter.write_str("permanent"),
            Self::Keep(KeepReason::AmongNewest(count)) => write!(formatter, "among the newest {count}"),
            Self::Keep(KeepReason::NotOlder) => formatter.write_str("not older than the cutoff"),
            Self::Keep(KeepReason::NotNamed) => formatter.write_str("another backup is named"),
            Self::Keep(KeepReason::NotGarbage) => formatter.write_str("published"),
            Self::Keep(KeepReason::NotReady) => {
                formatter.write_str("not known to be ready, and so not counted; `stillframe backup-list` asks")
            }
            Self::Keep(KeepReason::Locked(until)) => write!(formatter, "locked until {until}"),
            Self::Keep(KeepReason::Restored(place)) => write!(formatter, "{place}; release it first"),
            Self::Remove(RemoveReason::TooOld) => formatter.write_str("older than the rule keeps"),
            Self::Remove(RemoveReason::Named) => formatter.write_str("named by the rule"),
            Self::Remove(RemoveReason::Everything) => formatter.write_str("the rule names everything"),
            Self::Remove(RemoveReason::Condemned) => formatter.write_str("its deletion was interrupted"),
            Self::Remove(RemoveReason::Failed) => formatter.write_str("its snapshot failed"),
        }
    }
}

impl fmt::Display for WalReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History => formatter.write_str("timeline history"),
            Self::PartOfBackup(name) => write!(formatter, "part of the backup {name}"),
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

/// What happens to one backup, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The backup.
    pub backup: Backup,
    /// Keep or remove.
    pub reason: Reason,
}

/// What happens to one archived file, and why: none means that nothing needs it and it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalDecision {
    /// The file.
    pub file: ArchivedFile,
    /// Why it stays.
    pub kept_for: Option<WalReason>,
}

/// What an interrupted run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// A backup that was announced and never published, and whose deadlines have all passed.
    Intent(Intent),
    /// The mark of a deletion whose last step was not reached.
    Remnant(BackupName),
}

/// A decision about everything in the catalog and in the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletePlan {
    /// Every backup, oldest first.
    pub backups: Vec<Decision>,
    /// Every archived file, by name.
    pub wal: Vec<WalDecision>,
    /// What goes besides.
    pub leftovers: Vec<Leftover>,
}

impl DeletePlan {
    /// The backups that go, oldest first.
    pub fn removed_backups(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|decision| matches!(decision.reason, Reason::Remove(_))).map(|decision| &decision.backup)
    }

    /// The archived files that go, oldest first.
    pub fn removed_wal(&self) -> impl Iterator<Item = &ArchivedFile> {
        self.wal.iter().filter(|decision| decision.kept_for.is_none()).map(|decision| &decision.file)
    }

    /// Whether applying it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leftovers.is_empty() && self.removed_backups().next().is_none() && self.removed_wal().next().is_none()
    }
}

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
}

impl Classify for PlanError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::RetainNothing => ErrorClass::Usage,
            Self::NoSuchBackup(_) | Self::Permanent(_) | Self::Locked { .. } | Self::Restored { .. } | Self::NothingAsNew(_) => {
                ErrorClass::Refused
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
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

/// Applies a rule to the whole catalog and archive.
pub fn plan(
    rule: &RetentionRule,
    contents: &CatalogContents,
    restores: &[RestoreRecord],
    archive: &[ArchivedFile],
    ancestry: Ancestry,
    walg: &WalGContents,
    now: Timestamp,
) -> Result<DeletePlan, PlanError> {
    let backups = decide_backups(rule, &in_order(&contents.backups), restores, now)?;
    let kept: Vec<&Backup> =
        backups.iter().filter(|decision| matches!(decision.reason, Reason::Keep(_))).map(|decision| &decision.backup).collect();

    let wal = release_wal(rule, &kept, &contents.intents, archive, ancestry, walg, now);

    let expired = contents.intents.iter().filter(|intent| intent.expires_at < now).cloned();
    let settles = matches!(rule, RetentionRule::Garbage | RetentionRule::Everything);
    let intents = expired.filter(|_| settles).map(Leftover::Intent);
    let leftovers = intents.chain(contents.remnants.iter().cloned().map(Leftover::Remnant)).collect();
    Ok(DeletePlan { backups, wal, leftovers })
}

/// Decides about WAL, given the backups that stay.
#[must_use]
pub fn release_wal(
    rule: &RetentionRule,
    kept: &[&Backup],
    intents: &[Intent],
    archive: &[ArchivedFile],
    ancestry: Ancestry,
    walg: &WalGContents,
    now: Timestamp,
) -> Vec<WalDecision> {
    let running: Vec<Intent> = intents.iter().filter(|intent| intent.expires_at >= now).cloned().collect();
    let recovery = if *rule == RetentionRule::Everything { KeepRecovery::No } else { KeepRecovery::Yes };
    // Nothing stays that says what is needed: then all of it may be, unless the operator means everything.
    let nothing_to_judge_by = kept.iter().all(|backup| backup.has_failed()) && running.is_empty() && recovery == KeepRecovery::Yes;
    let protected = ProtectedWal::new(kept, &running, walg, ancestry, recovery);
    let reason =
        |file: &ArchivedFile| protected.reason_to_keep(file.name).or(nothing_to_judge_by.then_some(WalReason::NothingToJudgeBy));
    archive.iter().map(|file| WalDecision { file: file.clone(), kept_for: reason(file) }).collect()
}

/// Oldest first. Clusters that followed each other in one place (`pg_upgrade`, `initdb`) stay together, the one with the newest
/// backup last: positions and timelines begin anew with each, so neither may be compared across them.
fn in_order(backups: &[Backup]) -> Vec<Backup> {
    let newest_of_cluster = |backup: &Backup| {
        let same = backups.iter().filter(|other| other.sentinel.system_identifier == backup.sentinel.system_identifier);
        same.map(|other| other.sentinel.started_at).max()
    };
    let mut ordered = backups.to_vec();
    ordered.sort_by_key(|backup| (newest_of_cluster(backup), backup.sentinel.started_at, backup.sentinel.name.clone()));
    ordered
}

fn decide_backups(
    rule: &RetentionRule,
    backups: &[Backup],
    restores: &[RestoreRecord],
    now: Timestamp,
) -> Result<Vec<Decision>, PlanError> {
    check(rule, backups, restores, now)?;
    let is_newer = |place: usize| backups[place + 1..].iter().filter(|newer| is_good(newer)).count();
    let is_older = |backup: &Backup, cutoff: &Cutoff| match cutoff {
        Cutoff::Time(moment) => backup.sentinel.started_at < *moment,
        Cutoff::Backup(name) => {
            backups.iter().take_while(|other| &other.sentinel.name != name).any(|other| other.sentinel.name == backup.sentinel.name)
        }
    };
    // The rule's word, by the place of the backup in order.
    let decide = |place: usize, backup: &Backup| {
        let name = &backup.sentinel.name;
        if backup.is_condemned {
            return Reason::Remove(RemoveReason::Condemned);
        }
        if backup.permanence == Permanence::Permanent {
            return Reason::Keep(KeepReason::Permanent);
        }
        if backup.has_failed() && !matches!(rule, RetentionRule::Target(_)) {
            return Reason::Remove(RemoveReason::Failed);
        }
        // Not counted, for it may turn out to have failed; and not deleted either, as long as it would be counted if it is good.
        let kept = |reason| Reason::Keep(if backup.state == BackupState::Ready { reason } else { KeepReason::NotReady });
        match rule {
            RetentionRule::Retain { count, .. } if is_newer(place) < *count => kept(KeepReason::AmongNewest(*count)),
            RetentionRule::Retain { after: Some(cutoff), .. } | RetentionRule::Before(cutoff) if !is_older(backup, cutoff) => {
                kept(KeepReason::NotOlder)
            }
            RetentionRule::Retain { .. } | RetentionRule::Before(_) => Reason::Remove(RemoveReason::TooOld),
            RetentionRule::Target(target) if target == name => Reason::Remove(RemoveReason::Named),
            RetentionRule::Target(_) => Reason::Keep(KeepReason::NotNamed),
            RetentionRule::Everything => Reason::Remove(RemoveReason::Everything),
            RetentionRule::Garbage => Reason::Keep(KeepReason::NotGarbage),
        }
    };
    // What is locked would be refused by the storage system, after it had been condemned; what is restored may be refused as well,
    // and where it is not, the WAL that the restore is still to replay would go.
    let unless_held = |backup: &Backup, reason| match reason {
        Reason::Remove(_) if !backup.is_condemned => {
            let lock = backup.locked_until(now).map(KeepReason::Locked);
            let place = || RestorePlace::of(&backup.sentinel.name, restores).map(KeepReason::Restored);
            lock.or_else(place).map_or(reason, Reason::Keep)
        }
        reason => reason,
    };
    let decided = backups.iter().enumerate().map(|(place, backup)| (backup, unless_held(backup, decide(place, backup))));
    let decisions: Vec<Decision> = decided.map(|(backup, reason)| Decision { backup: backup.clone(), reason }).collect();
    if let RetentionRule::Before(cutoff) = rule {
        let one_stays = decisions.iter().any(|decision| decision.reason == Reason::Keep(KeepReason::NotOlder));
        if !one_stays && backups.iter().any(is_ordinary) {
            return Err(PlanError::NothingAsNew(match cutoff {
                Cutoff::Backup(name) => name.to_string(),
                Cutoff::Time(moment) => moment.to_string(),
            }));
        }
    }
    Ok(decisions)
}

fn is_ordinary(backup: &Backup) -> bool {
    backup.permanence == Permanence::Ordinary && !backup.is_condemned
}

/// Whether a rule may count on it: an ordinary backup that can be restored.
fn is_good(backup: &Backup) -> bool {
    is_ordinary(backup) && backup.state == BackupState::Ready
}

/// Refuses rules that name what is not there or may not go.
fn check(rule: &RetentionRule, backups: &[Backup], restores: &[RestoreRecord], now: Timestamp) -> Result<(), PlanError> {
    let named = match rule {
        RetentionRule::Retain { count: 0, .. } => return Err(PlanError::RetainNothing),
        RetentionRule::Retain { after: Some(Cutoff::Backup(name)), .. }
        | RetentionRule::Before(Cutoff::Backup(name))
        | RetentionRule::Target(name) => name,
        RetentionRule::Retain { .. }
        | RetentionRule::Before(Cutoff::Time(_))
        | RetentionRule::Everything
        | RetentionRule::Garbage => {
            return Ok(());
        }
    };
    let Some(backup) = backups.iter().find(|backup| &backup.sentinel.name == named) else {
        return Err(PlanError::NoSuchBackup(named.clone()));
    };
    if matches!(rule, RetentionRule::Target(_)) && backup.permanence == Permanence::Permanent {
        return Err(PlanError::Permanent(named.clone()));
    }
    if let (RetentionRule::Target(_), Some(until), false) = (rule, backup.locked_until(now), backup.is_condemned) {
        return Err(PlanError::Locked { name: named.clone(), until });
    }
    if let (RetentionRule::Target(_), Some(place), false) = (rule, RestorePlace::of(named, restores), backup.is_condemned) {
        return Err(PlanError::Restored { name: named.clone(), place });
    }
    Ok(())
}
