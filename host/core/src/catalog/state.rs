//! What became of the snapshots of a backup that was published before they were ready.
//!
//! The sentinel never changes. The outcome lies beside it, is written once, and is final: a storage system that has said `ready` or
//! `failed` of a snapshot is not asked again whether the backup counts, only whether it can still be restored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sentinel::Sentinel;
use super::{CatalogError, FORMAT_VERSION, codec};
use crate::provider::MemberState;
use crate::store::Key;

/// How far the snapshots of a backup have come, as far as the catalog knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupState {
    /// Their point in time is fixed; whether they will ever be ready is not known.
    Cut,
    /// All of them were ready.
    Ready,
    /// One of them can never be restored, and why.
    Failed(String),
}

impl BackupState {
    /// One word: `cut`, `ready` or `failed`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Ready => "ready",
            Self::Failed(_) => "failed",
        }
    }

    /// What the sentinel says of it.
    pub(super) fn of_sentinel(sentinel: &Sentinel) -> Self {
        let mut members = sentinel.sets.iter().flat_map(|set| &set.snapshot.members);
        if members.all(|member| member.state == MemberState::Ready) { Self::Ready } else { Self::Cut }
    }

    pub(super) fn to_bytes(&self, key: &Key, now: Timestamp) -> Result<Option<bytes::Bytes>, CatalogError> {
        let (state, reason) = match self {
            Self::Cut => return Ok(None),
            Self::Ready => (Settled::Ready, None),
            Self::Failed(reason) => (Settled::Failed, Some(reason.clone())),
        };
        codec::to_bytes(key, &Stored { format_version: FORMAT_VERSION, state, reason, at: now }).map(Some)
    }

    pub(super) fn from_bytes(key: &Key, body: &[u8]) -> Result<Self, CatalogError> {
        let stored: Stored = codec::from_bytes(key, body)?;
        Ok(match stored.state {
            Settled::Ready => Self::Ready,
            Settled::Failed => Self::Failed(stored.reason.unwrap_or_else(|| "no reason was recorded".to_owned())),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Settled {
    Ready,
    Failed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    state: Settled,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    at: Timestamp,
}
