//! Restores that a provider puts elsewhere than it was asked, on fakes with real directories.
//!
//! What could go wrong: a clone that nobody knows and nobody releases; a link that leads into the living cluster; a record that hides
//! that something is left; a volume that is taken from under a server; a link of somebody else that is removed.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use stillframe_core::catalog::{Backup, Permanence, RestoreRecord, Restores};
use stillframe_core::data_directory::{Archiving, Inclusion, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{
    Announcement, BackupSelector, FetchError, FetchReport, FetchRequest, Isolation, MissingWal, Precautions, ReleaseError,
    ReleaseHosts, ReleaseReport, ReleaseRequest, RestoreSelector, snapshot_fetch, snapshot_release,
};
use stillframe_core::postgres::{Lsn, SystemIdentifier, Tablespace};
use stillframe_core::provider::{DataPathName, ProviderFault, Token};
use stillframe_core::store::Store;
use stillframe_core::testing::{FaultyStore, InjectedFault, Operation, ProviderCall, ProviderFailure, WatchedStore, Watcher, When};

use crate::house::{House, as_a_process};
use crate::snapshot_push::AtPoll;

const SEGMENT: u32 = 10;
const TABLESPACE: u32 = 16384;

/// A house with a backup of a cluster with one tablespace, whose provider mounts below a directory of its own.
pub(crate) struct Site {
    pub(crate) house: House,
    pub(crate) backup: Backup,
    directory: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let site = Self::restoring_in_place().await;
        site.house.provider().restore_below(&site.mounts());
        site
    }

    pub(crate) async fn restoring_in_place() -> Self {
        let house = House::new().await;
        let directory = tempfile::tempdir().unwrap();
        let original = directory.path().join("original");
        for place in ["data", "space"] {
            std::fs::create_dir_all(original.join(place)).unwrap();
        }
        let (data, space) = (original.join("data"), original.join("space"));
        house.server.set_tablespace_map(format!("{TABLESPACE} {}\n", space.display()).as_bytes());
        house.server.change(|facts| {
            facts.data_directory = data;
            facts.tablespaces = vec![Tablespace { oid: TABLESPACE, name: "t".to_owned(), location: space }];
        });
        let backup = house.backup_at(1, SEGMENT, Permanence::Ordinary).await;
        let site = Self { house, backup, directory };
        let cluster = site.house.server.facts().system_identifier;
        site.house.provider().fill_restores(move |name, path| fill(name, path, cluster));
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn mounts(&self) -> PathBuf {
        self.path("mounts")
    }

    pub(crate) fn request(&self) -> FetchRequest {
        FetchRequest {
            destination: self.path("new"),
            selector: BackupSelector::Latest,
            recovery: RecoverySettings {
                restore_command: "true".to_owned(),
                target: RecoveryTarget::EndOfWal,
                inclusive: Inclusion::Inclusive,
                timeline: TargetTimeline::Latest,
                action: TargetAction::Pause,
                archiving: Archiving::Keep,
            },
            tablespace_mapping: vec![(self.directory.path().join("original/space"), self.path("new space"))],
            wal_directory: None,
            precautions: Precautions::default(),
            isolation: Isolation::Required,
            missing_wal: MissingWal::Refused,
            announcement: Announcement::Required,
            scan: 100,
            token: Token("0123456789abcdef0123456789abcdef".to_owned()),
            snapshot_roots: Vec::new(),
            hostname: "db2".to_owned(),
        }
    }

    pub(crate) async fn fetch(&self, store: &dyn Store) -> Result<FetchReport, FetchError> {
        snapshot_fetch(&self.house.ports(store), &self.request(), std::future::pending()).await
    }

    pub(crate) async fn release_of(&self, restore: RestoreSelector) -> Result<ReleaseReport, ReleaseError> {
        let request = ReleaseRequest { restore, hostname: "db2".to_owned(), hosts: ReleaseHosts::This };
        snapshot_release(&self.house.ports(&self.house.store), &request).await
    }

    pub(crate) async fn release(&self) -> Result<ReleaseReport, ReleaseError> {
        self.release_of(RestoreSelector::Destination(self.path("new"))).await
    }

    pub(crate) async fn records(&self) -> Vec<RestoreRecord> {
        let (records, unreadable) = Restores::new(&self.house.store, &self.house.layout).all().await.unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        records
    }

    pub(crate) async fn recoveries(&self) -> Vec<RestoreRecord> {
        let (copies, unreadable) = Restores::new(&self.house.store, &self.house.layout).recoveries().await.unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        copies
    }

    /// Nothing is restored that no record tells of.
    async fn assert_accounted(&self, situation: &str) {
        let known: BTreeSet<String> =
            self.records().await.into_iter().flat_map(|record| record.parts).map(|part| part.token.0).collect();
        let active = self.house.provider().active_restores();
        assert!(active.is_subset(&known), "no_unaccounted_restore: {situation}: {active:?} {known:?}");
    }

    /// Nothing is left of any restore.
    pub(crate) async fn assert_nothing(&self, situation: &str) {
        assert!(self.house.provider().active_restores().is_empty(), "{situation}");
        assert!(self.records().await.is_empty(), "{situation}");
        for place in ["new", "new space"] {
            assert!(!self.path(place).is_symlink(), "{situation}: {place} is a link");
        }
    }
}

/// Writes what the backup holds of a directory.
pub(crate) fn fill(name: &DataPathName, path: &Path, cluster: SystemIdentifier) {
    if *name != DataPathName::Data {
        return std::fs::create_dir_all(path.join("PG_15_202209061")).unwrap();
    }
    for directory in ["global", "base/1", "pg_tblspc", "pg_wal"] {
        std::fs::create_dir_all(path.join(directory)).unwrap();
    }
    std::fs::write(path.join("PG_VERSION"), "15\n").unwrap();
    let start = (u64::from(SEGMENT) << 20) + 0x28;
    let mut control = vec![0; 8192];
    control[0..8].copy_from_slice(&cluster.0.to_ne_bytes());
    control[8..12].copy_from_slice(&1300_u32.to_ne_bytes());
    control[12..16].copy_from_slice(&202_209_061_u32.to_ne_bytes());
    control[16..20].copy_from_slice(&6_u32.to_ne_bytes());
    control[32..40].copy_from_slice(&Lsn(start + 0x38).0.to_ne_bytes());
    control[40..48].copy_from_slice(&start.to_ne_bytes());
    control[48..52].copy_from_slice(&1_u32.to_ne_bytes());
    let checksum = crc32c::crc32c(&control[..288]);
    control[288..292].copy_from_slice(&checksum.to_ne_bytes());
    std::fs::write(path.join("global/pg_control"), control).unwrap();
}

#[tokio::test]
async fn the_asked_places_lead_to_a_copy_that_is_ready_to_recover() {
    let site = Site::new().await;
    let report = site.fetch(&site.house.store).await.unwrap();
    let record = report.restore.unwrap();
    assert_eq!(site.records().await, std::slice::from_ref(&record));
    assert_eq!((record.backup, record.hostname.as_str()), (site.backup.sentinel.name.clone(), "db2"));
    let token = &site.request().token.0;
    let (data, space) = (site.mounts().join(token).join("data"), site.mounts().join(token).join("tablespace-16384"));
    assert_eq!(std::fs::read_link(site.path("new")).unwrap(), data);
    assert_eq!(std::fs::read_link(site.path("new space")).unwrap(), space);
    for file in ["backup_label", "recovery.signal", "tablespace_map", "postgresql.auto.conf"] {
        assert!(data.join(file).is_file(), "{file}");
    }
    let link = data.join(format!("pg_tblspc/{TABLESPACE}"));
    assert_eq!(std::fs::read_link(&link).unwrap(), site.path("new space"), "as the map says it");
    assert_eq!(link.canonicalize().unwrap(), space);
    let map = std::fs::read_to_string(data.join("tablespace_map")).unwrap();
    assert_eq!(map, format!("{TABLESPACE} {}\n", site.path("new space").display()));
    site.assert_accounted("restored").await;
}

#[tokio::test]
async fn what_lies_where_it_was_asked_needs_no_record_and_no_release() {
    let site = Site::restoring_in_place().await;
    let report = site.fetch(&site.house.store).await.unwrap();
    assert!(report.restore.is_none() && report.restored_by_provider);
    assert!(site.records().await.is_empty());
    assert!(!site.house.provider().calls().contains(&ProviderCall::Release));
    assert!(site.path("new/backup_label").is_file() && !site.path("new").is_symlink());
}

#[tokio::test]
async fn a_failed_write_leaves_no_restore_without_a_record() {
    for number in 0.. {
        for when in [When::Before, When::After] {
            let site = Site::new().await;
            let store = FaultyStore::new(&site.house.store, Some((number, when)));
            let result = site.fetch(&store).await;
            let situation = format!("write {number} failed {when:?}");
            site.assert_accounted(&situation).await;
            if store.writes() <= number {
                assert!(result.is_ok() && number >= 2, "announced, and what the provider said");
                return;
            }
            result.unwrap_err();
            // The removal of the record may be what failed; then whoever releases finishes it.
            site.release().await.unwrap();
            site.assert_nothing(&situation).await;
            assert!(!site.path("new").exists() && !site.path("new space").exists(), "{situation}");
        }
    }
}

#[tokio::test]
async fn a_restore_that_fails_is_taken_back_also_when_its_answer_was_lost() {
    for failure in [ProviderFailure::Error(When::Before), ProviderFailure::Error(When::After)] {
        let site = Site::new().await;
        // One of the places is there and empty, the other is missing.
        std::fs::create_dir(site.path("new")).unwrap();
        site.house.provider().fail_next(ProviderCall::Restore, failure);
        let error = site.fetch(&site.house.store).await.unwrap_err();
        assert!(matches!(error, FetchError::Provider(_)), "{error}");
        assert_eq!(site.house.provider().released(), [site.request().token.0], "by token: nobody knows the handle");
        site.assert_nothing(&format!("{failure:?}")).await;
        assert!(site.path("new").is_dir() && !site.path("new space").exists(), "the places are as they were");
    }
}

#[tokio::test]
async fn an_interruption_at_any_moment_leaves_nothing_behind() {
    let mut interruptions = 0;
    for moment in 0..2_000 {
        let site = Site::new().await;
        std::fs::create_dir(site.path("new space")).unwrap();
        let result = snapshot_fetch(&site.house.ports(&site.house.store), &site.request(), AtPoll(moment)).await;
        match result {
            Err(FetchError::Interrupted) => {
                interruptions += 1;
                site.assert_nothing(&format!("moment {moment}")).await;
                assert!(site.path("new space").is_dir() && !site.path("new").exists(), "moment {moment}");
            }
            Ok(_) => break,
            Err(error) => panic!("moment {moment}: {error}"),
        }
    }
    assert!(interruptions > 0, "no moment was tried");
    let site = Site::new().await;
    site.house.provider().fail_next(ProviderCall::Restore, ProviderFailure::Hang(When::After));
    let error = snapshot_fetch(&site.house.ports(&site.house.store), &site.request(), AtPoll(200)).await.unwrap_err();
    assert!(matches!(error, FetchError::Interrupted), "{error}");
    site.assert_nothing("interrupted while the provider restored").await;
}

#[tokio::test]
async fn what_cannot_be_released_stays_recorded_and_the_error_says_how_to_release_it() {
    let site = Site::new().await;
    let provider = site.house.provider();
    provider.fail_next(ProviderCall::Restore, ProviderFailure::Error(When::After));
    provider.fail_next(ProviderCall::Release, ProviderFailure::Error(When::Before));
    let error = site.fetch(&site.house.store).await.unwrap_err();
    assert!(matches!(error, FetchError::NotReleased { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(error.hint().unwrap().contains(&format!("stillframe snapshot-release {}", site.request().token.0)));
    site.assert_accounted("not released").await;
    assert_eq!(provider.active_restores().len(), 1);
    // Until then nobody restores over it.
    let again = site.fetch(&site.house.store).await.unwrap_err();
    assert!(matches!(again, FetchError::AlreadyRestored { .. }), "{again}");
    assert!(again.hint().unwrap().contains("snapshot-release"));
    let report = site.release_of(RestoreSelector::Token(site.request().token)).await.unwrap();
    assert_eq!(report.released.len(), 1);
    site.assert_nothing("released by token").await;
    site.fetch(&site.house.store).await.unwrap();
}

/// Hangs before the n-th write, so that dropping the flow leaves what a kill would leave.
struct HangsBefore {
    write: usize,
    writes: AtomicUsize,
}

#[async_trait]
impl Watcher for HangsBefore {
    async fn before(&self, operation: Operation, _: &str) -> Result<(), InjectedFault> {
        let is_write = matches!(operation, Operation::Put | Operation::PutIfAbsent | Operation::Delete);
        if is_write && self.writes.fetch_add(1, Ordering::SeqCst) == self.write {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[test]
fn after_a_kill_anywhere_the_record_is_enough_to_release_everything() {
    for write in 0..3 {
        for hang in [None, Some(When::Before), Some(When::After)] {
            let site = as_a_process(Site::new());
            let store = WatchedStore::new(&site.house.store, HangsBefore { write, writes: AtomicUsize::new(0) });
            if let Some(when) = hang {
                site.house.provider().fail_next(ProviderCall::Restore, ProviderFailure::Hang(when));
            }
            let situation = format!("killed before write {write}, the provider hangs: {hang:?}");
            as_a_process(async {
                tokio::select! {
                    biased;
                    () = AtPoll(500) => {}
                    result = site.fetch(&store) => assert!(write == 2 && hang.is_none(), "{situation}: {result:?}"),
                }
            });
            as_a_process(async {
                site.assert_accounted(&situation).await;
                site.release().await.unwrap();
                site.assert_nothing(&situation).await;
                // Twice is as good as once.
                assert!(site.release().await.unwrap().released.is_empty());
            });
            if site.path("new").exists() {
                assert_eq!(std::fs::read_dir(site.path("new")).unwrap().count(), 0, "{situation}: free for the next one");
            }
        }
    }
}

#[tokio::test]
async fn a_link_that_is_no_longer_ours_is_left_alone() {
    let site = Site::new().await;
    site.fetch(&site.house.store).await.unwrap();
    std::fs::remove_file(site.path("new")).unwrap();
    std::os::unix::fs::symlink("/somewhere/else", site.path("new")).unwrap();
    let report = site.release().await.unwrap();
    assert_eq!(report.removed_links, [site.path("new space")]);
    assert_eq!(std::fs::read_link(site.path("new")).unwrap(), Path::new("/somewhere/else"));
    assert!(site.house.provider().active_restores().is_empty() && site.records().await.is_empty());
}

/// A process that runs in a directory as a server does, until it is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(data: &Path) -> Self {
        let started = Command::new("/bin/cat").current_dir(data).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = Self(started.unwrap());
        process.0.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        process.0.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        std::fs::write(data.join("postmaster.pid"), format!("{}\n{}\n", process.0.id(), data.display())).unwrap();
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn nothing_is_released_under_a_server_or_from_another_host() {
    let site = Site::new().await;
    site.fetch(&site.house.store).await.unwrap();
    let process = Process::start(&site.path("new"));
    let error = site.release().await.unwrap_err();
    assert!(matches!(error, ReleaseError::Running { .. }) && error.class() == ErrorClass::Refused, "{error}");
    drop(process);
    let elsewhere =
        |hosts| ReleaseRequest { restore: RestoreSelector::Token(site.request().token), hostname: "db3".to_owned(), hosts };
    let ports = site.house.ports(&site.house.store);
    let error = snapshot_release(&ports, &elsewhere(ReleaseHosts::This)).await.unwrap_err();
    assert!(matches!(error, ReleaseError::OtherHost { .. }), "{error}");
    assert!(site.house.provider().released().is_empty());
    snapshot_release(&ports, &elsewhere(ReleaseHosts::Any)).await.unwrap();
    site.assert_nothing("the host is gone for good").await;
}

#[tokio::test]
async fn a_release_that_fails_changes_nothing_that_is_seen_and_is_repeated() {
    for when in [When::Before, When::After] {
        let site = Site::new().await;
        site.fetch(&site.house.store).await.unwrap();
        site.house.provider().fail_next(ProviderCall::Release, ProviderFailure::Error(when));
        let error = site.release().await.unwrap_err();
        assert!(matches!(error, ReleaseError::NotReleased { .. }), "{error}");
        assert!(site.path("new").is_symlink() && site.records().await.len() == 1, "{when:?}");
        site.release().await.unwrap();
        site.assert_nothing(&format!("{when:?}")).await;
    }
}

/// What a provider does wrong.
type Lie = Box<dyn Fn(&Site)>;

#[tokio::test]
async fn refuses_a_copy_that_is_not_what_the_provider_says() {
    // Another cluster, none at all, the original itself, the asked place under another name, and a way over a link.
    let cluster = SystemIdentifier(4711);
    let lies: [(&str, Lie); 4] = [
        (
            "which holds the cluster 4711",
            Box::new(move |site| site.house.provider().fill_restores(move |name, path| fill(name, path, cluster))),
        ),
        ("which holds no data directory", Box::new(|site| site.house.provider().fill_restores(|_, _| {}))),
        (
            "which is a way to",
            Box::new(|site| {
                std::fs::create_dir(site.path("real mounts")).unwrap();
                std::os::unix::fs::symlink(site.path("real mounts"), site.mounts()).unwrap();
            }),
        ),
        (
            "on which a server runs",
            Box::new(|site| {
                let cluster = site.house.server.facts().system_identifier;
                let running = Mutex::new(None);
                site.house.provider().fill_restores(move |name, path| {
                    fill(name, path, cluster);
                    if *name == DataPathName::Data {
                        *running.lock().unwrap() = Some(Process::start(path));
                    }
                });
            }),
        ),
    ];
    for (words, lie) in lies {
        let site = Site::new().await;
        lie(&site);
        let error = site.fetch(&site.house.store).await.unwrap_err();
        let FetchError::Provider(error) = error else { panic!("{words}: {error}") };
        assert!(matches!(&error.fault, ProviderFault::BadAnswer(text) if text.contains(words)), "{words}: {error:?}");
        site.assert_nothing(words).await;
        assert!(!site.path("new").exists() && !site.path("new space").exists());
    }
}

#[tokio::test]
async fn refuses_the_living_cluster_as_its_own_copy() {
    let site = Site::new().await;
    // The provider mounts over the original: the same directory under two names.
    let token = site.request().token.0;
    std::fs::create_dir_all(site.mounts().join(&token)).unwrap();
    let original = site.directory.path().join("original/data");
    let cluster = site.house.server.facts().system_identifier;
    fill(&DataPathName::Data, &original, cluster);
    site.house.provider().restore_below(&original.parent().unwrap().canonicalize().unwrap());
    let place = original.parent().unwrap().join(&token);
    site.house.provider().fill_restores(move |name, path| {
        fill(name, path, cluster);
        // Where the living data is, as a bind mount would show it: a rename gives it the same inode.
        if *name == DataPathName::Data {
            std::fs::remove_dir_all(path).unwrap();
            std::fs::rename(&original, path).unwrap();
            std::os::unix::fs::symlink(path, &original).unwrap();
        }
    });
    let error = site.fetch(&site.house.store).await.unwrap_err();
    let FetchError::Provider(error) = error else { panic!("{error}") };
    assert!(matches!(&error.fault, ProviderFault::BadAnswer(text) if text.contains("the same directory as")), "{error:?}");
    assert!(!place.exists());
}

#[tokio::test]
async fn a_preparation_that_fails_gives_a_clone_back() {
    let site = Site::new().await;
    let request = FetchRequest { wal_directory: Some("relative".into()), ..site.request() };
    let error = snapshot_fetch(&site.house.ports(&site.house.store), &request, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, FetchError::Prepare(_)), "{error}");
    site.assert_nothing("the preparation failed").await;
}
