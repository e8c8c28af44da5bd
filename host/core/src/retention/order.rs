//! Which backup is older than which, and when each began as far as clocks can be believed.
//!
//! Positions in the WAL never run backwards, clocks do. So within one cluster a backup is older than another when replay leads from
//! it to the other: an earlier position on the same timeline, or one before the fork on an ancestor. Only where replay says nothing
//! (beyond a fork, between clusters) do the clocks decide. A clock that ran behind is corrected by the backups that are older: none
//! began before them. One that ran ahead, so that a backup seems to begin in the future, is corrected by those that are newer. An
//! error that remains makes a backup younger than it is, and keeps it longer.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Ancestry;
use crate::catalog::{Backup, BackupName};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId};

/// A backup in its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    /// The backup.
    pub(super) backup: &'a Backup,
    /// When it began, corrected. Never earlier than that of an older one of the same line of replay.
    pub(super) began: Timestamp,
}

/// The backups of one cluster by timeline, by position on each.
type Lines<'a> = BTreeMap<TimelineId, Vec<Placed<'a>>>;

/// Oldest first. Clusters that followed each other in one place (`pg_upgrade`, `initdb`) stay together, the one with the newest
/// backup last: positions and timelines begin anew with each, so neither may be compared across them.
pub(super) fn in_order<'a>(backups: impl IntoIterator<Item = &'a Backup>, ancestry: &Ancestry, now: Timestamp) -> Vec<Placed<'a>> {
    let mut clusters: BTreeMap<SystemIdentifier, Lines<'a>> = BTreeMap::new();
    for backup in backups {
        let sentinel = &backup.sentinel;
        let line = clusters.entry(sentinel.system_identifier).or_default().entry(sentinel.timeline).or_default();
        line.push(Placed { backup, began: sentinel.started_at });
    }
    let mut ordered: Vec<(Timestamp, Vec<Placed<'a>>)> = Vec::with_capacity(clusters.len());
    for mut lines in clusters.into_values() {
        for line in lines.values_mut() {
            line.sort_by_key(|placed| position(placed.backup));
        }
        let newest = newest(&lines, now);
        push_forward(&mut lines, ancestry, now);
        pull_back(&mut lines, ancestry, now);
        // By timeline and position already, which decides between equal times: the sort is stable.
        let mut cluster: Vec<Placed<'a>> = lines.into_values().flatten().collect();
        cluster.sort_by_key(|placed| placed.began);
        ordered.push((newest, cluster));
    }
    ordered.sort_by_key(|(newest, _)| *newest);
    ordered.into_iter().flat_map(|(_, cluster)| cluster).collect()
}

/// The order on one timeline. Two backups of a standby may begin at the same position.
fn position(backup: &Backup) -> (Lsn, Lsn, Timestamp, &BackupName) {
    let sentinel = &backup.sentinel;
    (sentinel.start_lsn, sentinel.stop_lsn, sentinel.started_at, &sentinel.name)
}

fn is_ahead(placed: &Placed<'_>, now: Timestamp) -> bool {
    placed.backup.sentinel.started_at > now
}

/// The newest time of a cluster; one in the future counts only where there is no other.
fn newest(lines: &Lines<'_>, now: Timestamp) -> Timestamp {
    let times = || lines.values().flatten().map(|placed| placed.backup.sentinel.started_at);
    times().filter(|time| *time <= now).max().or_else(|| times().max()).unwrap_or(Timestamp::MIN)
}

/// No backup began before an older one.
fn push_forward(lines: &mut Lines<'_>, ancestry: &Ancestry, now: Timestamp) {
    let timelines: Vec<TimelineId> = lines.keys().copied().collect();
    for timeline in timelines {
        let forks = ancestry.history(timeline).map_or(&[][..], |history| history.ancestors());
        let inherited = forks.iter().filter_map(|fork| {
            let ancestors = lines.get(&fork.timeline)?;
            let before = ancestors.partition_point(|placed| placed.backup.sentinel.start_lsn <= fork.position);
            ancestors[..before].iter().rev().find(|placed| !is_ahead(placed, now)).map(|placed| placed.began)
        });
        let mut latest = inherited.max().unwrap_or(Timestamp::MIN);
        for placed in lines.get_mut(&timeline).into_iter().flatten() {
            placed.began = placed.began.max(latest);
            if !is_ahead(placed, now) {
                latest = placed.began;
            }
        }
    }
}

/// One that seems to begin in the future began before a newer one that does not.
fn pull_back(lines: &mut Lines<'_>, ancestry: &Ancestry, now: Timestamp) {
    let timelines: Vec<TimelineId> = lines.keys().rev().copied().collect();
    // Where timelines with backups left this one, and when the first backup there began.
    let mut children: BTreeMap<TimelineId, Vec<(Lsn, Timestamp)>> = BTreeMap::new();
    for timeline in timelines {
        let Some(line) = lines.get_mut(&timeline) else { continue };
        let mut forks = children.remove(&timeline).unwrap_or_default();
        forks.sort_unstable_by_key(|(fork, _)| *fork);
        let mut bound = Timestamp::MAX;
        for placed in line.iter_mut().rev() {
            while let Some((_, first)) = forks.pop_if(|(fork, _)| *fork >= placed.backup.sentinel.start_lsn) {
                bound = bound.min(first);
            }
            if is_ahead(placed, now) {
                placed.began = placed.began.min(bound);
            }
            bound = bound.min(placed.began);
        }
        let Some(first) = line.first().map(|placed| placed.began) else { continue };
        for fork in ancestry.history(timeline).map_or(&[][..], |history| history.ancestors()) {
            children.entry(fork.timeline).or_default().push((fork.position, first));
        }
    }
}
