//! Shows what the archive holds: timelines and where they come from, stretches of segments, gaps, and the backups on each.
//!
//! It says what is there. Which gaps matter is for `wal-verify` to say.

use crate::catalog::CatalogError;
use crate::flows::Ports;
use crate::flows::archive_map::{ArchiveMap, MapError, SegmentSizeFound, TimelineFiles};
use crate::postgres::{TimelineId, WalFileName, WalRange, WalSegmentSize};
use crate::window::TimelineOrigin;
use crate::window::ranges::consecutive;

/// What the archive holds.
#[derive(Debug)]
pub struct WalInventory {
    /// The segment size, and how it is known.
    pub segment_size: SegmentSizeFound,
    /// Every timeline of which a file is archived, the oldest first.
    pub timelines: Vec<TimelineInventory>,
    /// Records of backups that could not be read.
    pub unreadable: Vec<CatalogError>,
}

/// What the archive holds of one timeline.
#[derive(Debug)]
pub struct TimelineInventory {
    /// The timeline.
    pub timeline: TimelineId,
    /// Where it comes from.
    pub origin: TimelineOrigin,
    /// Stretches of segments without a gap.
    pub ranges: Vec<WalRange>,
    /// What is missing between them, and between them and what the parent and the children hold.
    pub gaps: Vec<WalRange>,
    /// Segments, each counted once.
    pub segments: u64,
    /// Its `.partial` files.
    pub partials: Vec<WalFileName>,
    /// Bytes of everything of it, as stored.
    pub stored_bytes: u64,
    /// The backups that start on it.
    pub backups: Vec<BackupOnTimeline>,
}

/// A backup that starts on a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupOnTimeline {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub kind: BackupKind,
}

/// Whose a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackupKind {
    /// A snapshot of ours.
    Snapshot,
    /// A base backup of WAL-G.
    WalG,
}

impl BackupKind {
    /// The name of the kind in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::WalG => "walg",
        }
    }
}

/// Reads names, timeline histories and backups; changes nothing and connects to no server.
pub async fn wal_show(ports: &Ports<'_>, segment_size: Option<WalSegmentSize>) -> Result<WalInventory, MapError> {
    let map = ArchiveMap::read(ports, segment_size).await?;
    let timelines = map.timelines.iter().map(|(timeline, files)| inventory(&map, *timeline, files)).collect();
    let unreadable = map.contents.unreadable.into_iter().chain(map.walg.unreadable).collect();
    Ok(WalInventory { segment_size: map.size, timelines, unreadable })
}

fn inventory(map: &ArchiveMap, timeline: TimelineId, files: &TimelineFiles) -> TimelineInventory {
    let ours = map.contents.backups.iter().filter(|backup| backup.sentinel.timeline == timeline);
    let walg = map.walg.backups.iter().filter(|backup| backup.name.timeline() == timeline);
    let ours = ours.map(|backup| BackupOnTimeline { name: backup.sentinel.name.to_string(), kind: BackupKind::Snapshot });
    let walg = walg.map(|backup| BackupOnTimeline { name: backup.name.to_string(), kind: BackupKind::WalG });
    TimelineInventory {
        timeline,
        origin: files.origin.clone(),
        ranges: consecutive(timeline, &files.numbers),
        gaps: map.gaps(timeline),
        segments: files.numbers.len() as u64,
        partials: files.partials.clone(),
        stored_bytes: files.stored_bytes,
        backups: ours.chain(walg).collect(),
    }
}
