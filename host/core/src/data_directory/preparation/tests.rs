//! A preparation writes what it was given, refuses before it changes, and survives being interrupted.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::data_directory::fixture::Fixture;
use crate::data_directory::{RecoveryTarget, TargetTimeline};

/// The tree with the fixture's own path taken out, so that two fixtures can be compared.
fn comparable_tree(fixture: &Fixture) -> Vec<(String, String)> {
    let root = fixture.beside("");
    let neutral = |text: String| text.replace(root.to_str().unwrap(), "ROOT/");
    fixture.tree().into_iter().map(|(name, contents)| (name, neutral(contents))).collect()
}

fn is_sealed(fixture: &Fixture) -> bool {
    occupation::read_control(&fixture.directory).unwrap().unwrap().is_sealed()
}

fn refuses_without_a_change(fixture: &Fixture, preparation: &Preparation) -> PrepareError {
    let before = fixture.tree();
    let error = prepare(preparation).unwrap_err();
    assert_eq!(fixture.tree(), before, "{error}");
    error
}

#[test]
fn writes_label_and_map_byte_for_byte_and_seals() {
    let fixture = Fixture::new(15);
    let mut preparation = fixture.preparation();
    preparation.label = BackupLabel::parse([preparation.label.as_bytes(), b"LABEL: \xFF \r\n"].concat()).unwrap();
    let report = prepare(&preparation).unwrap();
    assert_eq!(std::fs::read(fixture.directory.join(LABEL_FILE)).unwrap(), preparation.label.as_bytes());
    assert_eq!(fixture.read(MAP_FILE).unwrap(), format!("16384 {}\n", fixture.tablespace.display()));
    assert!(is_sealed(&fixture));
    assert_eq!(fixture.read(SIGNAL_FILE).unwrap(), "");
    assert_eq!(fixture.read("standby.signal"), None);
    let settings = fixture.read(SETTINGS_FILE).unwrap();
    assert!(settings.starts_with("work_mem = '4MB'\n# Written by") && !settings.contains("'old'"), "{settings}");
    assert!(settings.contains("recovery_target_name = 'it''s here'\n") && settings.contains("archive_mode = 'off'\n"));
    assert_eq!(report.tablespaces[0].location, fixture.tablespace);
    assert!(report.removed.contains(&"standby.signal".to_owned()), "{:?}", report.removed);
}

#[test]
fn interrupted_after_any_step_it_cannot_start_and_a_second_run_completes_it() {
    for major in [11, 15] {
        let whole = Fixture::new(major);
        prepare(&whole.preparation()).unwrap();
        let expected = comparable_tree(&whole);
        for steps in 0..=ProvenCopy::STEPS.len() {
            let fixture = Fixture::new(major);
            let preparation = fixture.preparation();
            // A label that an operator, or an earlier run, had put there.
            fixture.write(LABEL_FILE, "stale");
            let copy = ProvenCopy::prove(&preparation).unwrap();
            for step in &ProvenCopy::STEPS[..steps] {
                step(&copy, &mut PreparationReport::default()).unwrap();
            }
            if steps >= 2 {
                let has_label = fixture.read(LABEL_FILE).is_some();
                assert!(is_sealed(&fixture));
                assert_eq!(has_label, steps == ProvenCopy::STEPS.len(), "{steps} steps");
            }
            prepare(&preparation).unwrap();
            assert_eq!(comparable_tree(&fixture), expected, "{steps} steps");
            prepare(&preparation).unwrap();
            assert_eq!(comparable_tree(&fixture), expected, "again after {steps} steps");
        }
    }
}

#[test]
fn a_step_that_fails_leaves_a_copy_that_cannot_start() {
    let fixture = Fixture::new(15);
    fixture.write(LABEL_FILE, "stale");
    std::fs::create_dir_all(fixture.directory.join("recovery.signal/in the way")).unwrap();
    let error = prepare(&fixture.preparation()).unwrap_err();
    assert!(matches!(error, PrepareError::File(_)), "{error}");
    assert!(is_sealed(&fixture) && fixture.read(LABEL_FILE).is_none());
}

#[test]
fn a_second_run_with_another_target_leaves_nothing_of_the_first() {
    let fixture = Fixture::new(15);
    let mut preparation = fixture.preparation();
    prepare(&preparation).unwrap();
    preparation.recovery.target = RecoveryTarget::Xid(77);
    preparation.recovery.archiving = Archiving::Keep;
    prepare(&preparation).unwrap();
    let settings = fixture.read(SETTINGS_FILE).unwrap();
    assert_eq!(settings.matches("restore_command").count(), 1);
    assert!(settings.contains("recovery_target_xid = '77'") && settings.contains("recovery_target_name = ''"));
    assert!(!settings.contains("archive_mode"), "{settings}");
}

#[test]
fn before_12_the_settings_are_in_recovery_conf() {
    let fixture = Fixture::new(11);
    let mut preparation = fixture.preparation();
    preparation.recovery.timeline = TargetTimeline::Current;
    prepare(&preparation).unwrap();
    let expected = "restore_command = 'stillframe wal-fetch %f %p'\nrecovery_target_name = 'it''s here'\n\
        recovery_target_action = 'promote'\n";
    assert_eq!(fixture.read(OLD_RECOVERY_FILE).unwrap(), expected);
    assert_eq!(fixture.read(SIGNAL_FILE), None);
    let settings = fixture.read(SETTINGS_FILE).unwrap();
    assert!(settings.contains("archive_mode = 'off'") && !settings.contains("restore_command"), "{settings}");
}

#[test]
fn without_tablespaces_there_is_no_map() {
    let fixture = Fixture::new(15);
    let mut preparation = fixture.preparation();
    std::fs::remove_file(fixture.directory.join("pg_tblspc/16384")).unwrap();
    (preparation.tablespace_map, preparation.tablespace_mapping) = (TablespaceMap::default(), Vec::new());
    let report = prepare(&preparation).unwrap();
    assert_eq!((fixture.read(MAP_FILE), report.warnings), (None, Vec::new()));
}

#[test]
fn refuses_another_cluster_another_version_and_no_cluster() {
    let fixture = Fixture::new(15);
    let mut preparation = fixture.preparation();
    preparation.system_identifier = SystemIdentifier(43);
    assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherCluster { .. }));
    let mut preparation = fixture.preparation();
    preparation.version = PgVersion(140_004);
    assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherVersion { .. }));
    let remove = |name: &str| {
        let path = fixture.directory.join(name);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }
    };
    for missing in ["base", PgControl::PATH, VERSION_FILE] {
        remove(missing).unwrap();
        let error = refuses_without_a_change(&fixture, &fixture.preparation());
        assert!(matches!(error, PrepareError::NotACluster { missing: found, .. } if found == missing));
    }
}

#[test]
fn nobody_else_may_write_to_a_copy() {
    let fixture = Fixture::new(15);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    for (restored, expected) in [(0o4777, (0o750, 0o4755)), (0o750, (0o750, 0o750)), (0o700, (0o700, 0o700))] {
        for directory in [&fixture.directory, &fixture.tablespace] {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(restored)).unwrap();
        }
        prepare(&fixture.preparation()).unwrap();
        assert_eq!((mode(&fixture.directory), mode(&fixture.tablespace)), expected);
    }
}

#[test]
fn refuses_a_live_server() {
    let fixture = Fixture::new(15);
    let mut process =
        std::process::Command::new("/bin/cat").current_dir(&fixture.directory).stdin(std::process::Stdio::piped()).spawn().unwrap();
    fixture.write("postmaster.pid", &format!("{}\n{}\n", process.id(), fixture.directory.display()));
    let error = refuses_without_a_change(&fixture, &fixture.preparation());
    assert!(matches!(error, PrepareError::Running { pid, .. } if pid == process.id()));
    drop(process.stdin.take());
    process.wait().unwrap();
    prepare(&fixture.preparation()).unwrap();
    assert_eq!(fixture.read("postmaster.pid"), None);
}

#[test]
fn refuses_the_same_cluster_at_another_time() {
    let fixture = Fixture::new(15);
    let mut preparation = fixture.preparation();
    preparation.stop_lsn = Lsn(0x0200_005F);
    assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherMoment { .. }));
    let mut preparation = fixture.preparation();
    let later = String::from_utf8(preparation.label.as_bytes().to_vec()).unwrap().replace("0/2000060", "0/2000061");
    preparation.label = BackupLabel::parse(later.into_bytes()).unwrap();
    assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::OtherMoment { .. }));
}

/// What this cut would be if it had been made later, or what a server of another version would have written.
fn rewrite_control(fixture: &Fixture, change: impl FnOnce(&mut [u8])) {
    let path = fixture.directory.join(PgControl::PATH);
    let mut bytes = std::fs::read(&path).unwrap();
    change(&mut bytes);
    let checksum = crc32c::crc32c(&bytes[..288]);
    bytes[288..292].copy_from_slice(&checksum.to_ne_bytes());
    std::fs::write(&path, bytes).unwrap();
}

/// A preparation for a backup of the same cluster that began at `start`, a hexadecimal position.
fn of_another_backup(fixture: &Fixture, start: &str, checkpoint: &str, stop_lsn: Lsn) -> Preparation {
    let mut preparation = fixture.preparation();
    let label = String::from_utf8(preparation.label.as_bytes().to_vec()).unwrap();
    let label = label.replace("0/2000028", start).replace("0/2000060", checkpoint);
    preparation.label = BackupLabel::parse(label.into_bytes()).unwrap();
    preparation.stop_lsn = stop_lsn;
    preparation
}

#[test]
fn refuses_a_copy_that_was_sealed_for_another_backup() {
    for major in [10, 15] {
        let fixture = Fixture::new(major);
        if major == 10 {
            rewrite_control(&fixture, |bytes| {
                bytes[8..12].copy_from_slice(&1002u32.to_ne_bytes());
                bytes.copy_within(40..52, 48);
                bytes[40..48].copy_from_slice(&0x0100_0060u64.to_ne_bytes());
            });
        }
        prepare(&fixture.preparation()).unwrap();
        assert!(is_sealed(&fixture));
        let later = of_another_backup(&fixture, "0/9000028", "0/9000060", Lsn(0x0A00_0000));
        let earlier = of_another_backup(&fixture, "0/1000028", "0/1000060", Lsn(0x0200_0000));
        for (other, start) in [(later, 0x0900_0028), (earlier, 0x0100_0028)] {
            let error = refuses_without_a_change(&fixture, &other);
            let PrepareError::OtherMoment { found, start: began, .. } = error else { panic!("{error}") };
            assert_eq!((found, began), (Lsn(0x0200_0028), Lsn(start)), "{major}");
        }
        prepare(&fixture.preparation()).unwrap();
    }
}

#[test]
fn a_refused_moment_tells_the_position_and_what_to_do() {
    let fixture = Fixture::new(15);
    prepare(&fixture.preparation()).unwrap();
    let error = prepare(&of_another_backup(&fixture, "0/9000028", "0/9000060", Lsn(0x0A00_0000))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.ends_with("was not cut by this backup: its redo position is 0/2000028, not between 0/9000028 and 0/A000000"),
        "{text}"
    );
    let hint = crate::error::Classify::hint(&error).unwrap();
    assert!(hint.contains("another backup") && hint.contains("empty"), "{hint}");
}

#[test]
fn takes_a_cut_with_a_later_checkpoint_in_it_sealed_or_not() {
    let fixture = Fixture::new(15);
    rewrite_control(&fixture, |bytes| {
        bytes[32..40].copy_from_slice(&0x02FF_FF00u64.to_ne_bytes());
        bytes[40..48].copy_from_slice(&0x0280_0000u64.to_ne_bytes());
    });
    prepare(&fixture.preparation()).unwrap();
    assert!(is_sealed(&fixture));
    prepare(&fixture.preparation()).unwrap();
}

#[test]
fn refuses_a_checkpoint_of_the_backup_whose_redo_position_is_not() {
    let fixture = Fixture::new(15);
    rewrite_control(&fixture, |bytes| bytes[40..48].copy_from_slice(&0x0200_0027u64.to_ne_bytes()));
    let error = refuses_without_a_change(&fixture, &fixture.preparation());
    assert!(matches!(error, PrepareError::OtherMoment { found: Lsn(0x0200_0027), .. }), "{error}");
}

#[test]
fn refuses_a_copy_on_which_a_server_was_promoted_and_killed() {
    let fixture = Fixture::new(15);
    // What PostgreSQL leaves that ended its recovery at the end of the backup: a checkpoint there, on a timeline of its own.
    rewrite_control(&fixture, |bytes| {
        bytes[32..40].copy_from_slice(&0x0300_0000u64.to_ne_bytes());
        bytes[40..48].copy_from_slice(&0x0300_0000u64.to_ne_bytes());
        bytes[48..52].copy_from_slice(&2u32.to_ne_bytes());
    });
    let error = refuses_without_a_change(&fixture, &fixture.preparation());
    assert!(matches!(error, PrepareError::OtherTimeline { expected, .. } if expected.get() == 1), "{error}");
}

#[test]
fn refuses_a_copy_on_which_a_server_has_been_shut_down() {
    let fixture = Fixture::new(15);
    rewrite_control(&fixture, |bytes| bytes[16] = 1);
    assert!(matches!(refuses_without_a_change(&fixture, &fixture.preparation()), PrepareError::ShutDown { .. }));
}

#[test]
fn refuses_links_into_what_may_be_the_living_cluster() {
    let fixture = Fixture::new(15);
    let live = fixture.beside("live");
    std::fs::create_dir(&live).unwrap();
    symlink(&live, fixture.directory.join("pg_xact")).unwrap();
    let error = refuses_without_a_change(&fixture, &fixture.preparation());
    assert!(matches!(error, PrepareError::LinkedDirectory { path } if path.ends_with("pg_xact")));
    let fixture = Fixture::new(15);
    let mut preparation = fixture.preparation();
    preparation.tablespace_mapping.clear();
    std::fs::create_dir_all(fixture.original_tablespace().join("PG_15_202209061")).unwrap();
    assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::TablespaceAtOriginal { .. }));
}

#[test]
fn refuses_a_target_that_no_server_could_reach() {
    let fixture = Fixture::new(15);
    let mut preparation = fixture.preparation();
    preparation.recovery.target = RecoveryTarget::Name(String::new());
    assert!(matches!(refuses_without_a_change(&fixture, &preparation), PrepareError::Target(_)));
}
