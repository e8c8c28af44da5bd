//! Backup mode and the cut: as short as can be, and void at the first doubt.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::backup_mode::{BackupMode, Ended};
use super::preflight::{Part, Prepared};
use super::{PushError, PushRequest};
use crate::flows::{Isolation, Phase, Ports, Step};
use crate::postgres::{BackupLabel, Connection, ConnectionError, Lsn, ServerFacts, StoppedBackup, TablespaceMap};
use crate::provider::{DataPathName, MemberState, ProviderError, ProviderFault, SnapshotSet};

/// What was cut, and what the server says about it.
pub(super) struct Cut {
    /// One for each provider, in cutting order.
    pub(super) sets: Vec<SnapshotSet>,
    pub(super) start_lsn: Lsn,
    pub(super) stop_lsn: Lsn,
    pub(super) label: BackupLabel,
    pub(super) tablespace_map: TablespaceMap,
    pub(super) finished_at: Timestamp,
}

/// Enters backup mode, lets every provider cut, and leaves backup mode; on the primary, when there is one for that. Gives the
/// session back that was in backup mode.
pub(super) async fn cut(
    ports: &Ports<'_>,
    connection: Box<dyn Connection>,
    primary: Option<Box<dyn Connection>>,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(Cut, Box<dyn Connection>), PushError> {
    tracing::info!(backup = %request.name, "entering backup mode");
    let deadline = request.deadlines.cut;
    let mut mode = BackupMode::enter(ports, connection, primary, request, prepared).await?;
    let start_lsn = mode.start_lsn();
    let created = tokio::select! {
        sets = mode.alive_during(ports.clock, cut_all(ports, start_lsn, prepared)) => match sets {
            Ok(sets) => sets.map_err(PushError::from),
            Err(lost) => Err(lost.into()),
        },
        () = ports.clock.sleep(deadline) => Err(PushError::CutDeadline(deadline)),
    };
    let sets = match created {
        Ok(sets) => sets,
        Err(error) => {
            // Closed and not stopped: a stop would archive a history file. A storage system that cuts after all would have cut behind
            // it, and both together look like a backup.
            drop(mode);
            return Err(error);
        }
    };
    let Ended { stopped, finished_at, connection } = mode.leave(ports, request, prepared).await?;
    for (part, set) in prepared.parts.iter().zip(&sets) {
        check_set(set, part, prepared, request.isolation)?;
    }
    let (label, tablespace_map) = check_label(start_lsn, &stopped, prepared)?;
    Ok((Cut { sets, start_lsn, stop_lsn: stopped.stop_lsn, label, tablespace_map, finished_at }, connection))
}

/// One after the other: the last one holds what must be cut last.
async fn cut_all(ports: &Ports<'_>, start: Lsn, prepared: &Prepared) -> Result<Vec<SnapshotSet>, ProviderError> {
    let mut sets = Vec::with_capacity(prepared.parts.len());
    for part in &prepared.parts {
        sets.push(cut_part(ports, start, part, prepared).await?);
    }
    Ok(sets)
}

/// Lets one provider cut.
pub(super) async fn cut_part(
    ports: &Ports<'_>,
    start: Lsn,
    part: &Part,
    prepared: &Prepared,
) -> Result<SnapshotSet, ProviderError> {
    tracing::info!(%start, provider = %part.provider.name(), "cutting");
    ports.progress.report(&Step { subject: Some(part.provider.name().to_string()), ..Step::begun(Phase::Cut) });
    part.create_was_called.store(true, Ordering::SeqCst);
    let set = part.provider.create(&part.create).await?;
    // Another backup's set is not ours to undo.
    if set.token == part.create.token && prepared.known.other_owner(part.provider.name(), &set).is_none() {
        part.created.get_or_init(|| set.handle.clone());
    }
    Ok(set)
}

/// Waits for an answer of the server no longer than this; giving up closes the session, and with it backup mode.
pub(in crate::flows) async fn within<T>(
    ports: &Ports<'_>,
    deadline: Duration,
    answer: impl Future<Output = Result<T, ConnectionError>>,
) -> Result<T, PushError> {
    tokio::select! {
        answer = answer => Ok(answer?),
        () = ports.clock.sleep(deadline) => Err(PushError::CutDeadline(deadline)),
    }
}

/// A promotion in the middle voids the backup: its WAL would lie on two timelines.
pub(in crate::flows) fn check_server(before: &ServerFacts, after: &ServerFacts) -> Result<(), PushError> {
    if before.timeline != after.timeline || before.in_recovery != after.in_recovery {
        return Err(PushError::Promoted { before: before.timeline, after: after.timeline });
    }
    Ok(())
}

pub(super) fn check_set(set: &SnapshotSet, part: &Part, prepared: &Prepared, isolation: Isolation) -> Result<(), PushError> {
    // Another backup's set under our name would be published as ours, and be deleted with either of them.
    if set.token != part.create.token {
        let fault = ProviderFault::BadAnswer(format!("the set `{}` is not of this request", set.handle));
        return Err(ProviderError { provider: part.provider.name().clone(), operation: "create the snapshot set", fault }.into());
    }
    prepared.known.refuse_other(part.provider.name(), "create the snapshot set", set)?;
    if !set.isolated && isolation == Isolation::Required {
        return Err(PushError::NotIsolated);
    }
    check_members(set)
}

/// A member that failed, is gone, or was not even cut makes the set worthless.
pub(super) fn check_members(set: &SnapshotSet) -> Result<(), PushError> {
    for member in &set.members {
        let reason = match &member.state {
            MemberState::Cut | MemberState::Ready => continue,
            MemberState::Failed(reason) => reason.clone(),
            MemberState::Cutting => "its point in time is not fixed".to_owned(),
            MemberState::Deleting | MemberState::Absent => "it is being deleted".to_owned(),
        };
        return Err(PushError::SnapshotFailed { member: member.id.clone(), reason });
    }
    Ok(())
}

/// The files are kept byte for byte; here they are only compared with what is known otherwise.
pub(in crate::flows) fn check_label(
    start: Lsn,
    stopped: &StoppedBackup,
    prepared: &Prepared,
) -> Result<(BackupLabel, TablespaceMap), PushError> {
    let label = BackupLabel::parse(stopped.label_file.clone()).map_err(|error| PushError::Label(error.to_string()))?;
    if label.start() != start {
        return Err(PushError::Label(format!("it starts at {}, and the server said {start}", label.start())));
    }
    if label.timeline() != prepared.facts.timeline {
        return Err(PushError::Label(format!("it is on timeline {}", label.timeline())));
    }
    // Whoever deletes WAL reckons with the intent's position.
    let promised = prepared.intent.wal_position;
    if start < promised {
        return Err(PushError::Label(format!("it starts at {start}, before {promised}, where the server said that it could")));
    }
    if stopped.stop_lsn < start {
        return Err(PushError::Label(format!("it stops at {}, before its start", stopped.stop_lsn)));
    }
    let map = TablespaceMap::new(stopped.tablespace_map_file.clone());
    for link in map.links().map_err(|error| PushError::Label(error.to_string()))? {
        if !prepared.paths.iter().any(|path| path.name == DataPathName::Tablespace(link.oid)) {
            return Err(PushError::NewTablespace { oid: link.oid });
        }
    }
    Ok((label, map))
}
