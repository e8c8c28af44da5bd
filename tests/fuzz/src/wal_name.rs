//! Names of WAL files and positions: what PostgreSQL gives to `archive_command`, and what lies in a store.

use stillframe_core::postgres::{Lsn, WalFileName, WalSegment, WalSegmentSize};

use crate::Verdict;

/// A name and a position are spelt in one way, and arithmetic on them stays within bounds for every segment size.
pub fn target(data: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(data);
    if let Ok(position) = text.parse::<Lsn>() {
        assert_eq!(position.to_string().parse::<Lsn>().ok(), Some(position));
        WalSegmentSize::every().for_each(|size| look_at_position(position, size));
        return Verdict::Accepted;
    }
    let Ok(name) = text.parse::<WalFileName>() else { return Verdict::Refused };
    assert_eq!(name.to_string(), text, "one file has two names");
    assert_eq!(name.order().0, name.timeline());
    WalSegmentSize::every().for_each(|size| look_at_name(name, size));
    Verdict::Accepted
}

fn look_at_position(position: Lsn, size: WalSegmentSize) {
    let timeline = stillframe_core::postgres::TimelineId::FIRST;
    let (holds, ends) = (WalSegment::containing(timeline, position, size), WalSegment::ending_at(timeline, position, size));
    assert!(holds.begin(size) <= position && position.0 - holds.begin(size).0 < size.bytes());
    assert!(ends.number == holds.number || ends.number + 1 == holds.number);
    assert_eq!(holds.file_name(size).segment(size), Some(holds), "a segment's name is another segment's");
}

fn look_at_name(name: WalFileName, size: WalSegmentSize) {
    let Some(segment) = name.segment(size) else {
        assert!(matches!(name, WalFileName::History { .. }));
        return;
    };
    assert_eq!(segment.timeline, name.timeline());
    let begin = segment.begin(size);
    if let WalFileName::Segment { segment: part, .. } = name
        && u64::from(part) < size.segments_per_log()
    {
        assert_eq!(segment.file_name(size), name);
        assert_eq!(WalSegment::containing(segment.timeline, begin, size), segment);
    }
}
