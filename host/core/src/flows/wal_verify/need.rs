//! Which segments restoring needs, and which of them are there: arithmetic on what was read.

use std::collections::BTreeSet;

use super::{BackupCheck, ExternalCheck, HistoryProblem, IncrementCheck, ServerPosition, VerifyError, VerifyRequest};
use crate::catalog::{Backup, ExternalArchive, Increment, Permanence, WalGBackup};
use crate::flows::archive_map::{ArchiveMap, TimelineFiles};
use crate::flows::{AnyBackupName, BackupKind};
use crate::postgres::{Lsn, SystemIdentifier, TimelineHistory, TimelineId, WalFileName, WalRange, WalSegmentSize};
use crate::window::ranges::{self, missing};
use crate::window::{TimelineOrigin, Way};

/// A backup that is verified.
pub(super) struct Own {
    name: String,
    kind: BackupKind,
    timeline: TimelineId,
    first: u64,
    range: Option<WalRange>,
    segment_size: WalSegmentSize,
    /// What forked before it cannot be reached from it.
    position: Lsn,
    /// Whether the archive need not hold its own segments.
    keeps_wal: bool,
    /// Who keeps them, when another tool does.
    external: Option<ExternalArchive>,
    /// Whether recovery may go on beyond its own end.
    is_continued: bool,
    pub(super) system_identifier: Option<SystemIdentifier>,
    started_at: Option<jiff::Timestamp>,
    /// Whether the positions of other backups may be compared with its own.
    pub(super) is_of_newest_cluster: bool,
}

/// Where point-in-time recovery may begin.
pub(super) struct Base {
    timeline: TimelineId,
    first: u64,
    position: Lsn,
}

impl Own {
    fn of_backup(backup: &Backup) -> Self {
        let sentinel = &backup.sentinel;
        let range = sentinel.wal_range();
        Self {
            name: sentinel.name.to_string(),
            kind: BackupKind::Snapshot,
            timeline: sentinel.timeline,
            first: range.first,
            range: Some(range),
            segment_size: sentinel.segment_size,
            position: sentinel.stop_lsn,
            keeps_wal: sentinel.is_cold || sentinel.external_archive.is_some(),
            external: sentinel.external_archive.clone(),
            // WAL beyond the end of one that stands alone was given up for good.
            is_continued: backup.permanence == Permanence::Ordinary && !backup.is_standalone && sentinel.external_archive.is_none(),
            system_identifier: Some(sentinel.system_identifier),
            started_at: Some(sentinel.started_at),
            is_of_newest_cluster: true,
        }
    }

    fn of_walg(backup: &WalGBackup, size: WalSegmentSize) -> Self {
        let first = backup.first_segment(size).unwrap_or(0);
        Self {
            name: backup.name.to_string(),
            kind: BackupKind::WalG,
            timeline: backup.name.timeline(),
            first,
            range: backup.wal_range(size),
            segment_size: size,
            position: backup.finish_lsn.or(backup.start_lsn).unwrap_or(Lsn(first * size.bytes())),
            keeps_wal: false,
            external: None,
            is_continued: backup.permanence == Permanence::Ordinary,
            system_identifier: backup.system_identifier,
            started_at: backup.started_at,
            is_of_newest_cluster: true,
        }
    }

    /// Gives where recovery from it may begin; none if it need not reach beyond its own end.
    pub(super) fn base(&self) -> Option<Base> {
        (self.is_continued && self.is_of_newest_cluster).then_some(Base {
            timeline: self.timeline,
            first: self.first,
            position: self.position,
        })
    }
}

/// The backups that stay, the oldest first, or the one that is named.
pub(super) fn backups(map: &ArchiveMap, request: &VerifyRequest) -> Result<Vec<Own>, VerifyError> {
    let ours = map.contents.backups.iter().filter(|backup| !backup.is_condemned);
    let mut found: Vec<Own> = ours.map(Own::of_backup).collect();
    found.extend(map.walg.backups.iter().map(|backup| Own::of_walg(backup, map.size.size)));
    found.sort_by_key(|own| own.started_at);
    // Positions and timelines begin anew with a cluster that follows another one in the same place.
    let newest = found.iter().rev().find_map(|own| own.system_identifier);
    let size = map.size.size;
    for own in &mut found {
        let is_same = own.system_identifier.is_none() || own.system_identifier == newest;
        own.is_of_newest_cluster = is_same && own.segment_size == size;
    }
    let Some(name) = &request.backup else { return Ok(found) };
    let text = match name {
        AnyBackupName::Snapshot(name) => name.to_string(),
        AnyBackupName::WalG(name) => name.to_string(),
    };
    found.retain(|own| own.name == text);
    if found.is_empty() { Err(VerifyError::NoSuchBackup(text)) } else { Ok(found) }
}

/// What recovery goes through, from each base to the end of each timeline that continues it.
pub(super) fn lines(map: &ArchiveMap, bases: &[Base], request: &VerifyRequest) -> Vec<WalRange> {
    let server_timeline = request.server.map(|server| server.timeline);
    let heads = map.timelines.keys().copied().chain(server_timeline).chain(request.timeline);
    let mut pieces = Vec::new();
    for head in heads.collect::<BTreeSet<_>>() {
        if request.timeline.is_some_and(|wanted| wanted != head) {
            continue;
        }
        let end = end_of(map, head, request.server.as_ref());
        let root = TimelineHistory::root(head);
        let history = map.timelines.get(&head).and_then(|files| files.origin.history()).unwrap_or(&root);
        let way = Way::new(history.clone(), map.size.size);
        let on_way = |base: &&Base| history.contains(base.timeline, base.position);
        if let Some(end) = end {
            pieces.extend(bases.iter().filter(on_way).flat_map(|base| way.pieces(base.first, end)));
        }
    }
    ranges::union(pieces)
}

/// The last segment of a timeline that must be there.
fn end_of(map: &ArchiveMap, timeline: TimelineId, server: Option<&ServerPosition>) -> Option<u64> {
    match server.filter(|server| server.timeline == timeline) {
        // What the server has not finished is not archived, and its newest need not be.
        Some(server) => map.number(server.position).checked_sub(1)?.checked_sub(server.allowed_lag),
        None => map.numbers(timeline).last().copied(),
    }
}

/// Looks for a backup's own segments.
pub(super) fn check_own(map: &ArchiveMap, own: &Own) -> BackupCheck {
    let needed = own.range.filter(|_| !own.keeps_wal);
    let missing = needed.map_or_else(Vec::new, |range| missing_of(map, own, range));
    BackupCheck {
        name: own.name.clone(),
        kind: own.kind,
        range: own.range,
        segment_size: own.segment_size,
        missing,
        kept: None,
        external: own.external.clone().map(|archive| ExternalCheck { archive, state: None }),
    }
}

/// Looks for the segments of the increments of backups that stay, or of the one that is named.
pub(super) fn increments(map: &ArchiveMap, request: &VerifyRequest) -> Vec<IncrementCheck> {
    let is_wanted = |backup: &&Backup| match &request.backup {
        None => !backup.is_condemned,
        Some(AnyBackupName::Snapshot(name)) => !backup.is_condemned && backup.sentinel.name == *name,
        Some(AnyBackupName::WalG(_)) => false,
    };
    let wanted = map.contents.backups.iter().filter(is_wanted).flat_map(|backup| &backup.increments);
    // Numbers of another size mean nothing here; its parent is told of.
    let same_size = wanted.filter(|increment| {
        increment.segment_size == map.size.size && request.timeline.is_none_or(|timeline| timeline == increment.timeline)
    });
    let check = |increment: &Increment| {
        let gaps = |range: &WalRange| missing(range.timeline, map.numbers(range.timeline), range.first, range.last);
        IncrementCheck {
            name: increment.name.clone(),
            parent: increment.parent.clone(),
            replay: increment.replay.clone(),
            missing: increment.replay.iter().flat_map(gaps).collect(),
        }
    };
    same_size.map(check).collect()
}

fn missing_of(map: &ArchiveMap, own: &Own, range: WalRange) -> Vec<WalRange> {
    if own.segment_size != map.size.size {
        // Of another time, when segments had another size.
        let of_timeline = map.files.iter().filter(|file| file.name.timeline() == own.timeline);
        let segments = of_timeline.filter(|file| matches!(file.name, WalFileName::Segment { .. }));
        let mut numbers: Vec<u64> =
            segments.filter_map(|file| file.name.segment(own.segment_size)).map(|segment| segment.number).collect();
        numbers.sort_unstable();
        return missing(own.timeline, &numbers, range.first, range.last);
    }
    let mut gaps = missing(own.timeline, map.numbers(own.timeline), range.first, range.last);
    if let Some(last) = gaps.last_mut().filter(|gap| gap.last == range.last && is_copied(map, own, range.last)) {
        if last.first == last.last {
            gaps.pop();
        } else {
            last.last -= 1;
        }
    }
    gaps
}

/// Whether a child begins with a copy of this segment: then the parent may have archived a `.partial` of it and no more.
fn is_copied(map: &ArchiveMap, own: &Own, number: u64) -> bool {
    let holds_copy = |(child, files): (&TimelineId, &TimelineFiles)| {
        let fork = files.origin.history().and_then(|history| history.fork_of(own.timeline));
        fork.is_some_and(|fork| fork >= own.position && map.number(fork) == number)
            && map.numbers(*child).binary_search(&number).is_ok()
    };
    map.timelines.iter().any(holds_copy)
}

/// The archived segments of a stretch.
pub(super) fn present(map: &ArchiveMap, range: WalRange) -> &[u64] {
    let numbers = map.numbers(range.timeline);
    let begin = numbers.partition_point(|number| *number < range.first);
    let end = numbers.partition_point(|number| *number <= range.last);
    &numbers[begin..end]
}

/// Gaps that lie outside of everything that is needed.
pub(super) fn harmless(map: &ArchiveMap, needed: &[WalRange]) -> Vec<WalRange> {
    let mut found = Vec::new();
    for timeline in map.timelines.keys() {
        for gap in map.gaps(*timeline) {
            let mut first = gap.first;
            for range in needed.iter().filter(|range| range.timeline == *timeline && range.last >= gap.first) {
                if first > gap.last || range.first > gap.last {
                    break;
                }
                if range.first > first {
                    found.push(WalRange { timeline: *timeline, first, last: range.first - 1 });
                }
                first = first.max(range.last.saturating_add(1));
            }
            if first <= gap.last {
                found.push(WalRange { timeline: *timeline, first, last: gap.last });
            }
        }
    }
    found
}

/// Timelines to which the way from a backup may lead, and whose history does not say: those with segments, and the server's.
pub(super) fn histories(map: &ArchiveMap, bases: &[Base], request: &VerifyRequest) -> Vec<HistoryProblem> {
    let is_wanted = |timeline: &TimelineId| request.timeline.is_none_or(|wanted| wanted == *timeline);
    let is_reachable = |timeline: TimelineId, newest: u64| {
        timeline != TimelineId::FIRST && bases.iter().any(|base| base.timeline < timeline && newest >= base.first)
    };
    let with_segments = map.timelines.iter().filter_map(|(timeline, files)| Some((*timeline, *files.numbers.last()?)));
    let of_server = request.server.map(|server| (server.timeline, map.number(server.position)));
    let reachable: BTreeSet<TimelineId> = with_segments
        .chain(of_server)
        .filter(|(timeline, newest)| is_reachable(*timeline, *newest))
        .map(|(timeline, _)| timeline)
        .collect();
    let origin = |timeline| map.timelines.get(&timeline).map_or(TimelineOrigin::Missing, |files| files.origin.clone());
    let problems = reachable.into_iter().filter(is_wanted).map(|timeline| HistoryProblem { timeline, origin: origin(timeline) });
    problems.filter(|problem| problem.origin.history().is_none()).collect()
}

/// Finished segments of the server behind the newest archived one, on its timeline or on those before it.
pub(super) fn lag(map: &ArchiveMap, server: &ServerPosition) -> u64 {
    let newest = map.timelines.range(..=server.timeline).rev().find_map(|(_, files)| files.numbers.last());
    map.number(server.position).saturating_sub(newest.map_or(0, |newest| newest + 1))
}
