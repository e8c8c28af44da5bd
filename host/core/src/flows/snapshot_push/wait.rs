//! The two waits of a backup, both outside backup mode and both with a deadline.

use std::collections::VecDeque;
use std::time::Duration;

use super::archiver::{self, ArchiverRole, Position};
use super::cut::{Cut, check_members};
use super::preflight::{Part, Prepared};
use super::{PushError, PushRequest, Readiness};
use crate::catalog::{ArchiveError, WalArchive};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::{Phase, Ports, Step};
use crate::postgres::{
    ArchiverStatus, Connection, HeaderError, Lsn, ServerFacts, SystemIdentifier, WalFileName, WalRange, WalSegment, WalSegmentSize,
};
use crate::provider::{Member, MemberState, SetReference, SnapshotSet, total_bytes};

/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How often in a row the archiver must be seen calm: what it is refused, it says within these looks.
const CALM_LOOKS: u32 = 5;

/// How long another tool may take to finish an object that is there already.
const UNFINISHED: Duration = Duration::from_secs(10);

/// The WAL of a backup that shall come into the archive.
pub(in crate::flows) struct Awaited {
    pub(in crate::flows) range: WalRange,
    pub(in crate::flows) size: WalSegmentSize,
    pub(in crate::flows) cluster: SystemIdentifier,
    /// What the archiver of the server that is asked means for it.
    pub(in crate::flows) role: ArchiverRole,
    pub(in crate::flows) deadline: Duration,
}

impl Awaited {
    /// What a backup of this server needs from its start to its stop.
    pub(in crate::flows) fn of(facts: &ServerFacts, start: Lsn, stop: Lsn, role: ArchiverRole, deadline: Duration) -> Self {
        let size = facts.segment_size;
        let range = WalRange::of_backup(facts.timeline, start, stop, size);
        Self { range, size, cluster: facts.system_identifier, role, deadline }
    }
}

/// What tells that the WAL of a backup is archived.
pub(super) enum Evidence<'a> {
    /// Every segment is read there, beside what the server says of its archiver.
    Contents(&'a WalArchive<'a>),
    /// The same where another tool writes, which may show what it has not finished under another name.
    Foreign(&'a WalArchive<'a>),
    /// The server's archiver alone.
    Archiver,
    /// Nobody: a standby has no archiver of its own.
    Nobody,
}

impl Evidence<'_> {
    /// How far the archiver is, as far as that counts.
    fn position(&self, role: ArchiverRole, status: Option<&ArchiverStatus>, range: WalRange, size: WalSegmentSize) -> Position {
        match (self, status) {
            // It need not answer: what is there was read.
            (Self::Contents(_) | Self::Foreign(_), status) => role.position(status, range, size),
            (Self::Archiver, Some(status)) if is_beyond(status, range, size) => Position::Passed,
            (Self::Archiver | Self::Nobody, _) => Position::Behind,
        }
    }
}

/// Waits until every segment of the backup is in the archive, readable and this cluster's. The server is asked how its archiver gets
/// on, as long as there is a session.
pub(in crate::flows) async fn until_archived(
    ports: &Ports<'_>,
    awaited: &Awaited,
    connection: Option<&mut (dyn Connection + 'static)>,
) -> Result<(), PushError> {
    until_proven(ports, &Evidence::Contents(&ports.archive()), awaited, connection).await
}

/// The same by this evidence.
pub(super) async fn until_proven(
    ports: &Ports<'_>,
    evidence: &Evidence<'_>,
    awaited: &Awaited,
    mut connection: Option<&mut (dyn Connection + 'static)>,
) -> Result<(), PushError> {
    let Awaited { range, size, role, deadline, .. } = *awaited;
    let mut missing: VecDeque<WalSegment> = match evidence {
        Evidence::Contents(_) | Evidence::Foreign(_) => range.segments().collect(),
        Evidence::Archiver | Evidence::Nobody => VecDeque::new(),
    };
    let total = missing.len() as u64;
    tracing::info!(segments = missing.len(), "waiting for the WAL of the backup in the archive");
    ports.progress.report(&Step { done: Some(0), total: Some(total), ..Step::begun(Phase::Archive) });
    let mut wait = Wait::new(ports, deadline);
    let mut calm_looks = 0;
    let mut unreadable_since = None;
    loop {
        let patience =
            Patience { now: ports.clock.uptime(), unreadable_since: &mut unreadable_since, is_over: wait.is_over(ports) };
        take_archived(evidence, &mut missing, awaited, patience).await?;
        let status = archiver::status(ports, connection.as_deref_mut()).await;
        let position = evidence.position(role, status.as_ref(), range, size);
        let last_failed = status.filter(|status| status.is_failing).and_then(|status| status.last_failed_wal);
        calm_looks = if position == Position::Calm { calm_looks + 1 } else { 0 };
        let has_passed = position == Position::Passed || calm_looks >= CALM_LOOKS;
        if missing.is_empty() && has_passed {
            return Ok(());
        }
        let next = missing.front().map(|segment| segment.file_name(size));
        if wait.is_over(ports) {
            return Err(match next {
                Some(missing) if role == ArchiverRole::Alone => PushError::NotEnded { missing, waited: deadline },
                Some(missing) => PushError::NotArchived { missing, waited: deadline, last_failed },
                None => PushError::NotArchivedByServer { waited: deadline, last_failed },
            });
        }
        ports.progress.report(&Step {
            subject: last_failed.map(|file| format!("the archiver fails on {file}")).or(next.map(|name| name.to_string())),
            done: Some(total - missing.len() as u64),
            total: Some(total),
            waited: wait.waited(ports),
            ..Step::begun(Phase::Archive)
        });
        wait.pause(ports).await;
    }
}

/// How long somebody has waited for what.
struct Patience<'a> {
    now: Duration,
    /// Since when the next segment is there and cannot be read.
    unreadable_since: &'a mut Option<Duration>,
    is_over: bool,
}

/// Reads what is there, up to the first segment that is not.
async fn take_archived(
    evidence: &Evidence<'_>,
    missing: &mut VecDeque<WalSegment>,
    awaited: &Awaited,
    patience: Patience<'_>,
) -> Result<(), PushError> {
    let Patience { now, unreadable_since, is_over } = patience;
    let (Evidence::Contents(archive) | Evidence::Foreign(archive)) = evidence else { return Ok(()) };
    while let Some(next) = missing.front() {
        match archive.holds_segment(*next, awaited.size, awaited.cluster).await {
            Ok(true) => *unreadable_since = None,
            Ok(false) => break,
            Err(ArchiveError::UnknownForm { .. }) if matches!(evidence, Evidence::Foreign(_)) && !is_over => break,
            Err(error) if matches!(evidence, Evidence::Foreign(_)) && !is_over && may_be_unfinished(&error) => {
                if now.saturating_sub(*unreadable_since.get_or_insert(now)) >= UNFINISHED {
                    return Err(error.into());
                }
                break;
            }
            // The archive has until the deadline, and so has its store.
            Err(error) if error.class() == ErrorClass::Transient && !is_over => {
                tracing::warn!("cannot look into the archive: {}", chain(&error));
                break;
            }
            Err(error) => return Err(error.into()),
        }
        missing.pop_front();
    }
    Ok(())
}

/// Whether an object of another tool looks as one does that is still being written.
fn may_be_unfinished(error: &ArchiveError) -> bool {
    let is_short = |source: &HeaderError| matches!(source, HeaderError::Length { .. } | HeaderError::NotWal);
    match error {
        ArchiveError::Damaged { .. } => true,
        ArchiveError::Header { source, .. } => is_short(source),
        _ => false,
    }
}

/// Whether the archiver has done the last segment of the backup for certain: it takes them in their order.
fn is_beyond(status: &ArchiverStatus, range: WalRange, size: WalSegmentSize) -> bool {
    let name = status.last_archived_wal.as_deref().and_then(|name| name.parse::<WalFileName>().ok());
    let Some((name, newest)) = name.and_then(|name| Some((name, name.segment(size)?))) else { return false };
    let is_segment = matches!(name, WalFileName::Segment { .. });
    newest.timeline == range.timeline && (newest.number > range.last || (is_segment && newest.number == range.last))
}

/// Waits until the storage systems say that every member is ready, or only makes sure that none has failed.
///
/// Each set is asked at least once, however ready it was at the cut: a snapshot that is kept in a space of its own can have run full
/// while the WAL was waited for. The last answers are from just before the publication.
pub(super) async fn until_ready(
    ports: &Ports<'_>,
    cut: &mut Cut,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(), PushError> {
    let mut wait = Wait::new(ports, request.deadlines.ready);
    let mut is_told = false;
    'looks: loop {
        for (part, set) in prepared.parts.iter().zip(&mut cut.sets) {
            match look_again(part, set).await {
                // The storage system has until the deadline, and so has its rate limit.
                Err(PushError::Provider(error)) if error.class() == ErrorClass::Transient && !wait.is_over(ports) => {
                    tracing::warn!("cannot ask for the state of the snapshot: {}", chain(&error));
                    wait.pause(ports).await;
                    continue 'looks;
                }
                other => other?,
            }
        }
        let members = || cut.sets.iter().flat_map(|set| &set.members);
        if request.readiness == Readiness::Later || members().all(|member| member.state == MemberState::Ready) {
            return Ok(());
        }
        if wait.is_over(ports) {
            return Err(PushError::NotReady(request.deadlines.ready));
        }
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!(snapshots = members().count(), "waiting for the storage system to complete the snapshots");
        }
        ports.progress.report(&Step {
            percent: members().filter_map(|member| member.percent).min(),
            size_bytes: total_bytes(members().map(|member| member.size_bytes)),
            done: Some(members().filter(|member| member.state == MemberState::Ready).count() as u64),
            total: Some(members().count() as u64),
            waited: wait.waited(ports),
            ..Step::begun(Phase::Ready)
        });
        wait.pause(ports).await;
    }
}

/// Asks for the state of a set that was cut.
async fn look_again(part: &Part, set: &mut SnapshotSet) -> Result<(), PushError> {
    let failed = |reason: &str| PushError::SnapshotFailed { member: set.handle.clone(), reason: reason.to_owned() };
    let found = part.provider.get(&SetReference::Handle(set.handle.clone())).await?;
    let found = found.ok_or_else(|| failed("it is gone"))?;
    // Only the state may have changed: another set under this handle is not what was cut.
    let now = |member: &Member| found.members.iter().find(|other| other.volume == member.volume && other.id == member.id);
    let is_same = found.token == set.token
        && found.name == set.name
        && found.isolated == set.isolated
        && found.members.len() == set.members.len()
        && set.members.iter().all(|member| now(member).is_some());
    if !is_same {
        return Err(failed("it is not the set that was cut"));
    }
    check_members(&found)?;
    // What was said at the cut is what is published; nothing that is said later makes it better.
    set.atomic &= found.atomic;
    for member in &mut set.members {
        if let Some(now) = now(member) {
            *member = now.clone();
        }
    }
    Ok(())
}

/// A wait with growing pauses.
pub(super) struct Wait {
    begun_at: Duration,
    ends_at: Duration,
    pause: Duration,
}

impl Wait {
    pub(super) fn new(ports: &Ports<'_>, deadline: Duration) -> Self {
        // A clock that is set meanwhile must neither end the wait nor keep it from ending.
        let begun_at = ports.clock.uptime();
        Self { begun_at, ends_at: begun_at.saturating_add(deadline), pause: PAUSES.0 }
    }

    pub(super) fn is_over(&self, ports: &Ports<'_>) -> bool {
        ports.clock.uptime() >= self.ends_at
    }

    pub(super) fn waited(&self, ports: &Ports<'_>) -> Duration {
        ports.clock.uptime().saturating_sub(self.begun_at)
    }

    pub(super) async fn pause(&mut self, ports: &Ports<'_>) {
        ports.clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}
