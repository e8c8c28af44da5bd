//! Copies that have yet to recover: what lies in its place needs no snapshot any more, and still needs its WAL.
//!
//! What could go wrong: a nightly rule takes the WAL from under a recovery that runs for hours; a copy that nobody needs keeps its
//! backup for ever; a store that may only be read restores nothing; a clone is made that no record tells of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stillframe_core::catalog::{Permanence, RECOVERY_TIME};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    Announcement, BackupSelector, DeleteError, FetchError, FetchReport, FetchRequest, ReleaseHosts, ReleaseRequest,
    RestoreSelector, snapshot_fetch, snapshot_release,
};
use stillframe_core::provider::Token;
use stillframe_core::retention::{PlanError, RetentionRule};
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{InjectedFault, WatchedStore, Watcher};

use crate::hooked_store::{Operation, hooked};
use crate::house::segment;
use crate::restore_elsewhere::{Process, Site};

const RETAIN_ONE: RetentionRule = RetentionRule::Retain { count: 1, after: None };

/// The backup of a site, copied into its place; and a newer one, with the WAL between them.
async fn copied() -> Site {
    let site = Site::restoring_in_place().await;
    site.fetch(&site.house.store).await.unwrap();
    site.house.archive(&(1..=60).filter(|number| ![10, 20].contains(number)).collect::<Vec<_>>()).await;
    site.house.backup_at(2, 20, Permanence::Ordinary).await;
    site
}

async fn is_listed(site: &Site) -> bool {
    site.house.contents().await.find(&site.backup.sentinel.name).is_some()
}

#[tokio::test]
async fn a_copy_keeps_its_backup_and_the_wal_behind_it_until_it_is_released() {
    for rule in [RETAIN_ONE, RetentionRule::Everything, RetentionRule::Garbage] {
        let site = copied().await;
        assert!(site.records().await.is_empty() && site.recoveries().await.len() == 1, "nothing of it needs releasing");
        site.house.delete(&rule).await.unwrap();
        let wal = site.house.archived().await;
        assert!(is_listed(&site).await && (10..=60).all(|number| wal.contains(&segment(number).to_string())), "{rule:?}");

        // While its server runs: nothing is taken from it.
        let server = Process::start(&site.path("new"));
        assert_eq!(site.release().await.unwrap().released.len(), 1);
        drop(server);
        assert!(site.recoveries().await.is_empty() && site.path("new").join("backup_label").exists());
        site.house.delete(&rule).await.unwrap();
        assert_eq!(is_listed(&site).await, rule == RetentionRule::Garbage, "{rule:?}");
        site.house.assert_invariants(&format!("{rule:?}")).await;
    }
}

#[tokio::test]
async fn a_backup_of_which_a_copy_recovers_is_not_deleted_by_name_either() {
    let site = copied().await;
    let rule = RetentionRule::Target(site.backup.sentinel.name.clone());
    let error = site.house.delete(&rule).await.unwrap_err();
    assert!(matches!(error, DeleteError::Plan(PlanError::Restored { .. })), "{error}");
    let destination = site.path("new").display().to_string();
    assert!(error.hint().unwrap().contains(&format!("`stillframe snapshot-release {destination}`")), "{error:?}");
    let by_token = RestoreSelector::Token(site.recoveries().await[0].token.clone());
    assert_eq!(site.release_of(by_token).await.unwrap().released.len(), 1);
    site.house.delete(&rule).await.unwrap();
    assert!(!is_listed(&site).await);
}

#[tokio::test]
async fn a_copy_is_recorded_before_the_record_of_its_restore_goes() {
    let site = Site::restoring_in_place().await;
    let seen = AtomicUsize::new(0);
    let look = async { seen.store(site.recoveries().await.len(), Ordering::Relaxed) };
    let store = hooked(&site.house.store, Operation::Delete, "/01234567-89abcdef-01234567-89abcdef.json", look);
    site.fetch(&store).await.unwrap();
    assert_eq!(seen.load(Ordering::Relaxed), 1, "a deletion in between takes the WAL otherwise");
    assert!(site.records().await.is_empty());
}

#[tokio::test]
async fn a_copy_that_nobody_releases_keeps_its_backup_for_a_week_and_its_record_goes_with_it() {
    let site = copied().await;
    site.house.clock.advance(RECOVERY_TIME.saturating_sub(Duration::from_secs(1)));
    site.house.delete(&RETAIN_ONE).await.unwrap();
    assert!(is_listed(&site).await);
    site.house.clock.advance(Duration::from_secs(1));
    site.house.delete(&RETAIN_ONE).await.unwrap();
    assert!(!is_listed(&site).await && site.recoveries().await.is_empty());
}

#[tokio::test]
async fn what_is_copied_or_mounted_in_the_place_of_a_copy_takes_its_record_over() {
    let site = copied().await;
    let first = site.recoveries().await[0].token.clone();
    // What lies there by now is taken as mounted.
    let mut request = site.request();
    request.selector = BackupSelector::Named(site.backup.sentinel.name.clone());
    request.token = Token("fedcba9876543210fedcba9876543210".to_owned());
    snapshot_fetch(&site.house.ports(&site.house.store), &request, std::future::pending()).await.unwrap();
    let copies = site.recoveries().await;
    assert!(copies.len() == 1 && copies[0].token == request.token && request.token != first, "{copies:?}");
}

#[tokio::test]
async fn a_record_of_a_copy_that_cannot_be_read_stops_every_deletion() {
    let site = copied().await;
    let key = Key::parse("main/recoveries_001/01234567-89abcdef-01234567-89abcdef.json").unwrap();
    assert!(site.house.store.get(&key).await.unwrap().is_some());
    site.house.store.put(&key, bytes::Bytes::from_static(b"{")).await.unwrap();
    for rule in [RETAIN_ONE, RetentionRule::Everything] {
        let error = site.house.delete(&rule).await.unwrap_err();
        assert!(error.to_string().contains(key.as_str()), "{error}");
    }
    assert!(site.release().await.unwrap_err().to_string().contains(key.as_str()));
}

#[tokio::test]
async fn the_copy_of_another_host_is_released_from_here_only_when_that_host_is_gone() {
    let site = copied().await;
    let request =
        |hosts| ReleaseRequest { restore: RestoreSelector::Destination(site.path("new")), hostname: "db9".to_owned(), hosts };
    let ports = site.house.ports(&site.house.store);
    assert!(snapshot_release(&ports, &request(ReleaseHosts::This)).await.is_err() && site.recoveries().await.len() == 1);
    snapshot_release(&ports, &request(ReleaseHosts::Any)).await.unwrap();
    assert!(site.recoveries().await.is_empty());
}

/// Refuses every write, as a store does that may only be read.
struct ReadOnly;

#[async_trait]
impl Watcher for ReadOnly {
    async fn before(&self, operation: Operation, _target: &str) -> Result<(), InjectedFault> {
        let is_read = matches!(operation, Operation::Get | Operation::Head | Operation::List);
        if is_read { Ok(()) } else { Err(InjectedFault) }
    }
}

async fn fetch_read_only(site: &Site, announcement: Announcement) -> Result<FetchReport, FetchError> {
    let store = WatchedStore::new(&site.house.store, ReadOnly);
    let request = FetchRequest { announcement, ..site.request() };
    snapshot_fetch(&site.house.ports(&store), &request, std::future::pending()).await
}

#[tokio::test]
async fn a_copy_is_made_from_a_store_that_may_only_be_read_and_nothing_is_written() {
    let site = Site::restoring_in_place().await;
    let before = site.house.store.snapshot();
    assert!(fetch_read_only(&site, Announcement::Required).await.is_err() && !site.path("new").join("backup_label").exists());
    let report = fetch_read_only(&site, Announcement::Renounced).await.unwrap();
    assert!(report.restore.is_none() && report.recovery.is_none() && site.path("new").join("backup_label").exists());
    assert_eq!(site.house.store.snapshot(), before);
}

#[tokio::test]
async fn what_must_be_released_one_day_is_never_made_without_a_record() {
    for may_write in [false, true] {
        let site = Site::new().await;
        let error = if may_write {
            let request = FetchRequest { announcement: Announcement::Renounced, ..site.request() };
            snapshot_fetch(&site.house.ports(&site.house.store), &request, std::future::pending()).await.unwrap_err()
        } else {
            fetch_read_only(&site, Announcement::Renounced).await.unwrap_err()
        };
        assert!(matches!(error, FetchError::NeedsRecord(_)) && error.class() == ErrorClass::Refused, "{error}");
        assert!(error.hint().unwrap().contains("--unannounced"), "{error}");
        site.assert_nothing(&format!("may write: {may_write}")).await;
        assert!(site.recoveries().await.is_empty() && !site.path("new").exists());
    }
}
