//! Races: what happens on other hosts between two looks, and behind clocks that are off.

use std::collections::BTreeSet;
use std::time::Duration;

use stillframe_core::catalog::{Catalog, Permanence};
use stillframe_core::flows::{
    Case, Outcome, Ports, ReconcileError, ReconcileRequest, apply_reconcile, plan_reconcile, snapshot_push,
};
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::Store;
use stillframe_core::testing::ManualClock;

use super::{apply, archive_history, backup, kill_push, lose_records, now, plan, record, request, summary};
use crate::hooked_store::{Operation, hooked_at};
use crate::house::{House, handle_of, lease_request};

#[tokio::test]
async fn a_backup_that_begins_and_ends_between_two_looks_is_no_finding() {
    for nth in 1..=2 {
        let house = House::new().await;
        backup(&house, 1, 3).await;
        let pushing = async { drop(house.push(&house.request(2)).await.unwrap()) };
        let store = hooked_at(&house.store, Operation::List, nth, "snapshots_001/", pushing);
        let plan = plan_reconcile(&house.ports(&store), &request(&house)).await.unwrap();
        assert_eq!(summary(&plan), [], "before look {nth}");
        assert_eq!(house.contents().await.backups.len(), 2);
    }
}

#[tokio::test]
async fn a_backup_that_is_deleted_between_two_looks_is_not_missing() {
    let house = House::new().await;
    let old = backup(&house, 1, 3).await;
    backup(&house, 2, 4).await;
    let rule = RetentionRule::Target(old.sentinel.name.clone());
    let deleting = async { drop(house.delete(&rule).await.unwrap()) };
    // After the records were listed for the second time, the first one that is read.
    let store = hooked_at(&house.store, Operation::List, 1, "restores_001/", deleting);
    let plan = plan_reconcile(&house.ports(&store), &request(&house)).await.unwrap();
    assert!(plan.findings.iter().all(|finding| !finding.is_loss()), "{plan:?}");
}

#[tokio::test]
async fn what_came_into_a_record_after_it_was_shown_is_left_alone() {
    let house = House::new().await;
    let orphan = house.backup_at(1, 3, Permanence::Ordinary).await;
    let name = orphan.sentinel.name.clone();
    let intent = house.store.get(&record(&name, "sentinel")).await.unwrap().unwrap();
    lose_records(&house, &name).await;
    let shown = plan(&house).await;
    assert_eq!(summary(&shown), [(Case::Unpublished, Some("delete"))]);
    // Restored from a copy of the store, at the last moment: after the last plan, before the deletion.
    let restoring = async { house.store.put(&record(&name, "sentinel"), intent).await.unwrap() };
    let store = hooked_at(&house.store, Operation::Head, 1, "intent.json", restoring);
    let report = apply(&house, &store, &shown).await;
    assert_eq!(report.deeds[0].outcome.as_ref().unwrap(), &Outcome::Changed, "{report:?}");
    assert_eq!(house.handles(), BTreeSet::from([handle_of(&orphan)]));
    // And so is what is another case by the time that the lease is there.
    let report = apply(&house, &house.store, &shown).await;
    assert_eq!(report.deeds[0].outcome.as_ref().unwrap(), &Outcome::Changed);
}

#[tokio::test]
async fn a_deletion_that_was_taken_back_after_it_was_shown_is_not_finished() {
    let house = House::new().await;
    let name = backup(&house, 1, 3).await.sentinel.name;
    let catalog = Catalog::new(&house.store, &house.layout);
    let _created = catalog.condemn(&name, now(&house)).await.unwrap();
    let shown = plan(&house).await;
    assert_eq!(summary(&shown), [(Case::Condemned, Some("finish-deletion"))]);
    catalog.pardon(&name).await.unwrap();
    let report = apply(&house, &house.store, &shown).await;
    assert_eq!(report.deeds[0].outcome.as_ref().unwrap(), &Outcome::Changed, "{report:?}");
    assert!(house.contents().await.find(&name).is_some_and(|backup| !backup.is_condemned));
    assert_eq!(house.handles().len(), 1, "its snapshot is there");
}

/// Behind a clock that is off by two days, `reconcile` finishes a backup that still runs.
#[tokio::test]
async fn a_backup_that_was_finished_by_another_host_meanwhile_is_not_undone_by_its_own() {
    let house = House::new().await;
    let push = house.request(1);
    archive_history(&house, &push.name, 3).await;
    let finishing = async {
        let clock = ManualClock::new(now(&house));
        clock.advance(Duration::from_hours(48));
        let ports = Ports { clock: &clock, ..house.ports(&house.store) };
        let shown = plan_reconcile(&ports, &request(&house)).await.unwrap();
        assert_eq!(summary(&shown), [(Case::Interrupted, Some("finish"))]);
        let report = apply_reconcile(&ports, &request(&house), &shown, &lease_request("reconcile")).await;
        assert_eq!(report.deeds[0].outcome.as_ref().unwrap(), &Outcome::Done, "{report:?}");
    };
    // Just before it writes its sentinel.
    let store = hooked_at(&house.store, Operation::Head, 1, "condemned.json", finishing);
    let result = snapshot_push(&house.ports(&store), house.server(), &push, std::future::pending()).await;
    result.unwrap_err();
    house.assert_invariants("finished by another host").await;
    assert_eq!(house.contents().await.backups.len(), 1, "the backup is there");
    assert_eq!(house.handles().len(), 1, "and so is its snapshot");
}

#[tokio::test]
async fn of_a_process_that_has_just_ended_what_may_still_come_is_waited_for() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let ended = child.id();
    child.wait().unwrap();
    let house = House::new().await;
    let space = Some("here".to_owned());
    let mut push = house.request(1);
    push.lease.process_space = space.clone();
    push.lease.process_id = ended;
    let here = ReconcileRequest { process_space: space, ..request(&house) };
    for moment in 0.. {
        kill_push(&house, &push, moment).await;
        let contents = house.contents().await;
        let ports = house.ports(&house.store);
        let plan = plan_reconcile(&ports, &here).await.unwrap();
        let seen = plan_reconcile(&ports, &request(&house)).await.unwrap();
        if contents.intents.is_empty() {
            continue;
        }
        assert_eq!(summary(&seen), [(Case::Running, None)], "from elsewhere it cannot be seen that it ended");
        if house.handles().is_empty() {
            assert_eq!(summary(&plan), [(Case::Interrupted, None)], "moment {moment}");
            house.store.delete(&record(&push.name, "intent")).await.unwrap();
            continue;
        }
        assert_eq!(summary(&plan), [(Case::Interrupted, Some("undo"))], "moment {moment}");
        return;
    }
}

#[tokio::test]
async fn an_adoption_publishes_nothing_whose_snapshot_has_gone_since() {
    let house = House::new().await;
    let taken = backup(&house, 1, 3).await;
    lose_records(&house, &taken.sentinel.name).await;
    let shown = plan(&house).await;
    let losing = async { house.provider().lose(&handle_of(&taken)) };
    // After its intent is there: the first question for this record is the one before it.
    let store = hooked_at(&house.store, Operation::PutIfAbsent, 1, "intent.json", losing);
    let report = apply(&house, &store, &shown).await;
    assert!(matches!(report.deeds[0].outcome, Err(ReconcileError::NotReady { .. })), "{report:?}");
    let contents = house.contents().await;
    assert!(contents.backups.is_empty() && contents.intents.is_empty(), "{contents:?}");
}
