//! How far a drill recovers, found by reading the WAL that will be replayed, before anything is restored.
//!
//! The end of the archive is a position here: a server that is given none would promote itself there, and one that stopped early could
//! not be told from one that got there. And a tablespace that is made in the WAL is made where it lay: beside a living cluster, replaying
//! that would write into its files. No setting prevents it, so nothing is replayed that holds it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Stop;
use super::{DrillError, DrillRequest, DrillTarget};
use crate::catalog::{Backup, Sentinel};
use crate::data_directory::{Archiving, Inclusion, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::{FetchError, Ports};
use crate::postgres::{Lsn, TimelineHistory, TimelineId, WalFileName, WalRange, WalReader, WalSegment, WalSegmentSize};

/// Files are archived several at a time, so that a later one may be there for a moment before an earlier one.
const GAP_LOOKS: usize = 6;
const GAP_PAUSE: Duration = Duration::from_secs(5);

/// Where recovery goes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) recovery: RecoverySettings,
    /// Replay has to end here or later.
    pub(super) at_least: Lsn,
    /// The target in words.
    pub(super) words: String,
    pub(super) remark: Option<String>,
}

impl Plan {
    /// Whether the target is a position, so that the place where recovery ended tells whether it was reached.
    pub(super) fn is_position(&self) -> bool {
        matches!(
            (&self.recovery.target, self.recovery.inclusive),
            (RecoveryTarget::Lsn(_), Inclusion::Inclusive) | (RecoveryTarget::Immediate, _)
        )
    }
}

/// Reads what will be replayed, and plans.
pub(super) async fn plan(ports: &Ports<'_>, request: &DrillRequest, backup: &Backup) -> Result<Plan, Stop> {
    let sentinel = &backup.sentinel;
    let path = followed_path(ports, sentinel.timeline, request.timeline).await?;
    let target = match &request.target {
        // It goes no further than to its own end.
        DrillTarget::EndOfArchive if backup.is_standalone => DrillTarget::Given(RecoveryTarget::Immediate, Inclusion::Inclusive),
        other => other.clone(),
    };
    let size = sentinel.segment_size;
    let until = match &target {
        DrillTarget::Given(RecoveryTarget::Immediate, _) => sentinel.wal_range().last,
        DrillTarget::Given(RecoveryTarget::Lsn(position), _) => WalSegment::containing(path.timeline(), *position, size).number + 1,
        _ => u64::MAX,
    };
    let replay = read(ports, sentinel, &path, until).await?;
    let outside = replay.tablespace.as_ref().map(|(position, location)| DrillError::TablespaceOutside {
        name: sentinel.name.clone(),
        position: *position,
        location: location.clone(),
    });
    let made_at = replay.tablespace.as_ref().map(|(position, _)| *position);
    if let Some(error) = outside
        && !is_before(&target, &replay, made_at, sentinel.stop_lsn)
    {
        return Err(error.into());
    }
    let timeline = path.timeline();
    let (target, at_least, words, remark) = match target {
        DrillTarget::EndOfArchive => end_of_archive(sentinel, timeline, &replay)?,
        DrillTarget::Given(target, inclusion) => {
            let at_least = match (&target, inclusion) {
                // Replay has ended behind the record that begins there.
                (RecoveryTarget::Lsn(position), Inclusion::Inclusive) => Lsn(position.0 + 1),
                _ => sentinel.stop_lsn,
            };
            let words = in_words(&target, inclusion);
            ((target, inclusion), at_least, format!("{words} on timeline {timeline}"), None)
        }
    };
    let recovery = RecoverySettings {
        restore_command: request.restore_command.clone(),
        target: target.0,
        inclusive: target.1,
        // By its number: another one may appear while the copy recovers.
        timeline: if timeline == sentinel.timeline { TargetTimeline::Current } else { TargetTimeline::Number(timeline) },
        action: TargetAction::Pause,
        archiving: Archiving::Off,
    };
    Ok(Plan { recovery, at_least, words, remark })
}

type Chosen = ((RecoveryTarget, Inclusion), Lsn, String, Option<String>);

/// The last record that is whole, or the last before a tablespace is made outside of the copy.
fn end_of_archive(sentinel: &Sentinel, timeline: TimelineId, replay: &Replay) -> Result<Chosen, Stop> {
    if let (Some(missing), None) = (replay.gap, &replay.tablespace) {
        return Err(Stop::Failed(format!(
            "`{missing}` is missing from the archive, and with it the way to what is archived behind it"
        )));
    }
    if let (Some((position, file)), None) = (replay.torn, &replay.tablespace) {
        return Err(Stop::Failed(format!("the WAL ends at {position} in `{file}`, though files behind it are archived")));
    }
    let remark = replay.tablespace.as_ref().map(|(position, location)| {
        format!("recovery ends before {position}, where a tablespace was made in `{}`: a new backup knows it", location.display())
    });
    match replay.last {
        Some(last) if last >= sentinel.stop_lsn => {
            let end = if remark.is_some() { "the WAL up to a new tablespace" } else { "the end of the archive" };
            let words = format!("{end}, {last} on timeline {timeline}");
            Ok(((RecoveryTarget::Lsn(last), Inclusion::Inclusive), Lsn(last.0 + 1), words, remark))
        }
        // Nothing is archived behind the backup.
        _ => {
            let words = format!("the end of the archive and of the backup, {} on timeline {timeline}", sentinel.stop_lsn);
            Ok(((RecoveryTarget::Immediate, Inclusion::Inclusive), sentinel.stop_lsn, words, remark))
        }
    }
}

/// Whether recovery surely stops before the record that makes the tablespace.
fn is_before(target: &DrillTarget, replay: &Replay, made_at: Option<Lsn>, stop: Lsn) -> bool {
    let Some(made_at) = made_at else { return true };
    match target {
        DrillTarget::EndOfArchive | DrillTarget::Given(RecoveryTarget::Immediate, _) => made_at >= stop,
        DrillTarget::Given(RecoveryTarget::Lsn(position), _) => replay.last.is_some_and(|last| last >= *position),
        // Where they lie is not known.
        DrillTarget::Given(..) => false,
    }
}

fn in_words(target: &RecoveryTarget, inclusion: Inclusion) -> String {
    let before = if inclusion == Inclusion::Exclusive { "just before " } else { "" };
    match target {
        RecoveryTarget::EndOfWal => "the end of the archive".to_owned(),
        RecoveryTarget::Time(moment) => format!("{before}{moment}"),
        RecoveryTarget::Lsn(position) => format!("{before}{position}"),
        RecoveryTarget::Xid(number) => format!("{before}transaction {number}"),
        RecoveryTarget::Name(name) => format!("the restore point `{name}`"),
        RecoveryTarget::Immediate => "the end of the backup".to_owned(),
    }
}

/// What will be replayed.
#[derive(Debug, Default)]
struct Replay {
    /// Where the last record begins, of those before a tablespace is made outside.
    last: Option<Lsn>,
    /// Where that happens first, and its place.
    tablespace: Option<(Lsn, PathBuf)>,
    /// The first file that is missing although one behind it is there.
    gap: Option<WalFileName>,
    /// Where the records end although there are files behind.
    torn: Option<(Lsn, WalFileName)>,
}

/// Reads the segments from the backup's start on, as the server will.
async fn read(ports: &Ports<'_>, sentinel: &Sentinel, path: &TimelineHistory, until: u64) -> Result<Replay, Stop> {
    let (archive, size) = (ports.archive(), sentinel.segment_size);
    let range = sentinel.wal_range();
    let (files, gap) = settled(ports, path, range, size, until).await?;
    let mut replay = Replay::default();
    let mut reader = WalReader::default();
    for (place, segment) in files.iter().enumerate().take_while(|(_, segment)| segment.number <= until) {
        let name = segment.file_name(size);
        let content = match archive.fetch(name).await {
            Ok(Some(content)) => content,
            Ok(None) => return Err(Stop::Failed(format!("`{name}` is not in the archive any more"))),
            Err(error) if error.class() == ErrorClass::Corrupt => return Err(Stop::Failed(format!("`{name}`: {}", chain(&error)))),
            Err(error) => return Err(error.into()),
        };
        let mut end = segment.begin(size);
        reader.read(end, &content, |record| {
            end = record.start;
            if record.start < sentinel.start_lsn || replay.tablespace.is_some() {
                return;
            }
            match record.created_tablespace() {
                // One inside the data directory is made in the copy.
                Some(location) if location.is_absolute() => replay.tablespace = Some((record.start, location)),
                _ => replay.last = Some(record.start),
            }
        });
        if replay.tablespace.is_some() {
            return Ok(replay);
        }
        if reader.is_at_end() {
            replay.torn = (place + 1 < files.len() || gap.is_some()).then_some((end, name));
            return Ok(replay);
        }
    }
    replay.gap = gap;
    Ok(replay)
}

/// The segments that the server will find one after the other, and the first that it will miss although a later one is there.
async fn settled(
    ports: &Ports<'_>,
    path: &TimelineHistory,
    own: WalRange,
    size: WalSegmentSize,
    until: u64,
) -> Result<(Vec<WalSegment>, Option<WalFileName>), DrillError> {
    let mut looks = 0;
    loop {
        let files = ports.archive().list().await?;
        let segments = files.iter().filter(|file| matches!(file.name, WalFileName::Segment { .. }));
        let archived: BTreeSet<WalSegment> = segments.filter_map(|file| file.name.segment(size)).collect();
        let found: Vec<WalSegment> = (own.first..).map_while(|number| on_path(path, number, size, &archived)).collect();
        let next = own.first + found.len() as u64;
        let is_behind = |segment: &&WalSegment| segment.number > next && segment.timeline == path.timeline();
        if next > until || archived.iter().find(is_behind).is_none() {
            return Ok((found, None));
        }
        looks += 1;
        // The WAL of the backup itself was there before it was published.
        if looks == GAP_LOOKS || next <= own.last {
            return Ok((found, Some(WalSegment { timeline: path.timeline(), number: next }.file_name(size))));
        }
        ports.clock.sleep(GAP_PAUSE).await;
    }
}

/// The file that holds this segment of the path: that of the newest timeline that it can be of.
fn on_path(path: &TimelineHistory, number: u64, size: WalSegmentSize, archived: &BTreeSet<WalSegment>) -> Option<WalSegment> {
    let segment_of = |position: Lsn| position.0 / size.bytes();
    let mut begin = 0;
    let mut spans = Vec::new();
    for fork in path.ancestors() {
        spans.push((fork.timeline, begin, segment_of(fork.position)));
        begin = segment_of(fork.position);
    }
    spans.push((path.timeline(), begin, u64::MAX));
    let fitting = spans.into_iter().rev().filter(|(_, begin, end)| (*begin..=*end).contains(&number));
    fitting.map(|(timeline, ..)| WalSegment { timeline, number }).find(|segment| archived.contains(segment))
}

/// The timelines that recovery goes through.
async fn followed_path(ports: &Ports<'_>, own: TimelineId, target: TargetTimeline) -> Result<TimelineHistory, DrillError> {
    let archive = ports.archive();
    let timeline = match target {
        TargetTimeline::Current => own,
        TargetTimeline::Number(timeline) => timeline,
        TargetTimeline::Latest => {
            let mut newest = own;
            while archive.history(newest.next()).await?.is_some() {
                newest = newest.next();
            }
            newest
        }
    };
    if timeline == own {
        return Ok(TimelineHistory::root(own));
    }
    Ok(archive.history(timeline).await?.ok_or(FetchError::NoSuchTimeline(timeline))?)
}
