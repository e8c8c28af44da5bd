//! Answers whether a target can be reached, from which backup and over which WAL.
//!
//! A target is reachable only from a backup that had STOPPED before it, on the way to the timeline that is followed: a backup
//! that merely started before it is not consistent there yet. One whose snapshots failed is passed over unless it is named, and one
//! whose snapshots are not ready when nobody named any.

use jiff::Timestamp;
use thiserror::Error;

use super::{Line, LineEnd, Standing, TimelineOrigin, WindowBackup, WindowInput};
use crate::catalog::BackupName;
use crate::catalog::age::oldest_first;
use crate::data_directory::{RecoveryTarget, TargetTimeline};
use crate::postgres::{Lsn, TimelineHistory, TimelineId, WalRange, WalSegmentSize};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Where recovery shall stop.
    pub target: &'a RecoveryTarget,
    /// The timeline that it shall follow.
    pub timeline: TargetTimeline,
    /// The backup from which it shall begin.
    pub backup: WantedBackup<'a>,
    /// Now.
    pub now: Timestamp,
}

/// From which backup recovery shall begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedBackup<'a> {
    /// The newest from which the target can be reached.
    Automatic,
    /// The newest of all.
    Latest,
    /// This one.
    Named(&'a BackupName),
}

/// How a target is reached, as far as names and positions tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The backup.
    pub backup: BackupName,
    /// The timeline that is followed.
    pub followed: TimelineId,
    /// What is replayed, in order; all that is there where only the WAL itself tells where the target lies.
    pub replay: Vec<WalRange>,
    /// Up to here the archived WAL can be replayed.
    pub end: Lsn,
    /// Why no further.
    pub ends_because: LineEnd,
}

/// Why a target is not reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The target is still to come.
    #[error("the target {target} lies in the future: it is {now}")]
    Future {
        /// The target.
        target: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// There is none.
    #[error("the catalog holds no backup that can be restored")]
    NoBackups,
    /// There is none of that name.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(BackupName),
    /// It is being deleted.
    #[error("the deletion of the backup `{0}` has begun")]
    Condemned(BackupName),
    /// Its snapshots can never be restored.
    #[error("the snapshot of the backup `{name}` failed in the storage system: {reason}")]
    Failed {
        /// The backup.
        name: BackupName,
        /// The storage system's words.
        reason: String,
    },
    /// Its WAL is not in this archive.
    #[error("the WAL of the backup `{name}` is kept by {place}, and nothing here tells how far it goes")]
    External {
        /// The backup.
        name: BackupName,
        /// Who keeps it, and where.
        place: String,
    },
    /// It is restored to its own end and no further.
    #[error("the backup `{0}` stands alone: the WAL behind its end was given up")]
    Standalone(BackupName),
    /// It had not ended before the target.
    #[error("the target cannot be reached from the backup `{name}`: {reason}")]
    Unreachable {
        /// The backup.
        name: BackupName,
        /// Why.
        reason: String,
    },
    /// It is not known which backup lies before the target.
    #[error("{backups} backups exist, and it is not known which of them lie before the target")]
    Ambiguous {
        /// How many.
        backups: usize,
    },
    /// The timeline that is followed does not go through the backup.
    #[error("timeline {followed} left timeline {own}, on which the backup `{name}` lies, before its end at {stop}")]
    OtherTimeline {
        /// The backup.
        name: BackupName,
        /// Its timeline.
        own: TimelineId,
        /// The timeline that recovery would follow.
        followed: TimelineId,
        /// Where the backup stopped.
        stop: Lsn,
    },
    /// There is no history of the timeline that shall be followed.
    #[error("the archive holds no history of timeline {0}")]
    NoSuchTimeline(TimelineId),
    /// There is one that nobody here can follow.
    #[error("the history of timeline {timeline}, which recovery would follow, cannot be used")]
    History {
        /// The timeline.
        timeline: TimelineId,
        /// What is wrong with its history.
        origin: TimelineOrigin,
    },
    /// Segments between the backup and the target are not archived.
    #[error("WAL that recovery from the backup `{name}` needs is not in the archive")]
    WalMissing {
        /// The backup.
        name: BackupName,
        /// What is missing up to the target; at least one.
        missing: Vec<WalRange>,
        /// Up to here the archived WAL can be replayed; none when not even the backup's own is there.
        end: Option<Lsn>,
    },
    /// The question was put with segments of another size than the backup's.
    #[error("the segments of the backup `{name}` have {} bytes", size.bytes())]
    SegmentSize {
        /// The backup.
        name: BackupName,
        /// Its segment size.
        size: WalSegmentSize,
    },
}

/// Answers; of a moment, a transaction or a restore point only as far as can be told without reading WAL.
pub fn can_restore(input: &WindowInput, question: &Question<'_>) -> Result<Route, Refusal> {
    if let RecoveryTarget::Time(target) = *question.target
        && target > question.now
    {
        return Err(Refusal::Future { target, now: question.now });
    }
    match question.backup {
        WantedBackup::Named(name) => {
            let named = input.backups.iter().find(|backup| &backup.name == name);
            let backup = named.ok_or_else(|| Refusal::NoSuchBackup(name.clone()))?;
            match &backup.standing {
                Standing::Condemned => Err(Refusal::Condemned(name.clone())),
                Standing::Failed(reason) => Err(Refusal::Failed { name: name.clone(), reason: reason.clone() }),
                Standing::Good | Standing::Standalone | Standing::NotReady | Standing::External(_) => {
                    route(input, backup, question)
                }
            }
        }
        WantedBackup::Latest => route(input, candidates(input, question.now).last().ok_or(Refusal::NoBackups)?, question),
        WantedBackup::Automatic => newest_that_reaches(input, question),
    }
}

/// What is restored without being named, the oldest first: of the cluster that is here now, and not failed.
fn candidates(input: &WindowInput, now: Timestamp) -> Vec<&WindowBackup> {
    // What a cluster left that was here before (`pg_upgrade`, `initdb`) is restored by name only.
    let cluster = input.cluster(now);
    let is_wanted = |backup: &&WindowBackup| {
        Some(backup.system_identifier) == cluster && !matches!(backup.standing, Standing::Condemned | Standing::Failed(_))
    };
    oldest_first(input.backups.iter().filter(is_wanted), WindowBackup::age, now)
}

fn newest_that_reaches(input: &WindowInput, question: &Question<'_>) -> Result<Route, Refusal> {
    let is_fit = |backup: &&WindowBackup| match backup.standing {
        Standing::Good => true,
        Standing::Standalone => backup.reaches_alone(question.target),
        Standing::NotReady | Standing::Failed(_) | Standing::Condemned | Standing::External(_) => false,
    };
    let usable: Vec<&WindowBackup> = candidates(input, question.now).into_iter().filter(is_fit).collect();
    // Where a transaction or a restore point lies in the WAL is not known: from a backup after it, recovery would run past it.
    let is_unknown = matches!(question.target, RecoveryTarget::Xid(_) | RecoveryTarget::Name(_));
    if is_unknown && usable.len() > 1 {
        return Err(Refusal::Ambiguous { backups: usable.len() });
    }
    let is_named = matches!(question.timeline, TargetTimeline::Number(_));
    let mut refusal = Refusal::NoBackups;
    for backup in usable.iter().rev() {
        match route(input, backup, question) {
            Ok(found) => return Ok(found),
            // It had not stopped before the target: an older one may have.
            Err(error @ Refusal::Unreachable { .. }) => refusal = error,
            // Only who names the timeline means to go back to before it left.
            Err(error @ Refusal::OtherTimeline { .. }) if is_named => refusal = error,
            Err(error) => return Err(error),
        }
    }
    Err(refusal)
}

/// Finds the way from one backup.
fn route(input: &WindowInput, backup: &WindowBackup, question: &Question<'_>) -> Result<Route, Refusal> {
    let name = || backup.name.clone();
    if let Standing::External(place) = &backup.standing {
        return Err(Refusal::External { name: name(), place: place.clone() });
    }
    let unreachable = |reason: String| Err(Refusal::Unreachable { name: name(), reason });
    match *question.target {
        RecoveryTarget::Time(moment) if moment < backup.finished_at => {
            return unreachable(format!("it finished at {}, after the target {moment}", backup.finished_at));
        }
        RecoveryTarget::Lsn(position) if position < backup.stop => {
            return unreachable(format!("it stopped at {}, after the target {position}", backup.stop));
        }
        _ if backup.standing == Standing::Standalone && !backup.reaches_alone(question.target) => {
            return Err(Refusal::Standalone(name()));
        }
        _ => {}
    }
    if backup.segment_size != input.segment_size {
        return Err(Refusal::SegmentSize { name: name(), size: backup.segment_size });
    }
    let history = followed(input, backup.timeline, question.timeline)?;
    if !history.contains(backup.timeline, backup.stop) {
        let followed = history.timeline();
        return Err(Refusal::OtherTimeline { name: name(), own: backup.timeline, followed, stop: backup.stop });
    }
    let line = Line::new(input, history);
    let own = backup.wal_range();
    let archived = line.stretch_of(backup.start, backup.stop);
    if backup.keeps_wal && (archived.is_none() || *question.target == RecoveryTarget::Immediate) {
        return own_end(&line, backup, question);
    }
    let Some(stretch) = archived else {
        return Err(Refusal::WalMissing { name: name(), missing: line.missing(own.first, own.last), end: None });
    };
    let last = match *question.target {
        RecoveryTarget::Immediate => own.last,
        RecoveryTarget::Lsn(position) => {
            let last = (position.0 / input.segment_size.bytes()).max(own.last);
            // Replay stops at the first record that begins there or later, so there must be one.
            if position >= stretch.end {
                let missing = line.missing(line.next_needed(stretch), last);
                return Err(Refusal::WalMissing { name: name(), missing, end: Some(stretch.end) });
            }
            last
        }
        RecoveryTarget::EndOfWal | RecoveryTarget::Time(_) | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => stretch.last,
    };
    Ok(Route {
        backup: name(),
        followed: line.history().timeline(),
        replay: line.replayed(stretch, own.first, last),
        end: stretch.end,
        ends_because: line.end_of(stretch),
    })
}

/// The way from a backup that keeps its own WAL, over nothing else.
fn own_end(line: &Line<'_>, backup: &WindowBackup, question: &Question<'_>) -> Result<Route, Refusal> {
    if let RecoveryTarget::Lsn(position) = *question.target {
        let first = backup.wal_range().first;
        let missing = line.missing(first, (position.0 / backup.segment_size.bytes()).max(first));
        return Err(Refusal::WalMissing { name: backup.name.clone(), missing, end: Some(backup.stop) });
    }
    Ok(Route {
        backup: backup.name.clone(),
        followed: line.history().timeline(),
        replay: Vec::new(),
        end: backup.stop,
        ends_because: line.end_behind(backup.start),
    })
}

/// The timelines that recovery would go through, as PostgreSQL finds them.
pub(crate) fn followed(input: &WindowInput, own: TimelineId, wanted: TargetTimeline) -> Result<TimelineHistory, Refusal> {
    let origin = |timeline: TimelineId| input.timelines.get(&timeline).map_or(&TimelineOrigin::Missing, |wal| &wal.origin);
    let timeline = match wanted {
        TargetTimeline::Current => own,
        TargetTimeline::Number(timeline) => timeline,
        TargetTimeline::Latest => {
            // From the backup's timeline on, as long as there is a history for the next number.
            let mut newest = own;
            while newest.next() > newest && !matches!(origin(newest.next()), TimelineOrigin::Missing) {
                newest = newest.next();
            }
            newest
        }
    };
    match origin(timeline) {
        TimelineOrigin::Known(history) => Ok(history.clone()),
        TimelineOrigin::First => Ok(TimelineHistory::root(timeline)),
        TimelineOrigin::Missing | TimelineOrigin::Unreadable(_) if timeline == own => Ok(TimelineHistory::root(timeline)),
        TimelineOrigin::Missing if timeline == TimelineId::FIRST => Ok(TimelineHistory::root(timeline)),
        TimelineOrigin::Missing => Err(Refusal::NoSuchTimeline(timeline)),
        origin @ (TimelineOrigin::Damaged(_) | TimelineOrigin::Unreadable(_)) => {
            Err(Refusal::History { timeline, origin: origin.clone() })
        }
    }
}
