//! What the last drill of a backup found: whether it was restored and recovered for a trial, and how long that took.
//!
//! The record lies beside the sentinel and is written over by the next drill. Retention never deletes the last backup that a drill
//! proved.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{CatalogError, FORMAT_VERSION, codec};
use crate::postgres::Lsn;
use crate::store::Key;

/// The record of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillRecord {
    /// What it came to.
    pub outcome: DrillOutcome,
    /// When it ended.
    pub at: Timestamp,
    /// Host that it ran on.
    pub hostname: String,
    /// What recovery was to reach, in words.
    pub target: String,
    /// Where replay ended; none when it never ended.
    pub reached: Option<Lsn>,
    /// How long the provider took to make the directories.
    pub restore_time: Duration,
    /// From the start of the server until it had reached its target.
    pub recovery_time: Duration,
    /// What was checked after that, in order.
    pub checks: Vec<DrillCheck>,
}

/// What a drill came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillOutcome {
    /// The backup was restored, recovered and passed every check.
    Proven,
    /// It was not, and why.
    Failed(String),
}

/// One check of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillCheck {
    /// What was checked: `pg_amcheck`, `checksums`, or the name of the operator's file.
    pub name: String,
    /// What it found.
    pub finding: CheckFinding,
    /// How long it took.
    pub time: Duration,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckFinding {
    /// Nothing wrong.
    Passed,
    /// What is wrong.
    Failed(String),
    /// It could not be made here, and why.
    Skipped(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    drill: DrillRecord,
}

impl DrillRecord {
    /// Whether it proved the backup.
    #[must_use]
    pub fn is_proof(&self) -> bool {
        self.outcome == DrillOutcome::Proven
    }

    pub(super) fn to_bytes(&self, key: &Key) -> Result<Bytes, CatalogError> {
        codec::to_bytes(key, &Stored { format_version: FORMAT_VERSION, drill: self.clone() })
    }

    pub(super) fn from_bytes(key: &Key, body: &[u8]) -> Result<Self, CatalogError> {
        codec::from_bytes::<Stored>(key, body).map(|stored| stored.drill)
    }
}
