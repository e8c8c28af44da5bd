//! Increments: named places in the WAL behind a backup, to which the backup is recovered exactly.
//!
//! An increment holds no data: it is its parent and the WAL from there to its place, which lies in the archive anyway. Its record says
//! what of that is needed, so that no deletion takes it, and where the place is. The name stands in the WAL as well, but may stand
//! there more than once: the position decides. A record is written once, when everything that it names is archived, and goes with
//! its parent or by itself.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Backup, BackupName, CatalogContents, CatalogError, FORMAT_VERSION, Layout, codec};
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalRange, WalSegment, WalSegmentSize};
use crate::store::{self, Key, PutOutcome, Store};

/// Longest name that PostgreSQL takes for a restore point, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// Name of a restore point that is an increment: at most 63 bytes, and never the name of a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RestorePointName(String);

impl RestorePointName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that cannot name an increment.
#[derive(Debug, Error)]
#[error("`{text}` cannot name a restore point: {reason}")]
pub struct InvalidRestorePointName {
    text: String,
    reason: &'static str,
}

impl FromStr for RestorePointName {
    type Err = InvalidRestorePointName;

    fn from_str(text: &str) -> Result<Self, InvalidRestorePointName> {
        let looks_like_a_backup = text == "LATEST" || text.starts_with("sf-") || text.starts_with("base_");
        let reason = match text.chars().next() {
            None => "it is empty",
            _ if text.len() > MAX_NAME_BYTES => "it has more than 63 bytes",
            _ if text.chars().any(char::is_control) => "it holds control characters",
            _ if looks_like_a_backup => "it looks like the name of a backup",
            Some(first) if first.is_alphanumeric() || first == '_' => return Ok(Self(text.to_owned())),
            Some(_) => "it must begin with a letter, a digit or `_`",
        };
        Err(InvalidRestorePointName { text: text.to_owned(), reason })
    }
}

impl TryFrom<String> for RestorePointName {
    type Error = InvalidRestorePointName;

    fn try_from(text: String) -> Result<Self, InvalidRestorePointName> {
        text.parse()
    }
}

impl From<RestorePointName> for String {
    fn from(name: RestorePointName) -> Self {
        name.0
    }
}

impl fmt::Display for RestorePointName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A catalogued restore point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment {
    /// Its name.
    pub name: RestorePointName,
    /// The backup that is restored before it is replayed to.
    pub parent: BackupName,
    /// The timeline on which the point lies.
    pub timeline: TimelineId,
    /// Where it begins: at the end of the increment before it, or of its parent.
    pub from: Lsn,
    /// Where it ends: right behind the record of the restore point.
    pub to: Lsn,
    /// Segments that hold the WAL from its beginning to its end.
    pub segments: u64,
    /// Bytes of these, as they were stored when it was made.
    pub size_bytes: u64,
    /// Every segment that recovery from the parent to the point replays.
    pub replay: Vec<WalRange>,
    /// Segment size of the cluster.
    pub segment_size: WalSegmentSize,
    /// Identifier of the cluster.
    pub system_identifier: SystemIdentifier,
    /// When it was made, by the server's clock.
    pub created_at: Timestamp,
}

impl Increment {
    /// What contradicts itself in it; none if it holds together.
    fn contradiction(&self) -> Option<&'static str> {
        let is_in_order = self.replay.iter().all(|range| range.first <= range.last)
            && self.replay.windows(2).all(|pair| pair[0].timeline <= pair[1].timeline && pair[0].last < pair[1].first);
        let end = WalSegment::ending_at(self.timeline, self.to, self.segment_size);
        let ends_there = self.replay.last().is_some_and(|range| range.timeline == end.timeline && range.last == end.number);
        let begins_before = self.replay.first().is_some_and(|range| range.first <= self.from.0 / self.segment_size.bytes());
        match () {
            () if self.from > self.to => Some("it ends before it begins"),
            () if !is_in_order => Some("its segments do not follow one another"),
            () if !ends_there => Some("its segments do not end where it does"),
            () if !begins_before => Some("its segments begin behind it"),
            () => None,
        }
    }
}

/// Reads and writes the records of one cluster's increments.
pub struct Increments<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
}

impl<'a> Increments<'a> {
    /// Opens them.
    #[must_use]
    pub fn new(store: &'a dyn Store, layout: &'a Layout) -> Self {
        Self { store, layout }
    }

    /// Records an increment, unless its name is taken.
    pub async fn add(&self, increment: &Increment) -> Result<PutOutcome, CatalogError> {
        let key = self.layout.restore_point(&increment.name);
        let body = to_bytes(&key, increment)?;
        Ok(self.store.put_if_absent(&key, body).await?)
    }

    /// All of them in the order of their places, and what cannot be read.
    pub async fn all(&self) -> Result<(Vec<Increment>, Vec<CatalogError>), CatalogError> {
        let (mut increments, mut unreadable) = (Vec::new(), Vec::new());
        for entry in store::list(self.store, &self.layout.restore_points()).await? {
            // Gone since the listing.
            let Some(body) = self.store.get(&entry.key).await? else { continue };
            match self.read(&entry.key, &body) {
                Ok(increment) => increments.push(increment),
                Err(error) => unreadable.push(error),
            }
        }
        increments.sort_by(|one, other| (one.timeline, one.to, &one.name).cmp(&(other.timeline, other.to, &other.name)));
        Ok((increments, unreadable))
    }

    /// Removes the record of one.
    pub async fn remove(&self, name: &RestorePointName) -> Result<(), CatalogError> {
        Ok(self.store.delete(&self.layout.restore_point(name)).await?)
    }

    /// The key of the record of one, for messages.
    #[must_use]
    pub fn key(&self, name: &RestorePointName) -> Key {
        self.layout.restore_point(name)
    }

    fn read(&self, key: &Key, body: &[u8]) -> Result<Increment, CatalogError> {
        let stored: Stored = codec::from_bytes(key, body)?;
        let increment = Increment::from(stored.increment);
        if self.layout.restore_point(&increment.name) != *key {
            return Err(CatalogError::Inconsistent { key: key.clone(), reason: format!("it is about `{}`", increment.name) });
        }
        match increment.contradiction() {
            Some(reason) => Err(CatalogError::Inconsistent { key: key.clone(), reason: reason.to_owned() }),
            None => Ok(increment),
        }
    }
}

impl CatalogContents {
    /// Finds an increment by name, with its parent.
    #[must_use]
    pub fn find_increment(&self, name: &RestorePointName) -> Option<(&Backup, &Increment)> {
        let mut all = self.backups.iter().flat_map(|backup| backup.increments.iter().map(move |increment| (backup, increment)));
        all.find(|(_, increment)| &increment.name == name)
    }
}

/// Gives each backup its increments.
pub(super) fn attach(increments: Vec<Increment>, contents: &mut CatalogContents) {
    for increment in increments {
        match contents.backups.iter_mut().find(|backup| backup.sentinel.name == increment.parent) {
            Some(parent) => parent.increments.push(increment),
            None => contents.stray_increments.push(increment),
        }
    }
}

fn to_bytes(key: &Key, increment: &Increment) -> Result<Bytes, CatalogError> {
    codec::to_bytes(key, &Stored { format_version: FORMAT_VERSION, increment: increment.clone().into() })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    increment: StoredIncrement,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredIncrement {
    name: RestorePointName,
    parent: BackupName,
    timeline: TimelineId,
    from: Lsn,
    to: Lsn,
    segments: u64,
    size_bytes: u64,
    replay: Vec<StoredRange>,
    segment_size: WalSegmentSize,
    system_identifier: SystemIdentifier,
    created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRange {
    timeline: TimelineId,
    first: u64,
    last: u64,
}

impl From<Increment> for StoredIncrement {
    fn from(increment: Increment) -> Self {
        let Increment { name, parent, timeline, from, to, segments, size_bytes, replay, .. } = increment;
        let range = |WalRange { timeline, first, last }| StoredRange { timeline, first, last };
        Self {
            name,
            parent,
            timeline,
            from,
            to,
            segments,
            size_bytes,
            replay: replay.into_iter().map(range).collect(),
            segment_size: increment.segment_size,
            system_identifier: increment.system_identifier,
            created_at: increment.created_at,
        }
    }
}

impl From<StoredIncrement> for Increment {
    fn from(stored: StoredIncrement) -> Self {
        let StoredIncrement { name, parent, timeline, from, to, segments, size_bytes, replay, .. } = stored;
        let range = |StoredRange { timeline, first, last }| WalRange { timeline, first, last };
        Self {
            name,
            parent,
            timeline,
            from,
            to,
            segments,
            size_bytes,
            replay: replay.into_iter().map(range).collect(),
            segment_size: stored.segment_size,
            system_identifier: stored.system_identifier,
            created_at: stored.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryStore;

    fn increment() -> Increment {
        Increment {
            name: "before the upgrade".parse().unwrap(),
            parent: "sf-20261121T083214Z-9k3m2p7x".parse().unwrap(),
            timeline: TimelineId::new(2).unwrap(),
            from: Lsn(0x30_0028),
            to: Lsn(0x50_0100),
            segments: 3,
            size_bytes: 42,
            replay: vec![
                WalRange { timeline: TimelineId::FIRST, first: 2, last: 3 },
                WalRange { timeline: TimelineId::new(2).unwrap(), first: 4, last: 5 },
            ],
            segment_size: WalSegmentSize::SMALLEST,
            system_identifier: SystemIdentifier(7),
            created_at: "2026-11-21T09:00:00Z".parse().unwrap(),
        }
    }

    fn layout() -> Layout {
        Layout::new("main".to_owned().try_into().unwrap())
    }

    #[tokio::test]
    async fn is_read_back_as_it_was_written_and_its_name_is_taken_once() {
        let (store, layout) = (MemoryStore::default(), layout());
        let increments = Increments::new(&store, &layout);
        assert_eq!(increments.add(&increment()).await.unwrap(), PutOutcome::Created);
        let other = Increment { to: Lsn(0x50_0200), ..increment() };
        assert_eq!(increments.add(&other).await.unwrap(), PutOutcome::AlreadyExists);
        let (found, unreadable) = increments.all().await.unwrap();
        assert_eq!((found, unreadable.len()), (vec![increment()], 0));
        increments.remove(&increment().name).await.unwrap();
        assert_eq!(increments.all().await.unwrap().0, []);
    }

    #[tokio::test]
    async fn a_record_that_contradicts_itself_is_unreadable() {
        let (store, layout) = (MemoryStore::default(), layout());
        let increments = Increments::new(&store, &layout);
        let wrong = [
            Increment { from: Lsn(0x60_0000), ..increment() },
            Increment { to: Lsn(0x60_0100), ..increment() },
            Increment { replay: increment().replay[1..].to_vec(), ..increment() },
            Increment { replay: Vec::new(), ..increment() },
            Increment { timeline: TimelineId::FIRST, ..increment() },
        ];
        for wrong in wrong {
            let key = layout.restore_point(&wrong.name);
            store.put(&key, to_bytes(&key, &wrong).unwrap()).await.unwrap();
            let (found, unreadable) = increments.all().await.unwrap();
            assert!(found.is_empty() && unreadable[0].key() == Some(&key), "{wrong:?}");
        }
        let misplaced = layout.restore_point(&"another".parse().unwrap());
        store.put(&misplaced, to_bytes(&misplaced, &increment()).unwrap()).await.unwrap();
        assert_eq!(increments.all().await.unwrap().1.len(), 2);
    }

    #[test]
    fn refuses_names_that_postgresql_refuses_or_that_could_be_taken_for_something_else() {
        let long = "x".repeat(64);
        let names = ["", &long, "a\nb", "LATEST", "sf-1", "base_1", "/restored", "--parent", ".x", " x"];
        for name in names {
            assert!(name.parse::<RestorePointName>().is_err(), "{name:?}");
        }
        for name in ["x", "before the upgrade", "it's 5/6 \"done\"", "äöü", &long[1..], "2026-11-21"] {
            assert_eq!(name.parse::<RestorePointName>().unwrap().as_str(), name);
        }
    }
}
