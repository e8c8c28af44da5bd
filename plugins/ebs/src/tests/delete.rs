//! Deleting sets: whole or not begun, and nobody else's.

use stillframe_sdk::{Deletion, Error, LockMode, Provider};

use super::cloud::Mishap;
use super::{Cloud, Ebs, by_handle, by_token, create, defaults, with_set};

#[test]
fn a_set_is_deleted_once_and_absent_afterwards() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let other = create(&host, "b2").unwrap();
    assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Ok(Deletion::Deleted));
    assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Ok(Deletion::Absent));
    assert_eq!(by_handle(&host, &set), None);
    assert_eq!(by_token(&host, "b1"), None);
    assert_eq!(by_handle(&host, &other), Some(other));
}

#[test]
fn what_is_not_visible_yet_is_deleted_by_its_id() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.snapshots.values_mut().for_each(|snap| *snap = super::cloud::hidden(snap, 99)));
    assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Ok(Deletion::Deleted));
    assert!(cloud.cut().is_empty());
}

#[test]
fn what_ec2_does_not_know_yet_is_not_absent() {
    for hidden in [1, 2] {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        cloud.world(|world| {
            world.hides_from_deletion = true;
            world.snapshots.values_mut().take(hidden).for_each(|snap| *snap = super::cloud::hidden(snap, 4));
        });
        assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Ok(Deletion::Deleted));
        assert!(cloud.cut().is_empty(), "{:?}", cloud.cut());
    }
}

#[test]
fn what_else_carries_the_token_goes_with_the_set() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| {
        let mut stray = world.snapshots.values().next().unwrap().clone();
        stray.volume = super::volume("c");
        world.snapshots.insert("snap-00000000000000bad".to_owned(), stray);
    });
    assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Ok(Deletion::Deleted));
    assert!(cloud.cut().is_empty());
}

#[test]
fn a_snapshot_that_lost_its_token_is_not_touched() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.snapshots.values_mut().next().unwrap().tags.insert("stillframe:token".to_owned(), "x".to_owned()));
    assert!(matches!(Ebs::delete_set(&host, &defaults(), &set.handle), Err(Error::Conflict(_))));
    assert_eq!(cloud.cut().len(), 2);
}

#[test]
fn an_image_that_needs_it_is_named() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.snapshots.values_mut().next().unwrap().image = Some("ami-1".to_owned()));
    assert!(
        matches!(Ebs::delete_set(&host, &defaults(), &set.handle), Err(Error::InUse(text)) if text.contains("InvalidSnapshot.InUse"))
    );
}

#[test]
fn a_lock_on_one_member_saves_all() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let until = 1_800_000_000_000;
    Ebs::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, until).unwrap();
    cloud.world(|world| world.snapshots.values_mut().next().unwrap().lock = None);
    assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Err(Error::Locked(until)));
    assert_eq!(cloud.cut().len(), 2);
    cloud.world(|world| world.snapshots.pop_first());
    assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Err(Error::Locked(until)), "the deletion itself is told");
    // Nobody may ask for locks.
    cloud.mishap("DescribeLockedSnapshots", Mishap::Refused(403, "UnauthorizedOperation"));
    assert!(matches!(Ebs::delete_set(&host, &defaults(), &set.handle), Err(Error::Locked(_))));
    Ebs::unlock_set(&host, &defaults(), &set.handle).unwrap();
    assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Ok(Deletion::Deleted));
}

#[test]
fn faults_that_pass_are_waited_for() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.mishap("DeleteSnapshot", Mishap::Refused(503, "RequestLimitExceeded"));
    cloud.mishap("DeleteSnapshot", Mishap::Lost);
    cloud.mishap("DeleteSnapshot", Mishap::Refused(500, "InternalError"));
    assert!(Ebs::delete_set(&host, &defaults(), &set.handle).is_ok());
    assert!(cloud.cut().is_empty());
}

#[test]
fn a_question_about_locks_that_was_not_answered_is_asked_again_before_half_a_set_is_gone() {
    for (status, code) in [(503, "RequestLimitExceeded"), (500, "InternalError")] {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        Ebs::lock_set(&host, &defaults(), &set.handle, LockMode::Governance, 1_800_000_000_000).unwrap();
        cloud.world(|world| world.snapshots.values_mut().next().unwrap().lock = None);
        for times in [1, 9] {
            (0..times).for_each(|_| cloud.mishap("DescribeLockedSnapshots", Mishap::Refused(status, code)));
            assert!(Ebs::delete_set(&host, &defaults(), &set.handle).is_err());
            assert_eq!(cloud.cut().len(), 2, "{code} {times}");
        }
    }
}

#[test]
fn a_lock_is_told_whatever_code_ec2_has_for_it() {
    for code in ["OperationNotPermitted", "InvalidParameterValue", "Unheard.Of"] {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        let lock = ("governance".to_owned(), "2027-01-01T00:00:00.000Z".to_owned());
        cloud.world(|world| {
            world.lock_code = Some(code);
            world.snapshots.pop_last();
            world.snapshots.values_mut().for_each(|snap| snap.lock = Some(lock.clone()));
        });
        let until = crate::time::parse("2027-01-01T00:00:00.000Z").unwrap();
        assert_eq!(Ebs::delete_set(&host, &defaults(), &set.handle), Err(Error::Locked(until)), "{code}");
    }
}
