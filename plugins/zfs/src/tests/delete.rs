//! Deleting a set: all of it or nothing, and never anything else.

use stillframe_sdk::{Deletion, Error, Host, Provider};

use super::fake::failure;
use super::{ZfsProvider, by_handle, changes, create, create_of_two, defaults, delete, is_ready, pools, release, restore};

#[test]
fn each_snapshot_is_released_and_destroyed_by_itself() {
    let (fake, host) = pools();
    create(&host, "b0").unwrap();
    let set = create(&host, "b1").unwrap();
    host.forget_calls();
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
    assert_eq!(
        changes(&host),
        ["release stillframe tank/pg@b1", "destroy tank/pg@b1", "release stillframe tank/wal@b1", "destroy tank/wal@b1"]
    );
    assert_eq!(fake.snapshots(), ["tank/pg@b0", "tank/wal@b0"]);
    assert_eq!(delete(&host, &set), Ok(Deletion::Absent));
}

#[test]
fn a_clone_keeps_the_whole_set_with_its_holds_and_is_named() {
    let (fake, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    let restored = restore(&host, &set).unwrap();
    host.forget_calls();
    let error = delete(&host, &set).unwrap_err();
    assert!(matches!(&error, Error::InUse(text) if text.contains("/stillframe/")), "{error:?}");
    assert!(changes(&host).is_empty());
    assert_eq!(fake.holds("tank/pg@b1"), ["stillframe"]);
    release(&host, &restored.handle).unwrap();
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
}

#[test]
fn a_clone_that_appears_meanwhile_keeps_its_snapshot() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let words = "cannot destroy 'tank/wal@b1': snapshot has dependent clones\nuse '-R' to destroy the following datasets:\ntank/x";
    fake.fail("destroy tank/wal@b1", false, Ok(failure(words)));
    let error = delete(&host, &set).unwrap_err();
    assert!(matches!(&error, Error::InUse(text) if !text.contains("-R")), "{error:?}");
    assert_eq!(fake.snapshots(), ["tank/wal@b1"]);
    assert_eq!(fake.holds("tank/wal@b1"), ["stillframe"], "what stays is kept from others");
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
}

#[test]
fn somebody_elses_hold_keeps_the_whole_set_and_is_named() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.by_hand("hold .send-123 tank/wal@b1".replace(".send", "send").as_str());
    host.forget_calls();
    let error = delete(&host, &set).unwrap_err();
    assert!(matches!(&error, Error::InUse(text) if text.contains("send-123") && text.contains("tank/wal@b1")), "{error:?}");
    assert!(changes(&host).is_empty());
    fake.by_hand("release send-123 tank/wal@b1");
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
}

#[test]
fn a_failed_deletion_is_told_and_goes_on_next_time() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.fail("destroy tank/wal@b1", false, Ok(failure("cannot destroy snapshot tank/wal@b1: dataset is busy")));
    assert!(matches!(delete(&host, &set), Err(Error::InUse(_))));
    assert!(!is_ready(&by_handle(&host, &set).unwrap()));
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
    assert!(fake.snapshots().is_empty());
}

#[test]
fn what_is_destroyed_by_somebody_else_meanwhile_is_gone() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let gone = "cannot release hold from snapshot 'tank/pg@b1': dataset does not exist";
    fake.fail("release stillframe tank/pg@b1", true, Ok(failure(gone)));
    let gone = "could not find any snapshots to destroy; check snapshot names.";
    fake.fail("destroy tank/pg@b1", true, Ok(failure(gone)));
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
    assert!(fake.snapshots().is_empty());
}

#[test]
fn rights_that_are_missing_are_told_and_the_set_stays() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.state(|state| state.rights = Some([("tank".to_owned(), ["destroy", "mount"].map(str::to_owned).into())].into()));
    let error = delete(&host, &set).unwrap_err();
    assert!(matches!(&error, Error::Denied(text) if text.contains("zfs allow") && text.contains("release")), "{error:?}");
    assert_eq!(by_handle(&host, &set).unwrap().members, set.members);
}

#[test]
fn no_hostile_handle_reaches_zfs() {
    let (fake, host) = pools();
    create(&host, "b1").unwrap();
    host.forget_calls();
    for handle in ["", "b1", "b1:-r", "b1%b2:x", "a,b:x", "-r:x", "tank/pg@b1:x", "b1:x y", ".:x", "b1:../x"] {
        let error = ZfsProvider::delete_set(&host, &defaults(), handle).unwrap_err();
        assert!(matches!(&error, Error::Invalid(argument) if argument.field == "handle"), "{handle}: {error:?}");
    }
    assert!(host.calls().is_empty());
    assert_eq!(fake.snapshots().len(), 2);
    assert!(host.now_ms() > 0);
}
