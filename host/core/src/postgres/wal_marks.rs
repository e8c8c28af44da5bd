//! What the records of a segment tell of time: ends of transactions, and restore points with their names.
//!
//! What is read here of `xl_xact_commit`, `xl_xact_abort` and `xl_restore_point` has had one layout from PostgreSQL 10 to 18, but for one
//! item, and only for transactions that were prepared: their number comes last. It is read a segment at a time, in any order; for a record that goes on in the next segment, the beginning of that one is needed.

use jiff::Timestamp;

use super::wal_records::{block_bytes, own_address};
use crate::postgres::{HeaderError, Lsn, ReadingEnd, WalReader, WalRecord};

/// Resource managers, and what they call their records.
const RM_XLOG: u8 = 0;
const RM_XACT: u8 = 1;
const XLOG_RESTORE_POINT: u8 = 0x70;
const XACT_MASK: u8 = 0x70;

/// From 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Since then a dropped statistic is named by 64 bits.
const FIRST_MAGIC_OF_18: u16 = 0xD118;

/// Longest name of a restore point, with its zero.
const NAME_BYTES: usize = 64;

/// A record that tells of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalMark {
    /// Where it begins.
    pub begin: Lsn,
    /// When it was written, by the server's clock.
    pub at: Timestamp,
    /// What it marks.
    pub kind: MarkKind,
}

/// What a record marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkKind {
    /// A transaction was committed: its number.
    Commit(u32),
    /// One was rolled back.
    Abort(u32),
    /// Somebody named this place.
    RestorePoint(String),
}

/// How a segment was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentReading {
    /// Whole records that begin in it.
    pub records: u64,
    /// Where the last of them begins.
    pub last_begin: Option<Lsn>,
    /// Why no more were read.
    pub end: ReadingEnd,
}

/// Reads the records that begin in a segment, and shows what tells of time. `next` is the following segment, or its
/// [`wal_head`](super::wal_head); empty where it is not known.
pub fn read_marks(content: &[u8], next: &[u8], mut show: impl FnMut(WalMark)) -> Result<SegmentReading, HeaderError> {
    block_bytes(content).ok_or(HeaderError::NotWal)?;
    let begin = own_address(content);
    let behind = begin.0.checked_add(content.len() as u64).filter(|behind| behind.checked_add(next.len() as u64).is_some());
    let behind = Lsn(behind.ok_or(HeaderError::Impossible("address"))?);
    let mut reading = SegmentReading { records: 0, last_begin: None, end: ReadingEnd::Whole };
    let mut look = |record: WalRecord<'_>| {
        reading.records += 1;
        reading.last_begin = Some(record.start);
        if let Some(mark) = mark(&record) {
            show(mark);
        }
    };
    let mut reader = WalReader::default();
    let mut end = reader.read(begin, content, &mut look);
    if end == ReadingEnd::Cut && !next.is_empty() {
        end = reader.read_rest(behind, next, &mut look);
    }
    reading.end = end;
    Ok(reading)
}

/// What a record tells of time, if anything.
pub(crate) fn mark(record: &WalRecord<'_>) -> Option<WalMark> {
    enum Kind {
        Commit,
        Abort,
        RestorePoint,
    }
    let kind = match record.kind() {
        (RM_XACT, info) => match info & XACT_MASK {
            0x00 | 0x30 => Kind::Commit,
            0x20 | 0x40 => Kind::Abort,
            _ => return None,
        },
        (RM_XLOG, XLOG_RESTORE_POINT) => Kind::RestorePoint,
        _ => return None,
    };
    let data = record.main_data()?;
    let micros = i64::from_ne_bytes(data.get(..8)?.try_into().ok()?);
    let at = Timestamp::from_microsecond(micros.checked_add(EPOCH_MICROS)?).ok()?;
    let kind = match kind {
        Kind::Commit => MarkKind::Commit(ended_transaction(record, data)),
        Kind::Abort => MarkKind::Abort(ended_transaction(record, data)),
        Kind::RestorePoint => {
            let name = data.get(8..8 + NAME_BYTES)?.split(|byte| *byte == 0).next()?;
            MarkKind::RestorePoint(String::from_utf8_lossy(name).into_owned())
        }
    };
    Some(WalMark { begin: record.start, at, kind })
}

/// Which transaction ended. `COMMIT PREPARED` and `ROLLBACK PREPARED` run in none, and name the one that they end.
fn ended_transaction(record: &WalRecord<'_>, data: &[u8]) -> u32 {
    match record.transaction() {
        0 if record.has_more() => prepared_transaction(data, record.magic).unwrap_or_default(),
        transaction => transaction,
    }
}

/// Passes over everything before it: each item is there if its bit is set, and lists begin with their length.
fn prepared_transaction(data: &[u8], magic: u16) -> Option<u32> {
    const DATABASE: u32 = 1 << 0;
    const SUBTRANSACTIONS: u32 = 1 << 1;
    const FILES: u32 = 1 << 2;
    const INVALIDATIONS: u32 = 1 << 3;
    const PREPARED: u32 = 1 << 4;
    const STATISTICS: u32 = 1 << 8;
    let number = |at: usize| Some(u32::from_ne_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let bits = number(8)?;
    let statistic_bytes = if magic < FIRST_MAGIC_OF_18 { 12 } else { 16 };
    let mut at = if bits & DATABASE > 0 { 20 } else { 12 };
    for (bit, item_bytes) in [(SUBTRANSACTIONS, 4), (FILES, 12), (STATISTICS, statistic_bytes), (INVALIDATIONS, 16)] {
        if bits & bit > 0 {
            at = usize::try_from(number(at)?).ok()?.checked_mul(item_bytes)?.checked_add(at)?.checked_add(4)?;
        }
    }
    (bits & PREPARED > 0).then(|| number(at)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::postgres::{SystemIdentifier, WalSegmentSize, wal_head};
    use crate::testing::WalWriter;

    const SIZE: WalSegmentSize = WalSegmentSize::SMALLEST;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn read(content: &[u8], next: &[u8]) -> (Vec<WalMark>, SegmentReading) {
        let mut marks = Vec::new();
        let reading = read_marks(content, next, |mark| marks.push(mark)).unwrap();
        (marks, reading)
    }

    #[test]
    fn reads_commits_and_restore_points_up_to_the_switch() {
        let mut writer = WalWriter::new(3, SystemIdentifier(7), SIZE);
        writer.filler(20_000);
        let commit = writer.commit(701, at(1));
        let abort = writer.abort(702, at(2));
        let named = writer.restore_point("before the migration", at(3));
        writer.switch();
        let segments = writer.segments();
        let (marks, reading) = read(&segments[0], &[]);
        let expected = [
            WalMark { begin: commit, at: at(1), kind: MarkKind::Commit(701) },
            WalMark { begin: abort, at: at(2), kind: MarkKind::Abort(702) },
            WalMark { begin: named, at: at(3), kind: MarkKind::RestorePoint("before the migration".to_owned()) },
        ];
        assert_eq!((&marks[..], reading.records, reading.end), (&expected[..], 5, ReadingEnd::Switched));
        assert_eq!(segments.len(), 1);
    }

    #[test]
    fn a_record_on_both_sides_of_a_boundary_is_read_with_the_head_of_the_next_segment_and_not_without() {
        let mut writer = WalWriter::new(3, SystemIdentifier(7), SIZE);
        while writer.room() > 100 {
            writer.filler(60);
        }
        let last = writer.restore_point("across", at(9));
        writer.commit(7, at(10));
        let segments = writer.segments();
        assert_eq!(segments.len(), 2);
        let (marks, reading) = read(&segments[0], &[]);
        assert_eq!((marks, reading.end), (Vec::new(), ReadingEnd::Cut));
        let (marks, reading) = read(&segments[0], wal_head(&segments[1]));
        assert_eq!((marks[0].begin, reading.last_begin, reading.end), (last, Some(last), ReadingEnd::Whole));
        assert!(wal_head(&segments[1]).len() <= 8_192);
        let (marks, _) = read(&segments[1], &[]);
        assert_eq!(marks.len(), 1, "what continues from before is passed over");
    }

    #[test]
    fn a_damaged_record_ends_the_reading() {
        let mut writer = WalWriter::new(3, SystemIdentifier(7), SIZE);
        writer.commit(1, at(1));
        let second = writer.commit(2, at(2));
        writer.commit(3, at(3));
        writer.damage(second);
        let content = writer.segments().remove(0);
        let (marks, reading) = read(&content, &[]);
        assert_eq!((marks.len(), reading.end), (1, ReadingEnd::Invalid));
    }

    #[test]
    fn what_is_no_wal_is_refused() {
        assert!(read_marks(b"", b"", |_| ()).is_err());
        assert!(read_marks(&[0; 8_192], b"", |_| ()).is_err());
    }

    proptest! {
        #[test]
        fn reads_back_every_record_however_long(lengths in proptest::collection::vec((0usize..30_000, 0u32..3), 0..120)) {
            let mut writer = WalWriter::new(3, SystemIdentifier(7), SIZE);
            let mut written = Vec::new();
            for (place, (length, kind)) in lengths.into_iter().enumerate() {
                let time = at(i64::try_from(place).unwrap());
                match kind {
                    0 => written.push((writer.commit(9, time), time)),
                    1 => written.push((writer.restore_point("x", time), time)),
                    _ => drop(writer.filler(length)),
                }
            }
            let segments = writer.segments();
            let mut found = Vec::new();
            for (place, content) in segments.iter().enumerate() {
                let next = segments.get(place + 1).map_or(&[][..], |next| wal_head(next));
                found.extend(read(content, next).0.into_iter().map(|mark| (mark.begin, mark.at)));
            }
            prop_assert_eq!(found, written);
        }

        #[test]
        fn never_panics(mut noise in proptest::collection::vec(any::<u8>(), 0..4_000), place in 0usize..60_000, next in proptest::collection::vec(any::<u8>(), 0..9_000)) {
            let _ = read_marks(&noise, &next, |_| ());
            let mut writer = WalWriter::new(3, SystemIdentifier(7), SIZE);
            writer.commit(1, at(1));
            writer.filler(30_000);
            writer.restore_point("x", at(2));
            writer.filler(30_000);
            let mut content = writer.segments().remove(0);
            let end = (place + noise.len()).min(content.len());
            noise.truncate(end - place);
            content[place..end].copy_from_slice(&noise);
            let _ = read_marks(&content, &next, |_| ());
            let _ = wal_head(&content);
        }
    }
}
