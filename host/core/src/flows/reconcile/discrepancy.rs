//! What was found: a case, what it is about, and what is to be done.

use jiff::Timestamp;

use crate::catalog::{Backup, BackupName, Intent, Sentinel};
use crate::provider::{ProviderName, SnapshotSet};

/// One thing on which catalog and storage do not agree, or which is not settled yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Discrepancy {
    /// Which case it is.
    pub case: Case,
    /// The backup, the restore or the record that it is about.
    pub subject: String,
    /// The providers that hold something of it.
    pub providers: Vec<ProviderName>,
    /// Since when it has been so, or when what it is about was made.
    pub since: Option<Timestamp>,
    /// Bytes of the data in the snapshots that it is about, where the storage says it.
    pub size_bytes: Option<u64>,
    /// Why it is this case.
    pub reason: String,
    /// What is to be done.
    pub remedy: Remedy,
}

/// A case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// A backup that is listed, and of which the storage has no snapshot.
    Missing,
    /// A backup that is listed, and whose snapshot can never be restored.
    Damaged,
    /// A record that cannot be read.
    Unreadable,
    /// A snapshot that is in no record.
    Unpublished,
    /// A backup that was announced and will never be published.
    Interrupted,
    /// A backup whose deletion was interrupted.
    Condemned,
    /// The mark of a deletion whose last step was not reached.
    Remnant,
    /// An intent beside its sentinel.
    StaleIntent,
    /// A backup that was published before its snapshots were ready.
    Unready,
    /// A restore that is not released, and whose place or backup is gone.
    Restore,
    /// A backup that may still run.
    Running,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Remedy {
    /// This, when the operator confirms.
    Act(Action),
    /// Nothing: it settles itself, or cannot be judged now.
    Wait,
    /// What the operator decides; this would do it.
    Decide(String),
}

/// What would be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete what an interrupted backup has cut, then its intent.
    Undo(Intent),
    /// Publish an interrupted backup that is whole.
    Finish(Box<Sentinel>),
    /// Publish a backup again whose records are lost.
    Adopt(Box<Sentinel>),
    /// Delete snapshots that are in no record.
    Delete(Vec<(ProviderName, SnapshotSet)>),
    /// Finish a deletion that has begun.
    FinishDeletion(Box<Backup>),
    /// Remove the rest of what is recorded of a backup that is gone.
    Forget(BackupName),
    /// Remove an intent beside its sentinel.
    RemoveIntent(Intent),
    /// Record what became of snapshots that were not ready.
    RecordState(Box<Backup>),
}

impl Case {
    /// One stable word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Unreadable => "unreadable",
            Self::Unpublished => "unpublished",
            Self::Interrupted => "interrupted",
            Self::Condemned => "condemned",
            Self::Remnant => "remnant",
            Self::StaleIntent => "stale-intent",
            Self::Unready => "unready",
            Self::Restore => "restore",
            Self::Running => "running",
        }
    }
}

impl Action {
    /// One stable word.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Undo(_) => "undo",
            Self::Finish(_) => "finish",
            Self::Adopt(_) => "adopt",
            Self::Delete(_) => "delete",
            Self::FinishDeletion(_) => "finish-deletion",
            Self::Forget(_) => "forget",
            Self::RemoveIntent(_) => "remove-intent",
            Self::RecordState(_) => "record-state",
        }
    }
}

impl Discrepancy {
    /// What would be done, if anything.
    #[must_use]
    pub fn action(&self) -> Option<&Action> {
        match &self.remedy {
            Remedy::Act(action) => Some(action),
            Remedy::Wait | Remedy::Decide(_) => None,
        }
    }

    /// Whether a backup that is listed cannot be restored.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self.case, Case::Missing | Case::Damaged)
    }

    /// Whether the same would be done to the same, whatever has become of ages and sizes since.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let sets = |finding: &Self| match finding.action() {
            Some(Action::Delete(sets)) => sets.iter().map(|(_, set)| set.handle.clone()).collect(),
            _ => Vec::new(),
        };
        self.case == other.case
            && self.subject == other.subject
            && self.action().map(Action::as_str) == other.action().map(Action::as_str)
            && sets(self) == sets(other)
    }
}
