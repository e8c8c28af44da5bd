//! Answers whether a target can be reached, before anything is touched: from which backup, over which WAL, or what is missing.
//!
//! It is the calculation by which `snapshot-fetch` chooses.

use crate::catalog::{Backup, CatalogContents, CatalogError};
use crate::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use crate::flows::archive_map;
use crate::flows::snapshot_fetch::{BackupSelector, FetchError, choose, increment};
use crate::flows::wal_scan::{Reached, WalScan};
use crate::flows::wal_search::{Searched, Sought, is_sought, search};
use crate::flows::{Ports, settle_states};
use crate::postgres::{Lsn, WalMark, WalRange, WalSegmentSize};
use crate::window::{Refusal, Route, WindowInput, ranges};

/// What is asked.
#[derive(Debug, Clone)]
pub struct CanRestoreRequest {
    /// Where recovery shall stop.
    pub target: RecoveryTarget,
    /// Whether what is exactly at the target belongs to the result.
    pub inclusion: Inclusion,
    /// The timeline that it shall follow.
    pub timeline: TargetTimeline,
    /// The backup from which it shall begin.
    pub selector: BackupSelector,
    /// Segments that are read at most.
    pub scan: u64,
}

/// The answer.
#[derive(Debug)]
pub struct CanRestoreReport {
    /// Yes, no, or not proven.
    pub answer: RestoreAnswer,
    /// Segment size of the archive.
    pub segment_size: WalSegmentSize,
    /// How it is reached; none when no backup reaches it.
    pub route: Option<Route>,
    /// The backup of that route.
    pub backup: Option<Backup>,
    /// Segments that would be replayed.
    pub replay_segments: u64,
    /// Their bytes, as stored.
    pub replay_stored_bytes: u64,
    /// The restore point or the transaction, where it was found in the WAL.
    pub found: Option<WalMark>,
    /// What is missing up to the target, as far as it is known.
    pub missing: Vec<WalRange>,
    /// Records of backups that could not be read: one of them may reach it.
    pub unreadable: Vec<CatalogError>,
}

/// Whether a target can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreAnswer {
    /// It can.
    Yes,
    /// It cannot, and why.
    No(String),
    /// As far as names and positions tell it can, and why that is no proof; or a backup that may reach it cannot be read.
    NotProven(String),
}

/// Answers; changes nothing but what is known of the readiness of backups.
pub async fn can_restore(ports: &Ports<'_>, request: &CanRestoreRequest) -> Result<CanRestoreReport, FetchError> {
    let mut contents = ports.catalog().contents().await?;
    settle_states(ports, &mut contents).await;
    let resolved = of_increment(ports, &contents, request).await?;
    let request = resolved.as_ref().unwrap_or(request);
    let files = ports.archive().list().await?;
    let (input, decided) = choose::decide(ports, &contents, &files, &choose::Wish::of_request(request)).await?;
    let mut scan = WalScan::new(ports, input.segment_size, request.scan);
    let outcome = match decided {
        Ok(_) | Err(Refusal::Ambiguous { .. }) if is_sought(&request.target) => {
            let sought = Sought { target: &request.target, timeline: request.timeline, selector: &request.selector };
            Outcome::of_search(search(ports, &input, sought, &mut scan).await?)
        }
        Ok(route) => {
            let reached = scan.reaches(&route, &request.target, request.inclusion).await?;
            judge(&input, route, reached)
        }
        Err(refusal @ (Refusal::NoSuchBackup(_) | Refusal::History { .. })) => {
            return Err(choose::refused(refusal, &contents, &input));
        }
        Err(Refusal::WalMissing { name, missing, end }) => {
            let reason = Refusal::WalMissing { name, missing: Vec::new(), end }.to_string();
            Outcome { missing, ..Outcome::no(reason) }
        }
        Err(refusal) => Outcome::no(refusal.to_string()),
    };
    let answer = match outcome.answer {
        RestoreAnswer::No(reason) if !contents.unreadable.is_empty() => {
            RestoreAnswer::NotProven(format!("{reason}; but not every record of a backup can be read"))
        }
        answer => answer,
    };
    let replay = outcome.route.as_ref().map_or(&[][..], |route| &route.replay);
    let is_replayed = |file: &&crate::catalog::ArchivedFile| archive_map::is_of(file, replay, input.segment_size);
    Ok(CanRestoreReport {
        answer,
        segment_size: input.segment_size,
        backup: outcome.route.as_ref().and_then(|route| contents.find(&route.backup).cloned()),
        replay_segments: ranges::count(replay),
        replay_stored_bytes: files.iter().filter(is_replayed).map(|file| file.size_bytes).sum(),
        found: outcome.found,
        missing: outcome.missing,
        route: outcome.route,
        unreadable: contents.unreadable,
    })
}

/// The question that an increment stands for; none if it names none.
async fn of_increment(
    ports: &Ports<'_>,
    contents: &CatalogContents,
    request: &CanRestoreRequest,
) -> Result<Option<CanRestoreRequest>, FetchError> {
    let BackupSelector::Increment(name) = &request.selector else { return Ok(None) };
    let increment = increment::find(contents, name)?;
    increment::refuse_target(name, &request.target, request.inclusion)?;
    // Where its record cannot be read, the question says why: what is missing, or which key.
    let last = Lsn(increment.to.0.saturating_sub(1));
    let position = match increment::locate(ports, increment).await {
        Ok(begin) => begin,
        Err(FetchError::Increment(_)) => last,
        Err(error) => return Err(error),
    };
    Ok(Some(CanRestoreRequest {
        target: RecoveryTarget::Lsn(position),
        inclusion: Inclusion::Inclusive,
        timeline: TargetTimeline::Number(increment.timeline),
        selector: BackupSelector::Named(increment.parent.clone()),
        scan: request.scan,
    }))
}

/// What came out of it.
struct Outcome {
    answer: RestoreAnswer,
    route: Option<Route>,
    found: Option<WalMark>,
    missing: Vec<WalRange>,
}

impl Outcome {
    fn no(reason: String) -> Self {
        Self { answer: RestoreAnswer::No(reason), route: None, found: None, missing: Vec::new() }
    }

    fn of_search(searched: Searched) -> Self {
        match searched {
            Searched::Found { mark, route, doubt } => {
                let answer = doubt.map_or(RestoreAnswer::Yes, |reason| {
                    RestoreAnswer::NotProven(format!("{reason}, so that an earlier one of that name is not ruled out"))
                });
                Self { answer, route: Some(route), found: Some(mark), missing: Vec::new() }
            }
            Searched::Absent { missing } => {
                Self { missing, ..Self::no("it is not in the WAL that can be replayed from any backup".to_owned()) }
            }
            Searched::Unread(reason) => {
                let answer = RestoreAnswer::NotProven(format!("it was not found in what was read: {reason}"));
                Self { answer, ..Self::no(String::new()) }
            }
        }
    }
}

fn judge(input: &WindowInput, route: Route, reached: Reached) -> Outcome {
    let missing = choose::missing_behind(input, &route);
    match reached {
        Reached::Yes => Outcome { answer: RestoreAnswer::Yes, route: Some(route), found: None, missing: Vec::new() },
        Reached::Unknown(reason) => {
            Outcome { answer: RestoreAnswer::NotProven(reason), route: Some(route), found: None, missing: Vec::new() }
        }
        Reached::No(last) => Outcome { missing, ..Outcome::no(choose::ends_before(&route, last)) },
    }
}
