//! Locks.

use stillframe_sdk::{Deletion, Error, Host, LockMode, Provider};

use super::fake::failure;
use super::{ZfsProvider, by_handle, create, defaults, delete, pools, token};

fn lock(host: &stillframe_sdk::testing::FakeHost, handle: &str, until_ms: u64) -> Result<(), Error> {
    ZfsProvider::lock_set(host, &defaults(), handle, LockMode::Governance, until_ms)
}

#[test]
fn a_locked_set_stays_until_the_moment_has_come() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let until = host.now_ms() + 60_000;
    lock(&host, &set.handle, until).unwrap();
    assert_eq!(fake.holds("tank/pg@b1"), ["stillframe".to_owned(), format!("stillframe:lock:{until}")]);
    assert_eq!(delete(&host, &set), Err(Error::Locked(until)));
    assert_eq!(by_handle(&host, &set).unwrap().members, set.members);
    host.advance_ms(60_000);
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
    assert!(fake.snapshots().is_empty());
}

#[test]
fn a_lock_is_prolonged_and_never_shortened() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let now = host.now_ms();
    for until in [now + 10, now + 30, now + 20, now + 30] {
        lock(&host, &set.handle, until).unwrap();
    }
    for snapshot in fake.snapshots() {
        assert_eq!(fake.holds(&snapshot), ["stillframe".to_owned(), format!("stillframe:lock:{}", now + 30)]);
    }
    assert_eq!(delete(&host, &set), Err(Error::Locked(now + 30)));
}

#[test]
fn a_lock_that_was_interrupted_holds_what_it_can_and_the_next_finishes_it() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let now = host.now_ms();
    lock(&host, &set.handle, now + 10).unwrap();
    fake.fail_later(1, "hold stillframe:lock:", false, Ok(failure("cannot hold snapshot 'tank/wal@b1': out of space")));
    assert!(matches!(lock(&host, &set.handle, now + 20), Err(Error::Exhausted(_))));
    assert_eq!(delete(&host, &set), Err(Error::Locked(now + 20)));
    lock(&host, &set.handle, now + 20).unwrap();
    for snapshot in fake.snapshots() {
        assert_eq!(fake.holds(&snapshot), ["stillframe".to_owned(), format!("stillframe:lock:{}", now + 20)]);
    }
}

#[test]
fn a_lifted_lock_is_gone_and_lifting_is_idempotent() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    lock(&host, &set.handle, host.now_ms() + 60_000).unwrap();
    for _ in 0..2 {
        ZfsProvider::unlock_set(&host, &defaults(), &set.handle).unwrap();
        assert_eq!(fake.holds("tank/pg@b1"), ["stillframe"]);
    }
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
    ZfsProvider::unlock_set(&host, &defaults(), &set.handle).unwrap();
}

#[test]
fn refuses_what_it_cannot_promise() {
    let (_, host) = pools();
    let set = create(&host, "b1").unwrap();
    let until = host.now_ms() + 1_000;
    let compliance = ZfsProvider::lock_set(&host, &defaults(), &set.handle, LockMode::Compliance, until);
    assert!(matches!(compliance, Err(Error::Unsupported(_))));
    assert!(matches!(lock(&host, &set.handle, host.now_ms()), Err(Error::Invalid(argument)) if argument.field == "until-ms"));
    let absent = format!("b9:{}", token("b9"));
    assert_eq!(lock(&host, &absent, until), Err(Error::NotFound(absent)));
}
