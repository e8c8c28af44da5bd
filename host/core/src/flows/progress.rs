//! How far a long step of a flow is, for whoever waits for it.
//!
//! Flows report at every look, which may be ten times a second; whoever shows it decides how often a person can read it. Nothing is
//! decided by what is reported here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Is told how far a flow is.
pub trait Progress: Send + Sync {
    /// Takes note of it. Must not block.
    fn report(&self, step: &Step);
}

/// How far one step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which step.
    pub phase: Phase,
    /// What it waits for, or works on.
    pub subject: Option<String>,
    /// Units done: segments that are archived, backups that are deleted. None where nobody counts them.
    pub done: Option<u64>,
    /// Units to do.
    pub total: Option<u64>,
    /// 0 to 100, where the storage system says it.
    pub percent: Option<u8>,
    /// Bytes of the data in all snapshots, where the storage system says it.
    pub size_bytes: Option<u64>,
    /// How long it has lasted.
    pub waited: Duration,
}

/// A step that can last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A standby reaches the start of a backup.
    Follow,
    /// The providers cut, inside backup mode.
    Cut,
    /// The WAL of a backup gets into the archive.
    Archive,
    /// The storage system completes the snapshots.
    Ready,
    /// The provider restores.
    Restore,
    /// A copy recovers for a trial.
    Recover,
    /// Backups are deleted.
    DeleteBackups,
    /// WAL is deleted.
    DeleteWal,
    /// What failed or was interrupted is undone.
    Undo,
    /// The catalog is held against what the providers list.
    Compare,
    /// What they disagree about is settled.
    Reconcile,
}

impl Phase {
    /// One stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Follow => "follow",
            Self::Cut => "cut",
            Self::Archive => "archive",
            Self::Ready => "ready",
            Self::Restore => "restore",
            Self::Recover => "recover",
            Self::DeleteBackups => "delete-backups",
            Self::DeleteWal => "delete-wal",
            Self::Undo => "undo",
            Self::Compare => "compare",
            Self::Reconcile => "reconcile",
        }
    }

    /// What goes on, for people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Follow => "waiting for the standby",
            Self::Cut => "cutting",
            Self::Archive => "waiting for the archive",
            Self::Ready => "waiting for the snapshots",
            Self::Restore => "restoring",
            Self::Recover => "recovering",
            Self::DeleteBackups => "deleting backups",
            Self::DeleteWal => "deleting WAL",
            Self::Undo => "undoing",
            Self::Compare => "asking the providers",
            Self::Reconcile => "reconciling",
        }
    }
}

impl Step {
    /// The beginning of a step.
    #[must_use]
    pub fn begun(phase: Phase) -> Self {
        Self { phase, subject: None, done: None, total: None, percent: None, size_bytes: None, waited: Duration::ZERO }
    }
}

/// Says in the log that a wait still lasts, now and then.
#[derive(Debug, Default)]
pub struct LoggedProgress {
    last: Mutex<Option<(Phase, Duration)>>,
}

/// How often the log says so.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

impl Progress for LoggedProgress {
    fn report(&self, step: &Step) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match *last {
            Some((phase, at)) if phase == step.phase && at <= step.waited => at,
            _ => {
                *last = Some((step.phase, Duration::ZERO));
                Duration::ZERO
            }
        };
        if step.waited.saturating_sub(since) < LOG_INTERVAL {
            return;
        }
        *last = Some((step.phase, step.waited));
        drop(last);
        let Step { subject, done, total, percent, .. } = step;
        tracing::info!(subject, done, total, percent, "still {}", step.phase.describe());
    }
}

/// Nobody waits.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _: &Step) {}
}
