//! Checks, and their warnings.

use stillframe_sdk::{Error, Provider};

use super::fake::Failure;
use super::{Lvm, Machine, config, defaults, machine};

fn warnings(machine: &Machine, settings: &str) -> String {
    Lvm::check(&machine.host, &config(settings)).unwrap().join("\n")
}

#[test]
fn a_check_changes_nothing() {
    let machine = machine();
    let before = format!("{:?}", machine.lvm.borrow().volumes);
    Lvm::check(&machine.host, &defaults()).unwrap();
    assert_eq!(format!("{:?}", machine.lvm.borrow().volumes), before);
    let reads = ["--version", "findmnt --json", "lvs --reportformat", "vgs --reportformat"];
    let calls = machine.host.calls();
    assert!(calls.iter().all(|call| reads.iter().any(|read| call.contains(read))), "{calls:?}");
}

#[test]
fn what_threatens_a_backup_is_warned_of() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let both = r#"{"volume_groups":["vg-a","vg1"]}"#;
    assert!(warnings(&machine, both).contains("`vg-a/pool` is not monitored"));
    {
        let mut lvm = machine.lvm.borrow_mut();
        lvm.find_mut("vg-a/pool").data_percent = "80.01".to_owned();
        lvm.find_mut("vg-a/pool").metadata_percent = "80.00".to_owned();
        lvm.find_mut("vg-a/pool").health = "out_of_data".to_owned();
        lvm.find_mut(&set.members[1].id).data_percent = "81.5".to_owned();
        lvm.find_mut(&set.members[2].id).invalid = true;
        lvm.groups[1].free_bytes = 0;
    }
    let text = warnings(&machine, both);
    for expected in [
        "80.01 % of the data of the thin pool `vg-a/pool`",
        "`vg-a/pool` is not well: out_of_data",
        "81.50 % of the room of the classic snapshot `vg1/stillframe_backup.b1.",
        "the classic snapshot `vg-a/stillframe_backup.b1.f2fa9ea4.2` was lost",
        "the volume group `vg1` has no free room",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(!text.contains("metadata"), "{text}");
    assert!(warnings(&machine, r#"{"volume_groups":["vg1"],"mode":"thin"}"#).contains("`vg1` has no thin pool"));
}

#[test]
fn a_program_that_may_not_run_is_found_before_the_first_backup() {
    for program in ["lvcreate", "lvchange", "lvremove", "mount", "umount", "rmdir", "dd", "findmnt", "lvs", "vgs"] {
        let machine = machine();
        machine.lvm.borrow_mut().fail(&format!("{program} "), Failure::Says(1, "sudo: a password is required"));
        let error = Lvm::check(&machine.host, &defaults()).unwrap_err();
        assert!(matches!(&error, Error::Denied(text) if text.contains(program)), "{error:?}");
    }
}
