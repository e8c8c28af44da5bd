//! The lock of a backup, as it was asked for: until when its snapshots may not be deleted.
//!
//! What keeps a snapshot is the storage system's own lock. This record beside the sentinel lets a plan tell of it without asking
//! anybody, and keeps a deletion from condemning a backup that cannot go.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::layout::Record;
use super::{BackupName, Catalog, CatalogError, FORMAT_VERSION, codec};
use crate::provider::LockMode;
use crate::store::Key;

/// A lock on a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupLock {
    /// Who may lift it.
    pub mode: LockMode,
    /// When it ends by itself.
    pub until: Timestamp,
}

impl Catalog<'_> {
    /// Records the lock that the storage system has put on a backup.
    pub async fn record_lock(&self, name: &BackupName, lock: BackupLock, now: Timestamp) -> Result<(), CatalogError> {
        let key = self.layout.record(name, Record::Lock);
        Ok(self.store.put(&key, lock.to_bytes(&key, now)?).await?)
    }

    /// Removes the record of a lock that was lifted.
    pub async fn remove_lock(&self, name: &BackupName) -> Result<(), CatalogError> {
        Ok(self.store.delete(&self.layout.record(name, Record::Lock)).await?)
    }
}

impl BackupLock {
    pub(super) fn to_bytes(self, key: &Key, now: Timestamp) -> Result<bytes::Bytes, CatalogError> {
        let stored =
            Stored { format_version: FORMAT_VERSION, is_compliance: self.mode == LockMode::Compliance, until: self.until, at: now };
        codec::to_bytes(key, &stored)
    }

    pub(super) fn from_bytes(key: &Key, body: &[u8]) -> Result<Self, CatalogError> {
        let stored: Stored = codec::from_bytes(key, body)?;
        let mode = if stored.is_compliance { LockMode::Compliance } else { LockMode::Governance };
        Ok(Self { mode, until: stored.until })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    is_compliance: bool,
    until: Timestamp,
    at: Timestamp,
}
