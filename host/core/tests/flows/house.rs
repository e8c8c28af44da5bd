//! A server, a provider and a store, and the invariants that must hold whatever happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use stillframe_core::catalog::{
    ArchiveSettings, Backup, BackupName, Catalog, CatalogContents, ClusterName, Layout, LeaseRequest, Permanence, WalArchive,
};
use stillframe_core::flows::{
    DeleteError, DeleteReport, Guarding, Isolation, NoProgress, Ports, Primary, ProviderChoice, PushDeadlines, PushError,
    PushRequest, Pusher, Readiness, Server, apply_delete, plan_delete, snapshot_push,
};
use stillframe_core::postgres::{CheckpointMode, SystemIdentifier, WalFileName, WalSegmentSize};
use stillframe_core::provider::{ProviderName, Token};
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FakeLocator, FakeProvider, FakeProviders, FakeServer, ManualClock, MemoryStore, wal_segment};

pub(crate) struct House {
    pub(crate) store: MemoryStore,
    pub(crate) server: FakeServer,
    pub(crate) providers: FakeProviders,
    pub(crate) clock: ManualClock,
    pub(crate) layout: Layout,
    pub(crate) archiving: ArchiveSettings,
}

pub(crate) fn start_of_time() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().unwrap()
}

/// Runs a flow as a process of its own would: when this returns, no thread of it is left, be it finished or killed.
pub(crate) fn as_a_process<Done>(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

/// Whoever pushes from this data directory.
pub(crate) fn pusher(data_directory: &Path) -> Pusher<'_> {
    Pusher { data_directory, name: "db1", guarding: Guarding::Refuse }
}

pub(crate) fn segment(number: u32) -> WalFileName {
    format!("0000000100000000{number:08X}").parse().unwrap()
}

/// The key of an object of the archive.
pub(crate) fn wal_key(object: &str) -> Key {
    Key::parse(&format!("main/wal_005/{object}")).unwrap()
}

/// The key of an archived segment of the first timeline.
pub(crate) fn segment_key(number: u32) -> Key {
    wal_key(&format!("{}.zst", segment(number)))
}

/// An object that holds an empty segment with a true header. Making one takes a while, so each is made once.
async fn archived_segment(number: u32, cluster: SystemIdentifier, size: WalSegmentSize) -> Bytes {
    static MADE: Mutex<BTreeMap<(u32, u64, u64), Bytes>> = Mutex::new(BTreeMap::new());
    let known = MADE.lock().unwrap().get(&(number, cluster.0, size.bytes())).cloned();
    if let Some(body) = known {
        return body;
    }
    let content = wal_segment(number, cluster, size, 0);
    let store = MemoryStore::default();
    let layout = Layout::new(ClusterName::try_from("main".to_owned()).unwrap());
    WalArchive::new(&store, &layout, &ArchiveSettings::default()).push(segment(number), content).await.unwrap();
    let body = store.get(&segment_key(number)).await.unwrap().unwrap();
    MADE.lock().unwrap().insert((number, cluster.0, size.bytes()), body.clone());
    body
}

impl House {
    /// A house whose archive holds the segment that the fake server's backups need.
    pub(crate) async fn new() -> Self {
        let house = Self {
            store: MemoryStore::default(),
            server: FakeServer::new(start_of_time()),
            providers: FakeProviders(vec![Arc::new(FakeProvider::new(provider_name()))]),
            clock: ManualClock::new(start_of_time()),
            layout: Layout::new(ClusterName::try_from("main".to_owned()).unwrap()),
            archiving: ArchiveSettings::default(),
        };
        house.archive(&[3]).await;
        house
    }

    /// The cluster of its server.
    pub(crate) fn cluster() -> SystemIdentifier {
        FakeServer::new(start_of_time()).facts().system_identifier
    }

    /// Puts segments of the server's cluster into the archive.
    pub(crate) async fn archive(&self, numbers: &[u32]) {
        let facts = self.server.facts();
        for number in numbers {
            let body = archived_segment(*number, facts.system_identifier, facts.segment_size).await;
            self.store.put(&segment_key(*number), body).await.unwrap();
        }
    }

    /// Puts any object into the archive.
    pub(crate) async fn put_wal(&self, object: &str, body: impl Into<Bytes>) {
        self.store.put(&wal_key(object), body.into()).await.unwrap();
    }

    pub(crate) fn ports<'a>(&'a self, store: &'a dyn Store) -> Ports<'a> {
        Ports {
            store,
            layout: &self.layout,
            archiving: &self.archiving,
            clock: &self.clock,
            providers: &self.providers,
            progress: &NoProgress,
        }
    }

    pub(crate) fn provider(&self) -> &FakeProvider {
        &self.providers.0[0]
    }

    /// Configures another provider.
    pub(crate) fn add_provider(&mut self, name: &str) -> Arc<FakeProvider> {
        let provider = Arc::new(FakeProvider::new(name.to_owned().try_into().unwrap()));
        self.providers.0.push(provider.clone());
        provider
    }

    /// The handles that all providers have.
    pub(crate) fn handles(&self) -> BTreeSet<String> {
        self.providers.0.iter().flat_map(|provider| provider.handles()).collect()
    }

    #[expect(clippy::unused_self, reason = "what is asked of a house reads alike")]
    pub(crate) fn request(&self, seed: u8) -> PushRequest {
        PushRequest {
            // So long ago that nothing of it is young.
            name: BackupName::new(start_of_time() - Duration::from_hours(2), [seed; 5]),
            token: Token(format!("token-{seed}")),
            providers: ProviderChoice { default: Some(provider_name()), rules: Vec::new() },
            permanence: Permanence::Ordinary,
            user_data: None,
            readiness: Readiness::Awaited,
            checkpoint: CheckpointMode::Fast,
            isolation: Isolation::Required,
            hostname: "db1".to_owned(),
            lease: lease_request("snapshot-push"),
            deadlines: PushDeadlines {
                cut: Duration::from_mins(10),
                archive: Duration::from_mins(10),
                ready: Duration::from_hours(1),
            },
        }
    }

    pub(crate) fn server(&self) -> Server<'static> {
        Server { connection: self.server.connect(), primary: Primary::Unknown, locator: &FakeLocator }
    }

    pub(crate) async fn push(&self, request: &PushRequest) -> Result<Backup, PushError> {
        snapshot_push(&self.ports(&self.store), self.server(), request, std::future::pending()).await
    }

    /// Takes an ordinary backup at this WAL position, its segment archived.
    pub(crate) async fn backup_at(&self, seed: u8, number: u32, permanence: Permanence) -> Backup {
        self.archive(&[number]).await;
        self.server.change(|facts| {
            facts.wal_position = stillframe_core::postgres::Lsn((u64::from(number) << 20) + 0x28);
            facts.now = start_of_time() + Duration::from_mins(u64::from(seed));
        });
        self.push(&PushRequest { permanence, ..self.request(seed) }).await.unwrap()
    }

    /// Plans a deletion and applies it at once.
    pub(crate) async fn delete(&self, rule: &RetentionRule) -> Result<DeleteReport, DeleteError> {
        let ports = self.ports(&self.store);
        let plan = plan_delete(&ports, rule).await?;
        apply_delete(&ports, rule, &plan, &lease_request("delete")).await.into_result().map_err(|(_, error)| error)
    }

    pub(crate) async fn contents(&self) -> CatalogContents {
        Catalog::new(&self.store, &self.layout).contents().await.unwrap()
    }

    /// Names of the archived segments.
    pub(crate) async fn archived(&self) -> BTreeSet<String> {
        let files = WalArchive::new(&self.store, &self.layout, &self.archiving).list().await.unwrap();
        files.into_iter().map(|file| file.name.to_string()).collect()
    }

    /// What the archive holds of a segment.
    pub(crate) async fn archived_content(&self, number: u32) -> Vec<u8> {
        let archive = WalArchive::new(&self.store, &self.layout, &self.archiving);
        archive.fetch(segment(number)).await.unwrap().unwrap()
    }

    /// Never left in backup mode, no unaccounted snapshot, and sentinels name existing snapshots.
    pub(crate) async fn assert_invariants(&self, situation: &str) {
        assert_eq!(self.server.in_backup_mode(), 0, "never_left_in_backup_mode: {situation}");
        let contents = self.contents().await;
        assert!(contents.unreadable.is_empty(), "{situation}: {:?}", contents.unreadable);
        let handles = self.handles();
        let published: BTreeSet<String> =
            contents.backups.iter().filter(|backup| !backup.is_condemned).flat_map(handles_of).collect();
        assert!(published.is_subset(&handles), "sentinel_names_existing_snapshots: {situation}: {published:?} {handles:?}");
        let condemned = contents.backups.iter().flat_map(handles_of);
        let announced = contents
            .intents
            .iter()
            .flat_map(|intent| intent.requests.iter().map(|request| format!("{}:{}", request.provider, intent.name)));
        let accounted: BTreeSet<String> = condemned.chain(announced).collect();
        assert!(handles.is_subset(&accounted), "no_unaccounted_snapshot: {situation}: {handles:?} {accounted:?}");
    }
}

/// The text of a record without its checksum, for changes that are not those of a broken disk.
pub(crate) fn unsealed(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap();
    let (content, _) = text.rsplit_once(",\n  \"checksum\": ").expect("it was written with one");
    format!("{content}\n}}\n")
}

/// The handles of all sets of a backup.
pub(crate) fn handles_of(backup: &Backup) -> Vec<String> {
    backup.sentinel.sets.iter().map(|set| set.snapshot.handle.clone()).collect()
}

/// The handle of the only set of a backup.
pub(crate) fn handle_of(backup: &Backup) -> String {
    assert_eq!(backup.sentinel.sets.len(), 1);
    backup.sentinel.sets[0].snapshot.handle.clone()
}

pub(crate) fn provider_name() -> ProviderName {
    ProviderName::try_from("fake".to_owned()).unwrap()
}

/// Who asks for the lease in most tests.
pub(crate) fn lease_request(command: &str) -> LeaseRequest {
    LeaseRequest {
        host: "db1".to_owned(),
        process_id: 42,
        process_space: None,
        command: command.to_owned(),
        deadline: LeaseRequest::DEADLINE,
    }
}
