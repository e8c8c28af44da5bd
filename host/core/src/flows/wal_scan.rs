//! Reads archived WAL for what only its records tell: whether a moment is reached, and where a restore point or a transaction lies.
//!
//! Newest segments first and never more than a limit. What cannot be read for want of a key proves nothing and refuses nothing.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use jiff::Timestamp;

use crate::catalog::ArchiveError;
use crate::data_directory::{Inclusion, RecoveryTarget};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::Ports;
use crate::postgres::{
    Lsn, MarkKind, ReadingEnd, SegmentHeader, SegmentReading, WalMark, WalRange, WalSegment, WalSegmentSize, read_marks, wal_head,
};
use crate::window::Route;

/// Segments that are read at most for one question, unless the operator says otherwise: 16 GiB of the usual ones.
pub const SEGMENTS_TO_READ: u64 = 1_000;

/// Reads segments, newest first.
pub(super) struct WalScan<'a> {
    ports: &'a Ports<'a>,
    size: WalSegmentSize,
    /// Segments that may still be read.
    left: u64,
    seen: BTreeSet<WalSegment>,
    /// The beginning of the segment that was read last, into which the record before it may reach.
    head: Option<(u64, Vec<u8>)>,
}

/// Why a scan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScanEnd {
    /// What was looked for was found.
    Found,
    /// Everything was read.
    Exhausted,
    /// Not everything was, and why.
    Stopped(String),
}

/// Whether the WAL of a route reaches its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    /// It does.
    Yes,
    /// It ends before, and the last transaction in it ended then.
    No(Option<Timestamp>),
    /// That could not be found out, and why.
    Unknown(String),
}

impl<'a> WalScan<'a> {
    pub(super) fn new(ports: &'a Ports<'a>, size: WalSegmentSize, limit: u64) -> Self {
        Self { ports, size, left: limit, seen: BTreeSet::new(), head: None }
    }

    /// Shows the records that tell of time, segment by segment, until it is told to stop. No segment is read twice.
    pub(super) async fn newest_first(
        &mut self,
        ranges: &[WalRange],
        mut look: impl FnMut(&SegmentReading, &[WalMark]) -> ControlFlow<()>,
    ) -> Result<ScanEnd, ArchiveError> {
        for range in ranges.iter().rev() {
            for number in (range.first..=range.last).rev() {
                let segment = WalSegment { timeline: range.timeline, number };
                if self.seen.contains(&segment) {
                    continue;
                }
                let Some(left) = self.left.checked_sub(1) else {
                    return Ok(ScanEnd::Stopped("the limit of segments that are read was met".to_owned()));
                };
                self.left = left;
                let content = match self.read(segment).await? {
                    Ok(content) => content,
                    Err(reason) => return Ok(ScanEnd::Stopped(reason)),
                };
                self.seen.insert(segment);
                let next = self.head.take().filter(|(after, _)| *after == number + 1).map(|(_, head)| head).unwrap_or_default();
                let mut marks = Vec::new();
                let name = segment.file_name(self.size);
                // Records tell their own places, by the address in the header: it must be that of the name.
                let proven = SegmentHeader::prove_beginning(name, &content, content.len() as u64);
                let read = proven.and_then(|_| read_marks(&content, &next, |mark| marks.push(mark)));
                let reading = read.map_err(|source| ArchiveError::Header { name, source })?;
                if reading.records == 0 && reading.end == ReadingEnd::Invalid {
                    return Ok(ScanEnd::Stopped(format!("`{name}` holds no record that can be read")));
                }
                self.head = Some((number, wal_head(&content).to_vec()));
                if look(&reading, &marks).is_break() {
                    return Ok(ScanEnd::Found);
                }
            }
        }
        Ok(ScanEnd::Exhausted)
    }

    /// Reads a segment, or says why it cannot be read here.
    async fn read(&self, segment: WalSegment) -> Result<Result<Vec<u8>, String>, ArchiveError> {
        let name = segment.file_name(self.size);
        let read = match self.ports.archive().find(name).await {
            Ok(Some(object)) => object.write_to(Vec::new()).await,
            Ok(None) => return Ok(Err(format!("`{name}` was gone when it was to be read"))),
            Err(error) => Err(error),
        };
        match read {
            Ok((_, content)) => Ok(Ok(content)),
            Err(error) if error.class() == ErrorClass::Config => Ok(Err(chain(&error))),
            Err(error) => Err(error),
        }
    }

    /// The newest end of a transaction in these segments.
    pub(super) async fn last_transaction(
        &mut self,
        ranges: &[WalRange],
        before: Lsn,
    ) -> Result<(Option<Timestamp>, ScanEnd), ArchiveError> {
        let mut last = None;
        let end = self
            .newest_first(ranges, |_, marks| {
                last = newest_transaction(marks, before);
                if last.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .await?;
        Ok((last, end))
    }

    /// Whether replay along a route finds a record at which it stops.
    pub(super) async fn reaches(
        &mut self,
        route: &Route,
        target: &RecoveryTarget,
        inclusion: Inclusion,
    ) -> Result<Reached, ArchiveError> {
        match target {
            // What is told by its own record was searched before.
            RecoveryTarget::EndOfWal | RecoveryTarget::Immediate | RecoveryTarget::Xid(_) | RecoveryTarget::Name(_) => {
                Ok(Reached::Yes)
            }
            RecoveryTarget::Lsn(position) => self.reaches_position(route, *position).await,
            RecoveryTarget::Time(moment) => {
                let (last, end) = self.last_transaction(&route.replay, route.end).await?;
                Ok(match (last, end) {
                    // Replay stops at the first transaction that ended later, and none is no target.
                    (Some(last), _) if last > *moment || (inclusion == Inclusion::Exclusive && last == *moment) => Reached::Yes,
                    (None, ScanEnd::Stopped(reason)) => Reached::Unknown(reason),
                    (last, _) => Reached::No(last),
                })
            }
        }
    }

    async fn reaches_position(&mut self, route: &Route, position: Lsn) -> Result<Reached, ArchiveError> {
        let is_last = position.0 / self.size.bytes() == (route.end.0 - 1) / self.size.bytes();
        let (Some(last), true) = (route.replay.last(), is_last) else { return Ok(Reached::Yes) };
        let newest = WalRange { first: last.last, ..*last };
        let mut last_begin = None;
        let end = self
            .newest_first(&[newest], |reading, _| {
                last_begin = reading.last_begin;
                ControlFlow::Break(())
            })
            .await?;
        Ok(match end {
            ScanEnd::Stopped(reason) => Reached::Unknown(reason),
            ScanEnd::Found | ScanEnd::Exhausted if last_begin.is_some_and(|begin| begin >= position) => Reached::Yes,
            ScanEnd::Found | ScanEnd::Exhausted => Reached::No(None),
        })
    }
}

/// Whether recovery to this restore point or transaction stops here.
pub(super) fn is_target(mark: &WalMark, target: &RecoveryTarget) -> bool {
    match (target, &mark.kind) {
        (RecoveryTarget::Name(wanted), MarkKind::RestorePoint(name)) => wanted == name,
        (RecoveryTarget::Xid(wanted), MarkKind::Commit(found) | MarkKind::Abort(found)) => *wanted == u64::from(*found),
        _ => false,
    }
}

fn newest_transaction(marks: &[WalMark], before: Lsn) -> Option<Timestamp> {
    let ends = marks.iter().filter(|mark| mark.begin < before && !matches!(mark.kind, MarkKind::RestorePoint(_)));
    ends.map(|mark| mark.at).max()
}
