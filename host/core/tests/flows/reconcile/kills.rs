//! A failure or a kill at every effect: of the backup that leaves something, and of `reconcile` itself.

use std::collections::BTreeSet;

use bytes::Bytes;
use stillframe_core::catalog::{BackupName, Catalog, Permanence};
use stillframe_core::flows::{Action, Case, Deed, Outcome, ReconcileError};
use stillframe_core::store::Store;
use stillframe_core::testing::{FaultyStore, ProviderCall, ProviderFailure, WatchedStore, When};

use super::{
    Pausing, apply, archive_history, backup, kill_push, killed_push, later, lose_records, now, plan, reconcile, record, server_at,
    summary,
};
use crate::hooked_store::unreadable;
use crate::house::{House, handles_of, unsealed};
use crate::snapshot_push::AtPoll;

#[tokio::test]
async fn after_a_kill_of_a_push_at_any_moment_no_snapshot_is_left_without_a_backup() {
    for has_stopped in [false, true] {
        let mut finished = 0;
        for moment in 0..2_000 {
            let house = House::new().await;
            let push = house.request(1);
            if has_stopped {
                archive_history(&house, &push.name, 3).await;
            }
            let has_ended = kill_push(&house, &push, moment).await;
            // It may still run: nothing of it is touched.
            let (before, handles) = (house.store.snapshot(), house.handles());
            assert!(plan(&house).await.actions().next().is_none(), "moment {moment}");
            assert!(reconcile(&house).await.deeds.is_empty());
            assert_eq!((house.store.snapshot(), house.handles()), (before, handles));

            later(&house);
            let report = reconcile(&house).await;
            let is_finish = |deed: &&Deed| matches!(deed.finding.action(), Some(Action::Finish(_)));
            finished += report.deeds.iter().filter(is_finish).count();
            let contents = house.contents().await;
            house.assert_invariants(&format!("killed at moment {moment}")).await;
            assert!(contents.intents.is_empty() && contents.stale_intents.is_empty(), "moment {moment}");
            let published: Vec<String> = contents.backups.iter().flat_map(handles_of).collect();
            assert_eq!(house.handles(), published.into_iter().collect(), "0 orphans: moment {moment}");
            assert!(plan(&house).await.findings.is_empty(), "moment {moment}");
            if has_ended {
                assert!(moment > 5);
                break;
            }
        }
        assert_eq!(finished > 1, has_stopped, "what is whole is finished, and nothing else");
    }
}

/// A house in which every action has something to do; the names of what shall be left in the end.
async fn house_of_leftovers() -> (House, BTreeSet<BackupName>) {
    let house = House::new().await;
    let sound = backup(&house, 1, 3).await.sentinel.name;
    // Condemned.
    let condemned = backup(&house, 2, 4).await.sentinel.name;
    let catalog = Catalog::new(&house.store, &house.layout);
    let _created = catalog.condemn(&condemned, now(&house)).await.unwrap();
    // Lost its records, and can be adopted.
    let lost = backup(&house, 3, 5).await.sentinel.name;
    lose_records(&house, &lost).await;
    // Lost its records, and is no backup: where it stopped is not in the archive.
    let orphan = house.backup_at(4, 6, Permanence::Ordinary).await.sentinel.name;
    lose_records(&house, &orphan).await;
    // A mark of a deletion.
    let _created = catalog.condemn(&house.request(5).name, now(&house)).await.unwrap();
    // An intent beside its sentinel.
    let stale = backup(&house, 6, 7).await.sentinel.name;
    server_at(&house, 9).await;
    let whole = killed_push(&house, 7).await;
    let intent = house.store.get(&record(&whole, "intent")).await.unwrap().unwrap();
    let forged = unsealed(&intent).replace(whole.as_str(), stale.as_str());
    house.store.put(&record(&stale, "intent"), Bytes::from(forged)).await.unwrap();
    // Interrupted, whole, and to be finished.
    archive_history(&house, &whole, 9).await;
    // Interrupted, and to be undone.
    server_at(&house, 8).await;
    killed_push(&house, 8).await;
    later(&house);
    (house, BTreeSet::from([sound, lost, stale, whole]))
}

async fn assert_settled(house: &House, left: &BTreeSet<BackupName>, situation: &str) {
    house.assert_invariants(situation).await;
    let contents = house.contents().await;
    let names: BTreeSet<BackupName> = contents.backups.iter().map(|backup| backup.sentinel.name.clone()).collect();
    assert_eq!(&names, left, "{situation}");
    assert!(contents.backups.iter().all(|backup| !backup.is_condemned), "{situation}");
    assert!(contents.intents.is_empty() && contents.stale_intents.is_empty() && contents.remnants.is_empty(), "{situation}");
    let published: BTreeSet<String> = contents.backups.iter().flat_map(handles_of).collect();
    assert_eq!(house.handles(), published, "0 orphans: {situation}");
    assert!(plan(house).await.findings.is_empty(), "{situation}");
}

#[tokio::test]
async fn everything_is_found_first_and_then_settled_and_nothing_twice() {
    let (house, left) = house_of_leftovers().await;
    let before = (house.store.snapshot(), house.handles());
    let calls_before = house.provider().calls().len();
    let shown = plan(&house).await;
    let expected = [
        (Case::Unpublished, Some("adopt")),
        (Case::Unpublished, Some("delete")),
        (Case::Interrupted, Some("finish")),
        (Case::Interrupted, Some("undo")),
        (Case::Condemned, Some("finish-deletion")),
        (Case::Remnant, Some("forget")),
        (Case::StaleIntent, Some("remove-intent")),
    ];
    assert_eq!(summary(&shown), expected);
    assert!(shown.findings.iter().all(|finding| !finding.reason.is_empty()));
    assert_eq!(shown.findings[1].size_bytes, Some(1));
    assert_eq!((house.store.snapshot(), house.handles()), before, "dry_run_touches_nothing");
    let calls = house.provider().calls().split_off(calls_before);
    let is_question = |call: &ProviderCall| matches!(call, ProviderCall::List | ProviderCall::Get);
    assert!(calls.iter().all(is_question), "dry_run_touches_nothing: {calls:?}");
    reconcile(&house).await;
    assert_settled(&house, &left, "settled").await;
    let settled = (house.store.snapshot(), house.handles());
    assert!(reconcile(&house).await.deeds.is_empty());
    assert_eq!((house.store.snapshot(), house.handles()), settled);
}

#[tokio::test]
async fn a_write_that_fails_at_any_place_is_made_good_by_the_next_run() {
    for number in 0.. {
        let mut writes = 0;
        for when in [When::Before, When::After] {
            let (house, left) = house_of_leftovers().await;
            let shown = plan(&house).await;
            let store = FaultyStore::new(&house.store, Some((number, when)));
            let _failed = apply(&house, &store, &shown).await;
            writes = store.writes();
            let situation = format!("write {number} failed {when:?}");
            house.contents().await.complete().unwrap_or_else(|error| panic!("{situation}: {error}"));
            later(&house);
            reconcile(&house).await;
            assert_settled(&house, &left, &situation).await;
        }
        if writes <= number {
            return assert!(number > 15);
        }
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_is_made_good_by_the_next_run() {
    for moment in 0..5_000 {
        let (house, left) = house_of_leftovers().await;
        let shown = plan(&house).await;
        let store = WatchedStore::new(&house.store, Pausing);
        let has_ended = tokio::select! {
            biased;
            () = AtPoll(moment) => false,
            report = apply(&house, &store, &shown) => report.stopped.is_none(),
        };
        assert_published_is_there(&house, &format!("killed at moment {moment}")).await;
        later(&house);
        reconcile(&house).await;
        assert_settled(&house, &left, &format!("killed at moment {moment}")).await;
        if has_ended {
            return;
        }
    }
    panic!("it never came to its end");
}

#[tokio::test]
async fn a_provider_that_fails_once_at_any_call_costs_nothing() {
    let calls = [ProviderCall::List, ProviderCall::Get, ProviderCall::Delete];
    for call in calls {
        for failure in [ProviderFailure::Error(When::Before), ProviderFailure::Error(When::After)] {
            let (house, left) = house_of_leftovers().await;
            let shown = plan(&house).await;
            house.provider().fail_next(call, failure);
            let _failed = apply(&house, &house.store, &shown).await;
            assert_published_is_there(&house, &format!("{call:?} {failure:?}")).await;
            later(&house);
            reconcile(&house).await;
            assert_settled(&house, &left, &format!("{call:?} {failure:?}")).await;
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_or_asked_when_it_is_to_be_done_makes_no_success() {
    let (house, left) = house_of_leftovers().await;
    let shown = plan(&house).await;
    let store = unreadable(&house.store, "sentinel.json");
    let report = apply(&house, &store, &shown).await;
    assert!(report.deeds.iter().any(|deed| matches!(deed.outcome, Ok(Outcome::Changed))), "{report:?}");
    let error = report.into_result().unwrap_err();
    assert!(matches!(error, ReconcileError::Unreadable { .. }), "{error}");

    let shown = plan(&house).await;
    house.provider().fail_next(ProviderCall::List, ProviderFailure::Error(When::Before));
    let error = apply(&house, &house.store, &shown).await.into_result().unwrap_err();
    assert!(matches!(error, ReconcileError::Unknown { count: 1, .. }), "{error}");
    reconcile(&house).await;
    assert_settled(&house, &left, "asked again").await;
}

/// A backup that is listed is there.
async fn assert_published_is_there(house: &House, situation: &str) {
    let contents = house.contents().await;
    let published: BTreeSet<String> = contents.backups.iter().filter(|backup| !backup.is_condemned).flat_map(handles_of).collect();
    assert!(published.is_subset(&house.handles()), "sentinel_names_existing_snapshots: {situation}");
}
