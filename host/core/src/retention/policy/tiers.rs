//! Where point-in-time recovery ends: which backups stay and keep no more than their own WAL.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Ancestry;
use super::Tier;
use crate::catalog::{Backup, Permanence};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalSegmentSize};

/// Within one of these, WAL positions and segments can be compared.
type Cluster = (SystemIdentifier, WalSegmentSize);

/// The places of those that must be said to stand alone, of what stays.
///
/// One that lies on the way from a backup of the first tier stays what it is: its WAL is there in any case, and a recovery from it
/// is shorter.
pub(in super::super) fn give_up_recovery(kept: &[(&Backup, Tier)], ancestry: &Ancestry) -> BTreeSet<usize> {
    let mut bases: BTreeMap<Cluster, Vec<(TimelineId, Lsn, u64)>> = BTreeMap::new();
    for (backup, tier) in kept {
        let sentinel = &backup.sentinel;
        if *tier == Tier::PointInTime && !backup.is_standalone && !backup.has_failed() {
            let base = (sentinel.timeline, sentinel.stop_lsn, sentinel.wal_range().first);
            bases.entry(cluster(backup)).or_default().push(base);
        }
    }
    // The first segment that is kept for point-in-time recovery on each timeline.
    let mut reaches: BTreeMap<(Cluster, TimelineId), Option<u64>> = BTreeMap::new();
    let mut alone = BTreeSet::new();
    for (place, (backup, tier)) in kept.iter().enumerate() {
        // Of one that has failed nothing is recovered in any case.
        let is_ordinary = backup.permanence == Permanence::Ordinary && !backup.has_failed();
        if *tier == Tier::PointInTime || backup.is_standalone || !is_ordinary {
            continue;
        }
        let (cluster, timeline) = (cluster(backup), backup.sentinel.timeline);
        let first = reaches.entry((cluster, timeline)).or_insert_with(|| {
            let known = bases.get(&cluster).into_iter().flatten();
            let leading = known.filter(|(ancestor, stop, _)| ancestry.may_descend(timeline, *ancestor, *stop));
            leading.map(|(_, _, first)| *first).min()
        });
        if first.is_none_or(|first| backup.sentinel.wal_range().first < first) {
            alone.insert(place);
        }
    }
    alone
}

fn cluster(backup: &Backup) -> Cluster {
    (backup.sentinel.system_identifier, backup.sentinel.segment_size)
}
