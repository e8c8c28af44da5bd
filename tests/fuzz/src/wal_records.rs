//! Records of WAL, written as a server writes them and then damaged: the input is a list of what to write.
//!
//! Checksums and pages are right, so that the search gets to the records themselves. A line is one thing to do; the damage comes
//! behind all of them.

use jiff::Timestamp;
use stillframe_core::postgres::{
    Lsn, MarkKind, SegmentHeader, SystemIdentifier, TimelineId, WalMark, WalSegment, WalSegmentSize, read_marks, wal_head,
};
use stillframe_core::testing::WalWriter;

use crate::Verdict;
use crate::input::Input;

/// Things to do, and bytes of a record, at most: two segments of a mebibyte are enough.
const MAX_STEPS: usize = 200;
const MAX_RECORD: usize = 40_000;

const FIRST: u64 = 3;

/// Whatever is damaged: what is found is what was written, in its order, without a gap. Without damage, all of it is found.
pub fn target(data: &[u8]) -> Verdict {
    let size = WalSegmentSize::SMALLEST;
    let mut writer = WalWriter::new(FIRST, SystemIdentifier(7), size);
    let (mut written, mut damage) = (Vec::new(), Vec::new());
    let mut input = Input::new(data);
    let mut total = 0;
    for _ in 0..MAX_STEPS {
        let line = input.text();
        let mut words = line.split(' ');
        let word = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
        total += number.min(MAX_RECORD);
        if total > 3 << 19 {
            break;
        }
        let second = i64::try_from(written.len()).expect("a small number");
        let at = Timestamp::from_second(1_700_000_000 + second).expect("a moment");
        match word {
            "filler" => drop(writer.filler(number.min(MAX_RECORD))),
            "commit" => written.push(mark(writer.commit(7, at), at, MarkKind::Commit(7))),
            "abort" => written.push(mark(writer.abort(8, at), at, MarkKind::Abort(8))),
            "point" => written.push(mark(writer.restore_point("here", at), at, MarkKind::RestorePoint("here".to_owned()))),
            "switch" => drop(writer.switch()),
            "record" => raw(&mut writer, &mut words, &mut written),
            "damage" => damage.push((number, words.next().and_then(|word| word.parse::<u8>().ok()).unwrap_or(1).max(1))),
            _ => {}
        }
    }
    let mut segments = writer.segments();
    for (place, value) in &damage {
        let bytes = segments[0].len();
        segments[0][place % bytes] ^= value;
    }
    let mut found = Vec::new();
    for (number, content) in segments.iter().enumerate() {
        // Whoever reads a segment has proven its header.
        let name = WalSegment { timeline: TimelineId::FIRST, number: FIRST + number as u64 }.file_name(size);
        if SegmentHeader::prove_beginning(name, content, size.bytes()).is_err() {
            assert!(!damage.is_empty(), "the header of whole WAL is refused");
            continue;
        }
        let next = segments.get(number + 1).map_or(&[][..], |next| wal_head(next));
        if read_marks(content, next, |mark| found.push(mark)).is_err() {
            assert!(!damage.is_empty(), "whole WAL is refused");
        }
    }
    if damage.is_empty() {
        assert_eq!(found, written, "what was written was not found");
        return if written.is_empty() { Verdict::Refused } else { Verdict::Accepted };
    }
    let mut rest = written.iter();
    assert!(found.iter().all(|mark| rest.any(|written| written == mark)), "found {found:?}, written {written:?}");
    Verdict::Refused
}

/// A record of any manager with any data; one that tells of time is a mark.
fn raw<'a>(writer: &mut WalWriter, words: &mut impl Iterator<Item = &'a str>, written: &mut Vec<WalMark>) {
    let mut number = || words.next().and_then(|word| word.parse::<u8>().ok()).unwrap_or(0);
    let (manager, info) = (number(), number());
    let data: Vec<u8> = words.flat_map(|word| word.bytes()).collect();
    // Nothing follows in the segment: the step `switch` does that.
    if (manager, info & 0xF0) == (0, 0x40) {
        return;
    }
    let before = written.len();
    let begin = writer.write(manager, info, &data);
    if let Some(kind) = expected(manager, info, &data)
        && let Some(at) = moment(&data)
    {
        written.push(mark(begin, at, kind));
    }
    assert!(written.len() <= before + 1);
}

/// What the documented layouts of `xl_xact_commit`, `xl_xact_abort` and `xl_restore_point` say of a record.
fn expected(manager: u8, info: u8, data: &[u8]) -> Option<MarkKind> {
    match (manager, info & 0x70, info & 0xF0) {
        (1, 0x00 | 0x30, _) => Some(MarkKind::Commit(0)),
        (1, 0x20 | 0x40, _) => Some(MarkKind::Abort(0)),
        (0, _, 0x70) => {
            let name = data.get(8..72)?.split(|byte| *byte == 0).next()?;
            Some(MarkKind::RestorePoint(String::from_utf8_lossy(name).into_owned()))
        }
        _ => None,
    }
}

fn moment(data: &[u8]) -> Option<Timestamp> {
    let micros = i64::from_ne_bytes(data.get(..8)?.try_into().ok()?);
    Timestamp::from_microsecond(micros.checked_add(946_684_800_000_000)?).ok()
}

fn mark(begin: Lsn, at: Timestamp, kind: MarkKind) -> WalMark {
    WalMark { begin, at, kind }
}
