//! WAL segments and the names of the files that PostgreSQL archives.
//!
//! Segment numbers are computed here and never by the server: `pg_walfile_name` fails in recovery, and what it names at an exact
//! segment boundary changed in version 17.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::postgres::{Lsn, TimelineId, WalSegmentSize};

/// One segment of one timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalSegment {
    /// Its timeline.
    pub timeline: TimelineId,
    /// Position divided by the segment size.
    pub number: u64,
}

impl WalSegment {
    /// The segment that holds the byte at this position.
    #[must_use]
    pub fn containing(timeline: TimelineId, position: Lsn, size: WalSegmentSize) -> Self {
        Self { timeline, number: position.0 / size.bytes() }
    }

    /// The segment that holds the last byte before this position: where a backup that stops there ends.
    #[must_use]
    pub fn ending_at(timeline: TimelineId, position: Lsn, size: WalSegmentSize) -> Self {
        Self { timeline, number: position.0.saturating_sub(1) / size.bytes() }
    }

    /// The name of its file.
    #[must_use]
    pub fn file_name(self, size: WalSegmentSize) -> WalFileName {
        let per_log = size.segments_per_log();
        // A position is 64 bits and a segment at least 1 MiB, so both parts fit 32 bits.
        let part = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        WalFileName::Segment { timeline: self.timeline, log: part(self.number / per_log), segment: part(self.number % per_log) }
    }

    /// The position of its first byte.
    #[must_use]
    pub fn begin(self, size: WalSegmentSize) -> Lsn {
        // A name can say what no server ever writes: beyond the end of all positions nothing begins.
        Lsn(self.number.saturating_mul(size.bytes()))
    }
}

/// Segments of one timeline, from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalRange {
    /// The timeline.
    pub timeline: TimelineId,
    /// Number of the first segment.
    pub first: u64,
    /// Number of the last segment.
    pub last: u64,
}

impl WalRange {
    /// The segments that a backup from `start` to `stop` cannot do without.
    #[must_use]
    pub fn of_backup(timeline: TimelineId, start: Lsn, stop: Lsn, size: WalSegmentSize) -> Self {
        let first = WalSegment::containing(timeline, start, size).number;
        Self { timeline, first, last: WalSegment::ending_at(timeline, stop, size).number.max(first) }
    }

    /// Its segments in order.
    pub fn segments(self) -> impl Iterator<Item = WalSegment> {
        (self.first..=self.last).map(move |number| WalSegment { timeline: self.timeline, number })
    }

    /// Whether the segment lies in it.
    #[must_use]
    pub fn contains(self, segment: WalSegment) -> bool {
        self.timeline == segment.timeline && (self.first..=self.last).contains(&segment.number)
    }
}

/// The name of a file that PostgreSQL archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalFileName {
    /// `0000000100000000000000AB`
    Segment {
        /// First 8 digits.
        timeline: TimelineId,
        /// Middle 8 digits.
        log: u32,
        /// Last 8 digits.
        segment: u32,
    },
    /// `0000000100000000000000AB.partial`: the last segment of a timeline that a promotion ended.
    Partial {
        /// First 8 digits.
        timeline: TimelineId,
        /// Middle 8 digits.
        log: u32,
        /// Last 8 digits.
        segment: u32,
    },
    /// `00000002.history`
    History {
        /// The timeline that it describes.
        timeline: TimelineId,
    },
    /// `0000000100000000000000AB.00000028.backup`
    BackupHistory {
        /// First 8 digits.
        timeline: TimelineId,
        /// Middle 8 digits.
        log: u32,
        /// Last 8 digits.
        segment: u32,
        /// Offset of the backup's start in the segment.
        offset: u32,
    },
}

impl WalFileName {
    /// The segment that the file is about, under this segment size; none for a history file.
    #[must_use]
    pub fn segment(self, size: WalSegmentSize) -> Option<WalSegment> {
        match self {
            Self::Segment { timeline, log, segment }
            | Self::Partial { timeline, log, segment }
            | Self::BackupHistory { timeline, log, segment, .. } => {
                Some(WalSegment { timeline, number: u64::from(log) * size.segments_per_log() + u64::from(segment) })
            }
            Self::History { .. } => None,
        }
    }

    /// Sorts by timeline and segment, with what is about a segment right behind it, and the history before all of its timeline.
    #[must_use]
    pub fn order(self) -> (TimelineId, u64, u32) {
        let place = |log: u32, segment: u32| u64::from(log) << 32 | u64::from(segment);
        match self {
            Self::History { timeline } => (timeline, 0, 0),
            Self::Segment { timeline, log, segment } => (timeline, place(log, segment), 1),
            Self::Partial { timeline, log, segment } => (timeline, place(log, segment), 2),
            Self::BackupHistory { timeline, log, segment, .. } => (timeline, place(log, segment), 3),
        }
    }

    /// Its timeline.
    #[must_use]
    pub fn timeline(self) -> TimelineId {
        match self {
            Self::Segment { timeline, .. }
            | Self::Partial { timeline, .. }
            | Self::History { timeline }
            | Self::BackupHistory { timeline, .. } => timeline,
        }
    }
}

impl fmt::Display for WalFileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.timeline().get();
        match self {
            Self::Segment { log, segment, .. } => write!(formatter, "{number:08X}{log:08X}{segment:08X}"),
            Self::Partial { log, segment, .. } => write!(formatter, "{number:08X}{log:08X}{segment:08X}.partial"),
            Self::History { .. } => write!(formatter, "{number:08X}.history"),
            Self::BackupHistory { log, segment, offset, .. } => {
                write!(formatter, "{number:08X}{log:08X}{segment:08X}.{offset:08X}.backup")
            }
        }
    }
}

impl FromStr for WalFileName {
    type Err = InvalidWalName;

    fn from_str(text: &str) -> Result<Self, InvalidWalName> {
        parse(text).ok_or_else(|| InvalidWalName(text.to_owned()))
    }
}

/// A text that names no file of the WAL.
#[derive(Debug, Error)]
#[error("`{0}` is not the name of a WAL file: segments, `.partial`, `.history` and `.backup` files are")]
pub struct InvalidWalName(pub String);

fn parse(text: &str) -> Option<WalFileName> {
    let timeline = TimelineId::new(upper_hex(text.get(..8)?)?).ok()?;
    let rest = text.get(8..)?;
    if rest == ".history" {
        return Some(WalFileName::History { timeline });
    }
    let log = upper_hex(rest.get(..8)?)?;
    let segment = upper_hex(rest.get(8..16)?)?;
    match rest.get(16..)? {
        "" => Some(WalFileName::Segment { timeline, log, segment }),
        ".partial" => Some(WalFileName::Partial { timeline, log, segment }),
        suffix => {
            let offset = upper_hex(suffix.strip_prefix('.')?.strip_suffix(".backup")?)?;
            Some(WalFileName::BackupHistory { timeline, log, segment, offset })
        }
    }
}

/// Eight upper-case hexadecimal digits, as PostgreSQL writes them.
fn upper_hex(digits: &str) -> Option<u32> {
    let legal = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
    legal.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_backup_that_stops_at_a_boundary_does_not_need_the_next_segment() {
        let size = WalSegmentSize::DEFAULT;
        let range = WalRange::of_backup(TimelineId::FIRST, Lsn(0x200_0028), Lsn(0x300_0000), size);
        assert_eq!((range.first, range.last), (2, 2));
        let range = WalRange::of_backup(TimelineId::FIRST, Lsn(0x200_0028), Lsn(0x300_0001), size);
        assert_eq!((range.first, range.last), (2, 3));
    }

    #[test]
    fn a_name_beyond_the_end_of_all_wal_is_no_place_within_it() {
        let name: WalFileName = "00000001FFFFFFFFFFFFFFFF".parse().unwrap();
        for size in WalSegmentSize::every() {
            let begin = name.segment(size).unwrap().begin(size);
            assert!(begin >= Lsn(u64::MAX - size.bytes() + 1), "{begin} with segments of {} bytes", size.bytes());
        }
    }

    #[test]
    fn names_every_kind_of_file_as_postgresql_does() {
        for name in [
            "0000000100000002000000AB",
            "0000000100000002000000AB.partial",
            "00000002.history",
            "0000000100000002000000AB.00000028.backup",
        ] {
            assert_eq!(name.parse::<WalFileName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn refuses_every_other_name() {
        for name in [
            "",
            "pg_control",
            "000000000000000200000001",
            "0000000100000002000000ab",
            "0000000100000002000000AB.zst",
            "../00000002.history",
            "00000002.history.x",
            "0000000100000002000000AB.backup",
            "0000000100000002000000A",
            "00000001000000020000000é",
        ] {
            assert!(name.parse::<WalFileName>().is_err(), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_and_names_agree_for_every_segment_size(number in 0u64..(1 << 34), exponent in 20u32..=30, timeline in 1u32..) {
            let size = WalSegmentSize::try_from(1 << exponent).unwrap();
            let segment = WalSegment { timeline: TimelineId::new(timeline).unwrap(), number };
            let name = segment.file_name(size).to_string();
            prop_assert_eq!(name.parse::<WalFileName>().unwrap().segment(size), Some(segment));
        }

        #[test]
        fn never_panics_on_a_name(text: String) {
            let _ = text.parse::<WalFileName>();
        }
    }
}
