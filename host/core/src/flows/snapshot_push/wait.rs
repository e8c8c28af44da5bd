//! The two waits of a backup, both outside backup mode and both with a deadline.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::cut::{Cut, check_members};
use super::preflight::Prepared;
use super::{PushError, PushRequest};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::Ports;
use crate::postgres::{ArchiverStatus, WalFileName, WalRange, WalSegment, WalSegmentSize};
use crate::provider::{MemberState, SetReference};

/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How long a server may take to explain.
const EXPLANATION_DEADLINE: Duration = Duration::from_secs(10);

/// How often in a row the archiver must be seen calm: what it is refused, it says within these looks.
const CALM_LOOKS: u32 = 5;

/// How often a wait says that it still waits.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);

/// Waits until every segment of the backup is in the archive, readable and this cluster's.
pub(super) async fn until_archived(
    ports: &Ports<'_>,
    cut: &mut Cut,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(), PushError> {
    let facts = &prepared.facts;
    let size = facts.segment_size;
    let range = WalRange::of_backup(facts.timeline, cut.start_lsn, cut.stop_lsn, size);
    let mut missing: VecDeque<WalSegment> = range.segments().collect();
    tracing::info!(segments = missing.len(), "waiting for the WAL of the backup in the archive");
    let mut wait = Wait::new(ports, request.deadlines.archive);
    let mut calm_looks = 0;
    loop {
        while let Some(next) = missing.front() {
            match ports.archive().holds_segment(*next, size, facts.system_identifier).await {
                Ok(true) => {}
                Ok(false) => break,
                // The archive has until the deadline, and so has its store.
                Err(error) if error.class() == ErrorClass::Transient && !wait.is_over(ports) => {
                    tracing::warn!("cannot look into the archive: {}", chain(&error));
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            missing.pop_front();
        }
        let archiver = archiver(ports, cut).await;
        let last_failed = archiver.as_ref().filter(|status| status.is_failing).and_then(|status| status.last_failed_wal.clone());
        let progress = archiver.map_or(Progress::Passed, |status| Progress::of(&status, range, size));
        calm_looks = if progress == Progress::Calm { calm_looks + 1 } else { 0 };
        let has_passed = facts.in_recovery || progress == Progress::Passed || calm_looks >= CALM_LOOKS;
        if missing.is_empty() && has_passed {
            return Ok(());
        }
        let waited = request.deadlines.archive;
        let next = missing.front().map(|segment| segment.file_name(size));
        if wait.is_over(ports) {
            return Err(match next {
                Some(missing) => PushError::NotArchived { missing, waited, last_failed },
                None => PushError::NotArchivedByServer { waited, last_failed },
            });
        }
        if wait.reports(ports) {
            let missing = next.map(|name| name.to_string());
            tracing::info!(missing, archiver_fails_on = last_failed, "still waiting for the archive");
        }
        wait.pause(ports).await;
    }
}

/// How far the server itself has archived.
///
/// Segments of the same names may lie there from before the server was rolled back: then its archiver is refused at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// To the end of the backup.
    Passed,
    /// The history file of the backup is the newest, and it bears the name of the first segment: the last one may be archived or
    /// not be tried yet.
    Calm,
    /// Not as far, or it fails.
    Behind,
}

impl Progress {
    fn of(status: &ArchiverStatus, range: WalRange, size: WalSegmentSize) -> Self {
        let name = status.last_archived_wal.as_deref().and_then(|name| name.parse::<WalFileName>().ok());
        let (Some(name), Some(newest)) = (name, name.and_then(|name| name.segment(size))) else { return Self::Behind };
        if newest.timeline != range.timeline || newest.number < range.first {
            return Self::Behind;
        }
        match name {
            _ if newest.number >= range.last => Self::Passed,
            WalFileName::BackupHistory { .. } if !status.is_failing => Self::Calm,
            _ => Self::Behind,
        }
    }
}

/// What the server says about its archiver; none when it does not answer. The backup is good without the session.
async fn archiver(ports: &Ports<'_>, cut: &mut Cut) -> Option<ArchiverStatus> {
    tokio::select! {
        status = cut.connection.archiver() => status.ok(),
        () = ports.clock.sleep(EXPLANATION_DEADLINE) => None,
    }
}

/// Waits until the storage system says that every member is ready.
pub(super) async fn until_ready(
    ports: &Ports<'_>,
    cut: &mut Cut,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(), PushError> {
    let mut wait = Wait::new(ports, request.deadlines.ready);
    loop {
        check_members(&cut.set)?;
        if cut.set.members.iter().all(|member| member.state == MemberState::Ready) {
            return Ok(());
        }
        if wait.is_over(ports) {
            return Err(PushError::NotReady(request.deadlines.ready));
        }
        if wait.reports(ports) {
            let percent = cut.set.members.iter().filter_map(|member| member.percent).min();
            tracing::info!(percent, "still waiting for the storage system");
        }
        wait.pause(ports).await;
        let found = prepared.provider.get(&SetReference::Handle(cut.set.handle.clone())).await?;
        let gone = || PushError::SnapshotFailed { member: cut.set.handle.clone(), reason: "it is gone".to_owned() };
        let found = found.ok_or_else(gone)?;
        // Only the state may have changed: another set under this handle is not what was cut.
        let same_volumes = found.members.len() == cut.set.members.len()
            && cut.set.members.iter().all(|member| found.members.iter().any(|other| other.volume == member.volume));
        if !same_volumes || found.isolated != cut.set.isolated {
            let reason = "it is not the set that was cut".to_owned();
            return Err(PushError::SnapshotFailed { member: cut.set.handle.clone(), reason });
        }
        cut.set = found;
    }
}

/// A wait with growing pauses.
struct Wait {
    ends_at: Timestamp,
    reports_at: Timestamp,
    pause: Duration,
}

impl Wait {
    fn new(ports: &Ports<'_>, deadline: Duration) -> Self {
        Self { ends_at: later(ports, deadline), reports_at: later(ports, REPORT_INTERVAL), pause: PAUSES.0 }
    }

    fn is_over(&self, ports: &Ports<'_>) -> bool {
        ports.clock.now() >= self.ends_at
    }

    fn reports(&mut self, ports: &Ports<'_>) -> bool {
        let due = ports.clock.now() >= self.reports_at;
        if due {
            self.reports_at = later(ports, REPORT_INTERVAL);
        }
        due
    }

    async fn pause(&mut self, ports: &Ports<'_>) {
        ports.clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

fn later(ports: &Ports<'_>, duration: Duration) -> Timestamp {
    ports.clock.now().saturating_add(duration).unwrap_or(Timestamp::MAX)
}
