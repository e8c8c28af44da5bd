//! WAL that a backup keeps for itself: the segment with the checkpoint of a clean shutdown, beside the sentinel.
//!
//! It must not go where segments are archived: the server goes on in it, and archives it under the same name with more content. Its key
//! has no run of 24 digits, so that WAL-G does not take it for a segment either. It is encoded and encrypted as archived WAL is.

use bytes::Bytes;

use super::layout::Record;
use super::{ArchiveError, Catalog, CatalogError, Sentinel};
use crate::catalog::{ArchivedObject, BackupName, WalArchive};
use crate::postgres::{WalFileName, WalSegment};
use crate::store::PutOutcome;

impl Sentinel {
    /// The segment that a cold backup keeps for itself; none of any other backup, whose WAL is in the archive.
    #[must_use]
    pub fn kept_segment(&self) -> Option<WalFileName> {
        let segment = WalSegment::containing(self.timeline, self.start_lsn, self.segment_size);
        self.is_cold.then(|| segment.file_name(self.segment_size))
    }
}

impl Catalog<'_> {
    /// Keeps an encoded segment for a backup that has been announced and is not published yet.
    pub async fn keep_wal(&self, name: &BackupName, body: Bytes) -> Result<(), CatalogError> {
        let key = self.layout.record(name, Record::ShutdownWal);
        let outcome = self.store.put_if_absent(&key, body.clone()).await?;
        // The answer to an earlier attempt may have been lost: what is there must be this. It is read back in any case, since
        // nothing else would show that a store has lost it before the server's own segment is gone.
        match self.store.get(&key).await? {
            Some(found) if found == body => Ok(()),
            _ if outcome == PutOutcome::AlreadyExists => Err(CatalogError::NameTaken { name: name.clone() }),
            _ => Err(CatalogError::WalNotKept { name: name.clone() }),
        }
    }

    /// Gives up what was kept for a backup that is not published. Absent is a success.
    pub async fn discard_wal(&self, name: &BackupName) -> Result<(), CatalogError> {
        Ok(self.store.delete(&self.layout.record(name, Record::ShutdownWal)).await?)
    }

    /// Whether something is kept for a backup.
    pub async fn keeps_wal(&self, name: &BackupName) -> Result<bool, CatalogError> {
        Ok(self.store.head(&self.layout.record(name, Record::ShutdownWal)).await?.is_some_and(|size_bytes| size_bytes > 0))
    }

    /// Reads what a backup keeps; none when the store does not have it.
    pub async fn kept_wal(&self, sentinel: &Sentinel, archive: &WalArchive<'_>) -> Result<Option<ArchivedObject>, ArchiveError> {
        let Some(segment) = sentinel.kept_segment() else { return Ok(None) };
        let key = self.layout.record(&sentinel.name, Record::ShutdownWal);
        let body = self.store.get(&key).await?;
        Ok(body.map(|body| archive.unwrap(segment, key, body)))
    }
}
