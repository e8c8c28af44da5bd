//! A server that knows how many sessions are in backup mode, and connections to it that can be lost at any call.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::postgres::{
    ArchiveMode, ArchiverStatus, CheckpointMode, Connection, ConnectionError, ConnectionFault, Lsn, PgVersion, ServerFacts,
    StoppedBackup, SystemIdentifier, TimelineId, WalSegment, WalSegmentSize,
};

/// A server.
#[derive(Clone)]
pub struct FakeServer {
    state: Arc<Mutex<State>>,
}

struct State {
    facts: ServerFacts,
    in_backup_mode: usize,
    calls: usize,
    lost_at: Option<usize>,
    tablespace_map: Vec<u8>,
    failing_file: Option<String>,
    missing_grants: Vec<String>,
    at_start: Option<Box<dyn FnOnce() + Send>>,
    before_facts: VecDeque<Box<dyn FnOnce() + Send>>,
    done: Vec<ServerCall>,
}

/// A call that changes something on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerCall {
    /// Enters backup mode.
    Start,
    /// Leaves it in order: a primary archives the history file of the backup.
    Stop,
    /// Writes a restore point and ends the segment.
    Switch,
}

impl FakeServer {
    /// A primary of PostgreSQL 15 that archives, with segments of 1 MiB, at `0/300028` on timeline 1.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let segment_size = WalSegmentSize::SMALLEST;
        let facts = ServerFacts {
            version: PgVersion(150_018),
            system_identifier: SystemIdentifier(7_000_000_000_000_000_001),
            data_directory: PathBuf::from("/pgdata"),
            segment_size,
            in_recovery: false,
            timeline: TimelineId::FIRST,
            wal_position: Lsn(0x30_0028),
            replayed: None,
            archive_mode: ArchiveMode::On,
            archiver_is_set: true,
            tablespaces: Vec::new(),
            now,
        };
        let state = State {
            facts,
            in_backup_mode: 0,
            calls: 0,
            lost_at: None,
            tablespace_map: Vec::new(),
            failing_file: None,
            missing_grants: Vec::new(),
            at_start: None,
            before_facts: VecDeque::new(),
            done: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// What the server says about itself now.
    #[must_use]
    pub fn facts(&self) -> ServerFacts {
        self.state().facts.clone()
    }

    /// Opens a session.
    #[must_use]
    pub fn connect(&self) -> Box<dyn Connection> {
        Box::new(FakeConnection { server: self.clone(), is_in_backup_mode: false, is_lost: false, start: None })
    }

    /// Changes what the server says about itself.
    pub fn change(&self, change: impl FnOnce(&mut ServerFacts)) {
        change(&mut self.state().facts);
    }

    /// Sets the `tablespace_map` of the next backup.
    pub fn set_tablespace_map(&self, map: &[u8]) {
        self.state().tablespace_map = map.to_vec();
    }

    /// Lets the archiver fail on this file, for ever.
    pub fn fail_archiving(&self, file: &str) {
        self.state().failing_file = Some(file.to_owned());
    }

    /// Lets the role lack these rights.
    pub fn lack_rights(&self, grants: &[&str]) {
        self.state().missing_grants = grants.iter().map(|grant| (*grant).to_owned()).collect();
    }

    /// Runs this when the next backup starts.
    pub fn at_start(&self, act: impl FnOnce() + Send + 'static) {
        self.state().at_start = Some(Box::new(act));
    }

    /// Runs these before the next answers about its state, one before each.
    pub fn before_facts(&self, acts: impl IntoIterator<Item = Box<dyn FnOnce() + Send>>) {
        self.state().before_facts = acts.into_iter().collect();
    }

    /// The calls that have changed something.
    #[must_use]
    pub fn done(&self) -> Vec<ServerCall> {
        self.state().done.clone()
    }

    /// Loses the session at its n-th call, counted from 0 over all sessions.
    pub fn lose_at(&self, call: usize) {
        self.state().lost_at = Some(call);
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// Sessions in backup mode.
    #[must_use]
    pub fn in_backup_mode(&self) -> usize {
        self.state().in_backup_mode
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session on a [`FakeServer`].
pub struct FakeConnection {
    server: FakeServer,
    is_in_backup_mode: bool,
    is_lost: bool,
    /// Of the backup that it has begun.
    start: Option<Lsn>,
}

impl FakeConnection {
    fn call(&mut self, operation: &'static str) -> Result<(), ConnectionError> {
        let mut state = self.server.state();
        let number = state.calls;
        state.calls += 1;
        self.is_lost |= state.lost_at == Some(number);
        drop(state);
        if self.is_lost {
            self.leave_backup_mode();
            let fault = ConnectionFault::Lost("connection closed".to_owned());
            return Err(ConnectionError { server: "fake".to_owned(), operation, fault });
        }
        Ok(())
    }

    fn leave_backup_mode(&mut self) {
        if std::mem::take(&mut self.is_in_backup_mode) {
            self.server.state().in_backup_mode -= 1;
        }
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.leave_backup_mode();
    }
}

#[async_trait]
impl Connection for FakeConnection {
    async fn facts(&mut self) -> Result<ServerFacts, ConnectionError> {
        self.call("ask for its state")?;
        let act = self.server.state().before_facts.pop_front();
        if let Some(act) = act {
            act();
        }
        Ok(self.server.state().facts.clone())
    }

    async fn start_backup(&mut self, _label: &str, _checkpoint: CheckpointMode) -> Result<Lsn, ConnectionError> {
        self.call("start the backup")?;
        let act = self.server.state().at_start.take();
        if let Some(act) = act {
            act();
        }
        self.is_in_backup_mode = true;
        let mut state = self.server.state();
        state.in_backup_mode += 1;
        state.done.push(ServerCall::Start);
        self.start = Some(state.facts.wal_position);
        Ok(state.facts.wal_position)
    }

    async fn stop_backup(&mut self) -> Result<StoppedBackup, ConnectionError> {
        self.call("stop the backup")?;
        self.leave_backup_mode();
        let mut state = self.server.state();
        state.done.push(ServerCall::Stop);
        let start = self.start.take().unwrap_or(state.facts.wal_position);
        let reached = state.facts.replayed.unwrap_or(state.facts.wal_position);
        let from = if state.facts.in_recovery { "standby" } else { "primary" };
        let label = format!(
            "START WAL LOCATION: {start} (file 000000010000000000000003)\nCHECKPOINT LOCATION: {}\nBACKUP METHOD: streamed\n\
             BACKUP FROM: {from}\nSTART TIME: 2026-11-21 08:00:00 UTC\nLABEL: fake\nSTART TIMELINE: 1\n",
            Lsn(start.0 + 0x38)
        );
        Ok(StoppedBackup {
            stop_lsn: Lsn(start.0 + 0x100).max(reached),
            label_file: label.into_bytes(),
            tablespace_map_file: state.tablespace_map.clone(),
        })
    }

    async fn ping(&mut self) -> Result<(), ConnectionError> {
        self.call("ping")
    }

    async fn missing_grants(&mut self) -> Result<Vec<String>, ConnectionError> {
        self.call("ask for its rights")?;
        Ok(self.server.state().missing_grants.clone())
    }

    async fn archiver(&mut self) -> Result<ArchiverStatus, ConnectionError> {
        self.call("ask for the archiver")?;
        let state = self.server.state();
        let (facts, last_failed_wal) = (&state.facts, state.failing_file.clone());
        // It has archived as far as the fake backups go, unless it fails.
        let newest = WalSegment::containing(facts.timeline, facts.wal_position, facts.segment_size).file_name(facts.segment_size);
        let last_archived_wal = last_failed_wal.is_none().then(|| newest.to_string());
        Ok(ArchiverStatus { is_failing: last_failed_wal.is_some(), last_failed_wal, last_archived_wal })
    }

    async fn create_restore_point_and_switch(&mut self, _name: &str) -> Result<Lsn, ConnectionError> {
        self.call("switch the WAL")?;
        let mut state = self.server.state();
        state.done.push(ServerCall::Switch);
        Ok(state.facts.wal_position)
    }
}
