//! `global/pg_control`: which cluster a directory holds, and its seal.
//!
//! A checksum stands before everything else, so it is made right here: no search would find it.

use stillframe_core::postgres::PgControl;

use crate::Verdict;

const FILE_BYTES: usize = 8_192;

/// Where the servers from 10 to 18 have the checksum, and two places that a later one could choose.
const CHECKSUM_OFFSETS: [usize; 6] = [288, 284, 292, 296, 200, 508];

/// As it is, and with a checksum: the first byte says where.
pub fn target(data: &[u8]) -> Verdict {
    if let Ok(control) = PgControl::parse(data) {
        look_at(&control, data);
        return Verdict::Accepted;
    }
    let Some((choice, fields)) = data.split_first() else { return Verdict::Refused };
    let mut file = fields.to_vec();
    file.resize(FILE_BYTES, 0);
    let offset = CHECKSUM_OFFSETS[usize::from(*choice) % CHECKSUM_OFFSETS.len()];
    let checksum = crc32c::crc32c(&file[..offset]);
    file[offset..offset + 4].copy_from_slice(&checksum.to_ne_bytes());
    let parsed = PgControl::parse(&file);
    if let Ok(control) = &parsed {
        look_at(control, &file);
    }
    Verdict::of(&parsed)
}

/// A seal takes nothing away but the pointers, and is one.
fn look_at(control: &PgControl, file: &[u8]) {
    assert!(control.control_version() >= 1_002);
    let sealed_bytes = control.sealed();
    assert_eq!(sealed_bytes.len(), file.len());
    let sealed = PgControl::parse(&sealed_bytes).unwrap_or_else(|error| panic!("a sealed file cannot be read: {error}"));
    assert!(sealed.is_sealed());
    assert_eq!(sealed.sealed(), sealed_bytes, "sealing twice is sealing once");
    assert_eq!(sealed.system_identifier(), control.system_identifier());
    assert_eq!(
        (sealed.redo(), sealed.timeline(), sealed.recovery_timeline()),
        (control.redo(), control.timeline(), control.recovery_timeline())
    );
    assert_eq!((sealed.is_shut_down(), sealed.is_in_recovery()), (control.is_shut_down(), control.is_in_recovery()));
    assert_eq!(sealed.limits(), control.limits());
    assert!(control.timeline().is_none_or(|timeline| control.is_on(timeline)));
    let changed = file.iter().zip(&sealed_bytes).filter(|(before, after)| before != after).count();
    assert!(changed <= 8 + 8 + 4, "a seal changed {changed} bytes");
}
