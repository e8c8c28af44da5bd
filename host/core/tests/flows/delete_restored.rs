//! Deletions beside restores: what is restored somewhere stays, with its WAL, until it is released.
//!
//! What could go wrong: a clone whose snapshot goes from under it; a recovery whose WAL goes before it has replayed it; a restore and a
//! deletion that each take themselves for the only one; a record that nobody can read and that hides a restore.

use std::collections::BTreeSet;

use bytes::Bytes;
use stillframe_core::catalog::{Catalog, Permanence, RestoreRecord, Restores};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{DeleteError, apply_delete, plan_delete};
use stillframe_core::provider::{Provider, Token};
use stillframe_core::retention::{Cutoff, KeepReason, PlanError, Reason, RetentionRule};
use stillframe_core::store::{Key, Store};

use crate::hooked_store::{Operation, hooked};
use crate::house::{House, lease_request, segment};
use crate::restore_elsewhere::Site;

const RETAIN_ONE: RetentionRule = RetentionRule::Retain { count: 1, after: None };

/// The backup of a site, restored; and a newer one, with the WAL between them.
async fn restored() -> Site {
    let site = Site::new().await;
    site.fetch(&site.house.store).await.unwrap();
    add_newer(&site.house).await;
    site
}

async fn add_newer(house: &House) {
    house.archive(&(1..=60).filter(|number| ![10, 20].contains(number)).collect::<Vec<_>>()).await;
    house.backup_at(2, 20, Permanence::Ordinary).await;
}

fn segments(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<String> {
    numbers.into_iter().map(|number| segment(number).to_string()).collect()
}

/// What a restore that was killed before the provider answered leaves.
fn unanswered(site: &Site) -> RestoreRecord {
    RestoreRecord {
        token: Token("fedcba9876543210fedcba9876543210".to_owned()),
        backup: site.backup.sentinel.name.clone(),
        hostname: "db3".to_owned(),
        destination: "/srv/restored".into(),
        begun_at: "2026-11-21T08:32:14.123Z".parse().unwrap(),
        parts: Vec::new(),
    }
}

async fn announce(site: &Site) {
    Restores::new(&site.house.store, &site.house.layout).announce(&unanswered(site)).await.unwrap();
}

#[tokio::test]
async fn a_restored_backup_stays_whatever_the_rule_and_goes_after_its_release() {
    for number in 0..3 {
        let site = restored().await;
        let newer = site.house.contents().await.backups[1].sentinel.name.clone();
        let rules = [RETAIN_ONE, RetentionRule::Before(Cutoff::Backup(newer)), RetentionRule::Everything];
        let rule = rules[number].clone();
        let name = site.backup.sentinel.name.clone();
        let plan = plan_delete(&site.house.ports(&site.house.store), &rule).await.unwrap();
        let decision = plan.backups.iter().find(|decision| decision.backup.sentinel.name == name).unwrap();
        let Reason::Keep(KeepReason::Restored(place)) = &decision.reason else { panic!("{rule:?}: {:?}", decision.reason) };
        assert_eq!((&place.destination, place.hostname.as_str()), (&site.path("new"), "db2"), "{rule:?}");

        site.house.delete(&rule).await.unwrap();
        let contents = site.house.contents().await;
        let kept = contents.find(&name).expect("it stays");
        assert!(!kept.is_condemned && site.house.handles().contains(&crate::house::handle_of(kept)), "{rule:?}");
        // It may still replay all of it.
        assert!(site.house.archived().await.is_superset(&segments(10..=60)), "protected_wal_present: {rule:?}");

        site.release().await.unwrap();
        site.house.delete(&rule).await.unwrap();
        assert!(site.house.contents().await.find(&name).is_none(), "{rule:?}");
        site.house.assert_invariants(&format!("{rule:?}")).await;
    }
}

#[tokio::test]
async fn a_restored_backup_is_not_deleted_by_name_either_and_the_hint_says_how_it_ends() {
    let site = restored().await;
    let rule = RetentionRule::Target(site.backup.sentinel.name.clone());
    let before = site.house.store.snapshot();
    let error = site.house.delete(&rule).await.unwrap_err();
    assert!(matches!(error, DeleteError::Plan(PlanError::Restored { .. })) && error.class() == ErrorClass::Refused, "{error}");
    let (said, hint) = (error.to_string(), error.hint().unwrap());
    let destination = site.path("new").display().to_string();
    assert!(said.contains(&destination) && said.contains("since 20"), "{said}");
    assert!(hint.contains(&format!("`stillframe snapshot-release {destination}`")) && hint.contains("`db2`"), "{hint}");
    assert_eq!(site.house.store.snapshot(), before, "nothing has changed");
    site.release().await.unwrap();
    site.house.delete(&rule).await.unwrap();
    assert_eq!(site.house.handles().len(), 1);
}

#[tokio::test]
async fn a_restore_that_was_killed_before_the_provider_answered_keeps_its_backup() {
    let site = Site::new().await;
    add_newer(&site.house).await;
    announce(&site).await;
    site.house.delete(&RETAIN_ONE).await.unwrap();
    assert_eq!(site.house.contents().await.backups.len(), 2);
    let plan = plan_delete(&site.house.ports(&site.house.store), &RETAIN_ONE).await.unwrap();
    assert_eq!(
        plan.backups[0].reason.to_string(),
        "restored to `/srv/restored` on `db3` since 2026-11-21T08:32:14Z; release it first"
    );
}

#[tokio::test]
async fn a_record_of_a_restore_that_cannot_be_read_stops_every_deletion() {
    let site = Site::new().await;
    add_newer(&site.house).await;
    let key = Key::parse("main/restores_001/0123456789abcdef0123456789abcdef.json").unwrap();
    site.house.store.put(&key, Bytes::from_static(b"{")).await.unwrap();
    let before = site.house.store.snapshot();
    for rule in [RETAIN_ONE, RetentionRule::Everything, RetentionRule::Garbage] {
        let error = site.house.delete(&rule).await.unwrap_err();
        assert!(error.to_string().contains(key.as_str()), "{error}");
    }
    assert_eq!(site.house.store.snapshot(), before, "fails closed");
}

#[tokio::test]
async fn a_backup_that_is_restored_after_the_plan_stays() {
    let site = Site::new().await;
    let ports = site.house.ports(&site.house.store);
    let plan = plan_delete(&ports, &RetentionRule::Everything).await.unwrap();
    site.fetch(&site.house.store).await.unwrap();
    let report = apply_delete(&ports, &RetentionRule::Everything, &plan, &lease_request("delete")).await;
    assert_eq!(report.spared, std::slice::from_ref(&site.backup.sentinel.name));
    assert!(report.failures.is_empty() && site.house.handles().len() == 1);
}

#[tokio::test]
async fn a_restore_that_is_announced_while_its_backup_is_condemned_is_seen() {
    let site = Site::new().await;
    let plan = plan_delete(&site.house.ports(&site.house.store), &RetentionRule::Everything).await.unwrap();
    // After the last look at the records, and before the first thing that the restore could see.
    let store = hooked(&site.house.store, Operation::PutIfAbsent, "/condemned.json", announce(&site));
    let report = apply_delete(&site.house.ports(&store), &RetentionRule::Everything, &plan, &lease_request("delete")).await;
    assert_eq!(report.spared, std::slice::from_ref(&site.backup.sentinel.name));
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let contents = site.house.contents().await;
    assert!(!contents.find(&site.backup.sentinel.name).unwrap().is_condemned, "the condemnation is taken back");
    assert_eq!(site.house.handles().len(), 1, "no provider was asked to delete");
}

#[tokio::test]
async fn a_deletion_that_had_begun_is_finished_whatever_is_recorded() {
    let site = Site::new().await;
    let name = site.backup.sentinel.name.clone();
    // Its snapshot is gone already, by a deletion that was interrupted; a killed restore has left its record.
    let _condemned =
        Catalog::new(&site.house.store, &site.house.layout).condemn(&name, crate::house::start_of_time()).await.unwrap();
    let _gone = site.house.provider().delete(&crate::house::handle_of(&site.backup)).await.unwrap();
    announce(&site).await;
    site.house.delete(&RetentionRule::Garbage).await.unwrap();
    assert!(site.house.contents().await.find(&name).is_none());
}
