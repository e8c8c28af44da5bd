//! The header of a segment: a line with the file's name, one with its length, and the header's bytes.

use stillframe_core::postgres::{SegmentHeader, WalFileName, WalSegmentSize};

use crate::Verdict;
use crate::input::Input;

/// What is accepted has the length and the place that its name says.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let Ok(name) = input.text().parse::<WalFileName>() else { return Verdict::Refused };
    let length = input.number();
    let Ok(header) = SegmentHeader::prove_beginning(name, input.rest(), length) else { return Verdict::Refused };
    assert_eq!(header.segment_size.bytes(), length);
    assert!(WalSegmentSize::every().any(|size| size == header.segment_size));
    if let Some(segment) = name.segment(header.segment_size) {
        let address = u64::from_ne_bytes(input.rest()[8..16].try_into().expect("eight bytes"));
        assert_eq!(segment.begin(header.segment_size).0, address, "a segment of another place was accepted");
        assert_eq!(segment.number.checked_mul(length), Some(address), "a name beyond the end of all WAL was accepted");
    }
    Verdict::Accepted
}
