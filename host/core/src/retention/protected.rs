//! Which archived WAL must stay.
//!
//! Every backup that stays needs its own segments, start to stop. Point-in-time recovery needs more: from the start of an
//! ordinary backup on, everything on its timeline and on the timelines that left it later. A backup that runs now needs whatever
//! is written since it began. History files always stay: they are tiny, and without them no timeline can be followed.

use std::collections::BTreeMap;

use crate::catalog::{Backup, BackupName, Intent};
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
    /// Base backups of WAL-G share the archive.
    SharedWithWalG,
}

/// From here on, on this timeline and its descendants.
struct Anchor {
    timeline: TimelineId,
    position: Lsn,
    first: u64,
    reason: WalReason,
}

/// The WAL that must stay.
pub struct ProtectedWal {
    ranges: Vec<(WalRange, BackupName)>,
    anchors: Vec<Anchor>,
    ancestry: Ancestry,
    segment_size: WalSegmentSize,
}

impl ProtectedWal {
    /// Computes it from the backups that stay and the intents.
    ///
    /// Point-in-time recovery is kept from every ordinary backup. When only permanent ones stay, it is kept from the newest of
    /// them, unless `recovery` says that the operator gives it up.
    #[must_use]
    pub fn new(kept: &[&Backup], intents: &[Intent], ancestry: Ancestry, recovery: KeepRecovery) -> Self {
        use crate::catalog::Permanence::{Ordinary, Permanent};
        let ranges = kept.iter().map(|backup| (backup.sentinel.wal_range(), backup.sentinel.name.clone())).collect();
        let mut bases: Vec<&Backup> = kept.iter().copied().filter(|backup| backup.permanence == Ordinary).collect();
        if bases.is_empty() && recovery == KeepRecovery::Yes {
            let permanent = kept.iter().copied().filter(|backup| backup.permanence == Permanent);
            bases.extend(permanent.max_by_key(|backup| (backup.sentinel.started_at, backup.sentinel.name.clone())));
        }
        let anchors = bases.into_iter().map(Anchor::of_backup).chain(intents.iter().map(Anchor::of_intent)).collect();
        let segment_size = kept.last().map(|backup| backup.sentinel.segment_size);
        let segment_size = segment_size.or_else(|| intents.last().map(|intent| intent.segment_size));
        Self { ranges, anchors, ancestry, segment_size: segment_size.unwrap_or(WalSegmentSize::DEFAULT) }
    }

    /// Says why a file stays; none when nothing needs it.
    #[must_use]
    pub fn reason_to_keep(&self, file: WalFileName) -> Option<WalReason> {
        let Some(segment) = file.segment(self.segment_size) else { return Some(WalReason::History) };
        let part_of = self.ranges.iter().find(|(range, _)| range.contains(segment));
        if let Some((_, name)) = part_of {
            return Some(WalReason::PartOfBackup(name.clone()));
        }
        self.anchors.iter().find(|anchor| anchor.needs(segment, &self.ancestry)).map(|anchor| anchor.reason.clone())
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
            reason: WalReason::Recovery(sentinel.name.clone()),
        }
    }

    fn of_intent(intent: &Intent) -> Self {
        Self {
            timeline: intent.timeline,
            position: intent.wal_position,
            first: WalSegment::containing(intent.timeline, intent.wal_position, intent.segment_size).number,
            reason: WalReason::RunningBackup(intent.name.clone()),
        }
    }

    fn needs(&self, segment: WalSegment, ancestry: &Ancestry) -> bool {
        segment.number >= self.first && ancestry.may_descend(segment.timeline, self.timeline, self.position)
    }
}
