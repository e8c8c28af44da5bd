//! The records of the WAL, as far as somebody must know them who lets a server replay it.
//!
//! Layout of `XLogRecord` and of page headers in PostgreSQL 10 to 18, in the byte order of the machine. A record may go on in the next
//! page and the next segment. Reading ends where a server would end: at the first record that is not whole, whose checksum is wrong or
//! that does not follow the one before it.

mod record;

use std::ops::ControlFlow;

use crate::postgres::Lsn;
use record::RECORD_HEADER;
pub use record::WalRecord;

/// Bytes of a page header, and of the one at the beginning of a segment.
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;

/// Flags of a page: it begins with the rest of a record; it has the long header; and: with a record in place of one that was never
/// finished.
const CONTINUES_RECORD: u16 = 0x0001;
const HAS_LONG_HEADER: u16 = 0x0002;
const OVERWRITES_RECORD: u16 = 0x0008;

/// High byte of `XLOG_PAGE_MAGIC`.
const MAGIC_HIGH_BYTES: [u16; 2] = [0xD0, 0xD1];

/// Longest record: PostgreSQL writes none beyond 1020 MiB.
const MAX_RECORD_BYTES: usize = 1 << 30;

/// Every record begins at a multiple of this.
const ALIGNMENT: usize = 8;

/// Reads segments that follow each other.
#[derive(Debug, Default)]
pub struct WalReader {
    /// A record that goes on: where it begins, how long it is, and what has been read of it.
    open: Option<(Lsn, usize, Vec<u8>)>,
    /// Bytes of the rest of a record whose beginning lies before the first segment.
    foreign: usize,
    /// The magic of the first page: a server writes one.
    magic: Option<u16>,
    /// Where the last record begins.
    last: Option<Lsn>,
    is_at_end: bool,
}

/// Why no more of a segment was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingEnd {
    /// It ends there.
    Whole,
    /// The server switched to the next one.
    Switched,
    /// The last record goes on in the next segment.
    Cut,
    /// Nothing more was written, or it is damaged.
    Invalid,
}

impl WalReader {
    /// Whether no record can follow: the next one is not whole, or there is none.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// Reads the next segment, which begins at this position, and shows each record that ends in it.
    pub fn read(&mut self, begin: Lsn, segment: &[u8], mut show: impl FnMut(WalRecord<'_>)) -> ReadingEnd {
        let block = if self.is_at_end { None } else { block_bytes(segment) };
        let Some(block) = block else { return self.end() };
        for (page, address) in pages(begin, segment, block) {
            match self.read_page(address, page, &mut show) {
                PageEnd::GoesOn => {}
                PageEnd::Switched => return ReadingEnd::Switched,
                PageEnd::Ends => return self.end(),
            }
        }
        if self.is_within_record() { ReadingEnd::Cut } else { ReadingEnd::Whole }
    }

    /// Reads no more of the next segment, or of its [`wal_head`], than the rest of the record that the one before ends with.
    pub fn read_rest(&mut self, begin: Lsn, head: &[u8], mut show: impl FnMut(WalRecord<'_>)) -> ReadingEnd {
        let block = if self.is_at_end { None } else { block_bytes(head) };
        let Some(block) = block else { return self.end() };
        for (page, address) in pages(begin, head, block) {
            match self.continue_record(address, page, &mut show) {
                ControlFlow::Continue(_) => return ReadingEnd::Whole,
                ControlFlow::Break(PageEnd::GoesOn) => {}
                ControlFlow::Break(PageEnd::Switched) => return ReadingEnd::Switched,
                ControlFlow::Break(PageEnd::Ends) => return self.end(),
            }
        }
        ReadingEnd::Cut
    }

    fn end(&mut self) -> ReadingEnd {
        self.is_at_end = true;
        ReadingEnd::Invalid
    }

    fn is_within_record(&self) -> bool {
        self.open.is_some() || self.foreign > 0
    }

    fn read_page(&mut self, address: Lsn, page: &[u8], show: &mut impl FnMut(WalRecord<'_>)) -> PageEnd {
        let mut at = match self.continue_record(address, page, show) {
            ControlFlow::Continue(at) => at,
            ControlFlow::Break(end) => return end,
        };
        while at + ALIGNMENT <= page.len() {
            let (start, length) = (Lsn(address.0 + at as u64), u32_at(page, at) as usize);
            if !(RECORD_HEADER..=MAX_RECORD_BYTES).contains(&length) {
                return PageEnd::Ends;
            }
            let Some(bytes) = page.get(at..at + length) else {
                self.open = Some((start, length, page[at..].to_vec()));
                return PageEnd::GoesOn;
            };
            match self.finish(start, bytes, show) {
                PageEnd::GoesOn => at = aligned(at + length),
                other => return other,
            }
        }
        PageEnd::GoesOn
    }

    /// Proves the page, and reads the rest of a record that began before it; gives where the first record of the page begins.
    fn continue_record(&mut self, address: Lsn, page: &[u8], show: &mut impl FnMut(WalRecord<'_>)) -> ControlFlow<PageEnd, usize> {
        let (magic, flags) = (u16_at(page, 0), u16_at(page, 2));
        let is_first = self.magic.is_none();
        if magic != *self.magic.get_or_insert(magic) || !is_magic(magic) || u64_at(page, 8) != address.0 {
            return ControlFlow::Break(PageEnd::Ends);
        }
        let header = if flags & HAS_LONG_HEADER > 0 { LONG_HEADER } else { SHORT_HEADER };
        let rest = u32_at(page, 16) as usize;
        if is_first && flags & CONTINUES_RECORD > 0 {
            self.foreign = rest;
        }
        let Some(passed) = self.pass_foreign(flags, rest, page.len() - header) else { return ControlFlow::Break(PageEnd::Ends) };
        let mut at = header + passed;
        if let Some((start, length, mut bytes)) = self.open.take() {
            let rest = (length - bytes.len()).min(page.len() - at);
            bytes.extend_from_slice(&page[at..at + rest]);
            at = aligned(at + rest);
            if bytes.len() < length {
                self.open = Some((start, length, bytes));
                return ControlFlow::Break(PageEnd::GoesOn);
            }
            match self.finish(start, &bytes, show) {
                PageEnd::GoesOn => {}
                other => return ControlFlow::Break(other),
            }
        }
        if self.foreign > 0 { ControlFlow::Break(PageEnd::GoesOn) } else { ControlFlow::Continue(at) }
    }

    /// Compares what the page says of the record before it with what is known; gives how much of the page to pass over.
    fn pass_foreign(&mut self, flags: u16, rest: usize, room: usize) -> Option<usize> {
        if flags & OVERWRITES_RECORD != 0 {
            // A crash left the record unfinished, and the next start has written on behind it.
            self.open = None;
            self.foreign = 0;
            return Some(0);
        }
        let continues = flags & CONTINUES_RECORD != 0;
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

    /// Shows a record whose bytes are complete, if its checksum is right and it follows the last one.
    fn finish(&mut self, start: Lsn, bytes: &[u8], show: &mut impl FnMut(WalRecord<'_>)) -> PageEnd {
        let magic = self.magic.unwrap_or_default();
        let record = WalRecord::prove(start, magic, bytes).filter(|record| self.last.is_none_or(|last| record.previous() == last));
        let Some(record) = record else { return PageEnd::Ends };
        self.last = Some(start);
        show(record);
        if record.is_switch() { PageEnd::Switched } else { PageEnd::GoesOn }
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

/// The pages at the beginning of a segment that the last record of the segment before may reach into.
#[must_use]
pub fn wal_head(segment: &[u8]) -> &[u8] {
    let Some(block) = block_bytes(segment).filter(|_| u16_at(segment, 2) & CONTINUES_RECORD > 0) else { return &[] };
    let behind_first = (u32_at(segment, 16) as usize).saturating_sub(block - LONG_HEADER);
    let pages = 1 + behind_first.div_ceil(block - SHORT_HEADER);
    &segment[..(pages * block).min(segment.len())]
}

/// Bytes of each page of what begins as a segment does and has nothing but whole pages.
pub(super) fn block_bytes(segment: &[u8]) -> Option<usize> {
    let header = segment.get(..LONG_HEADER)?;
    let block = u32_at(header, 36) as usize;
    let is_segment = is_magic(u16_at(header, 0)) && u16_at(header, 2) & HAS_LONG_HEADER > 0;
    let is_block = block.is_power_of_two() && (1 << 10..=1 << 16).contains(&block);
    (is_segment && is_block && segment.len().is_multiple_of(block)).then_some(block)
}

fn is_magic(magic: u16) -> bool {
    MAGIC_HIGH_BYTES.contains(&(magic >> 8))
}

/// Where a segment says that it begins.
pub(super) fn own_address(segment: &[u8]) -> Lsn {
    Lsn(u64_at(segment, 8))
}

fn pages(begin: Lsn, content: &[u8], block: usize) -> impl Iterator<Item = (&[u8], Lsn)> {
    content.chunks_exact(block).enumerate().map(move |(number, page)| (page, Lsn(begin.0.saturating_add((number * block) as u64))))
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
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::postgres::{SystemIdentifier, WalSegmentSize};
    use crate::testing::WalWriter;

    const SEGMENT: u64 = 1 << 20;

    fn writer(first: u64) -> WalWriter {
        WalWriter::new(first, SystemIdentifier(1), WalSegmentSize::SMALLEST)
    }

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
        let mut wal = writer(3);
        let mut expected = Vec::new();
        for length in [10, 8_000, 20_000, 900_000, 300_000, 1, 200] {
            expected.push(wal.write(1, 0, &vec![7; length]));
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
        let mut wal = writer(3);
        let first = wal.write(1, 0, b"x");
        let switch = wal.switch();
        let next = wal.write(1, 0, b"y");
        let (found, _) = read(&wal.segments(), 3);
        assert_eq!(starts(&found), [first, switch, next]);
    }

    #[test]
    fn the_place_of_a_created_tablespace_is_found_and_nothing_else_is_taken_for_one() {
        let mut wal = writer(3);
        let data = [&16_400_u32.to_ne_bytes()[..], b"/srv/fast disk\0"].concat();
        wal.write(5, 0x00, &data);
        wal.write(5, 0x10, &data);
        wal.write(4, 0x00, &data);
        wal.write(5, 0x00, &[&16_401_u32.to_ne_bytes()[..], b"\0"].concat());
        let (found, _) = read(&wal.segments(), 3);
        let places: Vec<Option<PathBuf>> = found.into_iter().map(|(_, place)| place).collect();
        assert_eq!(places, [Some("/srv/fast disk".into()), None, None, Some(PathBuf::new())]);
    }

    #[test]
    fn a_record_with_a_wrong_checksum_ends_the_wal_as_it_ends_a_recovery() {
        let mut wal = writer(3);
        let first = wal.write(1, 0, b"first");
        let second = wal.write(1, 0, b"second");
        wal.write(1, 0, b"third");
        wal.damage(second);
        let (found, is_at_end) = read(&wal.segments(), 3);
        assert_eq!((starts(&found), is_at_end), (vec![first], true));
    }

    #[test]
    fn a_record_that_does_not_follow_the_one_before_it_ends_the_wal() {
        let (mut wal, mut other) = (writer(3), writer(3));
        let before = [wal.write(1, 0, b"before"), wal.write(1, 0, b"before")];
        let place = wal.write(1, 0, b"record");
        other.write(1, 0, &[0; 38]);
        assert_eq!(other.write(1, 0, b"record"), place, "whole by itself, and at the same place");
        let mut segments = wal.segments();
        let at = usize::try_from(place.0 - 3 * SEGMENT).unwrap();
        segments[0][at..at + 32].copy_from_slice(&other.segments()[0][at..at + 32]);
        let (found, is_at_end) = read(&segments, 3);
        assert_eq!((starts(&found), is_at_end), (before.to_vec(), true));
    }

    #[test]
    fn a_record_that_was_given_up_is_passed_over_only_where_the_page_says_so() {
        let mut wal = writer(3);
        let first = wal.write(1, 0, b"first");
        wal.write(1, 0, &vec![1; 20_000]);
        wal.give_up_last();
        let behind = wal.write(0, 0xD0, b"behind");
        let mut segments = wal.segments();
        assert_eq!(starts(&read(&segments, 3).0), [first, behind]);
        segments[0][8_192 + 2] = 0;
        assert_eq!(starts(&read(&segments, 3).0), [first]);
    }

    #[test]
    fn a_page_of_another_place_ends_the_wal() {
        let mut wal = writer(3);
        let first = wal.write(1, 0, b"first");
        wal.write(1, 0, &vec![1; 20_000]);
        let mut segments = wal.segments();
        segments[0][8192 + 8] ^= 1;
        let (found, is_at_end) = read(&segments, 3);
        assert_eq!((starts(&found), is_at_end), (vec![first], true));
    }

    proptest! {
        #[test]
        fn every_record_is_found_once(lengths in proptest::collection::vec(0_usize..60_000, 1..40)) {
            let mut wal = writer(1);
            let expected: Vec<Lsn> = lengths.iter().map(|length| wal.write(1, 0, &vec![3; *length])).collect();
            let (found, _) = read(&wal.segments(), 1);
            prop_assert_eq!(starts(&found), expected);
        }

        #[test]
        fn never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 40..20_000), place in 0_usize..19_000, value: u8) {
            let mut wal = writer(0);
            wal.write(5, 0, &bytes);
            let mut segment = wal.segments().remove(0);
            segment[place] = value;
            let _ = read(&[segment], 0);
            bytes.resize(16_384, 0);
            bytes[36..40].copy_from_slice(&8192_u32.to_ne_bytes());
            let _ = read(&[bytes], 0);
        }
    }
}
