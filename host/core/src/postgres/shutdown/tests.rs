use super::*;
use crate::testing::{control_file, shutdown_segment};

const CLUSTER: SystemIdentifier = SystemIdentifier(42);
const SIZE: WalSegmentSize = WalSegmentSize::SMALLEST;

fn shutdown() -> Shutdown {
    let (_, checkpoint) = shutdown_segment(7, CLUSTER, SIZE);
    Shutdown::of(&PgControl::parse(&control_file(CLUSTER, SIZE, 1, checkpoint)).unwrap()).unwrap()
}

#[test]
fn a_clean_shutdown_tells_where_its_checkpoint_is() {
    let found = shutdown();
    assert_eq!((found.timeline, found.segment_size, found.system_identifier), (TimelineId::FIRST, SIZE, CLUSTER));
    assert_eq!(found.segment().to_string(), "000000010000000000000007");
    found.prove_segment(&shutdown_segment(7, CLUSTER, SIZE).0).unwrap();
}

#[test]
fn the_label_is_one_that_waits_for_no_end_of_a_backup() {
    let label = shutdown().label("sf-x", "2026-11-21T10:00:00Z".parse().unwrap()).unwrap();
    let (checkpoint, text) = (shutdown().checkpoint, String::from_utf8(label.as_bytes().to_vec()).unwrap());
    assert_eq!((label.start(), label.checkpoint()), (checkpoint, checkpoint));
    let expected = format!(
        "START WAL LOCATION: {checkpoint} (file 000000010000000000000007)\nCHECKPOINT LOCATION: {checkpoint}\nBACKUP METHOD: pg_rewind\n\
         BACKUP FROM: standby\nSTART TIME: 2026-11-21 10:00:00 UTC\nLABEL: sf-x\nSTART TIMELINE: 1\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_checkpoint_that_goes_on_in_the_next_segment_is_refused() {
    let mut writer = crate::testing::WalWriter::new(7, CLUSTER, SIZE);
    while writer.room() > 8192 {
        writer.filler(4000);
    }
    while writer.room() > 64 {
        writer.filler(8);
    }
    let checkpoint = writer.write(0, 0, &[0; 88]);
    let control = PgControl::parse(&control_file(CLUSTER, SIZE, 1, checkpoint)).unwrap();
    let error = Shutdown::of(&control).unwrap().prove_segment(&writer.segments()[0]).unwrap_err();
    assert!(matches!(error, ShutdownError::Divided { .. }), "{error:?}");
}

#[test]
fn a_control_file_that_contradicts_itself_is_no_proof() {
    let (_, checkpoint) = shutdown_segment(7, CLUSTER, SIZE);
    let mut bytes = control_file(CLUSTER, SIZE, 1, checkpoint);
    bytes[40] ^= 8;
    let checksum = crc32c::crc32c(&bytes[..292]);
    bytes[292..296].copy_from_slice(&checksum.to_ne_bytes());
    let error = Shutdown::of(&PgControl::parse(&bytes).unwrap()).unwrap_err();
    assert!(matches!(error, ShutdownError::Redo { .. }), "{error:?}");
    // A layout that nobody knows must not give a size that merely looks like one.
    let mut bytes = control_file(CLUSTER, SIZE, 1, checkpoint);
    bytes[208] ^= 1;
    let checksum = crc32c::crc32c(&bytes[..292]);
    bytes[292..296].copy_from_slice(&checksum.to_ne_bytes());
    assert_eq!(Shutdown::of(&PgControl::parse(&bytes).unwrap()), Err(ShutdownError::Layout));
}

#[test]
fn a_restored_copy_that_has_not_recovered_is_no_server_that_was_shut_down() {
    let (_, checkpoint) = shutdown_segment(7, CLUSTER, SIZE);
    let control = PgControl::parse(&control_file(CLUSTER, SIZE, 1, checkpoint)).unwrap();
    for sealed in [control.sealed(), control.sealed_cold()] {
        assert_eq!(Shutdown::of(&PgControl::parse(&sealed).unwrap()), Err(ShutdownError::Sealed));
    }
    assert_eq!(PgControl::parse(&control.sealed_cold()).unwrap().state(), ServerState::ShutDownInRecovery);
}
