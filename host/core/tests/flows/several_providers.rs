//! One backup with several providers, on fakes: every call of either fails, and nothing is lost, leaked or called more than it is.
//!
//! What could go wrong: a failure of the second leaves what the first has cut; a crash between two deletions forgets the second set;
//! the set with `pg_control` is cut too early; two cuts are called one instant; a record of an older version cannot be read any more.

use std::sync::Arc;
use std::time::Duration;

use stillframe_core::catalog::{Backup, BackupName, Catalog, Consistency};
use stillframe_core::flows::{
    DeleteError, PathRule, PathSelector, ProviderChoice, PushError, PushRequest, apply_delete, plan_delete, snapshot_push,
};
use stillframe_core::postgres::Tablespace;
use stillframe_core::provider::{DataPathName, MemberState, Provider, ProviderFault, SetReference};
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FakeProvider, FaultyStore, ProviderCall, ProviderFailure, When};

use crate::house::{House, handles_of, lease_request, provider_name, unsealed};
use crate::snapshot_push::AtPoll;

/// A cluster with a tablespace, which another provider cuts.
pub(crate) async fn two_providers() -> (House, Arc<FakeProvider>) {
    let mut house = House::new().await;
    let other = house.add_provider("other");
    house.server.set_tablespace_map(b"16384 /fast/ts\n");
    let tablespace = Tablespace { oid: 16384, name: "fast".to_owned(), location: "/fast/ts".into() };
    house.server.change(|facts| facts.tablespaces = vec![tablespace]);
    (house, other)
}

pub(crate) fn request(house: &House, seed: u8) -> PushRequest {
    let rule = PathRule { selector: PathSelector::Below("/fast".into()), provider: "other".to_owned().try_into().unwrap() };
    PushRequest { providers: ProviderChoice { default: Some(provider_name()), rules: vec![rule] }, ..house.request(seed) }
}

#[tokio::test]
async fn each_provider_cuts_its_own_directories_under_a_token_of_its_own() {
    let (house, other) = two_providers().await;
    let backup = house.push(&request(&house, 1)).await.unwrap();
    let sets = &backup.sentinel.sets;
    let names: Vec<&str> = sets.iter().map(|set| set.provider.as_str()).collect();
    assert_eq!(names, ["other", "fake"], "the one with pg_control is cut last");
    let held: Vec<Vec<DataPathName>> = sets.iter().map(|set| set.volumes[0].paths.clone()).collect();
    assert_eq!(held, [[DataPathName::Tablespace(16384)], [DataPathName::Data]]);
    assert_eq!(sets.iter().map(|set| set.volumes[0].cut_order).collect::<Vec<_>>(), [1, 2]);
    assert_ne!(sets[0].snapshot.token, sets[1].snapshot.token);
    assert_eq!(sets[1].snapshot.token, house.request(1).token.for_provider(&provider_name()));
    assert_eq!(other.handles(), [sets[0].snapshot.handle.clone()]);
    assert_eq!(house.contents().await.backups, std::slice::from_ref(&backup), "it is read as it was written");
    house.assert_invariants("two providers").await;
}

#[tokio::test]
async fn only_one_set_can_be_from_one_instant() {
    let (house, other) = two_providers().await;
    house.provider().cut_at_once();
    other.cut_at_once();
    assert_eq!(house.push(&request(&house, 1)).await.unwrap().sentinel.consistency, Consistency::CoveredByBackupMode);
    assert_eq!(house.push(&house.request(2)).await.unwrap().sentinel.consistency, Consistency::Atomic);
}

#[tokio::test]
async fn a_failure_of_either_provider_leaves_nothing_of_both() {
    let calls = [ProviderCall::Check, ProviderCall::Resolve, ProviderCall::Create];
    for of_other in [false, true] {
        for call in calls {
            for failure in [ProviderFailure::Error(When::Before), ProviderFailure::Error(When::After)] {
                let (house, other) = two_providers().await;
                let failing = if of_other { &*other } else { house.provider() };
                failing.fail_next(call, failure);
                let situation = format!("{call:?} of {} failed: {failure:?}", if of_other { "the first" } else { "the last" });
                house.push(&request(&house, 1)).await.unwrap_err();
                house.assert_invariants(&situation).await;
                assert!(house.handles().is_empty(), "{situation}: {:?}", house.handles());
                assert!(house.contents().await.intents.is_empty(), "{situation}");
            }
        }
    }
}

#[tokio::test]
async fn a_provider_that_cannot_tell_the_state_once_is_asked_again() {
    for of_other in [false, true] {
        let (house, other) = two_providers().await;
        let failing = if of_other { &*other } else { house.provider() };
        failing.fail_next(ProviderCall::Get, ProviderFailure::Error(When::Before));
        house.push(&request(&house, 1)).await.unwrap();
        house.assert_invariants("asked again").await;
    }
}

#[tokio::test]
async fn what_one_provider_cannot_delete_stays_under_the_intent_and_the_other_is_undone() {
    let (house, other) = two_providers().await;
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Error(When::After));
    other.fail_next(ProviderCall::Delete, ProviderFailure::Error(When::Before));
    let error = house.push(&request(&house, 1)).await.unwrap_err();
    assert!(matches!(error, PushError::LeftUnderIntent { .. }), "{error}");
    house.assert_invariants("one could not be deleted").await;
    assert!(house.provider().handles().is_empty() && other.handles().len() == 1);
    // Whoever settles asks both.
    house.clock.advance(Duration::from_hours(48));
    house.delete(&RetentionRule::Garbage).await.unwrap();
    assert!(house.handles().is_empty() && house.contents().await.intents.is_empty());
}

#[tokio::test]
async fn an_interruption_at_any_moment_leaves_nothing_of_both() {
    for moment in 0..2_000 {
        let (house, other) = two_providers().await;
        for provider in [house.provider(), &*other] {
            provider.set_states(vec![MemberState::Cut, MemberState::Cut, MemberState::Ready]);
        }
        let result = snapshot_push(&house.ports(&house.store), house.server(), &request(&house, 1), AtPoll(moment)).await;
        house.assert_invariants(&format!("interrupted at moment {moment}")).await;
        match result {
            Err(PushError::Interrupted) => assert!(house.handles().is_empty(), "moment {moment}"),
            Ok(_) => return assert!(moment > 10),
            Err(error) => panic!("moment {moment}: {error}"),
        }
    }
    panic!("the flow never came to its end");
}

#[tokio::test]
async fn a_failed_write_leaves_no_snapshot_of_either_without_a_record() {
    for number in 0.. {
        for when in [When::Before, When::After] {
            let (house, _) = two_providers().await;
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let result = snapshot_push(&house.ports(&store), house.server(), &request(&house, 1), std::future::pending()).await;
            house.assert_invariants(&format!("write {number} failed {when:?}")).await;
            if store.writes() <= number {
                return assert!(result.is_ok() && number > 3);
            }
        }
    }
}

#[tokio::test]
async fn a_deletion_that_ended_between_two_sets_is_finished_by_the_next_run() {
    for failure in [ProviderFailure::Error(When::Before), ProviderFailure::Error(When::After)] {
        let (house, other) = two_providers().await;
        let old = house.push(&request(&house, 1)).await.unwrap();
        let target = RetentionRule::Target(old.sentinel.name.clone());
        house.provider().fail_next(ProviderCall::Delete, failure);
        house.delete(&target).await.unwrap_err();
        house.assert_invariants(&format!("{failure:?}")).await;
        assert!(other.handles().is_empty(), "the first set is gone");
        assert!(house.contents().await.find(&old.sentinel.name).unwrap().is_condemned, "so nobody restores from the second");
        house.delete(&RetentionRule::Garbage).await.unwrap();
        assert!(house.handles().is_empty() && house.contents().await.backups.is_empty());
    }
}

#[tokio::test]
async fn a_backup_one_of_whose_providers_is_not_configured_is_not_even_condemned() {
    let (mut house, _) = two_providers().await;
    let backup = house.push(&request(&house, 1)).await.unwrap();
    let gone = house.providers.0.pop().unwrap();
    house.delete(&RetentionRule::Everything).await.unwrap_err();
    assert!(!house.contents().await.backups[0].is_condemned);
    assert!(house.provider().handles().len() == 1 && gone.handles().len() == 1);
    assert_eq!(handles_of(&backup).len(), 2);
}

#[tokio::test]
async fn a_directory_without_a_provider_is_refused_by_name_before_anything_happens() {
    let (house, other) = two_providers().await;
    let mut request = request(&house, 1);
    request.providers.default = None;
    let error = house.push(&request).await.unwrap_err();
    assert!(matches!(&error, PushError::NoProvider { path } if path == std::path::Path::new("/pgdata")), "{error}");
    assert!(other.calls().is_empty() && house.provider().calls().is_empty());
}

/// The bytes that the version before this one wrote, of a backup and of one that it left unfinished.
#[tokio::test]
async fn records_of_the_first_version_are_read_deleted_and_settled() {
    let house = House::new().await;
    let names: [BackupName; 2] = ["sf-20261121T080000Z-040g2081", "sf-20261121T080000Z-081040g2"].map(|name| name.parse().unwrap());
    let records: [(&BackupName, &str, &[u8]); 2] = [
        (&names[0], "sentinel", include_bytes!("records/sentinel-v1.json")),
        (&names[1], "intent", include_bytes!("records/intent-v1.json")),
    ];
    for (name, record, body) in records {
        let key = Key::parse(&format!("main/snapshots_001/{name}/{record}.json")).unwrap();
        house.store.put(&key, body.to_vec().into()).await.unwrap();
    }
    let contents = house.contents().await;
    let [Backup { sentinel, .. }] = contents.backups.as_slice() else { panic!("{contents:?}") };
    assert_eq!(handles_of(&contents.backups[0]), ["fake:sf-20261121T080000Z-040g2081"]);
    assert_eq!(sentinel.paths_in(&sentinel.sets[0]).count(), 2, "its one set holds everything");
    assert_eq!(sentinel.size_bytes(), Some(2));
    let request = &contents.intents[0].requests[0];
    assert_eq!((request.provider.as_str(), request.token.0.as_str()), ("fake", "token-2"));
    // They are written as new ones are.
    house.clock.advance(Duration::from_hours(48));
    let rule = RetentionRule::Everything;
    let plan = plan_delete(&house.ports(&house.store), &rule).await.unwrap();
    let report = apply_delete(&house.ports(&house.store), &rule, &plan, &lease_request("delete")).await;
    assert!(report.failures.is_empty() && report.backups.len() == 1 && report.settled.len() == 1, "{report:?}");
}

#[tokio::test]
async fn a_record_whose_sets_do_not_hold_every_directory_once_is_damaged() {
    let (house, _) = two_providers().await;
    let backup = house.push(&request(&house, 1)).await.unwrap();
    let key = Key::parse(&format!("main/snapshots_001/{}/sentinel.json", backup.sentinel.name)).unwrap();
    let whole = unsealed(&house.store.get(&key).await.unwrap().unwrap());
    let damages: [(&str, &str); 3] = [
        ("\"paths\": [\n            \"data\"\n", "\"paths\": [\n            \"tablespace-16384\"\n"),
        ("\"provider\": \"other\"", "\"provider\": \"fake\""),
        ("\"id\": \"data\"", "\"id\": \"another\""),
    ];
    for (from, to) in damages {
        let body = whole.replacen(from, to, 1);
        assert_ne!(body, whole, "{from}");
        house.store.put(&key, body.into()).await.unwrap();
        let contents = Catalog::new(&house.store, &house.layout).contents().await.unwrap();
        assert_eq!((contents.backups.len(), contents.unreadable.len()), (0, 1), "{from}");
        let error = house.delete(&RetentionRule::Everything).await.unwrap_err();
        assert!(matches!(error, DeleteError::Catalog(_)), "{error}");
    }
}

#[tokio::test]
async fn the_intent_names_every_request_before_the_first_cut() {
    let (house, other) = two_providers().await;
    let store = house.store.snapshot();
    assert!(store.keys().all(|key| !key.as_str().ends_with("intent.json")));
    let request = request(&house, 1);
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Hang(When::Before));
    // Killed while the second one cuts.
    let ports = house.ports(&house.store);
    tokio::select! {
        biased;
        () = AtPoll(50) => {}
        _ = snapshot_push(&ports, house.server(), &request, std::future::pending()) => panic!("it hangs"),
    }
    let intents = house.contents().await.intents;
    assert_eq!(intents[0].requests.len(), 2);
    let token = &intents[0].requests[0].token;
    assert!(other.get(&SetReference::Token(token.clone())).await.unwrap().is_some(), "the provider knows it by that token");
    house.assert_invariants("killed between two cuts").await;
}

/// What becomes of a backup of two sets, the second of which the storage system refuses to delete.
async fn refused_after(first: impl FnOnce(&FakeProvider), fault: ProviderFault) -> (House, Backup) {
    let (house, other) = two_providers().await;
    let backup = house.push(&request(&house, 1)).await.unwrap();
    first(&other);
    house.provider().refuse_next(ProviderCall::Delete, fault);
    house.delete(&RetentionRule::Target(backup.sentinel.name.clone())).await.unwrap_err();
    let listed = house.contents().await.find(&backup.sentinel.name).unwrap().clone();
    (house, listed)
}

#[tokio::test]
async fn a_condemnation_is_not_taken_back_while_the_storage_system_deletes_another_set() {
    let (house, backup) = refused_after(FakeProvider::delete_slowly, ProviderFault::InUse("clone".to_owned())).await;
    assert!(backup.is_condemned, "its first set is being deleted, whatever is told of it");
    house.delete(&RetentionRule::Target(backup.sentinel.name)).await.unwrap();
    assert!(house.handles().is_empty());
}

#[tokio::test]
async fn a_condemnation_is_not_taken_back_when_a_snapshot_is_not_told_of() {
    let house = House::new().await;
    house.server.set_tablespace_map(b"16384 /fast/ts\n");
    let tablespace = Tablespace { oid: 16384, name: "fast".to_owned(), location: "/fast/ts".into() };
    house.server.change(|facts| facts.tablespaces = vec![tablespace]);
    let backup = house.push(&house.request(1)).await.unwrap();
    house.provider().hide_volume("tablespace-16384");
    house.provider().refuse_next(ProviderCall::Delete, ProviderFault::InUse("clone".to_owned()));
    house.delete(&RetentionRule::Target(backup.sentinel.name.clone())).await.unwrap_err();
    assert!(house.contents().await.find(&backup.sentinel.name).unwrap().is_condemned, "one of its snapshots is gone");
}

#[tokio::test]
async fn a_backup_that_nobody_may_delete_can_still_be_restored() {
    let house = House::new().await;
    let backup = house.push(&house.request(1)).await.unwrap();
    house.provider().refuse_next(ProviderCall::Delete, ProviderFault::Denied("ec2:DeleteSnapshot".to_owned()));
    house.delete(&RetentionRule::Everything).await.unwrap_err();
    assert!(!house.contents().await.find(&backup.sentinel.name).unwrap().is_condemned, "nothing of it is gone");
    assert!(house.archived().await.contains("000000010000000000000003"));
}

#[tokio::test]
async fn what_a_provider_does_not_list_yet_is_undone_all_the_same() {
    let (house, other) = two_providers().await;
    other.list_late();
    house.provider().fail_next(ProviderCall::Create, ProviderFailure::Error(When::Before));
    house.push(&request(&house, 1)).await.unwrap_err();
    assert!(other.handles().is_empty(), "its answer named the set");
    house.assert_invariants("listed late").await;
}
