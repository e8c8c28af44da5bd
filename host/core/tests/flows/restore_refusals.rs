//! Restores and releases that must not happen, or not to somebody else's data, on fakes with real directories.
//!
//! What could go wrong: a backup is restored while it is deleted; two people restore to one place; a link that the operator made is
//! lost; a release finds nothing where there is something, or takes a volume from under the server of another host.

use std::os::unix::fs::symlink;
use std::path::Path;

use async_trait::async_trait;
use stillframe_core::catalog::{Catalog, RestoreRecord, Restores};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    FetchError, FetchRequest, ReleaseError, ReleaseHosts, ReleaseReport, ReleaseRequest, RestoreSelector, snapshot_fetch,
    snapshot_release,
};
use stillframe_core::provider::Token;
use stillframe_core::store::PutOutcome;
use stillframe_core::testing::{InjectedFault, Operation, ProviderCall, WatchedStore, Watcher};

use crate::house::start_of_time;
use crate::restore_elsewhere::{Process, Site};

/// What somebody else does just before a restore is recorded.
enum Meanwhile {
    BackupIsCondemned,
    AnotherRestores(Box<RestoreRecord>),
}

struct Others<'a> {
    site: &'a Site,
    at: Operation,
    act: Meanwhile,
}

#[async_trait]
impl Watcher for Others<'_> {
    async fn before(&self, operation: Operation, target: &str) -> Result<(), InjectedFault> {
        if operation == self.at && target.contains("restores_001") {
            let house = &self.site.house;
            match &self.act {
                Meanwhile::BackupIsCondemned => {
                    let catalog = Catalog::new(&house.store, &house.layout);
                    let _: PutOutcome = catalog.condemn(&self.site.backup.sentinel.name, start_of_time()).await.unwrap();
                }
                Meanwhile::AnotherRestores(record) => Restores::new(&house.store, &house.layout).announce(record).await.unwrap(),
            }
        }
        Ok(())
    }
}

async fn fetch(site: &Site, at: Operation, act: Meanwhile) -> Result<(), FetchError> {
    let store = WatchedStore::new(&site.house.store, Others { site, at, act });
    snapshot_fetch(&site.house.ports(&store), &site.request(), std::future::pending()).await.map(drop)
}

#[tokio::test]
async fn a_backup_that_is_deleted_while_it_is_restored_is_no_restore() {
    for (at, restores) in [(Operation::PutIfAbsent, 0), (Operation::Put, 1)] {
        let site = Site::new().await;
        let error = fetch(&site, at, Meanwhile::BackupIsCondemned).await.unwrap_err();
        assert!(matches!(&error, FetchError::Condemned(name) if *name == site.backup.sentinel.name), "{at:?}: {error}");
        let calls = site.house.provider().calls();
        assert_eq!(calls.iter().filter(|call| **call == ProviderCall::Restore).count(), restores, "{at:?}");
        site.assert_nothing(&format!("{at:?}")).await;
    }
}

/// A restore of the site's backup to the site's destination.
async fn record_of(site: &Site, token: &str, hostname: &str) -> RestoreRecord {
    let other = Site::new().await;
    let mut record = other.fetch(&other.house.store).await.unwrap().restore.unwrap();
    record.token = Token(token.to_owned());
    hostname.clone_into(&mut record.hostname);
    record.destination = site.path("new");
    record.parts.truncate(1);
    record.parts[0].token = record.token.clone();
    record.parts[0].handle = None;
    record.parts[0].directories.retain(|directory| directory.asked.ends_with("new"));
    record.parts[0].directories[0].asked = site.path("new");
    record.parts[0].directories[0].restored = Some(site.mounts().join(token).join("data"));
    record
}

#[tokio::test]
async fn of_two_who_restore_to_one_place_at_once_not_both_do() {
    let site = Site::new().await;
    let record = record_of(&site, "another", "db2").await;
    let error = fetch(&site, Operation::PutIfAbsent, Meanwhile::AnotherRestores(Box::new(record.clone()))).await.unwrap_err();
    assert!(matches!(error, FetchError::AlreadyRestored { .. }), "{error}");
    assert!(!site.house.provider().calls().contains(&ProviderCall::Restore));
    assert_eq!(site.records().await, [record], "the other one goes on");
}

#[tokio::test]
async fn a_destination_behind_a_link_keeps_the_link() {
    let site = Site::new().await;
    std::fs::create_dir(site.path("volume")).unwrap();
    symlink(site.path("volume"), site.path("new")).unwrap();
    site.fetch(&site.house.store).await.unwrap();
    assert_eq!(std::fs::read_link(site.path("new")).unwrap(), site.path("volume"), "the operator's");
    assert!(std::fs::read_link(site.path("volume")).unwrap().starts_with(site.mounts()), "ours");
    assert!(site.path("new/backup_label").is_file());
    site.release().await.unwrap();
    assert_eq!(std::fs::read_link(site.path("new")).unwrap(), site.path("volume"));
    assert!(!site.path("volume").exists() && site.records().await.is_empty());
}

#[tokio::test]
async fn a_tablespace_or_wal_inside_the_snapshots_of_a_provider_is_refused() {
    let site = Site::new().await;
    let inside = site.path("snapshots").join("mine");
    std::fs::create_dir(site.path("snapshots")).unwrap();
    let original = site.request().tablespace_mapping[0].0.clone();
    let base = FetchRequest { snapshot_roots: vec![site.path("snapshots")], ..site.request() };
    let tablespace = FetchRequest { tablespace_mapping: vec![(original, inside.clone())], ..base.clone() };
    for request in [tablespace, FetchRequest { wal_directory: Some(inside), ..base }] {
        let error = snapshot_fetch(&site.house.ports(&site.house.store), &request, std::future::pending()).await.unwrap_err();
        assert!(matches!(error, FetchError::InsideSnapshots { .. }), "{error}");
    }
    assert!(!site.house.provider().calls().contains(&ProviderCall::Restore));
}

#[tokio::test]
async fn a_tablespace_inside_the_new_data_directory_is_refused_before_anything_is_made() {
    let site = Site::new().await;
    let original = site.request().tablespace_mapping[0].0.clone();
    let request = FetchRequest { tablespace_mapping: vec![(original, site.path("new/space"))], ..site.request() };
    let error = snapshot_fetch(&site.house.ports(&site.house.store), &request, std::future::pending()).await.unwrap_err();
    assert!(matches!(&error, FetchError::Nested { inner, .. } if *inner == site.path("new/space")), "{error}");
    assert!(error.hint().unwrap().contains("--tablespace-mapping"));
    assert!(!site.path("new").exists() && !site.house.provider().calls().contains(&ProviderCall::Restore));
}

async fn release(
    site: &Site,
    restore: RestoreSelector,
    hostname: &str,
    hosts: ReleaseHosts,
) -> Result<ReleaseReport, ReleaseError> {
    let request = ReleaseRequest { restore, hostname: hostname.to_owned(), hosts };
    snapshot_release(&site.house.ports(&site.house.store), &request).await
}

#[tokio::test]
async fn a_release_finds_the_restore_however_its_place_is_spelled() {
    let site = Site::new().await;
    std::fs::create_dir(site.path("directory")).unwrap();
    symlink(site.path(""), site.path("link")).unwrap();
    for spelled in ["link/new", "directory/../new", "new/"] {
        site.fetch(&site.house.store).await.unwrap();
        let report = site.release_of(RestoreSelector::Destination(site.path(spelled))).await.unwrap();
        assert_eq!(report.released.len(), 1, "{spelled}");
        site.assert_nothing(spelled).await;
    }
}

#[tokio::test]
async fn a_place_of_another_host_is_not_taken_for_released() {
    let site = Site::new().await;
    site.fetch(&site.house.store).await.unwrap();
    let place = || RestoreSelector::Destination(site.path("new"));
    let error = release(&site, place(), "db3", ReleaseHosts::This).await.unwrap_err();
    assert!(matches!(&error, ReleaseError::OtherHost { hostname, .. } if hostname == "db2"), "{error}");
    assert!(site.house.provider().released().is_empty());
    assert_eq!(release(&site, place(), "db3", ReleaseHosts::Any).await.unwrap().released.len(), 1);
}

#[tokio::test]
async fn one_place_of_two_hosts_is_released_by_token_only() {
    let site = Site::new().await;
    site.fetch(&site.house.store).await.unwrap();
    let gone = record_of(&site, "0000", "db4").await;
    Restores::new(&site.house.store, &site.house.layout).announce(&gone).await.unwrap();
    let place = || RestoreSelector::Destination(site.path("new"));
    let error = release(&site, place(), "db3", ReleaseHosts::Any).await.unwrap_err();
    assert!(matches!(error, ReleaseError::SeveralHosts { .. }) && error.class() == ErrorClass::Usage, "{error}");
    assert!(error.hint().unwrap().contains("snapshot-release 0000 --any-host"), "{error}");
    assert!(site.house.provider().released().is_empty(), "a server may run there");
    release(&site, RestoreSelector::Token(gone.token), "db3", ReleaseHosts::Any).await.unwrap();
    assert_eq!(site.records().await.len(), 1);
}

#[tokio::test]
async fn a_server_of_this_host_does_not_keep_the_restore_of_a_host_that_is_gone() {
    let site = Site::new().await;
    let gone = record_of(&site, "0000", "db4").await;
    Restores::new(&site.house.store, &site.house.layout).announce(&gone).await.unwrap();
    std::fs::create_dir(site.path("new")).unwrap();
    let _server = Process::start(&site.path("new"));
    let token = || RestoreSelector::Token(gone.token.clone());
    // Where that restore lies, if this host is the other one under a new name, a server still counts.
    let restored = gone.parts[0].directories[0].restored.clone().unwrap();
    std::fs::create_dir_all(&restored).unwrap();
    let server = Process::start(&restored);
    let error = release(&site, token(), "db2", ReleaseHosts::Any).await.unwrap_err();
    assert!(matches!(error, ReleaseError::Running { .. }), "{error}");
    drop(server);
    release(&site, token(), "db2", ReleaseHosts::Any).await.unwrap();
    assert!(site.records().await.is_empty() && Path::new(&site.path("new")).is_dir());
}
