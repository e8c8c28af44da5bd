//! What lies in the archive, by timeline and number, and the backups beside it: what `wal-show` and `wal-verify` look at.
//!
//! It is read once and sorted once: an archive holds a million names. Everything else here is arithmetic on sorted numbers.

mod segment_size;

use std::collections::{BTreeMap, BTreeSet};

pub use segment_size::{SegmentSizeFound, SizeSource};

use crate::catalog::{ArchiveError, ArchivedFile, CatalogContents, CatalogError, WalGContents};
use crate::error::{Classify, chain};
use crate::flows::Ports;
use crate::postgres::{Fork, Lsn, TimelineId, WalFileName, WalRange, WalSegment, WalSegmentSize};
use crate::window::ranges::missing;
use crate::window::{TimelineOrigin, TimelineWal, WindowBackup, WindowInput};

/// The files of one timeline.
pub(super) struct TimelineFiles {
    pub(super) origin: TimelineOrigin,
    /// Numbers of its archived segments, sorted, each once.
    pub(super) numbers: Vec<u64>,
    pub(super) partials: Vec<WalFileName>,
    pub(super) stored_bytes: u64,
}

/// The archive and the catalog, as they were when they were read.
pub(super) struct ArchiveMap {
    pub(super) files: Vec<ArchivedFile>,
    pub(super) size: SegmentSizeFound,
    pub(super) timelines: BTreeMap<TimelineId, TimelineFiles>,
    pub(super) contents: CatalogContents,
    pub(super) walg: WalGContents,
}

impl ArchiveMap {
    /// Reads it. A store that does not answer is an error and never an empty place.
    pub(super) async fn read(ports: &Ports<'_>, given: Option<WalSegmentSize>) -> Result<Self, MapError> {
        // Backups first: whatever they need was archived before they were published.
        let contents = ports.catalog().contents().await?;
        let walg = ports.catalog().walg().await?;
        let files = ports.archive().list().await?;
        let size = segment_size::find(&ports.archive(), given, &contents, &walg, &files).await?;
        let timelines = by_timeline(ports, &files, size.size).await?;
        Ok(Self { files, size, timelines, contents, walg })
    }

    /// The numbers of a timeline's archived segments.
    pub(super) fn numbers(&self, timeline: TimelineId) -> &[u64] {
        self.timelines.get(&timeline).map_or(&[], |files| &files.numbers)
    }

    /// The segment with this position.
    pub(super) fn number(&self, position: Lsn) -> u64 {
        position.0 / self.size.size.bytes()
    }

    /// What is missing on a timeline between what is there, and between it and what its parent and its children hold.
    pub(super) fn gaps(&self, timeline: TimelineId) -> Vec<WalRange> {
        let Some(files) = self.timelines.get(&timeline) else { return Vec::new() };
        let ends_at = |child: &TimelineFiles| {
            let fork = child.origin.history().filter(|_| !child.numbers.is_empty())?.fork_of(timeline)?;
            self.number(fork).checked_sub(1)
        };
        let begin = files.numbers.first().copied().into_iter().chain(self.continues_from(files)).min();
        let end = files.numbers.last().copied().into_iter().chain(self.timelines.values().filter_map(ends_at)).max();
        match (begin, end) {
            (Some(begin), Some(end)) => missing(timeline, &files.numbers, begin, end),
            _ => Vec::new(),
        }
    }

    /// The segment in which a timeline begins, if something older is archived from which it continues.
    fn continues_from(&self, files: &TimelineFiles) -> Option<u64> {
        let history = files.origin.history()?;
        let begin = self.number(history.ancestors().last()?.position);
        let holds_older = |fork: &Fork| self.numbers(fork.timeline).first().is_some_and(|first| *first < begin);
        history.ancestors().iter().any(holds_older).then_some(begin)
    }
}

impl ArchiveMap {
    /// What the calculation of the window looks at.
    pub(super) fn window_input(&self) -> WindowInput {
        let wal = |files: &TimelineFiles| TimelineWal { origin: files.origin.clone(), numbers: files.numbers.clone() };
        WindowInput {
            segment_size: self.size.size,
            backups: self.contents.backups.iter().map(WindowBackup::from).collect(),
            timelines: self.timelines.iter().map(|(timeline, files)| (*timeline, wal(files))).collect(),
        }
    }
}

/// The same of a catalog and a listing that were read before, under this segment size.
pub(super) async fn window_input(
    ports: &Ports<'_>,
    contents: &CatalogContents,
    files: &[ArchivedFile],
    size: WalSegmentSize,
) -> Result<WindowInput, MapError> {
    let timelines = by_timeline(ports, files, size).await?.into_iter();
    Ok(WindowInput {
        segment_size: size,
        backups: contents.backups.iter().map(WindowBackup::from).collect(),
        timelines: timelines
            .map(|(timeline, files)| (timeline, TimelineWal { origin: files.origin, numbers: files.numbers }))
            .collect(),
    })
}

/// Whether an object holds one of these segments.
pub(super) fn is_of(file: &ArchivedFile, ranges: &[WalRange], size: WalSegmentSize) -> bool {
    let segment = file.name.segment(size).filter(|_| matches!(file.name, WalFileName::Segment { .. }));
    segment.is_some_and(|segment| ranges.iter().any(|range| range.contains(segment)))
}

async fn by_timeline(
    ports: &Ports<'_>,
    files: &[ArchivedFile],
    size: WalSegmentSize,
) -> Result<BTreeMap<TimelineId, TimelineFiles>, MapError> {
    let archived: BTreeSet<TimelineId> =
        files.iter().filter(|file| matches!(file.name, WalFileName::History { .. })).map(|file| file.name.timeline()).collect();
    let mut timelines: BTreeMap<TimelineId, TimelineFiles> = BTreeMap::new();
    for file in files {
        let timeline = file.name.timeline();
        let found = match timelines.entry(timeline) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let origin = origin(ports, timeline, archived.contains(&timeline)).await?;
                entry.insert(TimelineFiles { origin, numbers: Vec::new(), partials: Vec::new(), stored_bytes: 0 })
            }
        };
        found.stored_bytes += file.size_bytes;
        match (file.name, file.name.segment(size)) {
            (WalFileName::Segment { .. }, Some(WalSegment { number, .. })) => found.numbers.push(number),
            (WalFileName::Partial { .. }, _) => found.partials.push(file.name),
            _ => {}
        }
    }
    for found in timelines.values_mut() {
        // Under the size that the archive has they are in order already; under another one they need not be.
        found.numbers.sort_unstable();
        found.numbers.dedup();
    }
    Ok(timelines)
}

async fn origin(ports: &Ports<'_>, timeline: TimelineId, is_archived: bool) -> Result<TimelineOrigin, MapError> {
    use crate::error::ErrorClass::{Config, Corrupt};
    if timeline == TimelineId::FIRST {
        return Ok(TimelineOrigin::First);
    }
    if !is_archived {
        return Ok(TimelineOrigin::Missing);
    }
    match ports.archive().history(timeline).await {
        Ok(Some(history)) => Ok(TimelineOrigin::Known(history)),
        Ok(None) => Ok(TimelineOrigin::Missing),
        Err(error @ ArchiveError::Store(_)) => Err(error.into()),
        Err(error) if error.class() == Corrupt => Ok(TimelineOrigin::Damaged(chain(&error))),
        Err(error) if error.class() == Config => Ok(TimelineOrigin::Unreadable(chain(&error))),
        Err(error) => Err(error.into()),
    }
}

/// Why the archive could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl Classify for MapError {
    fn class(&self) -> crate::error::ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::Archive(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::Archive(error) => error.hint(),
        }
    }
}
