//! Pages of WAL, of any content: a line with the length of what belongs to the next segment, and the bytes of both.

use stillframe_core::postgres::{Lsn, ReadingEnd, WalReader, read_marks, wal_head};

use crate::Verdict;
use crate::input::Input;

/// Records are found in their order, within what was read, and both readers find the same number of them.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let next_length = input.number();
    let pages = input.rest();
    let content_length = pages.len().saturating_sub(usize::try_from(next_length).unwrap_or(usize::MAX));
    let (content, next) = pages.split_at(content_length);
    assert!(wal_head(content).len() <= content.len());
    read_in_a_row(&[content, next]);
    let mut marks = Vec::new();
    let Ok(reading) = read_marks(content, next, |mark| marks.push(mark)) else { return Verdict::Refused };
    let begin = Lsn(u64::from_ne_bytes(content[8..16].try_into().expect("eight bytes")));
    let is_within = |place: Lsn| place >= begin && place.0 - begin.0 < content.len() as u64;
    assert!(marks.iter().all(|mark| is_within(mark.begin)) && reading.last_begin.is_none_or(is_within));
    assert!(marks.windows(2).all(|pair| pair[0].begin < pair[1].begin), "marks out of order");
    // Each has a header of 24 bytes, of which the last one may lie behind the end.
    assert!(marks.len() as u64 <= reading.records && reading.records <= content.len() as u64 / 24 + 1);
    assert_eq!(reading.records == 0, reading.last_begin.is_none());
    if reading.records > 0 { Verdict::Accepted } else { Verdict::Refused }
}

/// As a server's replay is watched.
fn read_in_a_row(segments: &[&[u8]]) {
    let mut reader = WalReader::default();
    let mut begin = Lsn(u64::from_ne_bytes(segments[0].get(8..16).map_or([0; 8], |bytes| bytes.try_into().unwrap_or([0; 8]))));
    // Whoever reads in a row says where, by the number of a segment.
    if begin.0.checked_add(segments.iter().map(|segment| segment.len() as u64).sum()).is_none() {
        return;
    }
    let mut last = None;
    for segment in segments {
        let was_at_end = reader.is_at_end();
        let end = reader.read(begin, segment, |record| {
            assert!(last.is_none_or(|last| record.start > last), "records out of order");
            assert!(!was_at_end, "a record behind the end");
            last = Some(record.start);
            let _ = record.created_tablespace();
        });
        assert_eq!(end == ReadingEnd::Invalid, reader.is_at_end());
        begin = Lsn(begin.0.saturating_add(segment.len() as u64));
    }
}
