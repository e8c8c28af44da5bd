//! WAL as a server would write it, as far as anybody here looks at it.

use crate::postgres::{SystemIdentifier, WalSegmentSize};

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
