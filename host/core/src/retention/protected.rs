//! Which archived WAL must stay.
//!
//! Every backup that stays needs its own segments, start to stop, and all up to its increments. Point-in-time recovery needs
//! more: from the start of an ordinary backup on, everything on its timeline and on the timelines that left it later. A backup that
//! runs now needs whatever is written since it began. Base backups of WAL-G in the same place need the same. History files always
//! stay: they are tiny, and without them no timeline can be followed. For one timeline all this comes to a few stretches and one
//! place from which on everything stays, so that a million files are looked up and not compared with ten thousand backups each.

mod stretches;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::walg::{WalGNeed, place};
use super::{Ancestry, WalReason};
use crate::catalog::{Backup, Intent, WalGContents};
use crate::error::chain;
use crate::postgres::{Lsn, TimelineId, WalFileName, WalSegment, WalSegmentSize};
use stretches::{Builder, Stretches};

/// Whether point-in-time recovery must survive when only permanent backups stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepRecovery {
    /// It must.
    Yes,
    /// The operator gives it up.
    No,
}

/// The WAL that must stay.
pub struct ProtectedWal {
    /// The size of segments can change, and numbers of one size mean nothing under another.
    sizes: BTreeMap<WalSegmentSize, Needs>,
    walg: Vec<WalGNeed>,
    unreadable: Option<WalReason>,
    ancestry: Ancestry,
}

/// What is needed in segments of one size.
#[derive(Default)]
struct Needs {
    /// Segments of backups, by timeline: the first, the last, why.
    parts: BTreeMap<TimelineId, Vec<(u64, u64, WalReason)>>,
    anchors: Vec<Anchor>,
}

/// From here on, on this timeline and its descendants.
struct Anchor {
    timeline: TimelineId,
    position: Lsn,
    first: u64,
    reason: WalReason,
}

impl ProtectedWal {
    /// Computes it from the backups that stay, the intents, and the base backups of WAL-G, which always stay.
    ///
    /// Point-in-time recovery is kept from every ordinary backup that does not stand alone. When only permanent ones stay, it is kept
    /// from the newest of them, unless `recovery` says that the operator gives it up. From one whose snapshots failed nothing is
    /// recovered.
    #[must_use]
    pub fn new(kept: &[&Backup], intents: &[Intent], walg: &WalGContents, ancestry: Ancestry, recovery: KeepRecovery) -> Self {
        use crate::catalog::Permanence::{Ordinary, Permanent};
        let mut sizes: BTreeMap<WalSegmentSize, Needs> = BTreeMap::new();
        for backup in kept {
            let (sentinel, range) = (&backup.sentinel, backup.sentinel.wal_range());
            let reason = WalReason::PartOfBackup(sentinel.name.clone());
            let parts = &mut sizes.entry(sentinel.segment_size).or_default().parts;
            parts.entry(range.timeline).or_default().push((range.first, range.last, reason));
            // Also of one that is permanent, stands alone or has failed: what is recorded is needed.
            for increment in &backup.increments {
                let parts = &mut sizes.entry(increment.segment_size).or_default().parts;
                for range in &increment.replay {
                    let reason = WalReason::PartOfIncrement(increment.name.clone());
                    parts.entry(range.timeline).or_default().push((range.first, range.last, reason));
                }
            }
        }
        let good = || kept.iter().copied().filter(|backup| !backup.has_failed() && !backup.is_standalone);
        let mut bases: Vec<&Backup> = good().filter(|backup| backup.permanence == Ordinary).collect();
        if bases.is_empty() && recovery == KeepRecovery::Yes {
            let permanent = good().filter(|backup| backup.permanence == Permanent);
            bases.extend(permanent.max_by_key(|backup| (backup.sentinel.started_at, backup.sentinel.name.clone())));
        }
        for base in bases {
            sizes.entry(base.sentinel.segment_size).or_default().anchors.push(Anchor::of_backup(base));
        }
        for intent in intents {
            sizes.entry(intent.segment_size).or_default().anchors.push(Anchor::of_intent(intent));
        }
        let finished = walg.backups.iter().map(WalGNeed::of_backup);
        Self {
            sizes,
            walg: finished.chain(walg.unfinished.iter().map(WalGNeed::of_unfinished)).collect(),
            unreadable: walg.unreadable.first().map(|error| WalReason::UnreadableWalG(Arc::from(chain(error)))),
            ancestry,
        }
    }

    /// What must stay of one timeline.
    #[must_use]
    pub fn on(&self, timeline: TimelineId) -> ProtectedTimeline<'_> {
        let sizes = self.sizes.iter().map(|(size, needs)| (*size, needs.on(timeline, &self.ancestry))).collect();
        let mut walg = Builder::default();
        for need in &self.walg {
            if let Some((first, last)) = need.part(timeline) {
                walg.part(first, last, &WalReason::PartOfWalG(need.name.clone()));
            }
            if let Some((first, reason)) = need.line(timeline, &self.ancestry) {
                walg.everything_from(first, &reason);
            }
        }
        ProtectedTimeline { timeline, sizes, walg: walg.build(), unreadable: self.unreadable.as_ref() }
    }

    /// Says why a file stays; none when nothing needs it. Whoever asks about many asks by timeline.
    #[must_use]
    pub fn reason_to_keep(&self, file: WalFileName) -> Option<WalReason> {
        self.on(file.timeline()).reason_to_keep(file).cloned()
    }
}

impl Needs {
    fn on(&self, timeline: TimelineId, ancestry: &Ancestry) -> Stretches {
        let mut stretches = Builder::default();
        for (first, last, reason) in self.parts.get(&timeline).into_iter().flatten() {
            stretches.part(*first, *last, reason);
        }
        for anchor in &self.anchors {
            if ancestry.may_descend(timeline, anchor.timeline, anchor.position) {
                stretches.everything_from(anchor.first, &anchor.reason);
            }
        }
        stretches.build()
    }
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
}

/// The WAL of one timeline that must stay.
pub struct ProtectedTimeline<'a> {
    timeline: TimelineId,
    sizes: Vec<(WalSegmentSize, Stretches)>,
    walg: Stretches,
    unreadable: Option<&'a WalReason>,
}

impl ProtectedTimeline<'_> {
    /// The timeline.
    #[must_use]
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Says why a file of this timeline stays; none when nothing needs it.
    #[must_use]
    pub fn reason_to_keep(&self, file: WalFileName) -> Option<&WalReason> {
        let Some(place) = place(file) else { return Some(&WalReason::History) };
        let number = |size| file.segment(size).map(|segment| segment.number);
        let ours = self.sizes.iter().find_map(|(size, stretches)| stretches.reason_for(number(*size)?));
        ours.or_else(|| self.walg.reason_for(place)).or(self.unreadable)
    }
}
