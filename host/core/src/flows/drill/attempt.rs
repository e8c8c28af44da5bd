//! One drill in its order: plan, restore, recover, check. What was measured stays, however far it came.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch::Receiver;

use super::error::{Stop, judge};
use super::workplace::Room;
use super::{DrillError, DrillRequest, isolation, recovery, target};
use crate::catalog::{Backup, CheckFinding, DrillCheck, DrillOutcome};
use crate::flows::{
    Announcement, BackupSelector, FetchRequest, Isolation, MissingWal, Ports, Precautions, SEGMENTS_TO_READ, snapshot_fetch,
};
use crate::postgres::{Lsn, PrivateServer, ServerLimits, ServerOrder, ServerPrograms, ShutdownMode};

/// WAL is fetched when it is asked for: a process that fetches ahead would outlive the drill by half a minute.
const NOTHING_AHEAD: (&str, &str) = ("STILLFRAME_ARCHIVE_FETCH_AHEAD", "0");

/// A drill that is under way.
pub(super) struct Attempt<'a> {
    pub(super) ports: &'a Ports<'a>,
    pub(super) programs: &'a dyn ServerPrograms,
    pub(super) request: &'a DrillRequest,
    pub(super) backup: &'a Backup,
    room: Room,
    pub(super) binaries: PathBuf,
    pub(super) server: Option<Box<dyn PrivateServer>>,
    /// What recovery is to reach, in words.
    pub(super) target: String,
    pub(super) reached: Option<Lsn>,
    pub(super) restore_time: Duration,
    pub(super) recovery_time: Duration,
    pub(super) checks: Vec<DrillCheck>,
    pub(super) remarks: Vec<String>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        ports: &'a Ports<'a>,
        programs: &'a dyn ServerPrograms,
        request: &'a DrillRequest,
        backup: &'a Backup,
        room: Room,
        binaries: PathBuf,
    ) -> Self {
        Self {
            ports,
            programs,
            request,
            backup,
            room,
            binaries,
            server: None,
            target: "not known yet".to_owned(),
            reached: None,
            restore_time: Duration::ZERO,
            recovery_time: Duration::ZERO,
            checks: Vec::new(),
            remarks: Vec::new(),
        }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    pub(super) fn major(&self) -> u32 {
        self.backup.sentinel.version.major()
    }

    pub(super) fn since(&self, begun: Timestamp) -> Duration {
        self.ports.clock.now().duration_since(begun).unsigned_abs()
    }

    /// Holds the drill; gives what it says about the backup. `told` becomes true when it shall end.
    pub(super) async fn run(&mut self, told: Receiver<bool>) -> Result<DrillOutcome, DrillError> {
        match self.steps(&told).await {
            Ok(()) => Ok(self.outcome()),
            Err(Stop::Failed(reason)) => {
                tracing::warn!(backup = %self.backup.sentinel.name, "the drill failed: {reason}");
                Ok(DrillOutcome::Failed(reason))
            }
            Err(Stop::Error(error)) => Err(error),
        }
    }

    async fn steps(&mut self, told: &Receiver<bool>) -> Result<(), Stop> {
        tracing::info!(backup = %self.backup.sentinel.name, "reading the WAL that will be replayed");
        let plan = unless(told, target::plan(self.ports, self.request, self.backup)).await?;
        self.target.clone_from(&plan.words);
        self.remarks.extend(plan.remark.clone());

        let begun = self.ports.clock.now();
        let restored = snapshot_fetch(self.ports, &self.fetch_request(&plan)?, ended(told)).await;
        self.restore_time = self.since(begun);
        let restored = restored.map_err(judge)?;
        if restored.backup.is_condemned {
            return Err(DrillError::from(crate::flows::FetchError::Condemned(self.backup.sentinel.name.clone())).into());
        }
        isolation::furnish(&self.room)?;

        let begun = self.ports.clock.now();
        tracing::info!(target = self.target, "recovering");
        let reached = unless(told, recovery::reach(self, &plan, begun)).await;
        self.recovery_time = self.since(begun);
        reached?;
        tracing::info!(seconds = self.recovery_time.as_secs_f64(), "recovered; checking");
        unless(told, self.check()).await
    }

    fn fetch_request(&self, plan: &target::Plan) -> Result<FetchRequest, DrillError> {
        let links = self.backup.sentinel.tablespace_map.links()?;
        Ok(FetchRequest {
            destination: self.room.data(),
            selector: BackupSelector::Named(self.backup.sentinel.name.clone()),
            recovery: plan.recovery.clone(),
            // Each of them, so that none is where the living cluster has it.
            tablespace_mapping: links.into_iter().map(|link| (link.location, self.room.tablespace(link.oid))).collect(),
            wal_directory: Some(self.room.wal()),
            precautions: Precautions::default(),
            isolation: Isolation::Required,
            missing_wal: MissingWal::Refused,
            scan: SEGMENTS_TO_READ,
            token: self.room.token.clone(),
            announcement: Announcement::Required,
            snapshot_roots: self.request.snapshot_roots.clone(),
            hostname: self.request.hostname.clone(),
        })
    }

    /// Starts the server on the copy, with at least these limits; gives the settings that it was given.
    pub(super) async fn start(&mut self, limits: ServerLimits) -> Result<Vec<(String, String)>, DrillError> {
        let linked = self.room.data();
        let data = linked.canonicalize().map_err(|source| crate::files::FileError::new("find", linked, source))?;
        let settings = isolation::settings(&self.room, &data, self.major(), limits, self.request);
        let order = ServerOrder {
            programs: self.binaries.clone(),
            data_directory: data,
            settings: settings.clone(),
            variables: vec![(NOTHING_AHEAD.0.to_owned(), NOTHING_AHEAD.1.to_owned())],
            socket_directory: self.room.socket(),
            port: isolation::port(&self.room),
            user: self.request.checks.user.clone(),
            log: self.room.log(),
        };
        self.server = Some(self.programs.start(&order).await?);
        Ok(settings)
    }

    /// Stops the server, if one runs: nobody needs its files any more.
    pub(super) async fn stop(&mut self) -> Result<(), DrillError> {
        if let Some(mut server) = self.server.take()
            && let Err(error) = server.stop(ShutdownMode::Immediate).await
        {
            self.server = Some(server);
            return Err(error.into());
        }
        Ok(())
    }

    fn outcome(&self) -> DrillOutcome {
        let failed = self.checks.iter().filter(|check| matches!(check.finding, CheckFinding::Failed(_)));
        let names: Vec<String> = failed.map(|check| format!("`{}`", check.name)).collect();
        if names.is_empty() {
            return DrillOutcome::Proven;
        }
        DrillOutcome::Failed(format!("these checks failed: {}", names.join(", ")))
    }
}

/// Resolves when the drill shall end.
async fn ended(told: &Receiver<bool>) {
    if told.clone().wait_for(|told| *told).await.is_err() {
        // Nobody is there any more who could tell.
        std::future::pending::<()>().await;
    }
}

/// Does a step that may be dropped anywhere.
async fn unless<Done>(told: &Receiver<bool>, step: impl Future<Output = Result<Done, Stop>>) -> Result<Done, Stop> {
    tokio::select! {
        biased;
        () = ended(told) => Err(DrillError::Interrupted.into()),
        done = step => done,
    }
}
