//! The intent: what a backup announces before its first side effect.
//!
//! It holds the token by which the provider can be asked what became of the backup, and the WAL position from which on nothing
//! may be deleted while it runs. Its expiry tells a running backup from one that was killed.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackupName, CatalogError, FORMAT_VERSION, codec};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalSegmentSize};
use crate::provider::{ProviderName, Token};
use crate::store::Key;

/// A backup that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Name of the backup.
    pub name: BackupName,
    /// Token of its request to the provider.
    pub token: Token,
    /// The provider.
    pub provider: ProviderName,
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
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    name: BackupName,
    token: Token,
    provider: ProviderName,
    system_identifier: SystemIdentifier,
    timeline: TimelineId,
    wal_position: Lsn,
    wal_segment_size: WalSegmentSize,
    begun_at: Timestamp,
    expires_at: Timestamp,
    hostname: String,
}

impl Intent {
    pub(super) fn to_bytes(&self, key: &Key) -> Result<Bytes, CatalogError> {
        let stored = Stored {
            format_version: FORMAT_VERSION,
            name: self.name.clone(),
            token: self.token.clone(),
            provider: self.provider.clone(),
            system_identifier: self.system_identifier,
            timeline: self.timeline,
            wal_position: self.wal_position,
            wal_segment_size: self.segment_size,
            begun_at: self.begun_at,
            expires_at: self.expires_at,
            hostname: self.hostname.clone(),
        };
        codec::to_bytes(key, &stored)
    }

    pub(super) fn from_bytes(key: &Key, name: &BackupName, body: &[u8]) -> Result<Self, CatalogError> {
        let stored: Stored = codec::from_bytes(key, body)?;
        if &stored.name != name {
            return Err(CatalogError::Inconsistent { key: key.clone(), reason: format!("it is about `{}`", stored.name) });
        }
        Ok(Self {
            name: stored.name,
            token: stored.token,
            provider: stored.provider,
            system_identifier: stored.system_identifier,
            timeline: stored.timeline,
            wal_position: stored.wal_position,
            segment_size: stored.wal_segment_size,
            begun_at: stored.begun_at,
            expires_at: stored.expires_at,
            hostname: stored.hostname,
        })
    }
}
