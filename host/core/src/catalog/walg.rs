//! WAL-G's base backups in the same place: read, never written.
//!
//! They are WAL-G's to restore and to delete; here they are listed, and their WAL is protected. A backup of WAL-G exists when its
//! sentinel does, which is written last: a directory without one is a backup that runs or was interrupted. Whatever cannot be
//! understood is said to be so, and whoever deletes WAL must then keep all of it. What WAL-G keeps in another storage (its
//! failover storages) cannot be seen from here.

mod name;
mod stored;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::layout::WalGObject;
use super::{CatalogError, Layout, Permanence};
use crate::postgres::{Lsn, PgVersion, SystemIdentifier, WalRange, WalSegment, WalSegmentSize};
use crate::store::{Key, PAGE, Store, StoreError};
pub use name::{InvalidWalGName, WalGName};
use stored::{StoredMetadata, StoredSentinel};

/// A base backup of WAL-G.
#[derive(Debug, Clone, PartialEq)]
pub struct WalGBackup {
    /// Its name, which tells the segment in which it starts.
    pub name: WalGName,
    /// Where replay must begin; none when its records do not say.
    pub start_lsn: Option<Lsn>,
    /// Before this position a restore is not consistent; none when its records do not say.
    pub finish_lsn: Option<Lsn>,
    /// Whether WAL-G's retention may delete it, by `metadata.json`; ordinary when there is none.
    pub permanence: Permanence,
    /// Whether there is a `metadata.json`.
    pub has_metadata: bool,
    /// Version of the server.
    pub version: Option<PgVersion>,
    /// Identifier of the cluster.
    pub system_identifier: Option<SystemIdentifier>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Host that took it.
    pub hostname: Option<String>,
    /// The server's data directory.
    pub data_directory: Option<PathBuf>,
    /// Bytes of data.
    pub uncompressed_bytes: Option<u64>,
    /// Bytes in the store.
    pub compressed_bytes: Option<u64>,
    /// The backup that a delta builds on.
    pub delta_from: Option<String>,
    /// What the operator added.
    pub user_data: Option<Value>,
}

impl WalGBackup {
    /// The segment sizes that its name and its position allow; empty when it tells no position.
    #[must_use]
    pub fn segment_sizes(&self) -> Vec<WalSegmentSize> {
        self.start_lsn.map_or_else(Vec::new, |start| stored::segment_sizes(&self.name, start).collect())
    }

    /// The number of the segment in which it starts.
    #[must_use]
    pub fn first_segment(&self, size: WalSegmentSize) -> Option<u64> {
        let start = self.start_lsn.map(|start| WalSegment::containing(self.name.timeline(), start, size));
        start.or_else(|| self.name.start_file().segment(size)).map(|segment| segment.number)
    }

    /// The segments without which it cannot be restored; none when it does not tell where it stops.
    #[must_use]
    pub fn wal_range(&self, size: WalSegmentSize) -> Option<WalRange> {
        let (timeline, first) = (self.name.timeline(), self.first_segment(size)?);
        let last = WalSegment::ending_at(timeline, self.finish_lsn?, size).number.max(first);
        Some(WalRange { timeline, first, last })
    }
}

/// Everything of WAL-G's that lies beside our records.
#[derive(Debug, Default)]
pub struct WalGContents {
    /// Its base backups, by the timeline and segment in which they start.
    pub backups: Vec<WalGBackup>,
    /// Those that have no sentinel: they run, or were interrupted, or are being deleted.
    pub unfinished: Vec<WalGName>,
    /// What could not be understood.
    pub unreadable: Vec<CatalogError>,
}

impl WalGContents {
    /// Gives the contents only if everything could be read.
    pub fn complete(mut self) -> Result<Self, CatalogError> {
        match self.unreadable.pop() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Finds a backup by name.
    #[must_use]
    pub fn find(&self, name: &WalGName) -> Option<&WalGBackup> {
        self.backups.iter().find(|backup| &backup.name == name)
    }
}

/// Reads all of it. Fails when it cannot be listed; a record that cannot be read is listed as such.
pub(super) async fn read(store: &dyn Store, layout: &Layout) -> Result<WalGContents, CatalogError> {
    let found = Listing::read(store, layout).await?;
    let mut contents = WalGContents { unreadable: found.foreign, ..WalGContents::default() };
    for name in found.sentinels {
        match read_backup(store, layout, &name).await {
            Ok(Some(backup)) => contents.backups.push(backup),
            // Gone since the listing: WAL-G deletes it, and what is left of it is looked at like an interrupted one.
            Ok(None) => contents.unfinished.push(name),
            Err(error) => contents.unreadable.push(error),
        }
    }
    contents.unfinished.extend(found.unfinished);
    Ok(contents)
}

async fn read_backup(store: &dyn Store, layout: &Layout, name: &WalGName) -> Result<Option<WalGBackup>, CatalogError> {
    let (sentinel_key, metadata_key) = (layout.walg_sentinel(name), layout.walg_metadata(name));
    let Some(body) = store.get(&sentinel_key).await? else { return Ok(None) };
    let sentinel: StoredSentinel = parse(&sentinel_key, &body)?;
    let metadata: Option<StoredMetadata> = match store.get(&metadata_key).await? {
        Some(body) => Some(parse(&metadata_key, &body)?),
        None => None,
    };
    let backup = stored::assemble(name, sentinel, metadata);
    backup.map(Some).map_err(|reason| CatalogError::WalG { key: sentinel_key, reason })
}

fn parse<T: DeserializeOwned>(key: &Key, body: &Bytes) -> Result<T, CatalogError> {
    serde_json::from_slice(body).map_err(|error| CatalogError::WalG { key: key.clone(), reason: error.to_string() })
}

/// The names that a listing tells.
#[derive(Default)]
struct Listing {
    sentinels: BTreeSet<WalGName>,
    unfinished: BTreeSet<WalGName>,
    foreign: Vec<CatalogError>,
}

impl Listing {
    async fn read(store: &dyn Store, layout: &Layout) -> Result<Self, StoreError> {
        let mut listing = Self::default();
        // Names of which one object is enough to know.
        let mut not_backups: BTreeSet<String> = BTreeSet::new();
        let mut after: Option<Key> = None;
        loop {
            let page = store.list_page(&layout.walg_backups(), after.as_ref(), PAGE).await?;
            for entry in &page {
                let object = layout.parse_walg(&entry.key);
                let (WalGObject::Sentinel(claimed) | WalGObject::Content(claimed)) = object;
                match (claimed.parse::<WalGName>(), object) {
                    (Ok(name), WalGObject::Sentinel(_)) => drop(listing.sentinels.insert(name)),
                    (Ok(name), WalGObject::Content(_)) => drop(listing.unfinished.insert(name)),
                    (Err(_), WalGObject::Content(_)) if !not_backups.insert(claimed.to_owned()) => {}
                    (Err(error), _) => {
                        listing.foreign.push(CatalogError::WalG { key: entry.key.clone(), reason: error.to_string() });
                    }
                }
            }
            let Some(last) = page.last().filter(|_| page.len() == PAGE) else { break };
            after = Some(past_content(layout, &last.key).unwrap_or_else(|| last.key.clone()));
        }
        listing.unfinished = listing.unfinished.difference(&listing.sentinels).cloned().collect();
        Ok(listing)
    }
}

/// A large backup has tens of thousands of objects, of which one tells all: the listing goes on behind them.
fn past_content(layout: &Layout, key: &Key) -> Option<Key> {
    match layout.parse_walg(key) {
        WalGObject::Content(name) => layout.walg_content_end(name).filter(|end| end > key),
        WalGObject::Sentinel(_) => None,
    }
}
