//! Which archived WAL must stay.
//!
//! Every backup that stays needs its own segments, start to stop. Point-in-time recovery needs more: from the start of an
//! ordinary backup on, everything on its timeline and on the timelines that left it later. A backup that runs now needs whatever
//! is written since it began. Base backups of WAL-G in the same place need the same. History files always stay: they are tiny, and
//! without them no timeline can be followed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::walg::WalGNeed;
use crate::catalog::{Backup, BackupName, Intent, WalGContents, WalGName};
use crate::error::chain;
use crate::postgres::{Lsn, TimelineHistory, TimelineId, WalFileName, WalRange, WalSegment, WalSegmentSize};

/// What is known about the descent of timelines.
#[derive(Debug, Clone, Default)]
pub struct Ancestry {
    histories: BTreeMap<TimelineId, TimelineHistory>,
}

impl Ancestry {
    /// Collects histories.
    #[must_use]
    pub fn new(histories: impl IntoIterator<Item = (TimelineId, TimelineHistory)>) -> Self {
        Self { histories: histories.into_iter().collect() }
    }

    /// Whether what lies on `timeline` may be reached by replay from this position of `ancestor`. Unknown descent counts as yes.
    #[must_use]
    pub fn may_descend(&self, timeline: TimelineId, ancestor: TimelineId, position: Lsn) -> bool {
        timeline == ancestor
            || match self.histories.get(&timeline) {
                Some(history) => history.contains(ancestor, position),
                // A timeline is never older than its ancestor: the first one descends from nothing.
                None => timeline > ancestor,
            }
    }

    /// Whether `timeline` may have left `ancestor`, or a timeline that did, no earlier than at this position; if none is given,
    /// whether it ever did. Wider than [`Self::may_descend`], for positions of which not even the timeline is certain.
    #[must_use]
    pub fn may_have_left(&self, timeline: TimelineId, ancestor: TimelineId, position: Option<Lsn>) -> bool {
        timeline == ancestor
            || match self.histories.get(&timeline) {
                Some(history) => history.fork_of(ancestor).is_some_and(|fork| position.is_none_or(|position| fork >= position)),
                None => timeline > ancestor,
            }
    }
}

/// Why a WAL file stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalReason {
    /// Timeline histories always stay.
    History,
    /// The backup cannot be restored without it.
    PartOfBackup(BackupName),
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

/// From here on, on this timeline and its descendants.
struct Anchor {
    timeline: TimelineId,
    position: Lsn,
    first: u64,
    segment_size: WalSegmentSize,
    reason: WalReason,
}

/// The WAL that must stay.
pub struct ProtectedWal {
    parts: Vec<Part>,
    anchors: Vec<Anchor>,
    walg: Vec<WalGNeed>,
    unreadable: Option<Arc<str>>,
    ancestry: Ancestry,
}

/// The segments of one backup. The size of segments can change, so each carries its own.
struct Part {
    range: WalRange,
    segment_size: WalSegmentSize,
    backup: BackupName,
}

impl ProtectedWal {
    /// Computes it from the backups that stay, the intents, and the base backups of WAL-G, which always stay.
    ///
    /// Point-in-time recovery is kept from every ordinary backup. When only permanent ones stay, it is kept from the newest of
    /// them, unless `recovery` says that the operator gives it up. From one whose snapshots failed nothing is recovered.
    #[must_use]
    pub fn new(kept: &[&Backup], intents: &[Intent], walg: &WalGContents, ancestry: Ancestry, recovery: KeepRecovery) -> Self {
        use crate::catalog::Permanence::{Ordinary, Permanent};
        let parts = kept.iter().map(|backup| Part::of_backup(backup)).collect();
        let good = || kept.iter().copied().filter(|backup| !backup.has_failed());
        let mut bases: Vec<&Backup> = good().filter(|backup| backup.permanence == Ordinary).collect();
        if bases.is_empty() && recovery == KeepRecovery::Yes {
            let permanent = good().filter(|backup| backup.permanence == Permanent);
            bases.extend(permanent.max_by_key(|backup| (backup.sentinel.started_at, backup.sentinel.name.clone())));
        }
        let anchors = bases.into_iter().map(Anchor::of_backup).chain(intents.iter().map(Anchor::of_intent)).collect();
        let finished = walg.backups.iter().map(WalGNeed::of_backup);
        Self {
            parts,
            anchors,
            walg: finished.chain(walg.unfinished.iter().map(WalGNeed::of_unfinished)).collect(),
            unreadable: walg.unreadable.first().map(|error| chain(error).into()),
            ancestry,
        }
    }

    /// Says why a file stays; none when nothing needs it.
    #[must_use]
    pub fn reason_to_keep(&self, file: WalFileName) -> Option<WalReason> {
        if let WalFileName::History { .. } = file {
            return Some(WalReason::History);
        }
        if let Some(part) = self.parts.iter().find(|part| part.contains(file)) {
            return Some(WalReason::PartOfBackup(part.backup.clone()));
        }
        if let Some(anchor) = self.anchors.iter().find(|anchor| anchor.needs(file, &self.ancestry)) {
            return Some(anchor.reason.clone());
        }
        let walg = self.walg.iter().find_map(|need| need.reason_to_keep(file, &self.ancestry));
        walg.or_else(|| self.unreadable.clone().map(WalReason::UnreadableWalG))
    }
}

impl Part {
    fn of_backup(backup: &Backup) -> Self {
        let sentinel = &backup.sentinel;
        Self { range: sentinel.wal_range(), segment_size: sentinel.segment_size, backup: sentinel.name.clone() }
    }

    fn contains(&self, file: WalFileName) -> bool {
        file.segment(self.segment_size).is_some_and(|segment| self.range.contains(segment))
    }
}

/// Whether point-in-time recovery must survive when only permanent backups stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepRecovery {
    /// It must.
    Yes,
    /// The operator gives it up.
    No,
}

impl Anchor {
    fn of_backup(backup: &Backup) -> Self {
        let sentinel = &backup.sentinel;
        Self {
            timeline: sentinel.timeline,
            // Only what forked after the stop can be reached from this backup.
            position: sentinel.stop_lsn,
            first: sentinel.wal_range().first,
            segment_size: sentinel.segment_size,
            reason: WalReason::Recovery(sentinel.name.clone()),
        }
    }

    fn of_intent(intent: &Intent) -> Self {
        Self {
            timeline: intent.timeline,
            position: intent.wal_position,
            first: WalSegment::containing(intent.timeline, intent.wal_position, intent.segment_size).number,
            segment_size: intent.segment_size,
            reason: WalReason::RunningBackup(intent.name.clone()),
        }
    }

    fn needs(&self, file: WalFileName, ancestry: &Ancestry) -> bool {
        file.segment(self.segment_size).is_some_and(|segment| {
            segment.number >= self.first && ancestry.may_descend(segment.timeline, self.timeline, self.position)
        })
    }
}
