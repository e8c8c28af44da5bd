//! Deleting a set.

use stillframe_sdk::{Deletion, Error};

use super::fake::Failure;
use super::machine;

#[test]
fn the_whole_set_goes_and_no_other() {
    let machine = machine();
    let (first, second) = (machine.create("b1").unwrap(), machine.create("b2").unwrap());
    assert_eq!(machine.delete(&first.handle), Ok(Deletion::Deleted));
    assert_eq!(machine.delete(&first.handle), Ok(Deletion::Absent));
    assert_eq!(machine.by_handle(&first), None);
    assert_eq!(machine.by_handle(&second), Some(second));
    assert_eq!(machine.delete("b2:other"), Ok(Deletion::Absent));
    assert_eq!(machine.ours().len(), 3);
    machine.origins_are_unharmed();
}

#[test]
fn a_snapshot_that_is_open_or_mounted_keeps_the_whole_set() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().find_mut(&set.members[2].id).open = true;
    assert!(matches!(machine.delete(&set.handle), Err(Error::InUse(text)) if text.contains(&set.members[2].id)));
    assert_eq!(machine.by_handle(&set), Some(set.clone()));
    machine.lvm.borrow_mut().find_mut(&set.members[2].id).open = false;
    assert_eq!(machine.delete(&set.handle), Ok(Deletion::Deleted));
}

#[test]
fn what_came_into_use_after_the_look_is_told_and_the_rest_follows_later() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let text = "  Logical volume vg-a/x contains a filesystem in use.";
    machine
        .lvm
        .borrow_mut()
        .fail(&format!("lvremove --yes --select=lv_uuid={}", set.members[1].attributes[1].1), Failure::Says(5, text));
    assert!(matches!(machine.delete(&set.handle), Err(Error::InUse(_))));
    assert!(machine.by_handle(&set).is_some());
    assert_eq!(machine.delete(&set.handle), Ok(Deletion::Deleted));
    assert!(machine.ours().is_empty());
}

#[test]
fn a_volume_that_took_the_name_meanwhile_is_not_removed() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let snapshot = crate::report::volumes(&machine.host, &super::defaults()).unwrap();
    let snapshot = snapshot.into_iter().find(|volume| volume.id() == set.members[0].id).unwrap();
    machine.lvm.borrow_mut().find_mut(&set.members[0].id).uuid = "another".to_owned();
    crate::delete::remove_volume(&machine.host, &snapshot).unwrap();
    assert!(machine.lvm.borrow().find(&set.members[0].id).is_some());
}

#[test]
fn a_clone_survives_its_snapshot() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let restored = machine.restore(&set, "r1").unwrap();
    assert_eq!(machine.delete(&set.handle), Ok(Deletion::Deleted));
    assert_eq!(machine.lvm.borrow().content_at("/run/stillframe/mnt/r1/0").as_deref(), Some("rows"));
    machine.release(&restored.handle).unwrap();
    assert!(machine.ours().is_empty());
}
