//! The intent: what a backup announces before its first side effect.
//!
//! It holds the tokens by which each provider can be asked what became of the backup, and the WAL position from which on nothing
//! may be deleted while it runs. Its expiry tells a running backup from one that was killed.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lease::{process_is_gone, process_is_one_of_us};
use super::{BackupName, CatalogError, codec};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalSegmentSize};
use crate::provider::{ProviderName, Token};
use crate::store::Key;

/// Version of the record: version 1 had one request, beside everything else.
const INTENT_VERSION: u32 = 2;

/// A backup that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Name of the backup.
    pub name: BackupName,
    /// What is asked of each provider, in cutting order.
    pub requests: Vec<IntendedSet>,
    /// The cluster.
    pub system_identifier: SystemIdentifier,
    /// Its timeline at the beginning.
    pub timeline: TimelineId,
    /// Where its WAL ended at the beginning: the backup needs nothing older.
    pub wal_position: Lsn,
    /// Its segment size.
    pub segment_size: WalSegmentSize,
    /// When it began.
    pub begun_at: Timestamp,
    /// When every deadline of a running backup has passed.
    pub expires_at: Timestamp,
    /// Host that it runs on, for people.
    pub hostname: String,
    /// The process that takes it; none in one of an older version.
    pub process: Option<IntentProcess>,
    /// Whether an outside tool cuts or copies: then no provider is asked for anything.
    pub is_outside: bool,
}

/// The process that takes a backup, by which it is known on its own machine whether it can still go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentProcess {
    /// Its number.
    pub id: u32,
    /// The processes among which that number means this one.
    pub space: String,
}

/// What one provider is asked to cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntendedSet {
    /// The provider.
    pub provider: ProviderName,
    /// Token of the request.
    pub token: Token,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    name: BackupName,
    requests: Vec<IntendedSet>,
    system_identifier: SystemIdentifier,
    timeline: TimelineId,
    wal_position: Lsn,
    wal_segment_size: WalSegmentSize,
    begun_at: Timestamp,
    expires_at: Timestamp,
    hostname: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<IntentProcess>,
    #[serde(default, rename = "outside", skip_serializing_if = "std::ops::Not::not")]
    is_outside: bool,
}

impl Intent {
    /// Whether nobody can publish it any more: its time is over, or the process that took it has certainly ended, as far as that
    /// can be seen from these processes. Where that process can be seen, no clock says otherwise.
    #[must_use]
    pub fn is_abandoned(&self, now: Timestamp, here: Option<&str>) -> bool {
        let has_ended = |process: &IntentProcess| Some(process.space.as_str()) == here && process_is_gone(process.id);
        self.process.as_ref().is_some_and(has_ended) || (now >= self.expires_at && !self.is_running(here))
    }

    /// Whether the process that takes it still runs, as far as that can be seen from these processes.
    #[must_use]
    pub fn is_running(&self, here: Option<&str>) -> bool {
        let runs = |process: &IntentProcess| Some(process.space.as_str()) == here && process_is_one_of_us(process.id);
        self.process.as_ref().is_some_and(runs)
    }

    pub(super) fn to_bytes(&self, key: &Key) -> Result<Bytes, CatalogError> {
        let stored = Stored {
            format_version: INTENT_VERSION,
            name: self.name.clone(),
            requests: self.requests.clone(),
            system_identifier: self.system_identifier,
            timeline: self.timeline,
            wal_position: self.wal_position,
            wal_segment_size: self.segment_size,
            begun_at: self.begun_at,
            expires_at: self.expires_at,
            hostname: self.hostname.clone(),
            process: self.process.clone(),
            is_outside: self.is_outside,
        };
        codec::to_bytes(key, &stored)
    }

    pub(super) fn from_bytes(key: &Key, name: &BackupName, body: &[u8]) -> Result<Self, CatalogError> {
        let stored: Stored = codec::from_older_bytes(key, body, INTENT_VERSION, |_, record| {
            let request = ["provider", "token"].into_iter().filter_map(|name| record.remove_entry(name)).collect();
            record.insert("requests".to_owned(), vec![serde_json::Value::Object(request)].into());
        })?;
        let inconsistent = |reason: String| CatalogError::Inconsistent { key: key.clone(), reason };
        if &stored.name != name {
            return Err(inconsistent(format!("it is about `{}`", stored.name)));
        }
        // Who settles it would find nothing to delete, and forget what was cut.
        if stored.requests.is_empty() != stored.is_outside {
            return Err(inconsistent("it names providers and an outside tool, or neither".to_owned()));
        }
        Ok(Self {
            name: stored.name,
            requests: stored.requests,
            system_identifier: stored.system_identifier,
            timeline: stored.timeline,
            wal_position: stored.wal_position,
            segment_size: stored.wal_segment_size,
            begun_at: stored.begun_at,
            expires_at: stored.expires_at,
            hostname: stored.hostname,
            process: stored.process,
            is_outside: stored.is_outside,
        })
    }
}
