//! A server, a provider and a store, and the invariants that must hold whatever happened to them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use stillframe_core::catalog::{Backup, BackupName, Catalog, CatalogContents, ClusterName, Layout, Permanence, WalArchive};
use stillframe_core::flows::{Isolation, Ports, PushDeadlines, PushError, PushRequest, Server, snapshot_push};
use stillframe_core::postgres::{CheckpointMode, WalFileName};
use stillframe_core::provider::{ProviderName, Token};
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FakeLocator, FakeProvider, FakeProviders, FakeServer, ManualClock, MemoryStore};

pub(crate) struct House {
    pub(crate) store: MemoryStore,
    pub(crate) server: FakeServer,
    pub(crate) providers: FakeProviders,
    pub(crate) clock: ManualClock,
    pub(crate) layout: Layout,
}

pub(crate) fn start_of_time() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().unwrap()
}

pub(crate) fn segment(number: u32) -> WalFileName {
    format!("0000000100000000{number:08X}").parse().unwrap()
}

impl House {
    /// A house whose archive holds the segment that the fake server's backups need.
    pub(crate) async fn new() -> Self {
        let house = Self {
            store: MemoryStore::default(),
            server: FakeServer::new(start_of_time()),
            providers: FakeProviders(Arc::new(FakeProvider::new(provider_name()))),
            clock: ManualClock::new(start_of_time()),
            layout: Layout::new(ClusterName::try_from("main".to_owned()).unwrap()),
        };
        house.archive(&[3]).await;
        house
    }

    pub(crate) async fn archive(&self, numbers: &[u32]) {
        for number in numbers {
            let key = Key::parse(&format!("main/wal_005/{}.zst", segment(*number))).unwrap();
            self.store.put(&key, bytes::Bytes::from_static(b"a segment")).await.unwrap();
        }
    }

    pub(crate) fn ports<'a>(&'a self, store: &'a dyn Store) -> Ports<'a> {
        Ports { store, layout: &self.layout, clock: &self.clock, providers: &self.providers }
    }

    pub(crate) fn provider(&self) -> &FakeProvider {
        &self.providers.0
    }

    pub(crate) fn request(&self, seed: u8) -> PushRequest {
        PushRequest {
            name: BackupName::new(start_of_time(), [seed; 5]),
            token: Token(format!("token-{seed}")),
            provider: provider_name(),
            permanence: Permanence::Ordinary,
            user_data: None,
            checkpoint: CheckpointMode::Fast,
            isolation: Isolation::Required,
            hostname: "db1".to_owned(),
            deadlines: PushDeadlines {
                cut: Duration::from_mins(10),
                archive: Duration::from_mins(10),
                ready: Duration::from_hours(1),
            },
        }
    }

    pub(crate) fn server(&self) -> Server<'static> {
        Server { connection: self.server.connect(), primary: None, locator: &FakeLocator }
    }

    pub(crate) async fn push(&self, request: &PushRequest) -> Result<Backup, PushError> {
        snapshot_push(&self.ports(&self.store), self.server(), request, std::future::pending()).await
    }

    /// Takes an ordinary backup at this WAL position, its segment archived.
    pub(crate) async fn backup_at(&self, seed: u8, number: u32, permanence: Permanence) -> Backup {
        self.archive(&[number]).await;
        self.server.change(|facts| {
            facts.wal_position = stillframe_core::postgres::Lsn((u64::from(number) << 24) + 0x28);
            facts.now = start_of_time() + Duration::from_mins(u64::from(seed));
        });
        self.push(&PushRequest { permanence, ..self.request(seed) }).await.unwrap()
    }

    pub(crate) async fn contents(&self) -> CatalogContents {
        Catalog::new(&self.store, &self.layout).contents().await.unwrap()
    }

    /// Names of the archived segments.
    pub(crate) async fn archived(&self) -> BTreeSet<String> {
        let files = WalArchive::new(&self.store, &self.layout).list().await.unwrap();
        files.into_iter().map(|file| file.name.to_string()).collect()
    }

    /// Never left in backup mode, no unaccounted snapshot, and sentinels name existing snapshots.
    pub(crate) async fn assert_invariants(&self, situation: &str) {
        assert_eq!(self.server.in_backup_mode(), 0, "never_left_in_backup_mode: {situation}");
        let contents = self.contents().await;
        assert!(contents.unreadable.is_empty(), "{situation}: {:?}", contents.unreadable);
        let handles: BTreeSet<String> = self.provider().handles().into_iter().collect();
        let published: BTreeSet<String> = contents
            .backups
            .iter()
            .filter(|backup| !backup.is_condemned)
            .map(|backup| backup.sentinel.snapshot.handle.clone())
            .collect();
        assert!(published.is_subset(&handles), "sentinel_names_existing_snapshots: {situation}: {published:?} {handles:?}");
        let condemned = contents.backups.iter().map(|backup| backup.sentinel.snapshot.handle.clone());
        let announced = contents.intents.iter().map(|intent| format!("fake:{}", intent.name));
        let accounted: BTreeSet<String> = condemned.chain(announced).collect();
        assert!(handles.is_subset(&accounted), "no_unaccounted_snapshot: {situation}: {handles:?} {accounted:?}");
    }
}

pub(crate) fn provider_name() -> ProviderName {
    ProviderName::try_from("fake".to_owned()).unwrap()
}
