//! The two waits of a backup, both outside backup mode and both with a deadline.

use std::time::Duration;

use jiff::Timestamp;

use super::cut::{Cut, check_members};
use super::preflight::Prepared;
use super::{PushError, PushRequest};
use crate::flows::Ports;
use crate::postgres::{WalFileName, WalRange};
use crate::provider::{MemberState, SetReference};

/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How often a wait says that it still waits.
const REPORT_INTERVAL: Duration = Duration::from_secs(15);

/// Waits until every segment of the backup is in the archive.
pub(super) async fn until_archived(
    ports: &Ports<'_>,
    cut: &mut Cut,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(), PushError> {
    let size = prepared.facts.segment_size;
    let range = WalRange::of_backup(prepared.facts.timeline, cut.start_lsn, cut.stop_lsn, size);
    let mut missing: Vec<WalFileName> = range.segments().map(|segment| segment.file_name(size)).collect();
    tracing::info!(segments = missing.len(), "waiting for the WAL of the backup in the archive");
    let mut wait = Wait::new(ports, request.deadlines.archive);
    loop {
        while let Some(next) = missing.first().copied() {
            if !ports.archive().contains(next).await? {
                break;
            }
            missing.remove(0);
        }
        let Some(next) = missing.first().copied() else { return Ok(()) };
        // The session may be gone by now, and the backup is good without it: its word is only used to explain.
        let failing = cut.connection.archiver().await.ok().filter(|status| status.is_failing);
        let last_failed = failing.and_then(|status| status.last_failed_wal);
        if wait.is_over(ports) {
            return Err(PushError::NotArchived { missing: next, waited: request.deadlines.archive, last_failed });
        }
        if wait.reports(ports) {
            tracing::info!(missing = %next, archiver_fails_on = last_failed, "still waiting for the archive");
        }
        wait.pause(ports).await;
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
        cut.set = found.ok_or_else(gone)?;
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
