//! `delete` on fakes: exact sets of WAL, every write and every provider call failing once, and rules that must not lose anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::catalog::{Backup, Catalog, Permanence};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    DeleteError, Ports, ProviderSource, PushRequest, VerifyRequest, apply_delete, backup_mark, plan_delete, wal_verify,
};
use stillframe_core::postgres::{Lsn, WalSegmentSize};
use stillframe_core::provider::{Provider, ProviderError, ProviderFault, ProviderName};
use stillframe_core::retention::{Bystander, Cutoff, Leftover, PlanError, RetentionRule};
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FaultyStore, InjectedFault, Operation, ProviderCall, ProviderFailure, WatchedStore, Watcher, When};

use crate::house::{House, lease_request, segment, segment_key, start_of_time, unsealed};

const ORDINARY: Permanence = Permanence::Ordinary;

fn retain(count: usize) -> RetentionRule {
    RetentionRule::Retain { count, after: None }
}

fn segments(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| segment(number).to_string()).collect()
}

fn names(backups: &[Backup]) -> Vec<String> {
    backups.iter().map(|backup| backup.sentinel.name.to_string()).collect()
}

/// Five backups at segments 10, 20, …, 50, the second one permanent, and all WAL from 1 to 60.
async fn full_house() -> (House, Vec<Backup>) {
    let house = House::new().await;
    house.archive(&(1..=60).collect::<Vec<_>>()).await;
    let mut backups = Vec::new();
    for seed in 1..=5 {
        let permanence = if seed == 2 { Permanence::Permanent } else { ORDINARY };
        backups.push(house.backup_at(seed, u32::from(seed) * 10, permanence).await);
    }
    (house, backups)
}

#[tokio::test]
async fn without_confirmation_it_calls_no_provider_and_changes_nothing() {
    let (house, backups) = full_house().await;
    let before = (house.store.snapshot(), house.provider().calls());
    let target = RetentionRule::Target(backups[0].sentinel.name.clone());
    let cutoff = RetentionRule::Before(Cutoff::Backup(backups[3].sentinel.name.clone()));
    for rule in [retain(1), cutoff, target, RetentionRule::Everything, RetentionRule::Garbage] {
        let plan = plan_delete(&house.ports(&house.store), &rule).await.unwrap();
        assert!(!plan.is_empty(), "{rule:?} has something to do");
        assert_eq!((house.store.snapshot(), house.provider().calls()), before, "dry_run_touches_nothing: {rule:?}");
    }
}

#[tokio::test]
async fn a_permanent_backup_survives_every_rule_with_exactly_its_wal() {
    for rule in
        [retain(1), RetentionRule::Everything, RetentionRule::Before(Cutoff::Time(start_of_time() + Duration::from_mins(5)))]
    {
        let (house, backups) = full_house().await;
        house.delete(&rule).await.unwrap();
        let contents = house.contents().await;
        assert!(contents.find(&backups[1].sentinel.name).is_some(), "permanent_survives: {rule:?}");
        assert!(house.archived().await.is_superset(&segments([20])), "{rule:?}");
        house.assert_invariants(&format!("{rule:?}")).await;
    }
    let (house, backups) = full_house().await;
    let error = house.delete(&RetentionRule::Target(backups[1].sentinel.name.clone())).await.unwrap_err();
    assert!(matches!(error, DeleteError::Plan(PlanError::Permanent(_))), "{error}");
    assert!(error.hint().unwrap().contains("--impermanent"));
}

#[tokio::test]
async fn every_wal_segment_that_a_kept_backup_needs_stays_and_no_other() {
    // The permanent one needs its own segment, and the oldest ordinary one that stays everything since its start.
    let (house, backups) = full_house().await;
    house.delete(&retain(2)).await.unwrap();
    assert_eq!(names(&house.contents().await.backups), names(&[backups[1].clone(), backups[3].clone(), backups[4].clone()]));
    assert_eq!(house.archived().await, segments([20].into_iter().chain(40..=60)), "protected_wal_present, and nothing else");

    let (house, backups) = full_house().await;
    house.delete(&RetentionRule::Target(backups[0].sentinel.name.clone())).await.unwrap();
    assert_eq!(house.archived().await, segments([20].into_iter().chain(30..=60)));

    let (house, _) = full_house().await;
    house.delete(&RetentionRule::Everything).await.unwrap();
    assert_eq!(house.archived().await, segments([20]));

    let (house, _) = full_house().await;
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!(house.archived().await, segments(10..=60));
}

#[tokio::test]
async fn when_only_a_permanent_backup_is_left_recovery_from_it_stays_possible() {
    let house = House::new().await;
    house.archive(&(1..=60).collect::<Vec<_>>()).await;
    let ordinary = house.backup_at(1, 10, ORDINARY).await;
    house.backup_at(2, 20, Permanence::Permanent).await;
    house.delete(&RetentionRule::Target(ordinary.sentinel.name)).await.unwrap();
    assert_eq!(house.archived().await, segments(20..=60));
    house.delete(&RetentionRule::Everything).await.unwrap();
    assert_eq!(house.archived().await, segments([20]), "the operator gives recovery up");
}

#[tokio::test]
async fn permanent_backups_do_not_count_as_retained() {
    let (house, backups) = full_house().await;
    backup_mark(&house.ports(&house.store), &backups[4].sentinel.name, Permanence::Permanent).await.unwrap();
    house.delete(&retain(2)).await.unwrap();
    let left = names(&house.contents().await.backups);
    assert_eq!(left, names(&[backups[1].clone(), backups[2].clone(), backups[3].clone(), backups[4].clone()]));
}

#[tokio::test]
async fn a_mark_decides_and_not_what_the_sentinel_said() {
    let (house, backups) = full_house().await;
    let ports = house.ports(&house.store);
    backup_mark(&ports, &backups[0].sentinel.name, Permanence::Permanent).await.unwrap();
    backup_mark(&ports, &backups[1].sentinel.name, ORDINARY).await.unwrap();
    house.delete(&retain(1)).await.unwrap();
    assert_eq!(names(&house.contents().await.backups), names(&[backups[0].clone(), backups[4].clone()]));
}

#[tokio::test]
async fn a_backup_that_was_permanent_stands_alone_where_wal_behind_it_has_gone_and_only_there() {
    for wal_goes in [true, false] {
        let (house, backups) = full_house().await;
        let (permanent, ports) = (&backups[1].sentinel.name, house.ports(&house.store));
        if wal_goes {
            house.delete(&retain(1)).await.unwrap();
            assert_eq!(house.archived().await, segments([20].into_iter().chain(50..=60)));
        }
        let marked = backup_mark(&ports, permanent, ORDINARY).await.unwrap();
        assert_eq!((marked.permanence, marked.is_standalone), (ORDINARY, wal_goes));
        assert_eq!(house.contents().await.find(permanent).unwrap().is_standalone, wal_goes);
        let verified = wal_verify(&ports, &VerifyRequest::default(), None, &|_| {}).await.unwrap();
        verified.verdict().expect("nobody is alarmed for WAL that was given up");
    }
}

#[tokio::test]
async fn a_failure_at_any_write_or_call_is_finished_by_the_next_run() {
    let writes = {
        let (house, _) = full_house().await;
        let store = FaultyStore::new(&house.store, None);
        let ports = house.ports(&store);
        let plan = plan_delete(&ports, &retain(2)).await.unwrap();
        apply_delete(&ports, &retain(2), &plan, &lease_request("delete")).await.into_result().map_err(|(_, error)| error).unwrap();
        store.writes()
    };
    assert!(writes > 40, "{writes} writes: two backups of several records each, and the WAL");
    for number in 0..writes {
        for when in [When::Before, When::After] {
            let (house, backups) = full_house().await;
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let ports = house.ports(&store);
            let plan = plan_delete(&ports, &retain(2)).await.unwrap();
            let report = apply_delete(&ports, &retain(2), &plan, &lease_request("delete")).await;
            house.assert_invariants(&format!("write {number} failed {when:?}")).await;
            // A write of the lease may fail without harm; then everything is done.
            if report.failures.is_empty() {
                is_done(&house, &backups, &format!("lies about success: write {number} {when:?}")).await;
            }
            converges(&house, &backups, &format!("write {number} failed {when:?}")).await;
        }
    }
    for failure in [ProviderFailure::Error(When::Before), ProviderFailure::Error(When::After)] {
        let (house, backups) = full_house().await;
        house.provider().fail_next(ProviderCall::Delete, failure);
        let error = house.delete(&retain(2)).await.unwrap_err();
        assert!(matches!(error, DeleteError::Partly { failed: 1, total: 2, .. }), "{error}");
        house.assert_invariants(&format!("{failure:?}")).await;
        converges(&house, &backups, &format!("{failure:?}")).await;
    }
}

async fn converges(house: &House, backups: &[Backup], situation: &str) {
    house.delete(&retain(2)).await.unwrap();
    is_done(house, backups, situation).await;
}

async fn is_done(house: &House, backups: &[Backup], situation: &str) {
    house.assert_invariants(situation).await;
    let contents = house.contents().await;
    assert_eq!(names(&contents.backups), names(&[backups[1].clone(), backups[3].clone(), backups[4].clone()]), "{situation}");
    assert!(contents.intents.is_empty() && contents.remnants.is_empty(), "{situation}");
    assert_eq!(house.archived().await, segments([20].into_iter().chain(40..=60)), "{situation}");
    assert_eq!(house.provider().handles().len(), 3, "{situation}");
}

#[tokio::test]
async fn an_unreadable_record_stops_every_deletion_and_costs_nothing() {
    for body in ["", "{", "{\"format_version\": 3}", "{\"format_version\": 2}", "{\"format_version\": 1}"] {
        let (house, backups) = full_house().await;
        let key = Key::parse(&format!("main/snapshots_001/{}/sentinel.json", backups[0].sentinel.name)).unwrap();
        house.store.put(&key, Bytes::from_static(body.as_bytes())).await.unwrap();
        let before = house.store.snapshot();
        for rule in [retain(1), RetentionRule::Everything, RetentionRule::Garbage] {
            let error = house.delete(&rule).await.unwrap_err();
            assert!(matches!(error.class(), ErrorClass::Corrupt | ErrorClass::Config), "{error}");
            assert!(error.to_string().contains(key.as_str()) && error.hint().is_some(), "{error}");
        }
        assert_eq!(house.store.snapshot(), before, "fails closed");
    }
}

#[tokio::test]
async fn a_foreign_object_among_the_records_stops_every_deletion() {
    let (house, _) = full_house().await;
    house.store.put(&Key::parse("main/snapshots_001/note.txt").unwrap(), Bytes::new()).await.unwrap();
    house.delete(&RetentionRule::Everything).await.unwrap_err();
    assert_eq!(house.provider().handles().len(), 5);
}

#[tokio::test]
async fn a_running_backup_protects_the_wal_since_it_began() {
    let (house, _) = full_house().await;
    let intent = interrupted_at(&house, 45).await;
    let plan = plan_delete(&house.ports(&house.store), &RetentionRule::Everything).await.unwrap();
    assert!(matches!(&plan.bystanders[..], [Bystander::Running(_)]), "it is told of: {:?}", plan.bystanders);
    house.delete(&RetentionRule::Everything).await.unwrap();
    assert_eq!(house.archived().await, segments([20].into_iter().chain(45..=60)));
    assert_eq!(house.contents().await.intents.len(), 1);
    assert!(house.provider().handles().contains(&intent), "it may be running: nobody touches its snapshot");
}

#[tokio::test]
async fn garbage_settles_a_backup_that_was_interrupted_long_ago() {
    let (house, _) = full_house().await;
    let intent = interrupted_at(&house, 55).await;
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!(house.contents().await.intents.len(), 1, "its deadlines have not passed");
    house.clock.advance(Duration::from_hours(48));
    let plan = plan_delete(&house.ports(&house.store), &retain(9)).await.unwrap();
    assert!(matches!(&plan.bystanders[..], [Bystander::Interrupted(_)]), "no other rule takes it: {:?}", plan.bystanders);
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert!(house.contents().await.intents.is_empty());
    assert!(!house.provider().handles().contains(&intent));
    house.assert_invariants("settled").await;
}

/// Leaves an intent and its snapshot behind, as a killed process does; gives the handle.
async fn interrupted_at(house: &House, number: u32) -> String {
    house.server.change(|facts| facts.wal_position = Lsn((u64::from(number) << 20) + 0x28));
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Error(When::After));
    house.provider().fail_next(ProviderCall::Delete, ProviderFailure::Error(When::Before));
    let request = house.request(9);
    house.push(&request).await.unwrap_err();
    format!("fake:{}", request.name)
}

#[tokio::test]
async fn wal_of_timelines_that_left_before_the_oldest_backup_goes_and_of_later_ones_stays() {
    let house = House::new().await;
    house.archive(&(1..=30).collect::<Vec<_>>()).await;
    house.backup_at(1, 10, ORDINARY).await;
    house.backup_at(2, 20, ORDINARY).await;
    // Timeline 2 left 1 at segment 15, timeline 3 at segment 25; timeline 4 has no history.
    house.put_wal("00000002.history", "1\t0/F00000\tno recovery target\n").await;
    house.put_wal("00000003.history", "1\t0/1900000\tno recovery target\n").await;
    for name in ["00000002000000000000000F", "000000030000000000000019", "000000040000000000000001", "000000040000000000000020"] {
        house.put_wal(name, "").await;
    }
    house.put_wal("00000001000000000000000A.00000028.backup", "").await;
    house.put_wal("000000010000000000000019.partial", "").await;
    house.delete(&retain(1)).await.unwrap();
    let others = ["00000002.history", "00000003.history", "000000030000000000000019", "000000040000000000000020"];
    let mut expected = segments(20..=30);
    expected.extend(others.map(str::to_owned));
    expected.insert("000000010000000000000019.partial".to_owned());
    assert_eq!(house.archived().await, expected);
}

#[tokio::test]
async fn wal_that_base_backups_of_walg_may_need_is_left_alone() {
    let (house, _) = full_house().await;
    let sentinel = "main/basebackups_005/base_000000010000000000000001_backup_stop_sentinel.json";
    house.store.put(&Key::parse(sentinel).unwrap(), Bytes::new()).await.unwrap();
    let before = house.archived().await;
    let plan = plan_delete(&house.ports(&house.store), &retain(1)).await.unwrap();
    assert!(matches!(&plan.bystanders[..], [Bystander::UnreadableWalG(_)]), "it is told of: {:?}", plan.bystanders);
    house.delete(&retain(1)).await.unwrap();
    assert_eq!(house.archived().await, before);
}

#[tokio::test]
async fn a_rule_that_would_leave_nothing_is_refused() {
    let (house, _) = full_house().await;
    let future = Cutoff::Time(start_of_time() + Duration::from_hours(1));
    let error = house.delete(&RetentionRule::Before(future)).await.unwrap_err();
    assert!(matches!(error, DeleteError::Plan(PlanError::NothingAsNew(_))), "{error}");
    let error = house.delete(&retain(0)).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Usage);
    assert_eq!(house.provider().handles().len(), 5);
}

#[tokio::test]
async fn a_backup_whose_provider_is_not_configured_is_not_even_condemned() {
    let (house, backups) = full_house().await;
    let key = Key::parse(&format!("main/snapshots_001/{}/sentinel.json", backups[0].sentinel.name)).unwrap();
    let body = house.store.get(&key).await.unwrap().unwrap();
    let other = unsealed(&body).replace("\"provider\": \"fake\"", "\"provider\": \"gone\"");
    house.store.put(&key, other.into()).await.unwrap();
    house.delete(&RetentionRule::Target(backups[0].sentinel.name.clone())).await.unwrap_err();
    assert!(!house.contents().await.find(&backups[0].sentinel.name).unwrap().is_condemned);
}

#[tokio::test]
async fn backups_of_an_older_cluster_are_older_whatever_their_positions() {
    let house = House::new().await;
    let old = house.backup_at(1, 0x30, ORDINARY).await;
    // After pg_upgrade the positions begin anew, and the order of names or positions would delete the newest.
    house.server.change(|facts| facts.system_identifier.0 += 1);
    let new = house.backup_at(2, 5, ORDINARY).await;
    house.delete(&retain(1)).await.unwrap();
    let left = house.contents().await;
    assert!(left.find(&new.sentinel.name).is_some() && left.find(&old.sentinel.name).is_none());
}

struct NoProviders;

#[async_trait]
impl ProviderSource for NoProviders {
    async fn open(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        let fault = ProviderFault::Unusable("it is not configured".to_owned());
        Err(ProviderError { provider: name.clone(), operation: "be loaded", fault })
    }
}

#[tokio::test]
async fn wal_of_a_backup_that_could_not_be_deleted_stays() {
    let (house, _) = full_house().await;
    let ports = Ports { providers: &NoProviders, ..house.ports(&house.store) };
    let plan = plan_delete(&ports, &RetentionRule::Everything).await.unwrap();
    let report = apply_delete(&ports, &RetentionRule::Everything, &plan, &lease_request("delete")).await;
    assert_eq!(report.failures.len(), 4);
    assert!(house.contents().await.backups.iter().all(|backup| !backup.is_condemned));
    assert_eq!(house.archived().await, segments(10..=60), "everything that the four can be recovered with");
}

#[tokio::test]
async fn a_backup_that_is_marked_permanent_after_the_plan_stays() {
    let (house, backups) = full_house().await;
    let ports = house.ports(&house.store);
    let plan = plan_delete(&ports, &retain(1)).await.unwrap();
    backup_mark(&ports, &backups[0].sentinel.name, Permanence::Permanent).await.unwrap();
    let report = apply_delete(&ports, &retain(1), &plan, &lease_request("delete")).await;
    assert_eq!(report.spared, [backups[0].sentinel.name.clone()]);
    let contents = house.contents().await;
    let spared = contents.find(&backups[0].sentinel.name).unwrap();
    assert!(!spared.is_condemned && spared.permanence == Permanence::Permanent);
    assert!(house.archived().await.contains(&segment(10).to_string()));
}

#[tokio::test]
async fn a_backup_that_begins_after_the_plan_keeps_its_wal() {
    let (house, _) = full_house().await;
    let ports = house.ports(&house.store);
    let plan = plan_delete(&ports, &RetentionRule::Everything).await.unwrap();
    interrupted_at(&house, 50).await;
    apply_delete(&ports, &RetentionRule::Everything, &plan, &lease_request("delete")).await;
    assert_eq!(house.archived().await, segments([20].into_iter().chain(50..=60)));
}

#[tokio::test]
async fn after_the_last_backup_is_deleted_by_name_the_wal_stays() {
    let house = House::new().await;
    house.archive(&(1..=20).collect::<Vec<_>>()).await;
    let only = house.backup_at(1, 10, ORDINARY).await;
    house.delete(&RetentionRule::Target(only.sentinel.name)).await.unwrap();
    assert_eq!(house.archived().await, segments(1..=20));
}

#[tokio::test]
async fn a_deletion_that_the_storage_system_has_not_finished_is_not_forgotten() {
    let (house, backups) = full_house().await;
    house.provider().delete_slowly();
    let report = house.delete(&RetentionRule::Target(backups[0].sentinel.name.clone())).await.unwrap();
    assert_eq!(report.pending, [backups[0].sentinel.name.clone()]);
    let contents = house.contents().await;
    assert!(contents.find(&backups[0].sentinel.name).unwrap().is_condemned);
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert!(house.contents().await.find(&backups[0].sentinel.name).is_none());
    house.assert_invariants("deleted in the end").await;
}

#[tokio::test]
async fn the_same_command_finishes_a_deletion_by_name_and_knows_when_nothing_is_left() {
    // Its records are gone; what ends it then is a file at the beginning, in the middle or at the end, or its own mark.
    let places = [Some(1), Some(15), Some(29), None];
    for place in places {
        let (house, backups) = full_house().await;
        let name = backups[0].sentinel.name.clone();
        let rule = RetentionRule::Target(name.clone());
        let key = place.map_or_else(|| format!("{name}/condemned.json"), |number| segment_key(number).to_string());
        let store = WatchedStore::new(&house.store, Refusing(key));
        let ports = house.ports(&store);
        let plan = plan_delete(&ports, &rule).await.unwrap();
        let report = apply_delete(&ports, &rule, &plan, &lease_request("delete")).await;
        assert_eq!((report.failures.len(), report.backups.len()), (1, 1), "{place:?}: {:?}", report.failures);
        assert!(house.contents().await.find(&name).is_none() && house.handles().len() == 4, "{place:?}");

        let plan = plan_delete(&house.ports(&house.store), &rule).await.unwrap();
        assert_eq!(plan.leftovers, [Leftover::Remnant(name.clone())], "{place:?}");
        house.delete(&rule).await.unwrap();
        assert_eq!(house.archived().await, segments([20].into_iter().chain(30..=60)), "{place:?}: and nothing else goes");
        assert!(house.contents().await.remnants.is_empty(), "{place:?}");
        let error = house.delete(&rule).await.unwrap_err();
        assert!(matches!(error, DeleteError::Plan(PlanError::NoSuchBackup(_))), "{place:?}: {error}");
    }
}

/// Lets nothing be deleted at this place.
struct Refusing(String);

#[async_trait]
impl Watcher for Refusing {
    async fn before(&self, operation: Operation, key: &str) -> Result<(), InjectedFault> {
        if operation == Operation::Delete && key.ends_with(&self.0) { Err(InjectedFault) } else { Ok(()) }
    }
}

#[tokio::test]
async fn wal_of_a_kept_backup_stays_when_the_segment_size_has_changed_since() {
    let house = House::new().await;
    let large = WalSegmentSize::try_from(4 << 20).unwrap();
    house.server.change(|facts| facts.segment_size = large);
    house.archive(&[5]).await;
    house.server.change(|facts| facts.wal_position = Lsn((5 << 22) + 0x28));
    let old = PushRequest { permanence: Permanence::Permanent, ..house.request(1) };
    house.push(&old).await.unwrap();
    house.server.change(|facts| facts.segment_size = WalSegmentSize::try_from(1 << 20).unwrap());
    house.backup_at(2, 40, ORDINARY).await;
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!(house.archived().await, segments([5, 40]));
}

#[tokio::test]
async fn a_backup_whose_storage_cannot_be_reached_is_not_condemned_and_keeps_its_wal() {
    let (house, backups) = full_house().await;
    house.provider().fail_next(ProviderCall::Get, ProviderFailure::Error(When::Before));
    house.delete(&RetentionRule::Target(backups[0].sentinel.name.clone())).await.unwrap_err();
    assert!(!house.contents().await.find(&backups[0].sentinel.name).unwrap().is_condemned);
    assert_eq!(house.archived().await, segments(10..=60), "nothing but what no backup needs is gone");
}

#[tokio::test]
async fn a_mark_that_succeeded_outlives_a_deletion_that_failed_between() {
    let (house, backups) = full_house().await;
    let name = &backups[0].sentinel.name;
    let ports = house.ports(&house.store);
    backup_mark(&ports, name, Permanence::Permanent).await.unwrap();
    // A deletion with an older plan condemned it, and died before it looked for the mark.
    let _ = Catalog::new(&house.store, &house.layout).condemn(name, start_of_time()).await.unwrap();
    let report = house.delete(&RetentionRule::Garbage).await.unwrap();
    assert_eq!(report.spared, std::slice::from_ref(name));
    assert!(!house.contents().await.find(name).unwrap().is_condemned);
    house.assert_invariants("spared").await;
}
