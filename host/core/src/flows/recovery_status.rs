//! Says how far a restored server is with what was asked of it, and never that it is there when it is not.
//!
//! A server that is paused may have been paused by a person; so the WAL around the place where it stands is read. One that was
//! promoted has written down why its recovery ended, also those before 13, which end one without its target and say nothing.

mod fork;
mod place;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::data_directory::{AskedRecovery, InspectError, ReadAskedError, RecoveryTarget, read_control};
use crate::error::{Classify, ErrorClass};
use crate::files::FileError;
use crate::flows::Ports;
use crate::postgres::{ConnectionError, Lsn, PgControl, QuerySession, TimelineId, WalSegmentSize};

use fork::Fork;
use place::Place;

/// First version that tells a pause that was asked for from one that has begun.
const FIRST_WITH_PAUSE_STATE: u32 = 14;

/// How the server can be asked.
pub enum Progressed<'a> {
    /// By this session.
    Asked(&'a mut dyn QuerySession),
    /// It runs and takes no sessions yet, and why.
    Silent(String),
    /// It does not run.
    Stopped,
}

/// What is known of a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryStatus {
    /// What was asked.
    pub asked: AskedRecovery,
    /// How far it is.
    pub verdict: Verdict,
    /// Up to where the WAL was replayed, or where the recovery ended.
    pub position: Option<Lsn>,
    /// When the last transaction that was replayed had ended, as the server writes it.
    pub last_transaction: Option<String>,
    /// The timeline that the server is on since its recovery ended.
    pub timeline: Option<TimelineId>,
}

/// How far a recovery is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// No server was started on the copy.
    NotStarted,
    /// It starts, or takes no sessions before it is done.
    Silent(String),
    /// It replays.
    Replaying,
    /// It stands at its target.
    AtTarget,
    /// It stands, and not at its target.
    PausedElsewhere,
    /// It stands, and whether that is at its target cannot be proven.
    PausedUnproven(String),
    /// It takes writes, and had reached what was asked.
    Promoted,
    /// It takes writes, and had not reached its target.
    EndedShort(String),
    /// It ended before its recovery did.
    Stopped,
}

impl Verdict {
    /// Whether what was asked for is there.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        matches!(self, Self::AtTarget | Self::Promoted)
    }

    /// Whether waiting changes nothing: somebody has to act.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotStarted | Self::Silent(_) | Self::Replaying => false,
            Self::AtTarget
            | Self::PausedElsewhere
            | Self::PausedUnproven(_)
            | Self::Promoted
            | Self::EndedShort(_)
            | Self::Stopped => true,
        }
    }
}

/// Looks at the server on `data_directory` once.
pub async fn recovery_status(
    ports: &Ports<'_>,
    data_directory: &Path,
    server: Progressed<'_>,
) -> Result<RecoveryStatus, RecoveryStatusError> {
    let Some(control) = read_control(data_directory)? else {
        return Err(RecoveryStatusError::NotACluster(data_directory.to_owned()));
    };
    let Some(asked) = AskedRecovery::read(data_directory)? else {
        return Err(RecoveryStatusError::NotAsked(data_directory.to_owned()));
    };
    let mut status = RecoveryStatus { asked, verdict: Verdict::Stopped, position: None, last_transaction: None, timeline: None };
    match server {
        Progressed::Asked(session) => ask(ports, data_directory, session, &mut status).await?,
        Progressed::Silent(reason) => status.verdict = Verdict::Silent(reason),
        Progressed::Stopped if control.is_sealed() => status.verdict = Verdict::NotStarted,
        Progressed::Stopped if control.is_in_recovery() => {}
        // It was promoted once, and stopped or killed since.
        Progressed::Stopped => {
            if let Some(timeline) = control.timeline().filter(|timeline| *timeline > status.asked.backup_timeline) {
                judge_promoted(data_directory, timeline, &mut status)?;
            }
        }
    }
    Ok(status)
}

async fn ask(
    ports: &Ports<'_>,
    data_directory: &Path,
    session: &mut dyn QuerySession,
    status: &mut RecoveryStatus,
) -> Result<(), RecoveryStatusError> {
    let answer = Answer::get(session, status.asked.version.major()).await?;
    if Path::new(&answer.data_directory).canonicalize().ok() != data_directory.canonicalize().ok() {
        let found = PathBuf::from(answer.data_directory);
        return Err(RecoveryStatusError::OtherServer { directory: data_directory.to_owned(), found });
    }
    (status.position, status.last_transaction) = (answer.replayed, answer.last_transaction);
    match (answer.is_paused, answer.replayed, answer.timeline) {
        (None, _, Some(timeline)) => return judge_promoted(data_directory, timeline, status),
        (Some(true), Some(replayed), _) => {
            let place = Place { ports, data_directory, size: answer.segment_size, replayed };
            status.verdict = judge_paused(&place, &status.asked).await;
        }
        (Some(_), _, _) | (None, _, None) => status.verdict = Verdict::Replaying,
    }
    Ok(())
}

async fn judge_paused(place: &Place<'_>, asked: &AskedRecovery) -> Verdict {
    let is_at = |is_there: bool| if is_there { Verdict::AtTarget } else { Verdict::PausedElsewhere };
    match &asked.target {
        // It ends by a promotion, and never by a pause.
        RecoveryTarget::EndOfWal => Verdict::PausedElsewhere,
        RecoveryTarget::Lsn(position) => is_at(place.replayed >= *position),
        RecoveryTarget::Immediate => is_at(place.replayed >= asked.stop_lsn),
        RecoveryTarget::Time(_) | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => match place.is_at(asked).await {
            Ok(is_there) => is_at(is_there),
            Err(reason) => Verdict::PausedUnproven(reason),
        },
    }
}

fn judge_promoted(data_directory: &Path, timeline: TimelineId, status: &mut RecoveryStatus) -> Result<(), RecoveryStatusError> {
    status.timeline = Some(timeline);
    status.verdict = match Fork::read(data_directory, timeline)? {
        Some(fork) => {
            status.position = Some(fork.position);
            match fork.falls_short_of(&status.asked.target) {
                None => Verdict::Promoted,
                Some(reason) => Verdict::EndedShort(reason),
            }
        }
        None => Verdict::EndedShort("it has not begun a timeline, so that it did not recover from the archive".to_owned()),
    };
    Ok(())
}

/// What a server says of itself.
struct Answer {
    data_directory: String,
    /// None when it is not in recovery.
    is_paused: Option<bool>,
    replayed: Option<Lsn>,
    last_transaction: Option<String>,
    /// None in recovery.
    timeline: Option<TimelineId>,
    segment_size: WalSegmentSize,
}

impl Answer {
    async fn get(session: &mut dyn QuerySession, major: u32) -> Result<Self, ConnectionError> {
        let paused = if major >= FIRST_WITH_PAUSE_STATE {
            "pg_catalog.pg_get_wal_replay_pause_state() OPERATOR(pg_catalog.=) 'paused'"
        } else {
            "pg_catalog.pg_is_wal_replay_paused()"
        };
        let statement = format!(
            "SELECT pg_catalog.current_setting('data_directory'), \
             CASE WHEN pg_catalog.pg_is_in_recovery() THEN {paused} END, \
             CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() END, \
             pg_catalog.pg_last_xact_replay_timestamp(), \
             CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END, \
             (SELECT bytes_per_wal_segment FROM pg_catalog.pg_control_init())"
        );
        let row = session.query(&statement).await?.into_iter().flatten().next().unwrap_or_default();
        let text = |place: usize| row.get(place).cloned().flatten();
        let timeline = text(4).and_then(|name| u32::from_str_radix(name.get(..8)?, 16).ok());
        let size = text(5).and_then(|size| size.parse::<u32>().ok()).and_then(|size| WalSegmentSize::try_from(size).ok());
        Ok(Self {
            data_directory: text(0).unwrap_or_default(),
            is_paused: text(1).map(|paused| paused == "t"),
            replayed: text(2).and_then(|position| position.parse().ok()),
            last_transaction: text(3),
            timeline: timeline.and_then(|timeline| TimelineId::new(timeline).ok()),
            segment_size: size.unwrap_or_default(),
        })
    }
}

/// Why nothing is known.
#[derive(Debug, Error)]
pub enum RecoveryStatusError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// What was asked is not known.
    #[error(transparent)]
    Asked(#[from] ReadAskedError),
    /// The server failed or refused.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// There is no cluster.
    #[error("`{}` is no data directory: it lacks `{}`", .0.display(), PgControl::PATH)]
    NotACluster(PathBuf),
    /// No restore is known there.
    #[error("`{}` was not prepared by a restore that says what was asked of it", .0.display())]
    NotAsked(PathBuf),
    /// The session is one of another server.
    #[error("the server that answers has the data directory `{}`, and not `{}`", found.display(), directory.display())]
    OtherServer {
        /// The one that was named.
        directory: PathBuf,
        /// The server's.
        found: PathBuf,
    },
}

impl Classify for RecoveryStatusError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Inspect(error) => error.class(),
            Self::Asked(error) => error.class(),
            Self::Connection(error) => error.class(),
            Self::NotACluster(_) | Self::NotAsked(_) | Self::OtherServer { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Inspect(error) => error.hint(),
            Self::Asked(error) => error.hint(),
            Self::Connection(error) => error.hint(),
            Self::NotACluster(_) | Self::NotAsked(_) => Some("name the data directory that `snapshot-fetch` restored".to_owned()),
            Self::OtherServer { .. } => Some("name the server with --conninfo".to_owned()),
        }
    }
}
