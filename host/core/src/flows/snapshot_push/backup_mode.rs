//! Backup mode: on the server whose files are cut, or on its primary.
//!
//! On the primary, the label names a checkpoint of the primary, and recovery replays from there up to the record of the stop. That
//! is right for files of the standby if they hold every change before the start, and none behind the stop. So the standby has to
//! have a restartpoint at the start or behind it, on disk, before anything is cut; and what it has replayed by the end of the cut
//! lies before the stop, since the primary stops afterwards. The standby is in backup mode as well: that makes the restartpoint,
//! says where it is, and fails when the standby was promoted meanwhile, with no right that backups do not need anyway.

use jiff::Timestamp;

use super::cut::{check_server, within};
use super::preflight::Prepared;
use super::standby::prove_not_ahead;
use super::wait::Wait;
use super::{PushError, PushRequest, StandbyError};
use crate::clock::Clock;
use crate::flows::{Phase, Ports, Step};
use crate::postgres::{BackupSession, Connection, ConnectionError, Lsn, StoppedBackup};

/// Backup mode as long as a backup needs it.
#[must_use = "dropping it ends backup mode"]
pub(super) struct BackupMode {
    /// Whose label the backup gets.
    session: BackupSession,
    /// On the standby whose files are cut, while the other one is on its primary.
    standby: Option<BackupSession>,
}

/// What is known when backup mode is over.
pub(super) struct Ended {
    /// Label and end; the map is that of the server whose files were cut.
    pub(super) stopped: StoppedBackup,
    pub(super) finished_at: Timestamp,
    /// The session that the label is from.
    pub(super) connection: Box<dyn Connection>,
}

impl BackupMode {
    /// Enters backup mode; returns when the files of the server can be cut.
    pub(super) async fn enter(
        ports: &Ports<'_>,
        server: Box<dyn Connection>,
        primary: Option<Box<dyn Connection>>,
        request: &PushRequest,
        prepared: &Prepared,
    ) -> Result<Self, PushError> {
        let start = |connection| BackupSession::start(connection, request.name.as_str(), request.checkpoint);
        let Some(primary) = primary else {
            return Ok(Self { session: within(ports, request.deadlines.cut, start(server)).await?, standby: None });
        };
        let mut session = within(ports, request.deadlines.cut, start(primary)).await?;
        let start_lsn = session.start_lsn();
        tracing::info!(start = %start_lsn, "waiting until the standby has reached the start of the backup");
        let standby = session.alive_during(ports.clock, follow(ports, server, start_lsn, request, prepared)).await??;
        Ok(Self { session, standby: Some(standby) })
    }

    /// Where replay must begin.
    pub(super) fn start_lsn(&self) -> Lsn {
        self.session.start_lsn()
    }

    /// Works, and proves meanwhile that every session lives; ends the work when one is lost.
    pub(super) async fn alive_during<Done: Send>(
        &mut self,
        clock: &dyn Clock,
        work: impl Future<Output = Done> + Send,
    ) -> Result<Done, ConnectionError> {
        match &mut self.standby {
            None => self.session.alive_during(clock, work).await,
            Some(standby) => self.session.alive_during(clock, standby.alive_during(clock, work)).await?,
        }
    }

    /// Leaves backup mode, and proves that the servers are what they were.
    pub(super) async fn leave(self, ports: &Ports<'_>, request: &PushRequest, prepared: &Prepared) -> Result<Ended, PushError> {
        let Self { mut session, standby } = self;
        let Some(standby) = standby else {
            if prepared.facts.in_recovery {
                // The server would refuse the stop as well, and not say which timeline it is on.
                check_server(&prepared.facts, &within(ports, request.deadlines.cut, session.facts()).await?)?;
            }
            // At once, before the answer is even looked at: the server pays for every second of backup mode.
            let (stopped, mut connection) = within(ports, request.deadlines.cut, session.stop()).await?;
            tracing::info!(stop = %stopped.stop_lsn, "left backup mode");
            let after = within(ports, request.deadlines.cut, connection.facts()).await?;
            check_server(&prepared.facts, &after)?;
            return Ok(Ended { stopped, finished_at: after.now, connection });
        };
        let (copied, reached) = leave_standby(ports, standby, request, prepared).await?;
        // Before the stop, which archives the history file: what is wrong now must not look like a backup later.
        let meanwhile = within(ports, request.deadlines.cut, session.facts()).await?;
        prepared.primary.as_ref().map_or(Ok(()), |before| check_server(before, &meanwhile))?;
        prove_not_ahead(reached, meanwhile.wal_position)?;
        let (stopped, mut connection) = within(ports, request.deadlines.cut, session.stop()).await?;
        tracing::info!(stop = %stopped.stop_lsn, "left backup mode");
        let after = within(ports, request.deadlines.cut, connection.facts()).await?;
        prepared.primary.as_ref().map_or(Ok(()), |before| check_server(before, &after))?;
        prove_not_ahead(reached, stopped.stop_lsn)?;
        // Links in `pg_tblspc` are those of the directory that was cut.
        let stopped = StoppedBackup { tablespace_map_file: copied.tablespace_map_file, ..stopped };
        Ok(Ended { stopped, finished_at: after.now, connection })
    }
}

/// Waits until the standby has replayed the start of the backup and has a restartpoint there or behind it; leaves it in backup mode.
async fn follow(
    ports: &Ports<'_>,
    mut connection: Box<dyn Connection>,
    start: Lsn,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<BackupSession, PushError> {
    let mut wait = Wait::new(ports, request.deadlines.cut);
    loop {
        let facts = within(ports, request.deadlines.cut, connection.facts()).await?;
        check_server(&prepared.facts, &facts)?;
        let replayed = facts.replayed.unwrap_or(facts.wal_position);
        if replayed >= start {
            let begun = BackupSession::start(connection, request.name.as_str(), request.checkpoint);
            let mut session = within(ports, request.deadlines.cut, begun).await?;
            // What the server says, and what its pg_control says: the latter is what is cut.
            let on_disk = within(ports, request.deadlines.cut, session.facts()).await?;
            check_server(&prepared.facts, &on_disk)?;
            if session.start_lsn() >= start && on_disk.wal_position >= start {
                tracing::info!(restartpoint = %on_disk.wal_position, "the standby has reached it");
                return Ok(session);
            }
            // The record of the checkpoint lies behind the position from which it is replayed, and is not there yet.
            (_, connection) = within(ports, request.deadlines.cut, session.stop()).await?;
        }
        if wait.is_over(ports) {
            let (restartpoint, waited) = (facts.wal_position, request.deadlines.cut);
            return Err(StandbyError::Behind { start, replayed, restartpoint, waited }.into());
        }
        ports.progress.report(&Step {
            subject: Some(format!("{replayed} of {start}")),
            waited: wait.waited(ports),
            ..Step::begun(Phase::Follow)
        });
        wait.pause(ports).await;
    }
}

/// Leaves backup mode of the standby; tells how far its files can be.
async fn leave_standby(
    ports: &Ports<'_>,
    mut standby: BackupSession,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(StoppedBackup, Lsn), PushError> {
    check_server(&prepared.facts, &within(ports, request.deadlines.cut, standby.facts()).await?)?;
    let (stopped, mut connection) = within(ports, request.deadlines.cut, standby.stop()).await?;
    let after = within(ports, request.deadlines.cut, connection.facts()).await?;
    check_server(&prepared.facts, &after)?;
    // No page is written before pg_control says that recovery must go beyond it: that is the stop of a standby's backup.
    let reached = after.replayed.unwrap_or(stopped.stop_lsn).max(stopped.stop_lsn);
    Ok((stopped, reached))
}
