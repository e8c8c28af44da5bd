//! Locks, on fakes.
//!
//! What could go wrong: a deletion condemns a backup that cannot go, so that nobody restores from it for a year; a record promises a
//! lock that no storage system has; a backup with two sets is locked in part, and deleted in part; a lock is shortened by mistake.

use std::time::Duration;

use jiff::Timestamp;
use stillframe_core::catalog::{Backup, BackupLock, Catalog, Permanence};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    DeleteError, LockAction, LockError, PathRule, PathSelector, ProviderChoice, PushRequest, backup_lock, plan_delete,
};
use stillframe_core::postgres::Tablespace;
use stillframe_core::provider::{LockMode, Provider};
use stillframe_core::retention::{KeepReason, PlanError, Reason, RetentionRule};
use stillframe_core::testing::{FaultyStore, ProviderCall, ProviderFailure, When};

use crate::house::{House, handle_of, lease_request, provider_name, segment, start_of_time};

fn days(days: u64) -> Timestamp {
    start_of_time() + Duration::from_hours(24 * days)
}

fn until(until: Timestamp) -> LockAction {
    LockAction::Lock(BackupLock { mode: LockMode::Governance, until })
}

async fn change(house: &House, backup: &Backup, action: LockAction) -> Result<Backup, LockError> {
    backup_lock(&house.ports(&house.store), &backup.sentinel.name, action, &lease_request("backup-lock")).await
}

async fn with_backup() -> (House, Backup) {
    let house = House::new().await;
    let backup = house.backup_at(1, 10, Permanence::Ordinary).await;
    (house, backup)
}

#[tokio::test]
async fn a_locked_backup_survives_every_rule_until_its_lock_ends() {
    let (house, backup) = with_backup().await;
    let locked = change(&house, &backup, until(days(30))).await.unwrap();
    assert_eq!(house.provider().locked_until(&handle_of(&backup)), Some(days(30)));
    assert_eq!(house.contents().await.backups, [locked]);
    house.backup_at(2, 20, Permanence::Ordinary).await;
    for rule in [RetentionRule::Retain { count: 1, after: None }, RetentionRule::Everything] {
        let plan = plan_delete(&house.ports(&house.store), &rule).await.unwrap();
        assert_eq!(plan.backups[0].reason, Reason::Keep(KeepReason::Locked(days(30))));
        assert_eq!(plan.backups[0].reason.to_string(), "locked until 2026-12-21T08:00:00Z");
    }
    let target = RetentionRule::Target(backup.sentinel.name.clone());
    let error = house.delete(&target).await.unwrap_err();
    assert!(matches!(&error, DeleteError::Plan(PlanError::Locked { until, .. }) if *until == days(30)), "{error}");
    assert_eq!(error.class(), ErrorClass::Refused);
    house.clock.advance(Duration::from_hours(24 * 31));
    house.provider().unlock(&handle_of(&backup)).await.unwrap();
    house.delete(&target).await.unwrap();
    assert!(house.contents().await.find(&backup.sentinel.name).is_none());
    assert!(house.store.snapshot().keys().all(|key| !key.as_str().ends_with("lock.json")));
}

/// Somebody locked the snapshot in the storage system itself.
#[tokio::test]
async fn a_lock_that_nobody_recorded_leaves_the_backup_restorable_with_its_wal() {
    let (house, backup) = with_backup().await;
    house.archive(&[10, 11]).await;
    house.provider().lock(&handle_of(&backup), LockMode::Compliance, days(365)).await.unwrap();
    for rule in [RetentionRule::Target(backup.sentinel.name.clone()), RetentionRule::Everything] {
        let error = house.delete(&rule).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Refused);
        assert!(stillframe_core::error::chain(&error).contains("locked until 2027-11-21T08:00:00Z"), "{error:?}");
        assert!(!house.contents().await.backups[0].is_condemned);
        assert!(house.archived().await.contains(&segment(11).to_string()));
    }
    // As long as it cannot be proven that nothing is gone, nobody may restore from it.
    house.provider().fail_next(ProviderCall::Delete, ProviderFailure::Error(When::After));
    house.delete(&RetentionRule::Everything).await.unwrap_err();
    assert!(house.contents().await.backups[0].is_condemned);
    house.delete(&RetentionRule::Garbage).await.unwrap_err();
    assert!(!house.contents().await.backups[0].is_condemned, "now it is proven");
    house.assert_invariants("locked behind our back").await;
}

#[tokio::test]
async fn a_lock_is_prolonged_and_lifted_but_not_shortened() {
    let (house, backup) = with_backup().await;
    let locked = |until| Some(BackupLock { mode: LockMode::Governance, until });
    assert_eq!(change(&house, &backup, until(days(30))).await.unwrap().lock, locked(days(30)));
    assert_eq!(change(&house, &backup, until(days(60))).await.unwrap().lock, locked(days(60)));
    assert!(matches!(change(&house, &backup, until(days(59))).await.unwrap_err(), LockError::Earlier { .. }));
    assert_eq!(change(&house, &backup, LockAction::Release).await.unwrap().lock, None);
    assert_eq!(house.provider().locked_until(&handle_of(&backup)), None);
    let past = change(&house, &backup, until(start_of_time())).await.unwrap_err();
    assert!(matches!(past, LockError::Past { .. }) && past.class() == ErrorClass::Usage, "{past}");
    assert!(house.contents().await.backups[0].lock.is_none());
}

#[tokio::test]
async fn a_lock_of_compliance_is_neither_lifted_nor_weakened() {
    let (house, backup) = with_backup().await;
    let compliance = BackupLock { mode: LockMode::Compliance, until: days(30) };
    change(&house, &backup, LockAction::Lock(compliance)).await.unwrap();
    for action in [LockAction::Release, until(days(60))] {
        let error = change(&house, &backup, action).await.unwrap_err();
        assert!(matches!(error, LockError::Kept { .. }) && error.class() == ErrorClass::Refused, "{error}");
    }
    assert_eq!(house.contents().await.backups[0].lock, Some(compliance));
}

#[tokio::test]
async fn no_record_promises_a_lock_that_the_storage_system_does_not_have() {
    let (house, backup) = with_backup().await;
    for when in [When::Before, When::After] {
        house.provider().fail_next(ProviderCall::Lock, ProviderFailure::Error(when));
        change(&house, &backup, until(days(30))).await.unwrap_err();
        assert!(house.contents().await.backups[0].lock.is_none());
    }
    for number in 0..5 {
        for when in [When::Before, When::After] {
            let (house, backup) = with_backup().await;
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let ports = house.ports(&store);
            let _ = backup_lock(&ports, &backup.sentinel.name, until(days(30)), &lease_request("backup-lock")).await;
            let recorded = house.contents().await.backups[0].lock.map(|lock| lock.until);
            let held = house.provider().locked_until(&handle_of(&backup));
            assert!(recorded.is_none() || recorded == held, "write {number} failed {when:?}: {recorded:?} {held:?}");
        }
    }
}

#[tokio::test]
async fn refuses_what_is_not_there_or_is_being_deleted() {
    let (house, backup) = with_backup().await;
    let ports = house.ports(&house.store);
    let other = house.request(9).name;
    let error = backup_lock(&ports, &other, until(days(1)), &lease_request("backup-lock")).await.unwrap_err();
    assert!(matches!(error, LockError::NoSuchBackup(_)), "{error}");
    let _ = Catalog::new(&house.store, &house.layout).condemn(&backup.sentinel.name, days(0)).await.unwrap();
    let error = change(&house, &backup, until(days(1))).await.unwrap_err();
    assert!(matches!(error, LockError::Condemned(_)), "{error}");
    assert!(!house.provider().calls().contains(&ProviderCall::Lock));
}

#[tokio::test]
async fn a_lock_that_is_lifted_in_part_keeps_all_of_the_backup() {
    let mut house = House::new().await;
    let other = house.add_provider("other");
    house.server.set_tablespace_map(b"16384 /fast/ts\n");
    let tablespace = Tablespace { oid: 16384, name: "fast".to_owned(), location: "/fast/ts".into() };
    house.server.change(|facts| facts.tablespaces = vec![tablespace]);
    let rule = PathRule { selector: PathSelector::Below("/fast".into()), provider: other.name().clone() };
    let providers = ProviderChoice { default: Some(provider_name()), rules: vec![rule] };
    let backup = house.push(&PushRequest { providers, ..house.request(1) }).await.unwrap();
    for set in &backup.sentinel.sets {
        let provider = if set.provider == *other.name() { &*other } else { house.provider() };
        provider.lock(&set.snapshot.handle, LockMode::Governance, days(30)).await.unwrap();
    }
    // Nobody has recorded these locks. One of the two storage systems does not answer.
    for provider in [&*other, house.provider()] {
        provider.fail_next(ProviderCall::Unlock, ProviderFailure::Error(When::Before));
        change(&house, &backup, LockAction::Release).await.unwrap_err();
        house.delete(&RetentionRule::Target(backup.sentinel.name.clone())).await.unwrap_err();
        assert!(!house.contents().await.find(&backup.sentinel.name).unwrap().is_condemned);
        assert_eq!(house.handles().len(), 2, "deleted in part");
    }
}
