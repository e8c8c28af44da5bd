//! Calculates the window: every position that can be recovered to, by timeline, and what keeps the others from it.

mod gaps;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Line, LineEnd, Standing, TimelineOrigin, WindowBackup, WindowInput};
use crate::catalog::BackupName;
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalRange};

/// Everything that can be recovered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Window {
    /// Stretches of positions that can be recovered to, by timeline and position; no two of them touch.
    pub intervals: Vec<RecoverableInterval>,
    /// Stretches between them, and before and behind them, that cannot.
    pub gaps: Vec<Gap>,
    /// Backups from which no recovery begins, by timeline and position.
    pub unusable: Vec<UnusableBackup>,
}

/// A stretch of positions of one timeline, each of which can be recovered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoverableInterval {
    /// The timeline.
    pub timeline: TimelineId,
    /// The newest backup from which its beginning is reached.
    pub backup: BackupName,
    /// Backups that ended within it.
    pub backups: usize,
    /// Its first position: the end of a backup, or where the timeline left its parent.
    pub from: Point,
    /// Its end: up to here the archived WAL goes. The calculation knows no time of it; whoever reads the WAL may fill it in.
    pub to: Point,
    /// The timeline that recovery to its end must follow: its own, or one that left it there.
    pub followed: TimelineId,
    /// Why it goes no further.
    pub ends_because: IntervalEnd,
}

/// A position, and the time of it where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The position.
    pub lsn: Lsn,
    /// The time, by the server's clock.
    pub time: Option<Timestamp>,
}

/// Why an interval goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntervalEnd {
    /// Nothing later is archived.
    ArchiveEnds,
    /// These segments are missing, and later ones are there.
    Missing(Vec<WalRange>),
    /// The backup stands alone: WAL beyond its own was given up.
    Standalone,
    /// The timeline went no further: this one left it here.
    LeftBy(TimelineId),
}

/// A stretch of positions of one timeline that cannot be recovered to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The timeline.
    pub timeline: TimelineId,
    /// Its beginning.
    pub from: Lsn,
    /// Its end.
    pub to: Lsn,
    /// What keeps recovery from it; at least one.
    pub reasons: Vec<GapReason>,
}

/// What keeps recovery from a stretch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GapReason {
    /// These segments are missing.
    Missing(Vec<WalRange>),
    /// No backup ended before it.
    NoBackup,
    /// The way to the timeline is not known.
    History(TimelineOrigin),
    /// This backup would reach it.
    Backup(UnusableBackup),
}

/// A backup from which no recovery begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableBackup {
    /// Its name.
    pub name: BackupName,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Where it ended.
    pub stop: Lsn,
    /// Why.
    pub reason: Unusable,
}

/// Why no recovery begins from a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// Its snapshots are not known to be ready.
    NotReady,
    /// Its snapshots can never be restored, and why.
    Failed(String),
    /// Its deletion has begun.
    Condemned,
    /// Its WAL is kept elsewhere, so that nothing here tells how far it is recovered.
    External(String),
    /// These segments of its own are missing.
    WalMissing(Vec<WalRange>),
    /// It is of a cluster that was here before.
    OtherCluster(SystemIdentifier),
    /// It is of a time when segments had another size.
    OtherSegmentSize,
    /// The history of its timeline does not lead to it.
    History(TimelineOrigin),
}

/// Calculates the window.
#[must_use]
pub fn calculate(input: &WindowInput) -> Window {
    // What time it is, is not asked here: every time of a backup is believed as far as positions do not correct it.
    let cluster = input.cluster(Timestamp::MAX);
    let mut unusable = Vec::new();
    let mut bases: Vec<&WindowBackup> = Vec::new();
    for backup in &input.backups {
        match fault(backup, input, cluster) {
            Some(reason) => unusable.push(unusable_backup(backup, reason)),
            None => bases.push(backup),
        }
    }
    bases.sort_by_key(|backup| (backup.stop, backup.started_at, &backup.name));
    let timelines: BTreeSet<TimelineId> =
        input.timelines.keys().copied().chain(bases.iter().map(|backup| backup.timeline)).collect();
    let lines: BTreeMap<TimelineId, Line<'_>> =
        timelines.into_iter().filter_map(|timeline| Some((timeline, Line::new(input, input.history(timeline)?)))).collect();
    let mut pieces = Vec::new();
    let mut usable = BTreeSet::new();
    for line in lines.values() {
        add_pieces(input, line, &bases, &mut pieces, &mut usable);
    }
    for backup in bases.iter().filter(|backup| !usable.contains(&backup.name)) {
        unusable.push(unusable_backup(backup, not_consistent(input, lines.get(&backup.timeline), backup)));
    }
    unusable.sort_by_key(|backup| (backup.timeline, backup.stop, backup.name.clone()));
    let mut intervals = join(pieces);
    count_backups(&mut intervals, &bases, &usable);
    let gaps = gaps::find(input, &lines, &intervals, &unusable, &bases);
    Window { intervals, gaps, unusable }
}

/// What keeps recovery from beginning at a backup, whatever is archived.
fn fault(backup: &WindowBackup, input: &WindowInput, cluster: Option<SystemIdentifier>) -> Option<Unusable> {
    match &backup.standing {
        Standing::Condemned => Some(Unusable::Condemned),
        Standing::Failed(reason) => Some(Unusable::Failed(reason.clone())),
        Standing::NotReady => Some(Unusable::NotReady),
        Standing::External(place) => Some(Unusable::External(place.clone())),
        Standing::Good | Standing::Standalone if Some(backup.system_identifier) != cluster => {
            Some(Unusable::OtherCluster(backup.system_identifier))
        }
        Standing::Good | Standing::Standalone => (backup.segment_size != input.segment_size).then_some(Unusable::OtherSegmentSize),
    }
}

fn unusable_backup(backup: &WindowBackup, reason: Unusable) -> UnusableBackup {
    UnusableBackup { name: backup.name.clone(), timeline: backup.timeline, stop: backup.stop, reason }
}

/// Why a backup is not restored even to its own end.
fn not_consistent(input: &WindowInput, line: Option<&Line<'_>>, backup: &WindowBackup) -> Unusable {
    let range = backup.wal_range();
    let missing = line.map_or_else(Vec::new, |line| line.missing(range.first, range.last));
    if missing.is_empty() {
        let origin = input.timelines.get(&backup.timeline).map_or(TimelineOrigin::Missing, |wal| wal.origin.clone());
        return Unusable::History(origin);
    }
    Unusable::WalMissing(missing)
}

/// Adds what can be recovered along one line.
fn add_pieces<'a>(
    input: &WindowInput,
    line: &Line<'_>,
    bases: &[&'a WindowBackup],
    pieces: &mut Vec<RecoverableInterval>,
    usable: &mut BTreeSet<&'a BackupName>,
) {
    // By the first segment of the stretch; the backups are in the order of their ends.
    let mut starts: BTreeMap<u64, Vec<&'a WindowBackup>> = BTreeMap::new();
    for backup in bases.iter().filter(|backup| line.history().contains(backup.timeline, backup.stop)) {
        let Some(stretch) = line.stretch_of(backup.start, backup.stop) else {
            if backup.keeps_wal && usable.insert(&backup.name) {
                pieces.push(own_end(backup, own_end_because(line, backup)));
            }
            continue;
        };
        usable.insert(&backup.name);
        match backup.standing {
            Standing::Standalone => {
                pieces.push(own_end(backup, IntervalEnd::Standalone));
                pieces.extend(to_increments(line, stretch.end, backup));
            }
            _ => starts.entry(stretch.first).or_default().push(backup),
        }
    }
    for stretch in line.stretches() {
        let Some(backups) = starts.get(&stretch.first) else { continue };
        let Some(oldest) = backups.first() else { continue };
        let places: Vec<_> = line.places().collect();
        for (place, (timeline, begin, fork)) in places.iter().copied().enumerate() {
            let (from, to) = (oldest.stop.max(begin), fork.map_or(stretch.end, |fork| fork.min(stretch.end)));
            let holds = |backup: &&&WindowBackup| backup.timeline == timeline && backup.stop == from;
            let is_own = !input.numbers(timeline).is_empty() || backups.iter().any(|backup| backup.timeline == timeline);
            if from > to || !is_own || (from == to && !backups.iter().any(|backup| holds(&backup))) {
                continue;
            }
            let Some(base) = backups[..backups.partition_point(|backup| backup.stop <= from)].last() else { continue };
            let ends_because = match (fork, places.get(place + 1)) {
                (Some(fork), Some((child, ..))) if fork <= stretch.end => IntervalEnd::LeftBy(*child),
                _ => line.end_of(stretch).into(),
            };
            let time = (base.stop == from && base.timeline == timeline).then_some(base.finished_at);
            pieces.push(RecoverableInterval {
                timeline,
                backup: base.name.clone(),
                backups: 0,
                from: Point { lsn: from, time },
                to: Point { lsn: to, time: None },
                followed: line.history().timeline(),
                ends_because,
            });
        }
    }
}

/// What a backup is recovered to that goes to its own end and no further.
fn own_end(backup: &WindowBackup, ends_because: IntervalEnd) -> RecoverableInterval {
    let end = Point { lsn: backup.stop, time: Some(backup.finished_at) };
    RecoverableInterval {
        timeline: backup.timeline,
        backup: backup.name.clone(),
        backups: 0,
        from: end,
        to: end,
        followed: backup.timeline,
        ends_because,
    }
}

/// Why recovery goes no further from a backup that keeps its own WAL, where the archive does not have it.
fn own_end_because(line: &Line<'_>, backup: &WindowBackup) -> IntervalEnd {
    match backup.standing {
        Standing::Standalone => IntervalEnd::Standalone,
        _ => line.end_behind(backup.start).into(),
    }
}

/// To its increments on this line as well.
fn to_increments(line: &Line<'_>, end: Lsn, backup: &WindowBackup) -> Vec<RecoverableInterval> {
    let head = line.history().timeline();
    let points = backup.points.iter().filter(|(timeline, _)| *timeline == head).map(|(_, point)| *point);
    let Some(point) = points.max().map(|point| point.min(end)) else { return Vec::new() };
    let places: Vec<_> = line.places().collect();
    let piece = |(place, (timeline, begin, fork)): (usize, &(TimelineId, Lsn, Option<Lsn>))| {
        let from = backup.stop.max(*begin);
        let (to, ends_because) = match (fork, places.get(place + 1)) {
            (Some(fork), Some((child, ..))) if *fork <= point => (*fork, IntervalEnd::LeftBy(*child)),
            _ => (point, IntervalEnd::Standalone),
        };
        let time = (from == backup.stop && *timeline == backup.timeline).then_some(backup.finished_at);
        (from < to).then(|| RecoverableInterval {
            timeline: *timeline,
            backup: backup.name.clone(),
            backups: 0,
            from: Point { lsn: from, time },
            to: Point { lsn: to, time: None },
            followed: head,
            ends_because,
        })
    };
    places.iter().enumerate().filter_map(piece).collect()
}

impl From<LineEnd> for IntervalEnd {
    fn from(end: LineEnd) -> Self {
        match end {
            LineEnd::ArchiveEnds => Self::ArchiveEnds,
            LineEnd::Missing(missing) => Self::Missing(missing),
        }
    }
}

/// Joins what overlaps: the same positions are reached from several backups and along several lines.
fn join(mut pieces: Vec<RecoverableInterval>) -> Vec<RecoverableInterval> {
    // Of those that begin together the longest first, and along the timeline itself before others that left it.
    pieces.sort_by_key(|piece| {
        (piece.timeline, piece.from.lsn, std::cmp::Reverse(piece.to.lsn), piece.followed, piece.from.time.is_none())
    });
    let mut joined: Vec<RecoverableInterval> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.timeline == piece.timeline && piece.from.lsn <= last.to.lsn => {
                // That nothing later is archived says less than that the timeline went no further.
                let says_more = piece.to.lsn == last.to.lsn
                    && last.ends_because == IntervalEnd::ArchiveEnds
                    && matches!(piece.ends_because, IntervalEnd::LeftBy(_));
                if piece.to.lsn > last.to.lsn || says_more {
                    (last.to, last.followed, last.ends_because) = (piece.to, piece.followed, piece.ends_because);
                }
            }
            _ => joined.push(piece),
        }
    }
    joined
}

fn count_backups(intervals: &mut [RecoverableInterval], bases: &[&WindowBackup], usable: &BTreeSet<&BackupName>) {
    let mut stops: BTreeMap<TimelineId, Vec<Lsn>> = BTreeMap::new();
    for backup in bases.iter().filter(|backup| usable.contains(&backup.name)) {
        stops.entry(backup.timeline).or_default().push(backup.stop);
    }
    for interval in intervals {
        let stops = stops.get(&interval.timeline).map_or(&[][..], |stops| stops);
        let begin = stops.partition_point(|stop| *stop < interval.from.lsn);
        interval.backups = stops.partition_point(|stop| *stop <= interval.to.lsn).saturating_sub(begin);
    }
}
