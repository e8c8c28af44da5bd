//! WAL as a server would write it, as far as anybody here looks at it.

use jiff::Timestamp;

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
    content[36..40].copy_from_slice(&8_192_u32.to_ne_bytes());
    content
}

const BLOCK: usize = 8_192;

/// Writes records of the first timeline with true headers and checksums, segment after segment.
#[derive(Debug, Clone)]
pub struct WalWriter {
    cluster: SystemIdentifier,
    size: WalSegmentSize,
    begin: u64,
    bytes: Vec<u8>,
    previous: u64,
}

impl WalWriter {
    /// Begins with this segment.
    #[must_use]
    pub fn new(number: u64, cluster: SystemIdentifier, size: WalSegmentSize) -> Self {
        Self { cluster, size, begin: number * size.bytes(), bytes: Vec::new(), previous: 0 }
    }

    /// Bytes up to the end of the segment.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.size.bytes() - self.bytes.len() as u64 % self.size.bytes()
    }

    /// Writes a record of a resource manager with data that is about no block; gives where it begins.
    pub fn write(&mut self, manager: u8, info: u8, data: &[u8]) -> Lsn {
        self.record(manager, info, 0, data)
    }

    /// Writes a record that tells nothing.
    pub fn filler(&mut self, length: usize) -> Lsn {
        self.write(10, 0, &vec![7; length])
    }

    /// Writes the commit of a transaction.
    pub fn commit(&mut self, transaction: u32, at: Timestamp) -> Lsn {
        self.record(1, 0, transaction, &time(at))
    }

    /// Writes that a transaction was rolled back.
    pub fn abort(&mut self, transaction: u32, at: Timestamp) -> Lsn {
        self.record(1, 0x20, transaction, &time(at))
    }

    /// Writes a restore point.
    pub fn restore_point(&mut self, name: &str, at: Timestamp) -> Lsn {
        let mut data = time(at).to_vec();
        data.extend(name.as_bytes());
        data.resize(8 + 64, 0);
        self.write(0, 0x70, &data)
    }

    /// Writes that a tablespace was made.
    pub fn tablespace(&mut self, number: u32, location: &str) -> Lsn {
        self.write(5, 0, &[&number.to_ne_bytes()[..], location.as_bytes(), b"\0"].concat())
    }

    /// Switches to the next segment.
    pub fn switch(&mut self) -> Lsn {
        let begin = self.write(0, 0x40, &[]);
        let length = self.bytes.len().next_multiple_of(self.segment_bytes());
        self.bytes.resize(length, 0);
        begin
    }

    /// Gives up the last record at the end of its first page, as a crash does; what follows is written on the next page, which says so.
    pub fn give_up_last(&mut self) {
        let record = usize::try_from(self.previous - self.begin).unwrap_or(usize::MAX);
        // The record before is the last that is whole.
        let before = self.bytes[record + 8..record + 16].try_into().map_or(0, u64::from_ne_bytes);
        let page = (record / BLOCK + 1) * BLOCK;
        self.bytes.truncate(page);
        self.open_page(0);
        self.bytes[page + 2] |= 8;
        self.previous = before;
    }

    /// Damages the data of a record.
    pub fn damage(&mut self, record: Lsn) {
        let place = usize::try_from(record.0 - self.begin).unwrap_or(usize::MAX) + 30;
        self.bytes[place] ^= 1;
    }

    /// Gives the segments; the last one is filled up with zeros.
    #[must_use]
    pub fn segments(&self) -> Vec<Vec<u8>> {
        let (size, mut written) = (self.segment_bytes(), self.clone());
        let length = written.bytes.len().next_multiple_of(size).max(size);
        written.open_page(0);
        written.bytes.resize(length, 0);
        written.bytes.chunks(size).map(<[u8]>::to_vec).collect()
    }

    fn record(&mut self, manager: u8, info: u8, transaction: u32, data: &[u8]) -> Lsn {
        self.open_page(0);
        let begin = self.begin + self.bytes.len() as u64;
        let body = body(data);
        let mut record = Vec::new();
        record.extend(u32::try_from(24 + body.len()).unwrap_or(u32::MAX).to_ne_bytes());
        record.extend(transaction.to_ne_bytes());
        record.extend(self.previous.to_ne_bytes());
        record.extend([info, manager, 0, 0]);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&body), &record);
        record.extend(checksum.to_ne_bytes());
        record.extend(body);
        let mut rest = &record[..];
        while !rest.is_empty() {
            self.open_page(if rest.len() < record.len() { rest.len() } else { 0 });
            let (now, later) = rest.split_at(rest.len().min(BLOCK - self.bytes.len() % BLOCK));
            self.bytes.extend(now);
            rest = later;
        }
        let aligned = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(aligned, 0);
        self.previous = begin;
        Lsn(begin)
    }

    /// Writes a page header where a page begins; `remaining` bytes of a record are continued on it.
    fn open_page(&mut self, remaining: usize) {
        if !self.bytes.len().is_multiple_of(BLOCK) {
            return;
        }
        let is_first = self.bytes.len().is_multiple_of(self.segment_bytes());
        let info = u16::from(remaining > 0) | if is_first { 2 } else { 0 };
        let address = self.begin + self.bytes.len() as u64;
        self.bytes.extend(0xD110_u16.to_ne_bytes());
        self.bytes.extend(info.to_ne_bytes());
        self.bytes.extend(1_u32.to_ne_bytes());
        self.bytes.extend(address.to_ne_bytes());
        self.bytes.extend(u32::try_from(remaining).unwrap_or(u32::MAX).to_ne_bytes());
        self.bytes.extend([0; 4]);
        if is_first {
            self.bytes.extend(self.cluster.0.to_ne_bytes());
            self.bytes.extend(u32::from(self.size).to_ne_bytes());
            self.bytes.extend(8_192_u32.to_ne_bytes());
        }
    }

    fn segment_bytes(&self) -> usize {
        usize::try_from(self.size.bytes()).unwrap_or(usize::MAX)
    }
}

/// Data with what comes before it: its length, in one byte or in four.
fn body(data: &[u8]) -> Vec<u8> {
    let mut body = match u8::try_from(data.len()) {
        Ok(0) => Vec::new(),
        Ok(length) => vec![255, length],
        Err(_) => [&[254][..], &u32::try_from(data.len()).unwrap_or(u32::MAX).to_ne_bytes()].concat(),
    };
    body.extend(data);
    body
}

fn time(at: Timestamp) -> [u8; 8] {
    (at.as_microsecond() - 946_684_800_000_000).to_ne_bytes()
}
