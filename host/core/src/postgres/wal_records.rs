//! The records of the WAL, as far as somebody must know them who lets a server replay it.
//!
//! Layout of `XLogRecord` and of page headers in PostgreSQL 10 to 18, in the byte order of the machine. A record may go on in the next
//! page and the next segment. Reading ends where a server would end: at the first record that is not whole or whose checksum is wrong.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::postgres::Lsn;

/// Bytes of a page header, and of the one at the beginning of a segment.
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;

/// Flags of a page: it begins with the rest of a record, and: with a record in place of one that was never finished.
const CONTINUES_RECORD: u16 = 0x0001;
const OVERWRITES_RECORD: u16 = 0x0008;

/// High byte of `XLOG_PAGE_MAGIC`.
const MAGIC_HIGH_BYTES: [u16; 2] = [0xD0, 0xD1];

/// Bytes of a record before its data, and how many of them come before its checksum.
const RECORD_HEADER: usize = 24;
const BEFORE_CHECKSUM: usize = 20;

/// Longest record: PostgreSQL writes none beyond 1020 MiB.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// Every record begins at a multiple of this.
const ALIGNMENT: usize = 8;

/// `RM_XLOG_ID` and `XLOG_SWITCH`: nothing follows in the segment.
const SWITCH: (u8, u8) = (0, 0x40);

/// `RM_TBLSPC_ID` and `XLOG_TBLSPC_CREATE`.
const CREATE_TABLESPACE: (u8, u8) = (5, 0x00);

/// The bits of `info` that belong to the resource manager and tell its records apart.
const KIND: u8 = 0xF0;

/// One record that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalRecord<'a> {
    /// Where it begins.
    pub start: Lsn,
    bytes: &'a [u8],
}

impl WalRecord<'_> {
    fn kind(&self) -> (u8, u8) {
        (self.bytes[17], self.bytes[16] & KIND)
    }

    /// The place of a tablespace that replaying it makes, and writes into; empty for one inside the data directory.
    #[must_use]
    pub fn created_tablespace(&self) -> Option<PathBuf> {
        if self.kind() != CREATE_TABLESPACE {
            return None;
        }
        // Behind its number, up to a zero.
        let path = main_data(self.bytes).and_then(|data| data.get(4..)).unwrap_or_default();
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(PathBuf::from(OsStr::from_bytes(path)))
    }
}

/// The data of a record that is about no block.
fn main_data(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(RECORD_HEADER..)?;
    loop {
        let (id, behind) = rest.split_first()?;
        rest = match id {
            255 => {
                let (length, data) = behind.split_first()?;
                return data.get(..usize::from(*length));
            }
            254 => {
                let length = u32::from_ne_bytes(behind.get(..4)?.try_into().ok()?);
                return behind.get(4..4 + usize::try_from(length).ok()?);
            }
            // Where it came from by logical replication, and the transaction that it belongs to.
            253 => behind.get(2..)?,
            252 => behind.get(4..)?,
            _ => return None,
        };
    }
}

/// Reads segments that follow each other.
#[derive(Debug, Default)]
pub struct WalReader {
    /// A record that goes on: where it begins, how long it is, and what has been read of it.
    open: Option<(Lsn, usize, Vec<u8>)>,
    /// Bytes of the rest of a record whose beginning lies before the first segment.
    foreign: usize,
    /// Whether a page has been read.
    has_begun: bool,
    is_at_end: bool,
}

impl WalReader {
    /// Whether no record can follow: the next one is not whole, or there is none.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Reads the next segment, which begins at this position, and shows each record that ends in it.
    pub fn read(&mut self, begin: Lsn, segment: &[u8], mut show: impl FnMut(WalRecord<'_>)) {
        if self.is_at_end {
            return;
        }
        let block = segment.get(36..LONG_HEADER).map_or(0, |bytes| u32_at(bytes, 0)) as usize;
        if !block.is_power_of_two() || !(1 << 10..=1 << 16).contains(&block) || !segment.len().is_multiple_of(block) {
            self.is_at_end = true;
            return;
        }
        for (number, page) in segment.chunks_exact(block).enumerate() {
            let address = Lsn(begin.0 + (number * block) as u64);
            let header = if number == 0 { LONG_HEADER } else { SHORT_HEADER };
            match self.read_page(address, page, header, &mut show) {
                PageEnd::GoesOn => {}
                PageEnd::Switched => return,
                PageEnd::Ends => {
                    self.is_at_end = true;
                    return;
                }
            }
        }
    }

    fn read_page(&mut self, address: Lsn, page: &[u8], header: usize, show: &mut impl FnMut(WalRecord<'_>)) -> PageEnd {
        let flags = u16_at(page, 2);
        if !MAGIC_HIGH_BYTES.contains(&(u16_at(page, 0) >> 8)) || u64_at(page, 8) != address.0 {
            return PageEnd::Ends;
        }
        let Some(mut at) = self.begin_page(flags, u32_at(page, 16) as usize, page.len() - header) else { return PageEnd::Ends };
        at += header;
        if let Some((start, length, mut bytes)) = self.open.take() {
            let rest = (length - bytes.len()).min(page.len() - at);
            bytes.extend_from_slice(&page[at..at + rest]);
            at = aligned(at + rest);
            if bytes.len() < length {
                self.open = Some((start, length, bytes));
                return PageEnd::GoesOn;
            }
            match finish(start, &bytes, show) {
                PageEnd::GoesOn => {}
                other => return other,
            }
        }
        if self.foreign > 0 {
            return PageEnd::GoesOn;
        }
        while at + ALIGNMENT <= page.len() {
            let (start, length) = (Lsn(address.0 + at as u64), u32_at(page, at) as usize);
            if !(RECORD_HEADER..=MAX_RECORD_BYTES).contains(&length) {
                return PageEnd::Ends;
            }
            let Some(bytes) = page.get(at..at + length) else {
                self.open = Some((start, length, page[at..].to_vec()));
                return PageEnd::GoesOn;
            };
            match finish(start, bytes, show) {
                PageEnd::GoesOn => at = aligned(at + length),
                other => return other,
            }
        }
        PageEnd::GoesOn
    }

    /// Compares what the page says of the record before it with what is known; gives how much of the page to pass over.
    fn begin_page(&mut self, flags: u16, rest: usize, room: usize) -> Option<usize> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        if flags & OVERWRITES_RECORD != 0 {
            // A crash left the record unfinished, and the next start has written on behind it.
            self.open = None;
            self.foreign = 0;
            return Some(0);
        }
        let continues = flags & CONTINUES_RECORD != 0;
        if is_first && continues {
            self.foreign = rest;
        }
        if let Some((_, length, bytes)) = &self.open {
            return (continues && length - bytes.len() == rest).then_some(0);
        }
        if self.foreign > 0 {
            if !continues || self.foreign != rest {
                return None;
            }
            let passed = self.foreign.min(room);
            self.foreign -= passed;
            return Some(aligned(passed));
        }
        (!continues).then_some(0)
    }
}

/// What comes behind a record or a page.
enum PageEnd {
    GoesOn,
    /// Nothing more in this segment.
    Switched,
    /// Nothing at all.
    Ends,
}

/// Shows a record whose bytes are complete, if its checksum is right.
fn finish(start: Lsn, bytes: &[u8], show: &mut impl FnMut(WalRecord<'_>)) -> PageEnd {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[RECORD_HEADER..]), &bytes[..BEFORE_CHECKSUM]);
    if checksum != u32_at(bytes, BEFORE_CHECKSUM) {
        return PageEnd::Ends;
    }
    let record = WalRecord { start, bytes };
    show(record);
    if record.kind() == SWITCH { PageEnd::Switched } else { PageEnd::GoesOn }
}

fn aligned(offset: usize) -> usize {
    offset.next_multiple_of(ALIGNMENT)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).and_then(|found| found.try_into().ok()).map_or(0, u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|found| found.try_into().ok()).map_or(0, u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|found| found.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{WalWriter, record};

    const SEGMENT: u64 = 1 << 20;

    fn read(segments: &[Vec<u8>], first: u64) -> (Vec<(Lsn, Option<PathBuf>)>, bool) {
        let (mut reader, mut found) = (WalReader::default(), Vec::new());
        for (number, segment) in segments.iter().enumerate() {
            let begin = Lsn((first + number as u64) * SEGMENT);
            reader.read(begin, segment, |record| found.push((record.start, record.created_tablespace())));
        }
        (found, reader.is_at_end())
    }

    fn starts(found: &[(Lsn, Option<PathBuf>)]) -> Vec<Lsn> {
        found.iter().map(|(start, _)| *start).collect()
    }

    #[test]
    fn records_are_found_across_pages_and_segments_and_the_reading_ends_behind_the_last() {
        let mut wal = WalWriter::new(3);
        let mut expected = Vec::new();
        for length in [10, 8_000, 20_000, 900_000, 300_000, 1, 200] {
            expected.push(wal.write(&record(1, 0, &vec![7; length])));
        }
        let segments = wal.segments();
        assert_eq!(segments.len(), 2);
        let (found, is_at_end) = read(&segments, 3);
        assert_eq!(starts(&found), expected);
        assert!(is_at_end);
        // From the second segment on, the rest of a record comes first.
        let (found, _) = read(&segments[1..], 4);
        assert_eq!(starts(&found), expected[4..].iter().copied().filter(|start| start.0 >= 4 * SEGMENT).collect::<Vec<_>>());
    }

    #[test]
    fn a_switch_ends_the_segment_and_not_the_wal() {
        let mut wal = WalWriter::new(3);
        let first = wal.write(&record(1, 0, b"x"));
        let switch = wal.switch();
        let next = wal.write(&record(1, 0, b"y"));
        let (found, _) = read(&wal.segments(), 3);
        assert_eq!(starts(&found), [first, switch, next]);
    }

    #[test]
    fn the_place_of_a_created_tablespace_is_found_and_nothing_else_is_taken_for_one() {
        let mut wal = WalWriter::new(3);
        let data = [&16_400_u32.to_ne_bytes()[..], b"/srv/fast disk\0"].concat();
        wal.write(&record(5, 0x00, &data));
        wal.write(&record(5, 0x10, &data));
        wal.write(&record(4, 0x00, &data));
        wal.write(&record(5, 0x00, &[&16_401_u32.to_ne_bytes()[..], b"\0"].concat()));
        let (found, _) = read(&wal.segments(), 3);
        let places: Vec<Option<PathBuf>> = found.into_iter().map(|(_, place)| place).collect();
        assert_eq!(places, [Some("/srv/fast disk".into()), None, None, Some(PathBuf::new())]);
    }

    #[test]
    fn a_record_with_a_wrong_checksum_ends_the_wal_as_it_ends_a_recovery() {
        let mut wal = WalWriter::new(3);
        let first = wal.write(&record(1, 0, b"first"));
        let second = wal.write(&record(1, 0, b"second"));
        wal.write(&record(1, 0, b"third"));
        let mut segments = wal.segments();
        segments[0][usize::try_from(second.0 - 3 * SEGMENT).unwrap() + 30] ^= 1;
        let (found, is_at_end) = read(&segments, 3);
        assert_eq!((starts(&found), is_at_end), (vec![first], true));
    }

    #[test]
    fn a_page_of_another_place_ends_the_wal() {
        let mut wal = WalWriter::new(3);
        let first = wal.write(&record(1, 0, b"first"));
        wal.write(&record(1, 0, &vec![1; 20_000]));
        let mut segments = wal.segments();
        segments[0][8192 + 8] ^= 1;
        let (found, is_at_end) = read(&segments, 3);
        assert_eq!((starts(&found), is_at_end), (vec![first], true));
    }

    proptest! {
        #[test]
        fn every_record_is_found_once(lengths in proptest::collection::vec(0_usize..60_000, 1..40)) {
            let mut wal = WalWriter::new(1);
            let expected: Vec<Lsn> = lengths.iter().map(|length| wal.write(&record(1, 0, &vec![3; *length]))).collect();
            let (found, _) = read(&wal.segments(), 1);
            prop_assert_eq!(starts(&found), expected);
        }

        #[test]
        fn never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 40..20_000), place in 0_usize..19_000, value: u8) {
            let mut wal = WalWriter::new(0);
            wal.write(&record(5, 0, &bytes));
            let mut segment = wal.segments().remove(0);
            segment[place] = value;
            let _ = read(&[segment], 0);
            bytes.resize(16_384, 0);
            bytes[36..40].copy_from_slice(&8192_u32.to_ne_bytes());
            let _ = read(&[bytes], 0);
        }
    }
}
