//! Restore points that stand in the archived WAL and in no record: others made them, or a run that was killed.
//!
//! Newest first, timeline by timeline, up to a limit of segments. A gap in the archive ends one stretch and begins another.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use jiff::Timestamp;

use super::RestorePointError;
use crate::catalog::BackupName;
use crate::flows::Ports;
use crate::flows::archive_map::ArchiveMap;
use crate::flows::wal_scan::{ScanEnd, WalScan};
use crate::postgres::{Lsn, MarkKind, TimelineId, WalMark};
use crate::window::ranges;

/// Between the beginning of a restore point's record and its end: 104 bytes, and the header of a page if it reaches across one.
const LONGEST_RECORD_BYTES: u64 = 160;

/// A restore point that the catalog does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignRestorePoint {
    /// Its name.
    pub name: String,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Where its record begins.
    pub lsn: Lsn,
    /// When it was made, by the server's clock.
    pub at: Timestamp,
}

/// What the WAL tells.
#[derive(Debug)]
pub struct ForeignRestorePoints {
    /// Oldest first.
    pub points: Vec<ForeignRestorePoint>,
    /// Why not all of the WAL was read; none if it was.
    pub stopped: Option<String>,
}

/// Whether a record that begins there is the one of a restore point that ends there.
pub(in crate::flows) fn ends_at(mark: &WalMark, end: Lsn) -> bool {
    matches!(mark.kind, MarkKind::RestorePoint(_)) && mark.begin < end && end.0 - mark.begin.0 <= LONGEST_RECORD_BYTES
}

/// Reads at most so many segments of the archive, the newest first.
pub async fn list_foreign_restore_points(ports: &Ports<'_>, limit: u64) -> Result<ForeignRestorePoints, RestorePointError> {
    let map = ArchiveMap::read(ports, None).await?;
    let increments = map.contents.backups.iter().flat_map(|backup| &backup.increments).chain(&map.contents.stray_increments);
    let known: BTreeSet<(TimelineId, Lsn)> = increments.map(|increment| (increment.timeline, increment.to)).collect();
    let mut found: Vec<ForeignRestorePoint> = Vec::new();
    let mut stopped = None;
    let mut scan = WalScan::new(ports, map.size.size, limit);
    let stretches = map.timelines.iter().flat_map(|(timeline, files)| ranges::consecutive(*timeline, &files.numbers));
    for stretch in stretches.collect::<Vec<_>>().into_iter().rev() {
        let end = scan
            .newest_first(&[stretch], |_, marks| {
                let points = marks.iter().filter_map(|mark| match &mark.kind {
                    MarkKind::RestorePoint(name) => Some((mark, name)),
                    MarkKind::Commit(_) | MarkKind::Abort(_) => None,
                });
                let is_ours = |mark: &WalMark| {
                    let near = known.range((stretch.timeline, mark.begin)..=(stretch.timeline, Lsn(u64::MAX)));
                    near.take(1).any(|(_, end)| ends_at(mark, *end))
                };
                // Those of backups complete a segment of an idle primary, and nobody restores to them.
                let foreign = points.filter(|(mark, name)| !is_ours(mark) && name.parse::<BackupName>().is_err());
                found.extend(foreign.map(|(mark, name)| ForeignRestorePoint {
                    name: name.clone(),
                    timeline: stretch.timeline,
                    lsn: mark.begin,
                    at: mark.at,
                }));
                ControlFlow::Continue(())
            })
            .await?;
        if let ScanEnd::Stopped(reason) = end {
            stopped = Some(reason);
            break;
        }
    }
    found.sort_by_key(|point| (point.timeline, point.lsn));
    Ok(ForeignRestorePoints { points: found, stopped })
}
