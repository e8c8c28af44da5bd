//! How far a drill recovers, found by reading the WAL that will be replayed, before anything is restored.
//!
//! The end of the archive is a position here: a server that is given none would promote itself there, and one that stopped early could
//! not be told from one that got there. And a tablespace that is made in the WAL is made where it lay: beside a living cluster, replaying
//! that would write into its files. No setting prevents it, so nothing is replayed that holds it.

use std::path::PathBuf;
use std::time::Duration;

use super::error::{Stop, judge};
use super::{DrillError, DrillRequest, DrillTarget};
use crate::catalog::{Backup, CatalogContents, Sentinel};
use crate::data_directory::{Archiving, Inclusion, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::snapshot_fetch::choose;
use crate::flows::{FetchError, Ports, archive_map};
use crate::postgres::{Lsn, TimelineId, WalFileName, WalReader, WalSegment};
use crate::window::{self, LineEnd, Question, WantedBackup};

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
    let target = match &request.target {
        // It goes no further than to its own end.
        DrillTarget::EndOfArchive if backup.is_standalone => DrillTarget::Given(RecoveryTarget::Immediate, Inclusion::Inclusive),
        other => other.clone(),
    };
    // It would be promoted there, which no drill may be.
    if let (true, DrillTarget::Given(RecoveryTarget::Immediate, _)) = (sentinel.is_cold, &target) {
        return Err(at_shutdown(sentinel).into());
    }
    let size = sentinel.segment_size;
    let until = match &target {
        DrillTarget::Given(RecoveryTarget::Immediate, _) => sentinel.wal_range().last,
        DrillTarget::Given(RecoveryTarget::Lsn(position), _) => position.0 / size.bytes() + 1,
        _ => u64::MAX,
    };
    let way = way(ports, request, backup, &target, until).await?;
    let replay = read(ports, sentinel, &way, until).await?;
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
    let timeline = way.timeline;
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
        Some(last) if last > sentinel.stop_lsn || (last == sentinel.stop_lsn && !sentinel.is_cold) => {
            let end = if remark.is_some() { "the WAL up to a new tablespace" } else { "the end of the archive" };
            let words = format!("{end}, {last} on timeline {timeline}");
            Ok(((RecoveryTarget::Lsn(last), Inclusion::Inclusive), Lsn(last.0 + 1), words, remark))
        }
        // The last record is the shutdown, or not even that is archived.
        _ if sentinel.is_cold => Err(at_shutdown(sentinel).into()),
        // Nothing is archived behind the backup.
        _ => {
            let words = format!("the end of the archive and of the backup, {} on timeline {timeline}", sentinel.stop_lsn);
            Ok(((RecoveryTarget::Immediate, Inclusion::Inclusive), sentinel.stop_lsn, words, remark))
        }
    }
}

fn at_shutdown(sentinel: &Sentinel) -> DrillError {
    DrillError::AtShutdown { name: sentinel.name.clone(), position: sentinel.stop_lsn }
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
async fn read(ports: &Ports<'_>, sentinel: &Sentinel, way: &Way, until: u64) -> Result<Replay, Stop> {
    let (archive, size) = (ports.archive(), sentinel.segment_size);
    let mut replay = Replay::default();
    let mut reader = WalReader::default();
    for (place, segment) in way.segments.iter().enumerate().take_while(|(_, segment)| segment.number <= until) {
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
            replay.torn = (place + 1 < way.segments.len() || way.gap.is_some()).then_some((end, name));
            return Ok(replay);
        }
    }
    replay.gap = way.gap;
    Ok(replay)
}

/// What the server will find, one after the other.
struct Way {
    /// The timeline that is followed.
    timeline: TimelineId,
    segments: Vec<WalSegment>,
    /// The first segment that it will miss although a later one is there.
    gap: Option<WalFileName>,
}

/// Finds the way as `snapshot-fetch` will, by the calculation of the window; a hole is looked at again before it is believed.
async fn way(ports: &Ports<'_>, request: &DrillRequest, backup: &Backup, target: &DrillTarget, until: u64) -> Result<Way, Stop> {
    let sentinel = &backup.sentinel;
    let contents = CatalogContents { backups: vec![backup.clone()], ..CatalogContents::default() };
    let question = Question {
        target: match target {
            DrillTarget::Given(RecoveryTarget::Immediate, _) => &RecoveryTarget::Immediate,
            // Whatever the target is, all that may be replayed is read.
            DrillTarget::Given(..) | DrillTarget::EndOfArchive => &RecoveryTarget::EndOfWal,
        },
        timeline: request.timeline,
        backup: WantedBackup::Named(&sentinel.name),
        now: ports.clock.now(),
    };
    let mut looks = 0;
    loop {
        let files = ports.archive().list().await.map_err(DrillError::from)?;
        let input = archive_map::window_input(ports, &contents, &files, sentinel.segment_size).await.map_err(FetchError::from)?;
        let route = window::can_restore(&input, &question).map_err(|refusal| judge(choose::refused(refusal, &contents, &input)))?;
        let gap = match &route.ends_because {
            LineEnd::Missing(missing) => {
                missing.iter().find(|range| range.first <= until).and_then(|range| range.segments().next())
            }
            LineEnd::ArchiveEnds => None,
        };
        looks += 1;
        if gap.is_none() || looks == GAP_LOOKS {
            return Ok(Way {
                timeline: route.followed,
                segments: route.replay.iter().flat_map(|range| range.segments()).collect(),
                gap: gap.map(|segment| segment.file_name(sentinel.segment_size)),
            });
        }
        ports.clock.sleep(GAP_PAUSE).await;
    }
}
