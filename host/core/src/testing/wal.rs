//! WAL as a server would write it, as far as anybody here looks at it.

use crate::postgres::{Lsn, SystemIdentifier, WalSegmentSize};

/// A segment of the first timeline with a true header; `filling` tells one content from another.
#[must_use]
pub fn wal_segment(number: u32, cluster: SystemIdentifier, size: WalSegmentSize, filling: u8) -> Vec<u8> {
    let mut content = vec![filling; usize::try_from(size.bytes()).unwrap_or(usize::MAX)];
    content[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
    content[2..4].copy_from_slice(&2_u16.to_ne_bytes());
    content[4..8].copy_from_slice(&1_u32.to_ne_bytes());
    content[8..16].copy_from_slice(&(u64::from(number) * size.bytes()).to_ne_bytes());
    content[24..32].copy_from_slice(&cluster.0.to_ne_bytes());
    content[32..36].copy_from_slice(&u32::from(size).to_ne_bytes());
    content
}

/// Bytes of a page, and of the headers of pages, within a segment and at its beginning.
const PAGE: usize = 8192;
const SHORT_HEADER: usize = 24;
const LONG_HEADER: usize = 40;

/// A record of this resource manager with data that is about no block; its checksum is right.
#[must_use]
pub fn record(resource_manager: u8, info: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    bytes[16] = info;
    bytes[17] = resource_manager;
    match u8::try_from(data.len()) {
        Ok(_) if data.is_empty() => {}
        Ok(length) => bytes.extend([255, length]),
        Err(_) => {
            bytes.push(254);
            bytes.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_ne_bytes());
        }
    }
    bytes.extend(data);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes[24..]), &bytes[..20]);
    bytes[20..24].copy_from_slice(&checksum.to_ne_bytes());
    bytes
}

/// Writes records into segments of 1 MiB of the first timeline, over the boundaries of pages and segments.
#[derive(Debug)]
pub struct WalWriter {
    first: u32,
    cluster: SystemIdentifier,
    /// Position behind the last record, from the beginning of the first segment.
    at: usize,
    bytes: Vec<u8>,
}

impl WalWriter {
    /// Begins with the segment of this number.
    #[must_use]
    pub fn new(first: u32) -> Self {
        Self::of(first, SystemIdentifier(1))
    }

    /// The same of some cluster.
    #[must_use]
    pub fn of(first: u32, cluster: SystemIdentifier) -> Self {
        Self { first, cluster, at: 0, bytes: Vec::new() }
    }

    /// Writes a record; gives the position of its beginning.
    pub fn write(&mut self, record: &[u8]) -> Lsn {
        self.at = self.at.next_multiple_of(8);
        self.open_page(0);
        let start = self.at;
        let mut rest = record;
        loop {
            let room = PAGE - self.at % PAGE;
            let (now, later) = rest.split_at(rest.len().min(room));
            self.bytes[self.at..self.at + now.len()].copy_from_slice(now);
            self.at += now.len();
            if later.is_empty() {
                return self.position(start);
            }
            rest = later;
            self.open_page(rest.len());
        }
    }

    /// Ends the segment; gives the position of the record that says so.
    pub fn switch(&mut self) -> Lsn {
        let start = self.write(&record(0, 0x40, b""));
        self.at = self.at.next_multiple_of(segment_bytes());
        start
    }

    /// The segments so far.
    #[must_use]
    pub fn segments(&self) -> Vec<Vec<u8>> {
        let size = segment_bytes();
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(size), 0);
        bytes.chunks_exact(size).map(<[u8]>::to_vec).collect()
    }

    fn position(&self, at: usize) -> Lsn {
        Lsn(u64::from(self.first) * WalSegmentSize::SMALLEST.bytes() + at as u64)
    }

    /// Writes the header of the page, when the position is at its beginning; `rest` is what is left of a record.
    fn open_page(&mut self, rest: usize) {
        if !self.at.is_multiple_of(PAGE) {
            return;
        }
        let (begin, is_first) = (self.at, self.at.is_multiple_of(segment_bytes()));
        let address = self.position(begin).0;
        self.bytes.resize(begin + PAGE, 0);
        let page = &mut self.bytes[begin..];
        let flags = u16::from(rest > 0) | if is_first { 2 } else { 0 };
        page[0..2].copy_from_slice(&0xD110_u16.to_ne_bytes());
        page[2..4].copy_from_slice(&flags.to_ne_bytes());
        page[4..8].copy_from_slice(&1_u32.to_ne_bytes());
        page[8..16].copy_from_slice(&address.to_ne_bytes());
        page[16..20].copy_from_slice(&u32::try_from(rest).unwrap_or(u32::MAX).to_ne_bytes());
        if is_first {
            page[24..32].copy_from_slice(&self.cluster.0.to_ne_bytes());
            page[32..36].copy_from_slice(&u32::from(WalSegmentSize::SMALLEST).to_ne_bytes());
            page[36..40].copy_from_slice(&8192_u32.to_ne_bytes());
        }
        self.at += if is_first { LONG_HEADER } else { SHORT_HEADER };
    }
}

fn segment_bytes() -> usize {
    usize::try_from(WalSegmentSize::SMALLEST.bytes()).unwrap_or(usize::MAX)
}
