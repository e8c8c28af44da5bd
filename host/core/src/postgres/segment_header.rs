//! The header of a segment's first page: what tells a segment from a file that merely bears its name.
//!
//! Layout of `XLogLongPageHeaderData` in PostgreSQL 10 to 18, in the byte order of the machine: magic u16, info u16, timeline
//! u32, address u64, remaining length u32, padding, system identifier u64, segment size u32, block size u32.

use thiserror::Error;

use super::wal_records::block_bytes;
use crate::postgres::{Lsn, SystemIdentifier, TimelineId, WalFileName, WalSegmentSize};

/// Set in `info` of the first page of every segment.
const LONG_HEADER: u16 = 0x0002;

/// High byte of `XLOG_PAGE_MAGIC`: `0xD0` up to PostgreSQL 12, `0xD1` since; the low byte changes with each major version.
const MAGIC_HIGH_BYTES: [u16; 2] = [0xD0, 0xD1];

/// What the header of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The cluster that wrote it.
    pub system_identifier: SystemIdentifier,
    timeline: TimelineId,
    address: Lsn,
    /// Its length.
    pub segment_size: WalSegmentSize,
}

/// What is wrong with a segment.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// No page header of WAL.
    #[error("it does not begin with a WAL page header")]
    NotWal,
    /// A value that cannot be.
    #[error("its header holds an impossible {0}")]
    Impossible(&'static str),
    /// The header is of another position.
    #[error("its header says that it begins at {found}, and its name says {expected}")]
    Address {
        /// By the name.
        expected: Lsn,
        /// By the header.
        found: Lsn,
    },
    /// The header is of a later timeline.
    #[error("its header says timeline {found}, and its name says {expected}")]
    Timeline {
        /// By the name.
        expected: TimelineId,
        /// By the header.
        found: TimelineId,
    },
    /// Cut off, or too long.
    #[error("it has {found} bytes, and its header says {expected}")]
    Length {
        /// By the header.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
}

impl SegmentHeader {
    /// Bytes of the header.
    pub const LENGTH: usize = 40;

    /// Reads the header of a segment's first page, and proves that a file of this length is the segment that its name says.
    pub fn prove_beginning(name: WalFileName, beginning: &[u8], length: u64) -> Result<Self, HeaderError> {
        let header = Self::parse(beginning)?;
        header.check(name, length)?;
        Ok(header)
    }

    fn parse(content: &[u8]) -> Result<Self, HeaderError> {
        let header = content.get(..Self::LENGTH).ok_or(HeaderError::NotWal)?;
        let u16_at = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let u32_at = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let u64_at = |at: usize| header[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
        if !MAGIC_HIGH_BYTES.contains(&(u16_at(0) >> 8)) || u16_at(2) & LONG_HEADER == 0 {
            return Err(HeaderError::NotWal);
        }
        Ok(Self {
            system_identifier: SystemIdentifier(u64_at(24)),
            timeline: TimelineId::new(u32_at(4)).map_err(|_| HeaderError::Impossible("timeline"))?,
            address: Lsn(u64_at(8)),
            segment_size: WalSegmentSize::try_from(u32_at(32)).map_err(|_| HeaderError::Impossible("segment size"))?,
        })
    }

    /// Compares the header with the file's name and length.
    fn check(&self, name: WalFileName, length: u64) -> Result<(), HeaderError> {
        if length != self.segment_size.bytes() {
            return Err(HeaderError::Length { expected: self.segment_size.bytes(), found: length });
        }
        let expected = name.segment(self.segment_size).map_or(self.address, |segment| segment.begin(self.segment_size));
        if self.address != expected {
            return Err(HeaderError::Address { expected, found: self.address });
        }
        // The first segment of a timeline begins with pages that were copied from its ancestor.
        if self.timeline > name.timeline() {
            return Err(HeaderError::Timeline { expected: name.timeline(), found: self.timeline });
        }
        Ok(())
    }
}

/// How many bytes from the beginning of a segment are pages that a server would read one after the other by their timelines, and the
/// timeline of the last of them. Behind them lie pages of a file's earlier life, or none.
///
/// `newest` is the timeline of the page before; timelines never go back, and none is later than that of the name.
#[must_use]
pub fn bytes_in_order(content: &[u8], newest: Option<TimelineId>, name: TimelineId) -> (usize, TimelineId) {
    let mut newest = newest.unwrap_or(TimelineId::FIRST);
    let Some(block) = block_bytes(content) else { return (0, newest) };
    for (number, page) in content.chunks_exact(block).enumerate() {
        let timeline = TimelineId::new(u32::from_ne_bytes([page[4], page[5], page[6], page[7]]));
        match timeline {
            Ok(timeline) if (newest..=name).contains(&timeline) => newest = timeline,
            Ok(_) | Err(_) => return (number * block, newest),
        }
    }
    (content.len(), newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(timeline: u32, address: u64, size: u32) -> Vec<u8> {
        let mut content = vec![0; size as usize];
        content[0..2].copy_from_slice(&0xD110u16.to_ne_bytes());
        content[2..4].copy_from_slice(&LONG_HEADER.to_ne_bytes());
        content[4..8].copy_from_slice(&timeline.to_ne_bytes());
        content[8..16].copy_from_slice(&address.to_ne_bytes());
        content[24..32].copy_from_slice(&7u64.to_ne_bytes());
        content[32..36].copy_from_slice(&size.to_ne_bytes());
        content
    }

    fn verdict(name: &str, content: &[u8]) -> Result<(), HeaderError> {
        SegmentHeader::prove_beginning(name.parse().unwrap(), content, content.len() as u64).map(|_| ())
    }

    #[test]
    fn accepts_a_segment_that_is_what_its_name_says() {
        let content = segment(1, 0x300_0000, 1 << 24);
        assert_eq!(verdict("000000010000000000000003", &content), Ok(()));
        assert_eq!(verdict("000000020000000000000003", &content), Ok(()), "copied from the ancestor");
        assert_eq!(verdict("000000010000000000000030", &segment(1, 0x300_0000, 1 << 20)), Ok(()));
    }

    #[test]
    fn refuses_a_segment_under_another_name() {
        let content = segment(2, 0x300_0000, 1 << 24);
        assert!(matches!(verdict("000000020000000000000004", &content), Err(HeaderError::Address { .. })));
        assert!(matches!(verdict("000000010000000000000003", &content), Err(HeaderError::Timeline { .. })));
    }

    #[test]
    fn refuses_what_is_cut_off_or_no_segment() {
        let content = segment(1, 0x300_0000, 1 << 24);
        assert!(matches!(verdict("000000010000000000000003", &content[..1 << 23]), Err(HeaderError::Length { .. })));
        assert_eq!(verdict("000000010000000000000003", &[0; 64]), Err(HeaderError::NotWal));
        assert_eq!(verdict("000000010000000000000003", b""), Err(HeaderError::NotWal));
    }

    #[test]
    fn pages_of_an_older_timeline_behind_newer_ones_are_of_a_files_earlier_life() {
        let mut content = segment(2, 0x300_0000, 1 << 20);
        content[36..40].copy_from_slice(&8_192_u32.to_ne_bytes());
        for (number, timeline) in [1, 2, 2, 1, 2].into_iter().enumerate() {
            content[number * 8_192 + 4..][..4].copy_from_slice(&u32::to_ne_bytes(timeline));
        }
        let timeline = |number| TimelineId::new(number).unwrap();
        assert_eq!(bytes_in_order(&content, None, timeline(2)), (3 * 8_192, timeline(2)));
        assert_eq!(bytes_in_order(&content, None, timeline(1)), (8_192, timeline(1)), "none is later than the name");
        assert_eq!(bytes_in_order(&content, Some(timeline(2)), timeline(2)), (0, timeline(2)));
    }
}
