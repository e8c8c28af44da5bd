//! Shows what can be recovered: every interval of every timeline, the gaps between them, and why.

use crate::catalog::CatalogError;
use crate::flows::archive_map::{ArchiveMap, MapError, SegmentSizeFound};
use crate::flows::wal_scan::WalScan;
use crate::flows::{Ports, settle_states};
use crate::postgres::{WalRange, WalSegmentSize};
use crate::window::{RecoverableInterval, Window, WindowInput, calculate, ranges};

/// Segments that are read for the time of one interval's end: one in which no transaction ended tells none.
const READS_OF_AN_INTERVAL: u64 = 4;

/// Intervals whose ends are told in time: the newest. Each costs a few reads.
const INTERVALS_WITH_TIME: usize = 16;

/// What can be recovered.
#[derive(Debug)]
pub struct WindowReport {
    /// The segment size, and how it is known.
    pub segment_size: SegmentSizeFound,
    /// What can be recovered; `to.time` is the end of the last transaction, where it was read.
    pub window: Window,
    /// Records of backups that could not be read: what they reach is not known.
    pub unreadable: Vec<CatalogError>,
}

/// Whether WAL is read for the times of the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WindowTimes {
    /// It is.
    #[default]
    Read,
    /// It is not.
    LeftOut,
}

/// Calculates the window; changes nothing but what is known of the readiness of backups.
pub async fn window(ports: &Ports<'_>, size: Option<WalSegmentSize>, times: WindowTimes) -> Result<WindowReport, MapError> {
    let mut map = ArchiveMap::read(ports, size).await?;
    settle_states(ports, &mut map.contents).await;
    let input = map.window_input();
    let mut found = calculate(&input);
    if times == WindowTimes::Read {
        for interval in found.intervals.iter_mut().rev().take(INTERVALS_WITH_TIME).filter(|interval| interval.to.time.is_none()) {
            read_end(ports, &input, interval).await;
        }
    }
    let unreadable = map.contents.unreadable.into_iter().chain(map.walg.unreadable).collect();
    Ok(WindowReport { segment_size: map.size, window: found, unreadable })
}

/// Fills in when the last transaction of an interval ended, if the WAL can be read here.
async fn read_end(ports: &Ports<'_>, input: &WindowInput, interval: &mut RecoverableInterval) {
    let (bytes, timeline) = (input.segment_size.bytes(), interval.timeline);
    let last = interval.to.lsn.0.saturating_sub(1) / bytes;
    let first = (interval.from.lsn.0 / bytes).max(last.saturating_sub(READS_OF_AN_INTERVAL));
    let held = ranges::consecutive(timeline, input.numbers(timeline));
    let clipped = held.into_iter().map(|run| WalRange { timeline, first: run.first.max(first), last: run.last.min(last) });
    let tail: Vec<WalRange> = clipped.filter(|run| run.first <= run.last).collect();
    match WalScan::new(ports, input.segment_size, READS_OF_AN_INTERVAL).last_transaction(&tail, interval.to.lsn).await {
        Ok((time, _)) => interval.to.time = time,
        Err(error) => tracing::warn!(%timeline, "the time of an end is not known: {}", crate::error::chain(&error)),
    }
}
