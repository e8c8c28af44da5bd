//! The records of restores: which backup is restored where, and what must be released one day.
//!
//! A restore that a provider mounts, clones or attaches elsewhere costs storage until it is released, and keeps its snapshot from
//! being deleted. Its record is written before the provider is asked, so that none is ever unknown, and removed when nothing is
//! left of it, or when nothing needs releasing.
//!
//! What lies in its place needs releasing no more, and has yet to replay WAL: such a copy has a record of another kind, so that a
//! rule of retention does not take the WAL from under a recovery. When that ends nobody tells, so that it counts for a while only.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackupName, CatalogError, FORMAT_VERSION, Layout, codec};
use crate::provider::{DataPathName, ProviderName, Token};
use crate::store::{self, Key, PutOutcome, Store};

/// For so long a copy is taken to be recovering, unless the operator releases it: few recoveries take as long.
pub const RECOVERY_TIME: Duration = Duration::from_hours(7 * 24);

/// A restore that has begun and is not released, or a copy that may still recover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRecord {
    /// Identifies the restore.
    pub token: Token,
    /// The backup.
    pub backup: BackupName,
    /// Host on which the directories are.
    pub hostname: String,
    /// The new data directory.
    pub destination: PathBuf,
    /// When it began; of a copy, when it was complete.
    pub begun_at: Timestamp,
    /// What each provider restores; nothing of a copy.
    pub parts: Vec<RestoredPart>,
}

/// What one provider restores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredPart {
    /// The provider.
    pub provider: ProviderName,
    /// Token of the request to it.
    pub token: Token,
    /// What it wants to be given to release it; none as long as it has not answered.
    pub handle: Option<String>,
    /// One for each directory.
    pub directories: Vec<RestoredDirectory>,
}

/// One directory of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredDirectory {
    /// Its name within the backup.
    pub name: DataPathName,
    /// Where it was asked for.
    pub asked: PathBuf,
    /// Where the provider has put it; none as long as it has not answered.
    pub restored: Option<PathBuf>,
}

impl RestoredDirectory {
    /// The place that the asked one leads to by a link, when they are not the same.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&PathBuf> {
        self.restored.as_ref().filter(|restored| **restored != self.asked)
    }
}

impl RestoredPart {
    /// What the provider is given to release it: the token, when its answer was lost.
    #[must_use]
    pub fn release_handle(&self) -> &str {
        self.handle.as_ref().unwrap_or(&self.token.0)
    }
}

impl RestoreRecord {
    /// Its directories.
    pub fn directories(&self) -> impl Iterator<Item = &RestoredDirectory> {
        self.parts.iter().flat_map(|part| &part.directories)
    }

    /// Of a copy, until when it is taken to be recovering.
    #[must_use]
    pub fn recovers_until(&self) -> Timestamp {
        self.begun_at.saturating_add(RECOVERY_TIME).unwrap_or(Timestamp::MAX)
    }
}

/// Reads and writes these records.
pub struct Restores<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format_version: u32,
    restore: RestoreRecord,
}

impl<'a> Restores<'a> {
    /// Opens those of the cluster that the layout describes.
    #[must_use]
    pub fn new(store: &'a dyn Store, layout: &'a Layout) -> Self {
        Self { store, layout }
    }

    /// Records a restore before it begins.
    pub async fn announce(&self, record: &RestoreRecord) -> Result<(), CatalogError> {
        let (key, body) = self.object(record)?;
        match self.store.put_if_absent(&key, body).await? {
            PutOutcome::Created => Ok(()),
            PutOutcome::AlreadyExists => {
                Err(CatalogError::Inconsistent { key, reason: "it is about another restore with the same token".to_owned() })
            }
        }
    }

    /// Records what is known by now.
    pub async fn update(&self, record: &RestoreRecord) -> Result<(), CatalogError> {
        let (key, body) = self.object(record)?;
        Ok(self.store.put(&key, body).await?)
    }

    /// Removes the record of a restore of which nothing is left.
    pub async fn remove(&self, record: &RestoreRecord) -> Result<(), CatalogError> {
        Ok(self.store.delete(&self.layout.restore(&record.token)).await?)
    }

    /// Records a copy that has yet to recover.
    pub async fn await_recovery(&self, record: &RestoreRecord) -> Result<(), CatalogError> {
        let key = self.layout.recovery(&record.token);
        Ok(self.store.put(&key, body(&key, record)?).await?)
    }

    /// Removes the record of a copy that recovers no more.
    pub async fn forget_recovery(&self, record: &RestoreRecord) -> Result<(), CatalogError> {
        Ok(self.store.delete(&self.layout.recovery(&record.token)).await?)
    }

    /// All restores, the oldest first, and what could not be read.
    pub async fn all(&self) -> Result<(Vec<RestoreRecord>, Vec<CatalogError>), CatalogError> {
        self.read_all(&self.layout.restores(), Layout::restore).await
    }

    /// All copies that were to recover, the oldest first, however long ago that was; and what could not be read.
    pub async fn recoveries(&self) -> Result<(Vec<RestoreRecord>, Vec<CatalogError>), CatalogError> {
        self.read_all(&self.layout.recoveries(), Layout::recovery).await
    }

    async fn read_all(
        &self,
        prefix: &str,
        key_of: fn(&Layout, &Token) -> Key,
    ) -> Result<(Vec<RestoreRecord>, Vec<CatalogError>), CatalogError> {
        let (mut records, mut unreadable) = (Vec::new(), Vec::new());
        for entry in store::list(self.store, prefix).await? {
            // Gone since the listing: released meanwhile.
            let Some(body) = self.store.get(&entry.key).await? else { continue };
            match self.read(&entry.key, &body, key_of) {
                Ok(record) => records.push(record),
                Err(error) => unreadable.push(error),
            }
        }
        records.sort_by_key(|record| (record.begun_at, record.token.0.clone()));
        Ok((records, unreadable))
    }

    fn read(&self, key: &Key, body: &[u8], key_of: fn(&Layout, &Token) -> Key) -> Result<RestoreRecord, CatalogError> {
        let stored: Stored = codec::from_bytes(key, body)?;
        let record = stored.restore;
        if record.token.0.is_empty() || key_of(self.layout, &record.token) != *key {
            return Err(CatalogError::Inconsistent { key: key.clone(), reason: format!("it is about `{}`", record.token.0) });
        }
        Ok(record)
    }

    fn object(&self, record: &RestoreRecord) -> Result<(Key, Bytes), CatalogError> {
        let key = self.layout.restore(&record.token);
        let body = body(&key, record)?;
        Ok((key, body))
    }
}

fn body(key: &Key, record: &RestoreRecord) -> Result<Bytes, CatalogError> {
    codec::to_bytes(key, &Stored { format_version: FORMAT_VERSION, restore: record.clone() })
}
