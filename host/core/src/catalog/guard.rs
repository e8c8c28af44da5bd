//! Who archives which timeline: one claim per timeline, made by the first instance that pushes a segment of it.
//!
//! A timeline has one writer. A second one, a clone or a server that was rolled back, writes other segments of the same names, and
//! nobody could tell later whose they are. The claim says which instance it is; whether a push is admitted is decided by the flow.
//! A claim is small, read once for every push, and written once in the life of a timeline.

mod instance;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use instance::{DirectoryIdentity, Instance, InstanceError, Place};

use super::{CatalogError, FORMAT_VERSION, Layout, codec};
use crate::postgres::{SystemIdentifier, TimelineId, WalFileName};
use crate::store::{self, Key, ObjectEntry, PAGE, PutOutcome, Store, StoreError};

/// Which instance archives a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveClaim {
    /// The cluster.
    pub system_identifier: SystemIdentifier,
    /// The timeline.
    pub timeline: TimelineId,
    /// The instance.
    pub place: Place,
    /// When it was made.
    pub claimed_at: Timestamp,
    /// The segment with which it was made; none when an operator made it.
    pub first_file: Option<WalFileName>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    system_identifier: SystemIdentifier,
    timeline: u32,
    instance: Place,
    claimed_at: Timestamp,
    first_file: Option<String>,
}

/// What the archive of a timeline holds at and after a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Whether the segment itself is there, in whatever form.
    pub(crate) is_archived: bool,
    /// Whether a later one is there.
    pub(crate) has_later: bool,
}

/// Reads and writes the claims of one cluster.
pub struct Claims<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
}

impl<'a> Claims<'a> {
    /// Opens the claims of the cluster that the layout describes.
    #[must_use]
    pub fn new(store: &'a dyn Store, layout: &'a Layout) -> Self {
        Self { store, layout }
    }

    /// Reads the claim of a timeline; none when nobody has made one.
    pub async fn read(&self, timeline: TimelineId) -> Result<Option<ArchiveClaim>, CatalogError> {
        let key = self.key(timeline);
        let Some(body) = self.store.get(&key).await? else { return Ok(None) };
        let stored: Stored = codec::from_bytes(&key, &body)?;
        if stored.timeline != timeline.get() {
            let reason = format!("it is about timeline {}", stored.timeline);
            return Err(CatalogError::Inconsistent { key, reason });
        }
        let first_file = stored.first_file.map(|name| name.parse()).transpose();
        let first_file = first_file.map_err(|error| CatalogError::Inconsistent { key, reason: format!("{error}") })?;
        Ok(Some(ArchiveClaim {
            system_identifier: stored.system_identifier,
            timeline,
            place: stored.instance,
            claimed_at: stored.claimed_at,
            first_file,
        }))
    }

    /// Reads the claims of all timelines; those that are damaged are left out.
    pub(crate) async fn all(&self) -> Result<Vec<ArchiveClaim>, CatalogError> {
        let mut claims = Vec::new();
        for entry in store::list(self.store, &self.layout.claims()).await? {
            let Some(timeline) = self.layout.parse_claim(&entry.key) else { continue };
            match self.read(timeline).await {
                Ok(claim) => claims.extend(claim),
                Err(CatalogError::Malformed { .. } | CatalogError::Inconsistent { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(claims)
    }

    /// Makes a claim unless there is one. Of several instances exactly one succeeds.
    pub async fn make(&self, claim: &ArchiveClaim) -> Result<PutOutcome, CatalogError> {
        let key = self.key(claim.timeline);
        Ok(self.store.put_if_absent(&key, to_bytes(&key, claim)?).await?)
    }

    /// Makes a claim whatever was there; nothing tells of another one that was made at the same moment.
    pub async fn replace(&self, claim: &ArchiveClaim) -> Result<(), CatalogError> {
        let key = self.key(claim.timeline);
        Ok(self.store.put(&key, to_bytes(&key, claim)?).await?)
    }

    /// Where the claim of a timeline lies, for messages.
    #[must_use]
    pub fn key(&self, timeline: TimelineId) -> Key {
        self.layout.claim(timeline)
    }

    /// Looks at what is archived from this segment on. At the head of the archive that is one short page.
    pub(crate) async fn surroundings(&self, segment: WalFileName) -> Result<Surroundings, StoreError> {
        let mut found = Surroundings { is_archived: false, has_later: false };
        // Just before all objects that hold the segment, whatever their names end with.
        let mut after = self.layout.wal_of(segment.timeline(), segment.to_string().get(8..23).unwrap_or_default());
        loop {
            let page = self.page(segment.timeline(), &after, PAGE).await?;
            for name in page.iter().filter_map(archived_name) {
                let is_segment = matches!(name, WalFileName::Segment { .. });
                found.is_archived |= name == segment;
                found.has_later |= is_segment && name.order() > segment.order();
            }
            match page.last() {
                Some(last) if page.len() == PAGE && !found.has_later => after = last.key.clone(),
                _ => return Ok(found),
            }
        }
    }

    /// The newest file that is archived of a timeline, for messages.
    ///
    /// A timeline may have hundreds of thousands of segments, and a clone asks again every minute: so its end is searched by
    /// halves, in some thirty small requests.
    pub(crate) async fn newest(&self, timeline: TimelineId) -> Result<Option<WalFileName>, StoreError> {
        let (mut begin, mut end) = (0_u64, 1 << 32);
        while end - begin > 1 {
            let middle = u64::midpoint(begin, end);
            let from = self.layout.wal_of(timeline, &format!("{middle:08X}"));
            if self.page(timeline, &from, 1).await?.is_empty() {
                end = middle;
            } else {
                begin = middle;
            }
        }
        let last = store::list(self.store, self.layout.wal_of(timeline, &format!("{begin:08X}")).as_str()).await?;
        Ok(last.iter().filter_map(archived_name).max_by_key(|name| name.order()))
    }

    async fn page(&self, timeline: TimelineId, after: &Key, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        self.store.list_page(self.layout.wal_of(timeline, "").as_str(), Some(after), limit).await
    }
}

fn to_bytes(key: &Key, claim: &ArchiveClaim) -> Result<bytes::Bytes, CatalogError> {
    let stored = Stored {
        format_version: FORMAT_VERSION,
        system_identifier: claim.system_identifier,
        timeline: claim.timeline.get(),
        instance: claim.place.clone(),
        claimed_at: claim.claimed_at,
        first_file: claim.first_file.map(|name| name.to_string()),
    };
    codec::to_bytes(key, &stored)
}

/// Which file an archived object holds, whatever its name ends with: compression and encryption each add a suffix.
fn archived_name(entry: &ObjectEntry) -> Option<WalFileName> {
    let mut name = entry.key.file_name();
    loop {
        if let Ok(name) = name.parse() {
            return Some(name);
        }
        name = name.rsplit_once('.')?.0;
    }
}
