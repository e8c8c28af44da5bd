//! The plan of a deletion: a decision and a reason for every object.
//!
//! A plan is the end of the road: what goes can change what the policy says of the rest (a clock that was off corrects others), so
//! it is asked until nothing more goes. Who applies a plan and plans again finds nothing to do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::bystander::{Bystander, bystanders};
use super::decide::decide;
use super::holds::Holds;
use super::order::in_order;
use super::outlook::outlook;
use super::policy::{Tier, give_up_recovery, judge};
use super::{Ancestry, Outlook, PlanError, Reason, RetentionPolicy, RetentionRule, WalPlan, release_wal};
use crate::catalog::{
    ArchivedFile, Backup, BackupName, CatalogContents, Increment, Intent, RestorePointName, RestoreRecord, WalGContents,
};
use crate::postgres::TimelineId;

/// What happens to one backup, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The backup, as it is afterwards if it stays.
    pub backup: Backup,
    /// Keep or remove.
    pub reason: Reason,
    /// Whether it stays and from now on keeps its own WAL only.
    pub becomes_standalone: bool,
}

/// Of a digest, so many tell a plan from another one of the same archive.
const FINGERPRINT_BYTES: usize = 8;

/// What an interrupted run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leftover {
    /// A backup that was announced and never published, and whose deadlines have all passed.
    Intent(Intent),
    /// The mark of a deletion whose last step was not reached.
    Remnant(BackupName),
    /// An increment whose parent is gone.
    Increment(Increment),
}

/// A decision about everything in the catalog and in the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletePlan {
    /// The moment that it is about: ages are counted from here.
    pub made_at: Timestamp,
    /// Every backup, oldest first.
    pub backups: Vec<Decision>,
    /// Every archived file, by name.
    pub wal: WalPlan,
    /// What goes besides.
    pub leftovers: Vec<Leftover>,
    /// What is there and stays, whatever the rule.
    pub bystanders: Vec<Bystander>,
    /// What can be recovered, now and afterwards.
    pub outlook: Outlook,
}

impl Leftover {
    /// The name of the backup or of the increment.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Intent(intent) => intent.name.as_str(),
            Self::Remnant(name) => name.as_str(),
            Self::Increment(increment) => increment.name.as_str(),
        }
    }
}

impl DeletePlan {
    /// The backups that go, oldest first.
    pub fn removed_backups(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|decision| !decision.reason.keeps()).map(|decision| &decision.backup)
    }

    /// The increments that go with their parents.
    pub fn removed_increments(&self) -> impl Iterator<Item = &Increment> {
        self.removed_backups().flat_map(|backup| &backup.increments)
    }

    /// Whether it says that a backup goes, and all that hangs on it.
    #[must_use]
    pub fn removes_with_all_of(&self, backup: &Backup) -> bool {
        let planned = self.removed_backups().find(|planned| planned.sentinel.name == backup.sentinel.name);
        planned.is_some_and(|planned| backup.increments.iter().all(|increment| planned.increments.contains(increment)))
    }

    /// The backups that stay, oldest first.
    pub fn kept_backups(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|decision| decision.reason.keeps()).map(|decision| &decision.backup)
    }

    /// The backups that stay and keep their own WAL only from now on, oldest first.
    pub fn standalone_backups(&self) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(|decision| decision.becomes_standalone).map(|decision| &decision.backup)
    }

    /// The archived files that go, oldest first.
    pub fn removed_wal(&self) -> impl Iterator<Item = &ArchivedFile> {
        self.wal.removed()
    }

    /// Whether applying it would change nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leftovers.is_empty()
            && self.removed_backups().next().is_none()
            && self.standalone_backups().next().is_none()
            && self.removed_wal().next().is_none()
    }

    /// Tells plans apart that take something else away: what somebody has seen can be named by it later.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // In no order that a clock decides.
        let backups = self.removed_backups().map(|backup| ("backup", backup.sentinel.name.as_str()));
        let increments = self.removed_increments().map(|increment| ("restore point", increment.name.as_str()));
        let standalone = self.standalone_backups().map(|backup| ("standalone", backup.sentinel.name.as_str()));
        let leftovers = self.leftovers.iter().map(|leftover| ("leftover", leftover.name()));
        let named: BTreeSet<(&str, &str)> = backups.chain(increments).chain(standalone).chain(leftovers).collect();
        let mut hash = Sha256::new();
        for (kind, name) in named {
            hash.update(format!("{kind} {name}\n"));
        }
        // The files are in theirs, and there can be a million.
        for file in self.removed_wal() {
            hash.update(file.key.as_str());
            hash.update("\n");
        }
        hash.finalize().iter().take(FINGERPRINT_BYTES).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// Whether another plan would take the same away.
    #[must_use]
    pub fn takes_the_same(&self, other: &Self) -> bool {
        fn names<'a>(backups: impl Iterator<Item = &'a Backup>) -> BTreeSet<&'a BackupName> {
            backups.map(|backup| &backup.sentinel.name).collect()
        }
        fn points(plan: &DeletePlan) -> BTreeSet<&RestorePointName> {
            plan.removed_increments().map(|increment| &increment.name).collect()
        }
        names(self.removed_backups()) == names(other.removed_backups())
            && points(self) == points(other)
            && names(self.standalone_backups()) == names(other.standalone_backups())
            && self.leftovers == other.leftovers
            && self.removed_wal().map(|file| &file.key).eq(other.removed_wal().map(|file| &file.key))
    }
}

/// Everything that a plan is made of.
#[derive(Debug, Default)]
pub struct Holdings {
    /// The catalog.
    pub contents: CatalogContents,
    /// Restores that are not released.
    pub restores: Vec<RestoreRecord>,
    /// The archive, by timeline and segment.
    pub files: Vec<ArchivedFile>,
    /// The descent of its timelines.
    pub ancestry: Ancestry,
    /// WAL-G's base backups.
    pub walg: WalGContents,
}

/// Applies a rule to the whole catalog and archive, as things stand at this moment.
pub fn plan(rule: &RetentionRule, holdings: Holdings, now: Timestamp) -> Result<DeletePlan, PlanError> {
    let Holdings { contents, restores, files, ancestry, walg } = holdings;
    let CatalogContents { backups, intents, remnants, stray_increments, .. } = contents;
    let holds = Holds::new(restores, now);
    let words = if let RetentionRule::Policy(policy) = rule {
        policy.check()?;
        by_policy(policy, &backups, &timelines_of(&files, &backups), &ancestry, &holds, now)
    } else {
        let order = in_order(&backups, &ancestry, now);
        let reasons = decide(rule, &order, &remnants, &holds, now)?;
        order.iter().zip(reasons).map(|(placed, reason)| Word::new(placed.backup, reason)).collect()
    };
    let backups = decisions(words, backups);
    let kept: Vec<&Backup> = backups.iter().filter(|decision| decision.reason.keeps()).map(|decision| &decision.backup).collect();
    let wal = release_wal(rule, &kept, &intents, files, &ancestry, &walg, now);
    let outlook = outlook(&backups, &wal, &ancestry);

    let settles = matches!(rule, RetentionRule::Garbage | RetentionRule::Everything);
    let unsettled: &[Increment] = if settles { &[] } else { &stray_increments };
    let bystanders = bystanders(&intents, unsettled, &walg, settles, now);
    let expired = intents.into_iter().filter(|intent| settles && intent.expires_at < now).map(Leftover::Intent);
    let rests = remnants.into_iter().map(Leftover::Remnant);
    let strays = stray_increments.into_iter().filter(|_| settles).map(Leftover::Increment);
    let leftovers = expired.chain(rests).chain(strays).collect();
    Ok(DeletePlan { made_at: now, backups, wal, leftovers, bystanders, outlook })
}

/// What is said about one backup.
struct Word {
    name: BackupName,
    reason: Reason,
    becomes_standalone: bool,
}

impl Word {
    fn new(backup: &Backup, reason: Reason) -> Self {
        Self { name: backup.sentinel.name.clone(), reason, becomes_standalone: false }
    }
}

/// Oldest first.
fn by_policy(
    policy: &RetentionPolicy,
    backups: &[Backup],
    timelines: &BTreeSet<TimelineId>,
    ancestry: &Ancestry,
    holds: &Holds,
    now: Timestamp,
) -> Vec<Word> {
    let order = in_order(backups, ancestry, now);
    let mut said: BTreeMap<&BackupName, Word> = BTreeMap::new();
    let mut left: Vec<&Backup> = backups.iter().collect();
    loop {
        let order = in_order(left.iter().copied(), ancestry, now);
        let verdicts = judge(policy, &order, timelines, ancestry, holds, now);
        let kept: Vec<(&Backup, Tier)> = order
            .iter()
            .zip(&verdicts)
            .filter(|(_, verdict)| verdict.reason.keeps())
            .map(|(placed, verdict)| (placed.backup, verdict.tier))
            .collect();
        let nothing_goes = kept.len() == left.len();
        for (placed, verdict) in order.into_iter().zip(verdicts) {
            said.insert(&placed.backup.sentinel.name, Word::new(placed.backup, verdict.reason));
        }
        if nothing_goes {
            for place in give_up_recovery(&kept, ancestry) {
                if let Some(word) = said.get_mut(&kept[place].0.sentinel.name) {
                    word.becomes_standalone = true;
                }
            }
            break;
        }
        left = kept.into_iter().map(|(backup, _)| backup).collect();
    }
    order.iter().filter_map(|placed| said.remove(&placed.backup.sentinel.name)).collect()
}

/// The timelines of the archive and of the backups.
fn timelines_of(files: &[ArchivedFile], backups: &[Backup]) -> BTreeSet<TimelineId> {
    let archived = files.chunk_by(|one, next| one.name.timeline() == next.name.timeline()).map(|files| files[0].name.timeline());
    archived.chain(backups.iter().map(|backup| backup.sentinel.timeline)).collect()
}

/// Joins what is said with the backups that it is said of, in the order of the words.
fn decisions(words: Vec<Word>, backups: Vec<Backup>) -> Vec<Decision> {
    let mut by_name: BTreeMap<BackupName, Backup> =
        backups.into_iter().map(|backup| (backup.sentinel.name.clone(), backup)).collect();
    let decision = |word: Word| {
        let mut backup = by_name.remove(&word.name)?;
        backup.is_standalone |= word.becomes_standalone;
        Some(Decision { backup, reason: word.reason, becomes_standalone: word.becomes_standalone })
    };
    words.into_iter().filter_map(decision).collect()
}
