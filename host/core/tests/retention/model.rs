//! The same rules once more, by brute force: every backup against every other, every file against every backup.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use stillframe_core::catalog::{Backup, BackupName, BackupState, DrillRecord, Intent, Permanence};
use stillframe_core::postgres::{SystemIdentifier, TimelineId, WalFileName, WalSegment};
use stillframe_core::retention::{Ancestry, RetentionPolicy};

use crate::world::World;

/// Whether replay leads from one to the other, on what is known.
fn is_older(one: &Backup, other: &Backup, ancestry: &Ancestry) -> bool {
    let (a, b) = (&one.sentinel, &other.sentinel);
    if a.system_identifier != b.system_identifier {
        return false;
    }
    if a.timeline == b.timeline {
        return (a.start_lsn, a.stop_lsn, a.started_at, &a.name) < (b.start_lsn, b.stop_lsn, b.started_at, &b.name);
    }
    let fork = ancestry.history(b.timeline).and_then(|history| history.fork_of(a.timeline));
    fork.is_some_and(|fork| a.start_lsn <= fork)
}

/// When each began, as far as clocks can be believed.
fn began(backups: &[&Backup], ancestry: &Ancestry, now: Timestamp) -> BTreeMap<BackupName, Timestamp> {
    let stamp = |backup: &Backup| backup.sentinel.started_at;
    let first = |backup: &&Backup| {
        let older = backups.iter().filter(|other| is_older(other, backup, ancestry) && stamp(other) <= now);
        older.map(|other| stamp(other)).chain([stamp(backup)]).max().unwrap()
    };
    let forward: Vec<(&Backup, Timestamp)> = backups.iter().map(|backup| (*backup, first(backup))).collect();
    let last = |(backup, time): &(&Backup, Timestamp)| {
        let newer = forward.iter().filter(|(other, _)| stamp(backup) > now && is_older(backup, other, ancestry));
        newer.map(|(_, time)| *time).chain([*time]).min().unwrap()
    };
    forward.iter().map(|entry| (entry.0.sentinel.name.clone(), last(entry))).collect()
}

/// Oldest first, with the times.
fn in_order<'a>(backups: &[&'a Backup], ancestry: &Ancestry, now: Timestamp) -> Vec<(&'a Backup, Timestamp)> {
    let began = began(backups, ancestry, now);
    let of_cluster = |cluster: SystemIdentifier| {
        let stamps: Vec<Timestamp> = backups
            .iter()
            .filter(|backup| backup.sentinel.system_identifier == cluster)
            .map(|backup| backup.sentinel.started_at)
            .collect();
        stamps.iter().copied().filter(|stamp| *stamp <= now).max().or_else(|| stamps.iter().copied().max())
    };
    let mut order: Vec<(&Backup, Timestamp)> = backups.iter().map(|backup| (*backup, began[&backup.sentinel.name])).collect();
    order.sort_by_key(|(backup, time)| {
        let it = &backup.sentinel;
        let cluster = (of_cluster(it.system_identifier), it.system_identifier);
        (cluster, *time, it.timeline, it.start_lsn, it.stop_lsn, it.started_at, it.name.clone())
    });
    order
}

fn finished((backup, began): &(&Backup, Timestamp)) -> Timestamp {
    let took = backup.sentinel.finished_at.duration_since(backup.sentinel.started_at).max(SignedDuration::ZERO);
    *began + took
}

fn is_base(backup: &Backup) -> bool {
    backup.permanence == Permanence::Ordinary && !backup.is_condemned && !backup.is_standalone && backup.state == BackupState::Ready
}

/// Whether the backup leads to the timeline, on what is known.
fn leads_to(backup: &Backup, timeline: TimelineId, ancestry: &Ancestry) -> bool {
    let sentinel = &backup.sentinel;
    sentinel.timeline == timeline
        || ancestry.history(timeline).is_some_and(|history| history.contains(sentinel.timeline, sentinel.stop_lsn))
}

/// The backups that recovery to every moment since then begins from.
fn bases(order: &[(&Backup, Timestamp)], world: &World, ancestry: &Ancestry, since: Timestamp) -> BTreeSet<BackupName> {
    struct Line {
        cluster: usize,
        newest: usize,
        timeline: TimelineId,
        base: Option<usize>,
        is_used: bool,
        maybe: Vec<usize>,
    }
    let mut clusters: Vec<SystemIdentifier> = order.iter().map(|(backup, _)| backup.sentinel.system_identifier).collect();
    clusters.dedup();
    let timelines: BTreeSet<TimelineId> =
        world.files.iter().map(|file| file.timeline()).chain(world.backups.iter().map(|backup| backup.sentinel.timeline)).collect();
    let mut lines = Vec::new();
    for (rank, cluster) in clusters.iter().enumerate() {
        for timeline in &timelines {
            // From the newest to the oldest along the way.
            let mut on: Vec<usize> = (0..order.len())
                .filter(|place| order[*place].0.sentinel.system_identifier == *cluster)
                .filter(|place| leads_to(order[*place].0, *timeline, ancestry))
                .collect();
            on.sort_by_key(|place| {
                let it = &order[*place].0.sentinel;
                (it.timeline, it.start_lsn, it.stop_lsn, it.started_at, it.name.clone())
            });
            on.reverse();
            let had_finished = |place: &&usize| finished(&order[**place]) < since;
            let base = on.iter().filter(had_finished).find(|place| is_base(order[**place].0)).copied();
            let newer = &on[..base.map_or(on.len(), |base| on.iter().position(|place| *place == base).unwrap())];
            let is_unknown = ancestry.history(*timeline).is_none();
            let has_older = order
                .iter()
                .any(|(backup, _)| backup.sentinel.system_identifier == *cluster && backup.sentinel.timeline < *timeline);
            if on.is_empty() && !(is_unknown && has_older) {
                continue;
            }
            lines.push(Line {
                cluster: rank,
                newest: on.first().copied().unwrap_or(0),
                timeline: *timeline,
                base,
                is_used: newer.iter().any(|place| finished(&order[*place]) >= since),
                maybe: newer
                    .iter()
                    .filter(had_finished)
                    .filter(|place| order[**place].0.state == BackupState::Cut)
                    .copied()
                    .collect(),
            });
        }
    }
    lines.sort_by_key(|line| (line.cluster, line.newest, line.timeline));
    lines.reverse();
    let latest = lines.iter().filter(|line| line.cluster + 1 == clusters.len()).map(|line| line.timeline).max();
    let mut bases = BTreeSet::new();
    let mut living: Vec<&Line> = Vec::new();
    for line in &lines {
        let is_latest = line.cluster + 1 == clusters.len() && Some(line.timeline) == latest;
        let shows_end = |other: &&Line| {
            other.base.is_some_and(|base| {
                let is_newer = order[base].0.sentinel.timeline > line.timeline && other.newest > line.newest;
                other.cluster != line.cluster || is_newer
            })
        };
        if !is_latest && !line.is_used && living.iter().any(shows_end) {
            continue;
        }
        living.push(line);
        let mut kept: Vec<usize> = line.base.iter().chain(&line.maybe).copied().collect();
        if line.base.is_none() && ancestry.history(line.timeline).is_none() {
            kept.extend((0..order.len()).filter(|place| {
                let it = &order[*place].0.sentinel;
                it.system_identifier == clusters[line.cluster] && it.timeline < line.timeline && finished(&order[*place]) < since
            }));
        }
        bases.extend(kept.into_iter().map(|place| order[place].0.sentinel.name.clone()));
    }
    bases
}

/// A day, a week, a month and a year, as words.
fn periods(backup: &Backup) -> [String; 4] {
    let date = backup.sentinel.started_at.to_zoned(TimeZone::UTC).date();
    ["%F", "%G-W%V", "%Y-%m", "%Y"].map(|form| date.strftime(form).to_string())
}

/// Whether the newest of one of its periods is this one, among those periods that count.
fn is_dated(policy: &RetentionPolicy, order: &[(&Backup, Timestamp)], place: usize) -> bool {
    let counts = [policy.daily, policy.weekly, policy.monthly, policy.yearly];
    let is_counted =
        |backup: &Backup| backup.permanence == Permanence::Ordinary && !backup.is_condemned && backup.state == BackupState::Ready;
    (0..4).any(|kind| {
        let Some(count) = counts[kind] else { return false };
        let newer: BTreeSet<String> = order[place + 1..]
            .iter()
            .filter(|(backup, _)| is_counted(backup))
            .map(|(backup, _)| periods(backup)[kind].clone())
            .collect();
        newer.len() < count && !newer.contains(&periods(order[place].0)[kind])
    })
}

/// What is left when everything that the policy does not keep has gone, and which of it the first tier keeps.
pub(crate) fn kept(policy: &RetentionPolicy, world: &World) -> BTreeMap<BackupName, bool> {
    let (ancestry, now) = (world.ancestry(), world.now);
    let ago = |length: Duration| now - SignedDuration::try_from(length).unwrap();
    let mut left: Vec<&Backup> = world.backups.iter().collect();
    loop {
        let order = in_order(&left, &ancestry, now);
        let since = policy.window.map(ago);
        let bases = since.map_or_else(BTreeSet::new, |since| bases(&order, world, &ancestry, since));
        let proven = order.iter().rev().find(|(backup, _)| {
            let is_proven = backup.drill.as_ref().is_some_and(DrillRecord::is_proof);
            is_proven && !backup.is_condemned && backup.state == BackupState::Ready
        });
        let has_tiers = policy.window.is_some() || policy.count.is_some();
        let mut kept = BTreeMap::new();
        for (place, entry) in order.iter().enumerate() {
            let backup = entry.0;
            let name = backup.sentinel.name.clone();
            let newer = order[place + 1..].iter().filter(|(backup, _)| is_base(backup)).count();
            let is_restored = world.restores.iter().any(|record| record.backup == name);
            let is_held = is_restored || backup.lock.is_some_and(|lock| lock.until > now);
            if backup.is_condemned {
                continue;
            }
            if backup.permanence == Permanence::Permanent {
                kept.insert(name, false);
                continue;
            }
            if backup.has_failed() {
                if is_held {
                    kept.insert(name, false);
                }
                continue;
            }
            let is_first = since.is_some_and(|since| finished(entry) >= since)
                || bases.contains(&name)
                || policy.count.is_some_and(|count| newer < count)
                || newer < policy.minimum;
            let is_second = policy.standalone.is_some_and(|length| finished(entry) > ago(length))
                || is_dated(policy, &order, place)
                || (policy.keep_proven && proven.is_some_and(|(proven, _)| proven.sentinel.name == name))
                || is_held;
            if is_first || is_second {
                kept.insert(name, is_first || is_restored || !has_tiers);
            }
        }
        if kept.len() == left.len() {
            return kept;
        }
        left.retain(|backup| kept.contains_key(&backup.sentinel.name));
    }
}

/// Whether somebody needs the file, of these backups and of what runs.
pub(crate) fn is_needed(file: WalFileName, kept: &[&Backup], running: &[&Intent], ancestry: &Ancestry) -> bool {
    let Some(segment) = file.segment(crate::world::SIZE) else { return true };
    if kept.iter().any(|backup| backup.sentinel.wal_range().contains(segment)) {
        return true;
    }
    let mut increments = kept.iter().flat_map(|backup| &backup.increments);
    if increments.any(|increment| increment.replay.iter().any(|range| range.contains(segment))) {
        return true;
    }
    let mut bases: Vec<&&Backup> = kept
        .iter()
        .filter(|backup| backup.permanence == Permanence::Ordinary && !backup.is_standalone && !backup.has_failed())
        .collect();
    if bases.is_empty() {
        let permanent = kept
            .iter()
            .filter(|backup| backup.permanence == Permanence::Permanent && !backup.is_standalone && !backup.has_failed());
        bases.extend(permanent.max_by_key(|backup| (backup.sentinel.started_at, backup.sentinel.name.clone())));
    }
    let reaches = |timeline: TimelineId, position, first: u64| {
        segment.number >= first && ancestry.may_descend(segment.timeline, timeline, position)
    };
    let nothing_to_judge_by = kept.iter().all(|backup| backup.has_failed()) && running.is_empty();
    nothing_to_judge_by
        || bases.iter().any(|backup| {
            let it = &backup.sentinel;
            reaches(it.timeline, it.stop_lsn, it.wal_range().first)
        })
        || running.iter().any(|intent| {
            let first = WalSegment::containing(intent.timeline, intent.wal_position, crate::world::SIZE).number;
            reaches(intent.timeline, intent.wal_position, first)
        })
}
