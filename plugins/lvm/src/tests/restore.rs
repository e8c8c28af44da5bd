//! Restoring a set and undoing it.

use stillframe_sdk::mount::Mounted;
use stillframe_sdk::{Error, Level, Provider, RestoreRequest, SnapshotSet};

use super::fake::Failure;
use super::{Lvm, Machine, config, defaults, machine, paths, restore_request};
use crate::layout::{RestoreHandle, RestoreToken};

const POINT: &str = "/run/stillframe/mnt/r1";

fn nothing_is_left(machine: &Machine) {
    let lvm = machine.lvm.borrow();
    assert!(lvm.mounts.mounts.is_empty(), "{:?}", lvm.mounts.mounts);
    assert!(!lvm.mounts.directories.contains(POINT));
    assert!(!lvm.volumes.iter().any(|volume| volume.name.starts_with("stillframe_restore.")));
}

/// The origins and the snapshots hold what they did.
fn nothing_is_harmed(machine: &Machine, set: &SnapshotSet) {
    machine.origins_are_unharmed();
    let lvm = machine.lvm.borrow();
    let contents: Vec<&str> = set.members.iter().map(|member| lvm.find(&member.id).unwrap().content.as_str()).collect();
    assert_eq!(contents, ["rows", "wal", "more rows"]);
}

#[test]
fn a_restore_is_mounted_in_a_place_of_its_own() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().find_mut("vg-a/thin-pg").content = "rows from the future".to_owned();
    let restored = machine.restore(&set, "r1").unwrap();
    machine.lvm.borrow_mut().find_mut("vg-a/thin-pg").content = "rows".to_owned();
    let places: Vec<(&str, &str)> = restored.directories.iter().map(|place| (place.name.as_str(), place.path.as_str())).collect();
    assert_eq!(places, [("data", "/run/stillframe/mnt/r1/0/15/ä"), ("tablespace-16384", "/run/stillframe/mnt/r1/2/15/ä")]);
    assert_eq!(restored.handle, "r1/vg-a");
    assert_eq!(machine.lvm.borrow().content_at(&format!("{POINT}/0")).as_deref(), Some("rows"));
    assert_eq!(machine.lvm.borrow().content_at(&format!("{POINT}/2")).as_deref(), Some("more rows"));
    assert_eq!(machine.lvm.borrow().mounts.mounts.len(), 2, "the volume of WAL is not asked for");
    nothing_is_harmed(&machine, &set);
}

#[test]
fn what_the_restored_server_writes_reaches_neither_the_backup_nor_the_cluster() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.restore(&set, "r1").unwrap();
    for index in ["0", "2"] {
        machine.lvm.borrow_mut().find_mut(&format!("vg-a/stillframe_restore.r1.{index}")).content = "written".to_owned();
    }
    nothing_is_harmed(&machine, &set);
    machine.restore(&set, "r2").unwrap();
    assert_eq!(machine.lvm.borrow().content_at("/run/stillframe/mnt/r2/2").as_deref(), Some("more rows"));
}

#[test]
fn the_same_request_gives_the_same_restore_and_copies_nothing_over_it() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let restored = machine.restore(&set, "r1").unwrap();
    machine.lvm.borrow_mut().find_mut("vg-a/stillframe_restore.r1.2").content = "written".to_owned();
    machine.host.forget_calls();
    assert_eq!(machine.restore(&set, "r1").unwrap(), restored);
    assert_eq!(machine.lvm.borrow().find("vg-a/stillframe_restore.r1.2").unwrap().content, "written");
    let writes = ["lvcreate", "dd ", "run mount", "lvremove"];
    assert!(!machine.host.calls().iter().any(|call| writes.iter().any(|write| call.contains(write))), "{:?}", machine.host.calls());
}

#[test]
fn after_a_restart_of_the_machine_the_same_request_mounts_it_again() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let restored = machine.restore(&set, "r1").unwrap();
    {
        let mut lvm = machine.lvm.borrow_mut();
        lvm.mounts.mounts.clear();
        lvm.mounts.directories.clear();
        for index in ["0", "2"] {
            let clone = lvm.find_mut(&format!("vg-a/stillframe_restore.r1.{index}"));
            clone.minor = None;
            clone.content = "written".to_owned();
        }
    }
    assert_eq!(machine.restore(&set, "r1").unwrap(), restored);
    assert_eq!(machine.lvm.borrow().content_at(&format!("{POINT}/0")).as_deref(), Some("written"));
    machine.release("r1").unwrap();
    nothing_is_left(&machine);
}

#[test]
fn a_failed_restore_leaves_nothing_behind() {
    for (fails, failure) in [
        (
            "lvcreate --yes --type=linear",
            Failure::Says(5, "  Volume group \"vg-a\" has insufficient free space (1 extents): 2 required."),
        ),
        ("lvcreate --yes --type=linear", Failure::HalfMade),
        ("lvcreate --snapshot --setactivationskip=y --ignoreactivationskip", Failure::Says(5, "  Failed to activate thin x.")),
        ("skip=1024", Failure::Says(1, "dd: error reading '/dev/x': Input/output error")),
        ("skip=2048", Failure::Overflows),
        ("lvchange --addtag=stillframe.copied", Failure::Denied),
        ("mount -text4", Failure::Says(32, "mount: /x: wrong fs type, bad option, bad superblock on /dev/y.")),
        ("mount -txfs", Failure::Says(32, "mount: /x: permission denied.")),
    ] {
        let machine = machine();
        let set = machine.create("b1").unwrap();
        machine.lvm.borrow_mut().fail(fails, failure.clone());
        let error = machine.restore(&set, "r1").unwrap_err();
        assert!(!matches!(error, Error::NotFound(_)), "{error:?}");
        nothing_is_left(&machine);
        nothing_is_harmed(&machine, &set);
        assert!(machine.by_handle(&set).is_some(), "{fails}");
    }
}

#[test]
fn a_copy_of_a_snapshot_that_ran_full_meanwhile_is_never_mounted() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().fail("skip=2048", Failure::Overflows);
    let error = machine.restore(&set, "r1").unwrap_err();
    assert!(matches!(&error, Error::Internal(text) if text.contains("while it was copied")), "{error:?}");
    assert!(!machine.host.calls().iter().any(|call| call.contains("mount -text4")));
    assert!(matches!(machine.restore(&set, "r1"), Err(Error::Invalid(argument)) if argument.message.contains("used up")));
}

#[test]
fn a_restore_that_is_in_use_already_is_not_undone_by_a_later_failure() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.restore(&set, "r1").unwrap();
    machine.lvm.borrow_mut().mounts.mounts.pop();
    machine.lvm.borrow_mut().fail("mount -text4", Failure::Says(32, "mount: /x: permission denied."));
    assert!(matches!(machine.restore(&set, "r1"), Err(Error::Denied(_))));
    assert_eq!(machine.lvm.borrow().content_at(&format!("{POINT}/0")).as_deref(), Some("rows"));
    machine.release("r1").unwrap();
    nothing_is_left(&machine);
}

#[test]
fn room_for_a_restore_is_asked_for_before_anything_is_made() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().groups[0].free_bytes = 8 << 30;
    assert!(matches!(machine.restore(&set, "r1"), Err(Error::Exhausted(text)) if text.contains("a copy of the classic snapshot")));
    machine.lvm.borrow_mut().find_mut("vg-a/pool").data_percent = "99".to_owned();
    assert!(matches!(machine.restore(&set, "r1"), Err(Error::Exhausted(text)) if text.contains("vg-a/pool")));
    nothing_is_left(&machine);
}

#[test]
fn refuses_directories_that_are_not_those_of_the_set() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let refused = |change: &dyn Fn(&mut RestoreRequest), field: &str| {
        let mut request = restore_request(&set.handle, "r1");
        change(&mut request);
        let error = Lvm::restore_set(&machine.host, &defaults(), request).unwrap_err();
        assert!(matches!(&error, Error::Invalid(argument) if argument.field == field), "{error:?}");
        nothing_is_left(&machine);
    };
    refused(&|request| drop(request.directories.pop()), "directories");
    refused(&|request| request.directories[1].name = "tablespace-1".to_owned(), "directories");
    refused(&|request| request.token = "../r1".to_owned(), "token");
    refused(&|request| request.handle = "b1".to_owned(), "handle");
    let absent = Lvm::restore_set(&machine.host, &defaults(), restore_request("b9:t", "r1"));
    assert_eq!(absent, Err(Error::NotFound("b9:t".to_owned())));
}

#[test]
fn refuses_a_set_that_is_not_whole() {
    let machine = machine();
    machine.lvm.borrow_mut().fail("lvchange", Failure::Says(5, "  failed"));
    machine.lvm.borrow_mut().fail("lvremove", Failure::Says(5, "  failed"));
    assert!(machine.create("b1").is_err());
    let incomplete = Lvm::restore_set(&machine.host, &defaults(), restore_request("b1:token-b1", "r1"));
    assert!(matches!(incomplete, Err(Error::Invalid(argument)) if argument.message.contains("not complete")));
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().find_mut("vg-a/pool").health = "failed".to_owned();
    assert!(matches!(machine.restore(&set, "r1"), Err(Error::Transient(_))));
    nothing_is_left(&machine);
}

#[test]
fn a_token_of_another_restore_is_a_conflict() {
    let machine = machine();
    let (first, second) = (machine.create("b1").unwrap(), machine.create("b2").unwrap());
    machine.restore(&first, "r1").unwrap();
    assert!(matches!(machine.restore(&second, "r1"), Err(Error::Conflict(_))));
    assert_eq!(machine.lvm.borrow().mounts.mounts.len(), 2);
}

#[test]
fn a_release_takes_its_own_restore_alone_and_is_a_success_again() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let (first, second) = (machine.restore(&set, "r1").unwrap(), machine.restore(&set, "r2").unwrap());
    machine.release(&first.handle).unwrap();
    machine.release(&first.handle).unwrap();
    nothing_is_harmed(&machine, &set);
    assert_eq!(machine.lvm.borrow().mounts.mounts.len(), 2);
    machine.release(&second.handle).unwrap();
    nothing_is_left(&machine);
    for unknown in ["never", "../x", "", "b1:token-b1"] {
        machine.release(unknown).unwrap();
    }
    assert!(machine.by_handle(&set).is_some());
}

#[test]
fn a_restore_in_use_is_kept_whole_enough_to_be_released_later() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.restore(&set, "r1").unwrap();
    machine.lvm.borrow_mut().mounts.busy.insert(format!("{POINT}/2"));
    assert!(matches!(machine.release("r1"), Err(Error::InUse(_))));
    assert!(machine.lvm.borrow().find("vg-a/stillframe_restore.r1.0").is_some(), "no volume goes before all are unmounted");
    let held = |point: &str| machine.lvm.borrow().content_at(&format!("{POINT}/{point}"));
    assert_eq!((held("0").as_deref(), held("2").as_deref()), (Some("rows"), Some("more rows")), "a server may run on both");
    machine.lvm.borrow_mut().mounts.busy.clear();
    machine.release("r1").unwrap();
    nothing_is_left(&machine);
}

#[test]
fn what_others_have_mounted_there_is_left_alone() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.restore(&set, "r1").unwrap();
    let foreign = Mounted { point: format!("{POINT}/0/15/ts"), source: "/dev/vdz".to_owned(), fs_type: "ext4".to_owned() };
    machine.lvm.borrow_mut().mounts.mounts.push(foreign);
    assert!(matches!(machine.release("r1"), Err(Error::InUse(text)) if text.contains("/dev/vdz")));
    assert_eq!(machine.lvm.borrow().mounts.mounts.len(), 3);
    machine.lvm.borrow_mut().mounts.mounts.pop();
    machine.lvm.borrow_mut().mounts.directories.insert(format!("{POINT}/notes"));
    machine.release("r1").unwrap();
    assert!(machine.host.messages().iter().any(|(level, text)| *level == Level::Warn && text.contains("is left behind")));
    assert!(!machine.ours().iter().any(|id| id.contains("stillframe_restore.")));
}

#[test]
fn a_clone_in_a_group_that_is_named_no_more_is_never_told_as_released() {
    let only = |groups: &str| config(&format!(r#"{{"volume_groups":{groups}}}"#));
    for (named, mounted, handle) in [
        // One volume is seen, and tells of the other.
        (r#"["vg-a"]"#, true, "r1"),
        (r#"["vg-a"]"#, false, "r1"),
        (r#"["vg1"]"#, false, "r1"),
        // Nothing is seen but the mounts.
        (r#"["vg-b"]"#, true, "r1"),
        // Nothing is seen at all: the handle tells.
        (r#"["vg-b"]"#, false, "r1/vg-a,vg1"),
    ] {
        let machine = machine();
        machine.lvm.borrow_mut().add_group("vg-b", 0);
        // The tablespace is in another group than the data.
        let mut elsewhere = paths();
        elsewhere.remove(2);
        elsewhere[1].name = "tablespace-16384".to_owned();
        let set = Lvm::create_set(&machine.host, &defaults(), machine.request_of("b1", elsewhere)).unwrap();
        assert_eq!(machine.restore(&set, "r1").unwrap().handle, "r1/vg-a,vg1");
        if !mounted {
            machine.lvm.borrow_mut().mounts.mounts.clear();
        }
        let before = (machine.ours(), machine.lvm.borrow().mounts.mounts.len());
        match Lvm::release(&machine.host, &only(named), handle) {
            Err(Error::Invalid(argument)) => {
                assert_eq!(argument.field, "volume_groups");
                let unseen = if named == r#"["vg-a"]"# { "vg1" } else { "vg" };
                assert!(argument.message.contains(unseen) && argument.message.contains("add it"), "{}", argument.message);
            }
            other => panic!("{named} {handle}: {other:?}"),
        }
        assert_eq!((machine.ours(), machine.lvm.borrow().mounts.mounts.len()), before, "all, or nothing");
        machine.release(handle).unwrap();
        nothing_is_left(&machine);
    }
}

#[test]
fn a_handle_tells_the_groups_as_far_as_they_fit() {
    let groups: Vec<String> = (0..32).map(|number| format!("{number:0100}")).collect();
    let handle = RestoreHandle { token: RestoreToken::new("r1").unwrap(), groups: groups.clone() };
    let text = handle.to_string();
    assert!(text.len() <= 1_024);
    let read = RestoreHandle::parse(&text).unwrap();
    assert_eq!((read.token.as_str(), read.groups.as_slice()), ("r1", &groups[..10]));
}

#[test]
fn a_clone_that_is_mounted_elsewhere_is_in_use() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.restore(&set, "r1").unwrap();
    let elsewhere = Mounted {
        point: "/mnt/look".to_owned(),
        source: "/dev/mapper/vg--a-stillframe_restore.r1.0".to_owned(),
        fs_type: "xfs".to_owned(),
    };
    machine.lvm.borrow_mut().mounts.mounts.push(elsewhere);
    assert!(matches!(machine.release("r1"), Err(Error::InUse(text)) if text.contains("/mnt/look")));
    assert!(machine.lvm.borrow().find("vg-a/stillframe_restore.r1.0").is_some());
    assert_eq!(machine.lvm.borrow().mounts.mounts.len(), 3, "nothing is unmounted before it is known that all can go");
}

#[test]
fn a_cluster_at_the_top_of_its_file_system_and_another_mount_root_work() {
    let machine = machine();
    let mut path = paths().remove(0);
    path.path = path.mount_point.clone();
    let request = machine.request_of("b1", vec![path]);
    let set = Lvm::create_set(&machine.host, &defaults(), request).unwrap();
    let elsewhere = config(r#"{"volume_groups":["vg-a","vg1"],"mount_root":"/srv/restores"}"#);
    let mut asked = restore_request(&set.handle, "r1");
    asked.directories.truncate(1);
    let restored = Lvm::restore_set(&machine.host, &elsewhere, asked).unwrap();
    assert_eq!(restored.directories[0].path, "/srv/restores/r1/0");
    Lvm::release(&machine.host, &elsewhere, "r1").unwrap();
    nothing_is_left(&machine);
}

#[test]
fn a_damaged_snapshot_stops_no_other_backup() {
    let machine = machine();
    let (damaged, whole) = (machine.create("b1").unwrap(), machine.create("b2").unwrap());
    machine.lvm.borrow_mut().find_mut(&damaged.members[0].id).tags.retain(|tag| !tag.starts_with("stillframe.name="));
    assert!(matches!(machine.restore(&damaged, "r1"), Err(Error::Internal(text)) if text.contains("damaged")));
    assert!(matches!(machine.create("b1"), Err(Error::Internal(text)) if text.contains("damaged")));
    machine.restore(&whole, "r2").unwrap();
    machine.create("b3").unwrap();
    assert_eq!(machine.delete(&whole.handle), Ok(stillframe_sdk::Deletion::Deleted));
    assert!(machine.lvm.borrow().find(&damaged.members[0].id).is_some());
    let warnings = Lvm::check(&machine.host, &defaults()).unwrap();
    assert!(warnings.iter().any(|text| text.contains("damaged")), "{warnings:?}");
}
