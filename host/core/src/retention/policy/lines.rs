//! What a recovery window begins with: on every line that lived in it, the newest backup that had finished before.
//!
//! A line is a timeline with the way to it. One lived in the window if it has a backup there, if it is the newest timeline of the
//! newest cluster, or if nothing shows that it ended before: only a backup that finished before the window, on a newer timeline and
//! beyond the fork, shows that. A clone that somebody promoted by mistake looks like a failover; the newest timeline is
//! kept in both cases, and its reason names it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::order::Placed;
use super::super::{Ancestry, KeepReason};
use super::{finished, is_base};
use crate::catalog::BackupState;
use crate::postgres::{Lsn, SystemIdentifier, TimelineHistory, TimelineId};

/// Why backups stay that had finished when the window begins, by place.
#[derive(Default)]
pub(super) struct Bases(BTreeMap<usize, KeepReason>);

impl Bases {
    pub(super) fn reason(&self, place: usize) -> Option<KeepReason> {
        self.0.get(&place).cloned()
    }
}

/// One cluster's backups: places by timeline, by position on each.
struct Cluster<'a> {
    order: &'a [Placed<'a>],
    places: BTreeMap<TimelineId, Vec<usize>>,
    rank: usize,
}

/// A timeline with the way to it, and what of it matters to a window.
struct Line<'a> {
    cluster: &'a Cluster<'a>,
    timeline: TimelineId,
    history: Option<&'a TimelineHistory>,
    newest: usize,
    has_backup_in_window: bool,
    base: Option<usize>,
    /// Newer than the base; they would be the base if they turn out to be ready.
    maybe_bases: Vec<usize>,
}

/// Finds what the window that begins at this moment is reached from.
pub(super) fn bases(order: &[Placed<'_>], timelines: &BTreeSet<TimelineId>, ancestry: &Ancestry, since: Timestamp) -> Bases {
    let clusters = clusters(order);
    let of_cluster = |cluster| timelines.iter().filter_map(move |timeline| Line::find(cluster, *timeline, ancestry, since));
    let mut lines: Vec<Line<'_>> = clusters.iter().flat_map(of_cluster).collect();
    lines.sort_by_key(|line| std::cmp::Reverse((line.cluster.rank, line.newest, line.timeline)));
    let newest_rank = clusters.len().saturating_sub(1);
    let latest = lines.iter().filter(|line| line.cluster.rank == newest_rank).map(|line| line.timeline).max();
    let mut living: Vec<&Line<'_>> = Vec::new();
    let mut kept = BTreeMap::new();
    for line in &lines {
        let is_latest = line.cluster.rank == newest_rank && Some(line.timeline) == latest;
        if !is_latest && !line.has_backup_in_window && living.iter().any(|newer| line.ended_before(newer)) {
            continue;
        }
        living.push(line);
        for place in line.base.iter().chain(&line.maybe_bases) {
            kept.entry(*place).or_insert(KeepReason::WindowBase(line.timeline));
        }
        for place in line.unknown_ancestors(since) {
            kept.entry(place).or_insert(KeepReason::DescentUnknown(line.timeline));
        }
    }
    Bases(kept)
}

fn clusters<'a>(order: &'a [Placed<'a>]) -> Vec<Cluster<'a>> {
    let mut ranks: BTreeMap<SystemIdentifier, usize> = BTreeMap::new();
    let mut clusters: Vec<Cluster<'a>> = Vec::new();
    for (place, placed) in order.iter().enumerate() {
        let sentinel = &placed.backup.sentinel;
        let rank = *ranks.entry(sentinel.system_identifier).or_insert_with(|| {
            clusters.push(Cluster { order, places: BTreeMap::new(), rank: clusters.len() });
            clusters.len() - 1
        });
        clusters[rank].places.entry(sentinel.timeline).or_default().push(place);
    }
    clusters
}

impl<'a> Line<'a> {
    /// None when no backup of the cluster lies on it.
    fn find(cluster: &'a Cluster<'a>, timeline: TimelineId, ancestry: &'a Ancestry, since: Timestamp) -> Option<Self> {
        let history = ancestry.history(timeline);
        let mut line =
            Self { cluster, timeline, history, newest: 0, has_backup_in_window: false, base: None, maybe_bases: Vec::new() };
        let mut is_empty = true;
        for place in line.newest_first() {
            let placed = &cluster.order[place];
            if std::mem::replace(&mut is_empty, false) {
                line.newest = place;
            }
            if finished(placed) >= since {
                line.has_backup_in_window = true;
            } else if is_base(placed.backup) {
                line.base = Some(place);
                break;
            } else if placed.backup.state == BackupState::Cut {
                line.maybe_bases.push(place);
            }
        }
        // Without its history, it may descend from any older one.
        let may_descend = history.is_none() && cluster.places.keys().any(|older| *older < timeline);
        (!is_empty || may_descend).then_some(line)
    }

    /// The places of the backups from which this timeline is reached, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = usize> + use<'a> {
        let (cluster, timeline, history) = (self.cluster, self.timeline, self.history);
        let sentinel = move |place: usize| &cluster.order[place].backup.sentinel;
        let forks = history.map_or(&[][..], TimelineHistory::ancestors).iter().rev();
        let ancestors = forks.map(|fork| (fork.timeline, fork.position));
        std::iter::once((timeline, Lsn(u64::MAX)))
            .chain(ancestors)
            .flat_map(move |(timeline, end)| {
                let places = cluster.places.get(&timeline).map_or(&[][..], Vec::as_slice);
                places[..places.partition_point(|place| sentinel(*place).start_lsn <= end)].iter().rev().copied()
            })
            .filter(move |place| {
                let sentinel = sentinel(*place);
                sentinel.timeline == timeline
                    || history.is_some_and(|history| history.contains(sentinel.timeline, sentinel.stop_lsn))
            })
    }

    /// Whether a line with newer backups shows that this one had ended before the window.
    fn ended_before(&self, newer: &Line<'_>) -> bool {
        let Some(base) = newer.base else { return false };
        if newer.cluster.rank != self.cluster.rank {
            return true;
        }
        // A timeline is never followed by one of a smaller number, and what lies on one of a greater number lies beyond the fork.
        newer.cluster.order[base].backup.sentinel.timeline > self.timeline && newer.newest > self.newest
    }

    /// Everything on older timelines that had finished before the window, when it is not known what this one descends from and it
    /// has no base of its own.
    fn unknown_ancestors(&self, since: Timestamp) -> impl Iterator<Item = usize> {
        let is_unknown = self.history.is_none() && self.base.is_none();
        let older = self.cluster.places.range(..self.timeline).filter(move |_| is_unknown);
        older.flat_map(|(_, places)| places.iter().copied()).filter(move |place| finished(&self.cluster.order[*place]) < since)
    }
}
