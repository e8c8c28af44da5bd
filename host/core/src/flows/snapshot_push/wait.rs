//! The two waits of a backup, both outside backup mode and both with a deadline.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::cut::{Cut, check_members};
use super::preflight::Prepared;
use super::{PushError, PushRequest};
use crate::flows::Ports;
use crate::postgres::{WalRange, WalSegment};
use crate::provider::{MemberState, SetReference};

/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How long a server may take to explain.
const EXPLANATION_DEADLINE: Duration = Duration::from_secs(10);

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
    loop {
        while let Some(next) = missing.front() {
            if !ports.archive().holds_segment(*next, size, facts.system_identifier).await? {
                break;
            }
            missing.pop_front();
        }
        // A primary whose archiver is refused, since it was rolled back or another one archives in its place, has not archived what
        // lies there under its names.
        let last_failed = if missing.is_empty() && facts.in_recovery { None } else { last_failed(ports, cut).await };
        let next = match (missing.front(), &last_failed) {
            (None, None) => return Ok(()),
            (Some(segment), _) => segment.file_name(size),
            (None, Some(_)) => WalSegment { timeline: range.timeline, number: range.last }.file_name(size),
        };
        if wait.is_over(ports) {
            return Err(PushError::NotArchived { missing: next, waited: request.deadlines.archive, last_failed });
        }
        if wait.reports(ports) {
            tracing::info!(missing = %next, archiver_fails_on = last_failed, "still waiting for the archive");
        }
        wait.pause(ports).await;
    }
}

/// What the server says its archiver fails on. The backup is good without the session: its word is only used to explain.
async fn last_failed(ports: &Ports<'_>, cut: &mut Cut) -> Option<String> {
    let status = tokio::select! {
        status = cut.connection.archiver() => status.ok()?,
        () = ports.clock.sleep(EXPLANATION_DEADLINE) => return None,
    };
    status.last_failed_wal.filter(|_| status.is_failing)
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
