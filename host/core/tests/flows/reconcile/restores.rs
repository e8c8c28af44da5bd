//! Restores in `reconcile`: what a kill has left is told with its age and its bytes, and only people release it.

use std::time::Duration;

use bytes::Bytes;
use stillframe_core::catalog::{RestoreRecord, Restores};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{Case, Discrepancy, ReconcilePlan, ReconcileRequest, Remedy, RestoreSelector, plan_reconcile};
use stillframe_core::provider::ProviderFault;
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{ProviderCall, ProviderFailure, When};

use super::request;
use crate::house::handle_of;
use crate::restore_elsewhere::Site;

/// Older than a restore may be before anything about it is strange.
const LONG: Duration = Duration::from_mins(61);

/// Looks from the host of the restores.
async fn plan(site: &Site) -> ReconcilePlan {
    plan_from(site, "db2").await
}

async fn plan_from(site: &Site, hostname: &str) -> ReconcilePlan {
    let request = ReconcileRequest { hostname: hostname.to_owned(), ..request(&site.house) };
    plan_reconcile(&site.house.ports(&site.house.store), &request).await.unwrap()
}

/// The only finding, which is about a restore and offers nothing that `--confirm` would do.
fn only(plan: &ReconcilePlan) -> &Discrepancy {
    let [found] = &plan.findings[..] else { panic!("{:?}", plan.findings) };
    assert_eq!((found.case, found.action()), (Case::Restore, None), "{found:?}");
    found
}

/// A restore whose process is killed before or after the provider has done it; nobody has heard so.
async fn killed(site: &Site, when: When) {
    site.house.provider().fail_next(ProviderCall::Restore, ProviderFailure::Hang(when));
    let called = async {
        while !site.house.provider().calls().contains(&ProviderCall::Restore) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = called => {}
        result = site.fetch(&site.house.store) => panic!("{result:?}"),
    }
}

#[tokio::test]
async fn a_restore_whose_process_was_killed_is_told_and_stays_until_somebody_releases_it() {
    for when in [When::Before, When::After] {
        let site = Site::new().await;
        killed(&site, when).await;
        let record = site.records().await.remove(0);
        assert_eq!(plan(&site).await.findings, [], "{when:?}: it may be under way");

        site.house.clock.advance(LONG);
        let shown = plan(&site).await;
        let found = only(&shown);
        assert_eq!(found.reason, "it was interrupted", "{when:?}");
        assert_eq!((found.since, &found.subject), (Some(record.begun_at), &site.path("new").display().to_string()));
        assert_eq!(found.size_bytes, Some(2), "{when:?}: of the data and of the tablespace in the snapshot that it uses");
        assert_eq!(found.providers, [crate::house::provider_name()]);
        let Remedy::Decide(advice) = &found.remedy else { panic!("{found:?}") };
        assert!(advice.contains(&format!("`stillframe snapshot-release {}` on `db2`", record.token.0)), "{advice}");

        let (before, restored) = (site.house.store.snapshot(), site.house.provider().active_restores());
        assert!(super::reconcile(&site.house).await.deeds.is_empty());
        assert_eq!((site.house.store.snapshot(), site.house.provider().active_restores()), (before, restored), "{when:?}");
        assert!(shown.into_result().is_ok(), "nothing is lost by it");

        site.release_of(RestoreSelector::Token(record.token)).await.unwrap();
        site.assert_nothing(&format!("{when:?}")).await;
        assert_eq!(plan(&site).await.findings, [], "{when:?}");
    }
}

/// Restores, and lets so much time pass that nothing about it can be under way.
async fn restored() -> (Site, RestoreRecord) {
    let site = Site::new().await;
    site.fetch(&site.house.store).await.unwrap();
    site.house.clock.advance(LONG);
    let record = site.records().await.remove(0);
    (site, record)
}

#[tokio::test]
async fn a_restore_that_somebody_may_use_is_nothing_to_report_and_one_whose_place_is_gone_is() {
    let (site, _) = restored().await;
    assert_eq!(plan(&site).await.findings, [], "it is where it was put");
    std::fs::remove_file(site.path("new")).unwrap();
    assert_eq!(only(&plan(&site).await).reason, format!("`{}` does not exist any more", site.path("new").display()));
    assert_eq!(plan_from(&site, "db1").await.findings, [], "what exists on another host cannot be seen from here");
}

#[tokio::test]
async fn a_restore_whose_backup_is_gone_is_told_unless_records_cannot_be_read() {
    let (site, record) = restored().await;
    let name = &site.backup.sentinel.name;
    super::lose_records(&site.house, name).await;
    site.house.provider().lose(&handle_of(&site.backup));
    let shown = plan(&site).await;
    let found = only(&shown);
    assert_eq!((&found.reason, found.size_bytes), (&format!("its backup `{name}` is gone"), None));
    site.house.store.put(&super::record(name, "sentinel"), Bytes::from_static(b"{")).await.unwrap();
    let shown = plan(&site).await;
    assert!(shown.findings.iter().all(|found| found.case != Case::Restore), "{shown:?}");
    assert_eq!(site.records().await, [record]);
}

/// No provider lists its restores: what keeps the backup is that its storage refuses.
#[tokio::test]
async fn a_restore_whose_record_was_lost_keeps_its_snapshot_and_the_refusal_names_it() {
    let (site, record) = restored().await;
    Restores::new(&site.house.store, &site.house.layout).remove(&record).await.unwrap();
    assert_eq!(plan(&site).await.findings, []);
    let error = site.house.delete(&RetentionRule::Target(site.backup.sentinel.name.clone())).await.unwrap_err();
    assert!(error.class() == ErrorClass::Refused && format!("{error:?}").contains(&record.token.0), "{error:?}");
    let contents = site.house.contents().await;
    assert!(contents.find(&site.backup.sentinel.name).is_some_and(|backup| !backup.is_condemned), "it is as good as before");
    assert_eq!(site.house.handles().len(), 1);
    // Nor does an interrupted deletion end otherwise, nor `reconcile` that would finish it.
    site.house.provider().refuse_next(ProviderCall::Delete, ProviderFault::Unauthenticated("expired".to_owned()));
    site.house.delete(&RetentionRule::Everything).await.unwrap_err();
    site.house.assert_invariants("refused").await;
    assert_eq!(site.house.provider().active_restores().len(), 1);
}

#[tokio::test]
async fn a_record_of_a_restore_that_cannot_be_read_is_told_and_hides_no_other() {
    let (site, _) = restored().await;
    let key = Key::parse("main/restores_001/fedcba9876543210fedcba9876543210.json").unwrap();
    site.house.store.put(&key, Bytes::from_static(b"{")).await.unwrap();
    std::fs::remove_file(site.path("new")).unwrap();
    let cases: Vec<Case> = plan(&site).await.findings.iter().map(|found| found.case).collect();
    assert_eq!(cases, [Case::Unreadable, Case::Restore]);
}
