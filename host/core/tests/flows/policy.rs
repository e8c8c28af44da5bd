//! `delete policy` on fakes: what was shown goes or nothing, and WAL goes only after the records say that nobody counts on it.

use std::collections::BTreeSet;
use std::time::Duration;

use stillframe_core::catalog::{Backup, Permanence};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{DeleteError, apply_delete, backup_mark, plan_delete};
use stillframe_core::postgres::WalFileName;
use stillframe_core::retention::{RetentionPolicy, RetentionRule};
use stillframe_core::testing::{FaultyStore, ProviderCall, ProviderFailure, When};

use crate::house::{House, lease_request, segment};

/// Keeps the newest two with all WAL since, and single moments of a quarter of an hour.
fn policy() -> RetentionRule {
    RetentionRule::Policy(RetentionPolicy {
        count: Some(2),
        standalone: Some(Duration::from_mins(15)),
        ..RetentionPolicy::default()
    })
}

fn segments(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| segment(number).to_string()).collect()
}

/// Backups at segments 10, 20, …, 60, five minutes apart, and all WAL from 1 to 70; the newest is a minute old.
async fn full_house() -> (House, Vec<Backup>) {
    let house = House::new().await;
    house.archive(&(1..=70).collect::<Vec<_>>()).await;
    let mut backups = Vec::new();
    for number in 1..=6 {
        backups.push(house.backup_at(number * 5, u32::from(number) * 10, Permanence::Ordinary).await);
    }
    house.clock.advance(Duration::from_mins(31));
    (house, backups)
}

/// Whatever happened: what is listed can be restored, and what is not said to stand alone can be rolled forward.
async fn assert_restorable(house: &House, situation: &str) {
    house.assert_invariants(situation).await;
    let archived = house.archived().await;
    for backup in house.contents().await.backups.iter().filter(|backup| !backup.is_condemned) {
        let range = backup.sentinel.wal_range();
        let is_moment = backup.is_standalone || backup.permanence == Permanence::Permanent;
        let last = if is_moment { range.last } else { 70 };
        let needed = segments((range.first..=last).map(|number| u32::try_from(number).unwrap()));
        assert!(needed.is_subset(&archived), "published_backup_is_restorable: {situation}: {}", backup.sentinel.name);
    }
}

async fn assert_done(house: &House, backups: &[Backup], situation: &str) {
    assert_restorable(house, situation).await;
    let left = house.contents().await.backups;
    let expected: Vec<_> = backups[3..].iter().map(|backup| backup.sentinel.name.clone()).collect();
    assert_eq!(left.iter().map(|backup| backup.sentinel.name.clone()).collect::<Vec<_>>(), expected, "{situation}");
    assert_eq!(left.iter().map(|backup| backup.is_standalone).collect::<Vec<_>>(), [true, false, false], "{situation}");
    assert_eq!(house.archived().await, segments([40].into_iter().chain(50..=70)), "{situation}");
    assert!(plan_delete(&house.ports(&house.store), &policy()).await.unwrap().is_empty(), "{situation}: nothing is left to do");
}

#[tokio::test]
async fn takes_what_it_has_shown_and_records_what_stands_alone() {
    let (house, backups) = full_house().await;
    let before = (house.store.snapshot(), house.provider().calls());
    let plan = plan_delete(&house.ports(&house.store), &policy()).await.unwrap();
    assert_eq!((house.store.snapshot(), house.provider().calls()), before, "dry_run_touches_nothing");
    assert_eq!(plan.removed_backups().count(), 3);
    let report = house.delete(&policy()).await.unwrap();
    assert_eq!(report.standalone, [backups[3].sentinel.name.clone()]);
    assert_done(&house, &backups, "applied").await;
}

#[tokio::test]
async fn a_failure_at_any_write_or_call_costs_nothing_and_is_finished_by_the_next_run() {
    let writes = {
        let (house, _) = full_house().await;
        let store = FaultyStore::new(&house.store, None);
        let ports = house.ports(&store);
        let plan = plan_delete(&ports, &policy()).await.unwrap();
        assert!(apply_delete(&ports, &policy(), &plan, &lease_request("delete")).await.failures.is_empty());
        store.writes()
    };
    assert!(writes > 60, "{writes} writes: three backups of several records each, a record that one stands alone, and the WAL");
    for number in 0..writes {
        for when in [When::Before, When::After] {
            let (house, backups) = full_house().await;
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let ports = house.ports(&store);
            let plan = plan_delete(&ports, &policy()).await.unwrap();
            let report = apply_delete(&ports, &policy(), &plan, &lease_request("delete")).await;
            let situation = format!("write {number} failed {when:?}");
            assert_restorable(&house, &situation).await;
            if report.failures.is_empty() {
                assert_done(&house, &backups, &format!("lies about success: {situation}")).await;
            }
            house.delete(&policy()).await.unwrap();
            assert_done(&house, &backups, &situation).await;
        }
    }
    for when in [When::Before, When::After] {
        let (house, backups) = full_house().await;
        house.provider().fail_next(ProviderCall::Delete, ProviderFailure::Error(when));
        house.delete(&policy()).await.unwrap_err();
        assert_restorable(&house, &format!("{when:?}")).await;
        house.delete(&policy()).await.unwrap();
        assert_done(&house, &backups, &format!("{when:?}")).await;
    }
}

#[tokio::test]
async fn refuses_when_it_would_take_something_else_than_it_has_shown() {
    for change in ["a mark", "a new backup", "another deletion"] {
        let (house, backups) = full_house().await;
        let ports = house.ports(&house.store);
        let plan = plan_delete(&ports, &policy()).await.unwrap();
        match change {
            "a mark" => _ = backup_mark(&ports, &backups[1].sentinel.name, Permanence::Permanent).await.unwrap(),
            "a new backup" => _ = house.backup_at(31, 68, Permanence::Ordinary).await,
            _ => _ = house.delete(&RetentionRule::Target(backups[0].sentinel.name.clone())).await.unwrap(),
        }
        let (before, calls) = (without_lease(&house), house.provider().calls());
        let report = apply_delete(&ports, &policy(), &plan, &lease_request("delete")).await;
        let [(_, error)] = &report.failures[..] else { panic!("{change}: {:?}", report.failures) };
        assert!(matches!(error, DeleteError::PlanChanged), "{change}: {error}");
        assert_eq!((error.class(), error.hint().is_some()), (ErrorClass::Transient, true));
        assert_eq!((without_lease(&house), house.provider().calls()), (before, calls), "{change}: nothing was touched");
        house.delete(&policy()).await.unwrap();
        assert_restorable(&house, change).await;
    }
}

fn without_lease(house: &House) -> Vec<(String, usize)> {
    let all = house.store.snapshot().into_iter().map(|(key, body)| (key.to_string(), body.len()));
    all.filter(|(key, _)| !key.contains("/lease_001/")).collect()
}

#[tokio::test]
async fn time_that_passes_between_showing_and_taking_changes_nothing() {
    let (house, backups) = full_house().await;
    let ports = house.ports(&house.store);
    let plan = plan_delete(&ports, &policy()).await.unwrap();
    // By now the second tier would keep none of them, and that was not shown.
    house.clock.advance(Duration::from_hours(2));
    let report = apply_delete(&ports, &policy(), &plan, &lease_request("delete")).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let left = house.contents().await.backups.len();
    assert_eq!((left, report.standalone), (3, vec![backups[3].sentinel.name.clone()]));
}

#[tokio::test]
async fn a_backup_that_begins_after_the_plan_keeps_its_wal() {
    let (house, _) = full_house().await;
    let ports = house.ports(&house.store);
    let rule = RetentionRule::Policy(RetentionPolicy { count: Some(1), ..RetentionPolicy::default() });
    let plan = plan_delete(&ports, &rule).await.unwrap();
    let released: BTreeSet<WalFileName> = plan.removed_wal().map(|file| file.name).collect();
    assert!(released.contains(&segment(45)) && !released.contains(&segment(60)));
    house.server.change(|facts| facts.wal_position = stillframe_core::postgres::Lsn((45 << 20) + 0x28));
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Error(When::After));
    house.provider().fail_next(ProviderCall::Delete, ProviderFailure::Error(When::Before));
    house.push(&house.request(40)).await.unwrap_err();
    let report = apply_delete(&ports, &rule, &plan, &lease_request("delete")).await;
    assert!(matches!(&report.failures[..], [(_, DeleteError::PlanChanged)]), "{:?}", report.failures);
    house.delete(&rule).await.unwrap();
    assert!(segments(45..=70).is_subset(&house.archived().await), "protected_wal_present");
}
