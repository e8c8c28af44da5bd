//! What is there beside the process that runs a flow, and outlives it: a store, a server, two storage systems, directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use stillframe_core::catalog::{
    ArchiveSettings, Backup, BackupName, Catalog, CatalogContents, ClusterName, Layout, LeaseRequest, Permanence, RestoreRecord,
    Restores, WalArchive,
};
use stillframe_core::flows::{
    Isolation, PathRule, PathSelector, ProviderChoice, PushDeadlines, PushRequest, Readiness, snapshot_push,
};
use stillframe_core::postgres::{CheckpointMode, Lsn, SystemIdentifier, Tablespace, WalFileName, WalSegment, WalSegmentSize};
use stillframe_core::provider::{DataPathName, MemberState, ProviderName, Token};
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{
    Failure, FakePrograms, FakeProvider, FakeServer, FakeStoppedServer, Fault, ManualClock, MemoryStore, Spot, When, control_file,
    wal_segment,
};

use crate::invariants::handles_of;
use crate::programs::Servers;
use crate::seams::Seams;

/// Where each backup started, by its name.
pub(crate) type Starts = Arc<Mutex<BTreeMap<String, Lsn>>>;

/// Which backups have stopped and where, as long as it is not archived.
pub(crate) type Stops = Arc<Mutex<Vec<(String, Lsn)>>>;

/// The handle of the set that is being restored.
pub(crate) type Restoring = Arc<Mutex<String>>;

const TABLESPACE: u32 = 16384;

/// The host on which everything runs.
pub(crate) const HOST: &str = "db1";

/// Segments of the first timeline that are archived from the beginning.
pub(crate) const WAL: std::ops::RangeInclusive<u32> = 1..=10;

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) server: FakeServer,
    /// `fake` has PGDATA, and `other` the tablespace.
    pub(crate) providers: Vec<Arc<FakeProvider>>,
    pub(crate) clock: ManualClock,
    pub(crate) layout: Layout,
    pub(crate) archiving: ArchiveSettings,
    pub(crate) starts: Starts,
    pub(crate) stops: Stops,
    pub(crate) restoring: Restoring,
    /// Every backup that was permanent at some time, and was not released from it on purpose.
    pub(crate) permanent: Mutex<Vec<BackupName>>,
    /// Handles of the sets whose records the store has lost.
    pub(crate) orphans: Mutex<BTreeSet<String>>,
    pub(crate) programs: FakePrograms,
    pub(crate) servers: Servers,
    /// The server, once it was shut down.
    pub(crate) stopped: Option<FakeStoppedServer>,
    /// Names of the backups that were taken of it then.
    cold: Arc<Mutex<BTreeSet<String>>>,
    directory: tempfile::TempDir,
}

pub(crate) fn start_of_time() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().unwrap()
}

pub(crate) fn segment(number: u32) -> WalFileName {
    format!("0000000100000000{number:08X}").parse().unwrap()
}

pub(crate) fn segment_key(number: u32) -> Key {
    Key::parse(&format!("main/wal_005/{}.zst", segment(number))).unwrap()
}

pub(crate) fn backup_name(seed: u8) -> BackupName {
    BackupName::new(start_of_time(), [seed; 5])
}

pub(crate) fn lease_request(command: &str) -> LeaseRequest {
    LeaseRequest {
        host: HOST.to_owned(),
        process_id: 42,
        process_space: None,
        command: command.to_owned(),
        deadline: LeaseRequest::DEADLINE,
    }
}

fn named(name: &str) -> ProviderName {
    name.to_owned().try_into().unwrap()
}

impl World {
    /// A cluster with a tablespace, ten archived segments and no backup.
    pub(crate) async fn empty() -> Self {
        let world = Self {
            store: Arc::default(),
            server: FakeServer::new(start_of_time()),
            providers: ["fake", "other"].map(|name| Arc::new(FakeProvider::new(named(name)))).to_vec(),
            clock: ManualClock::new(start_of_time()),
            layout: layout(),
            archiving: ArchiveSettings::default(),
            starts: Starts::default(),
            stops: Stops::default(),
            restoring: Restoring::default(),
            permanent: Mutex::default(),
            orphans: Mutex::default(),
            programs: FakePrograms::default(),
            servers: Servers::default(),
            stopped: None,
            cold: Arc::default(),
            directory: scratch(),
        };
        let (data, space) = (world.path("original/data"), world.path("original/space"));
        for place in [&data, &space] {
            std::fs::create_dir_all(place).unwrap();
        }
        world.server.set_tablespace_map(format!("{TABLESPACE} {}\n", space.display()).as_bytes());
        world.server.change(|facts| {
            facts.data_directory = data;
            facts.tablespaces = vec![Tablespace { oid: TABLESPACE, name: "t".to_owned(), location: space }];
        });
        let cluster = world.server.facts().system_identifier;
        for provider in &world.providers {
            let (starts, restoring, cold) = (world.starts.clone(), world.restoring.clone(), world.cold.clone());
            provider.fill_restores(move |name, path| {
                let handle = restoring.lock().unwrap().clone();
                let backup = handle.split_once(':').unwrap().1;
                let start = starts.lock().unwrap()[backup];
                fill(name, path, cluster, start);
                if *name == DataPathName::Data && cold.lock().unwrap().contains(backup) {
                    let control = control_file(cluster, WalSegmentSize::SMALLEST, 1, start);
                    std::fs::write(path.join("global/pg_control"), control).unwrap();
                }
            });
        }
        for number in WAL {
            world.store.put(&segment_key(number), archived_segment(number, cluster).await).await.unwrap();
        }
        world
    }

    /// Backups at the segments 2, 4, 6 and 8, the second one permanent, and a push that was killed after its first cut.
    pub(crate) async fn with_backups() -> Self {
        let world = Self::empty().await;
        for seed in 1..=4 {
            world.take_backup(seed).await;
        }
        world.kill_push(9).await;
        world.clock.advance(Duration::from_hours(72));
        world
    }

    /// Takes backup 1, 2, ..., at segment 2, 4, ...; the second one is permanent.
    pub(crate) async fn take_backup(&self, seed: u8) -> Backup {
        let permanence = if seed == 2 { Permanence::Permanent } else { Permanence::Ordinary };
        self.move_on(seed);
        if permanence == Permanence::Permanent {
            self.permanent.lock().unwrap().push(backup_name(seed));
        }
        let seams = Seams::new(self, None);
        let request = PushRequest { permanence, ..self.push_request(seed) };
        let backup = snapshot_push(&seams.ports(), seams.server(), &request, std::future::pending()).await.unwrap();
        self.archive_histories().await;
        backup
    }

    /// Notes what the server's files say while this backup is taken of it.
    pub(crate) fn remember_shutdown(&self, name: &BackupName) {
        let checkpoint = self.stopped.as_ref().unwrap().files().control.checkpoint();
        self.starts.lock().unwrap().insert(name.to_string(), checkpoint);
        self.cold.lock().unwrap().insert(name.to_string());
    }

    /// Loses all records of a backup, as a store does that is put back.
    pub(crate) async fn lose_records(&self, seed: u8) {
        let backup = self.backup(seed).await.unwrap();
        self.orphans.lock().unwrap().extend(handles_of(&backup));
        self.remove_records(&backup_name(seed)).await;
    }

    async fn remove_records(&self, name: &BackupName) {
        let prefix = format!("main/snapshots_001/{name}/");
        for key in self.store.snapshot().into_keys().filter(|key| key.as_str().starts_with(&prefix)) {
            self.store.delete(&key).await.unwrap();
        }
    }

    /// Lets the storage systems complete what was cut.
    pub(crate) fn complete_snapshots(&self) {
        for provider in &self.providers {
            provider.set_states(vec![MemberState::Ready]);
            for mut set in provider.sets() {
                set.members.iter_mut().for_each(|member| member.state = MemberState::Ready);
                provider.put(set);
            }
        }
    }

    /// Archives what a server does soon after a backup has stopped: the only other place that tells where.
    pub(crate) async fn archive_histories(&self) {
        let stops = std::mem::take(&mut *self.stops.lock().unwrap());
        let facts = self.server.facts();
        for (label, stop) in stops {
            let start = self.starts.lock().unwrap()[&label];
            let file = WalSegment::containing(facts.timeline, start, facts.segment_size).file_name(facts.segment_size);
            let time = facts.now.strftime("%Y-%m-%d %H:%M:%S UTC");
            let text = format!(
                "START WAL LOCATION: {start} (file {file})\nSTOP WAL LOCATION: {stop} (file {file})\n\
                 CHECKPOINT LOCATION: {}\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: {time}\nLABEL: {label}\n\
                 START TIMELINE: 1\nSTOP TIME: {time}\nSTOP TIMELINE: 1\n",
                Lsn(start.0 + 0x38)
            );
            let name = format!("{file}.{:08X}.backup", start.0 % facts.segment_size.bytes()).parse().unwrap();
            WalArchive::new(&*self.store, &self.layout, &self.archiving).push(name, text.into_bytes()).await.unwrap();
        }
    }

    /// Lets the server write until its position is in the segment of this backup.
    pub(crate) fn move_on(&self, seed: u8) {
        self.server.change(|facts| {
            facts.wal_position = Lsn(u64::from(2 * seed).min(10) * facts.segment_size.bytes() + 0x28);
            facts.now = start_of_time() + Duration::from_mins(u64::from(seed));
        });
    }

    /// Begins a backup whose process is killed when its first set is cut.
    async fn kill_push(&self, seed: u8) {
        let fault = Fault { spot: Spot::Named("fake create"), when: When::After, failure: Failure::Kill };
        self.kill_push_at(seed, fault).await;
    }

    pub(crate) async fn kill_push_at(&self, seed: u8, fault: Fault) {
        let seams = Seams::new(self, Some(fault));
        let (ports, request) = (seams.ports(), self.push_request(seed));
        tokio::select! {
            biased;
            () = seams.fuse.died() => {}
            _ = snapshot_push(&ports, seams.server(), &request, std::future::pending()) => panic!("it was killed"),
        }
        self.archive_histories().await;
    }

    pub(crate) fn push_request(&self, seed: u8) -> PushRequest {
        let rule = PathRule { selector: PathSelector::Below(self.path("original/space")), provider: named("other") };
        PushRequest {
            name: backup_name(seed),
            token: Token(format!("token-{seed}")),
            providers: ProviderChoice { default: Some(named("fake")), rules: vec![rule] },
            permanence: Permanence::Ordinary,
            user_data: None,
            readiness: Readiness::Awaited,
            checkpoint: CheckpointMode::Fast,
            isolation: Isolation::Required,
            hostname: HOST.to_owned(),
            lease: lease_request("snapshot-push"),
            deadlines: PushDeadlines {
                cut: Duration::from_mins(10),
                archive: Duration::from_mins(10),
                ready: Duration::from_hours(1),
            },
        }
    }

    /// Where all directories of the test lie, links resolved.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(crate) async fn contents(&self) -> CatalogContents {
        Catalog::new(&*self.store, &self.layout).contents().await.unwrap()
    }

    pub(crate) async fn backup(&self, seed: u8) -> Option<Backup> {
        self.contents().await.find(&backup_name(seed)).cloned()
    }

    pub(crate) async fn restores(&self) -> Vec<RestoreRecord> {
        let (records, unreadable) = Restores::new(&*self.store, &self.layout).all().await.unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        records
    }

    /// The numbers of the archived segments.
    pub(crate) async fn archived(&self) -> Vec<u32> {
        let files = WalArchive::new(&*self.store, &self.layout, &self.archiving).list().await.unwrap();
        let number = |name: WalFileName| u32::try_from(name.segment(WalSegmentSize::SMALLEST)?.number).ok();
        let is_segment = |name: &WalFileName| matches!(name, WalFileName::Segment { .. });
        files.into_iter().map(|file| file.name).filter(is_segment).filter_map(number).collect()
    }
}

/// A directory, in memory where there is room: nothing is flushed here anyway.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let has_room = stillframe_core::files::space(memory).is_ok_and(|space| space.free_bytes > 1 << 30);
    let made = has_room.then(|| tempfile::tempdir_in(memory).ok()).flatten();
    made.unwrap_or_else(|| tempfile::tempdir().unwrap())
}

fn layout() -> Layout {
    Layout::new(ClusterName::try_from("main".to_owned()).unwrap())
}

/// An object that holds a segment with a true header. Making one takes a while, so each is made once.
async fn archived_segment(number: u32, cluster: SystemIdentifier) -> Bytes {
    static MADE: Mutex<BTreeMap<u32, Bytes>> = Mutex::new(BTreeMap::new());
    let known = MADE.lock().unwrap().get(&number).cloned();
    if let Some(body) = known {
        return body;
    }
    let store = MemoryStore::default();
    let content = segment_content(number, cluster);
    WalArchive::new(&store, &layout(), &ArchiveSettings::default()).push(segment(number), content).await.unwrap();
    let body = store.get(&segment_key(number)).await.unwrap().unwrap();
    MADE.lock().unwrap().insert(number, body.clone());
    body
}

pub(crate) fn segment_content(number: u32, cluster: SystemIdentifier) -> Vec<u8> {
    wal_segment(number, cluster, WalSegmentSize::SMALLEST, u8::try_from(number).unwrap())
}

/// Writes what a backup that started there holds of a directory.
pub(crate) fn fill(name: &DataPathName, path: &Path, cluster: SystemIdentifier, start: Lsn) {
    if *name != DataPathName::Data {
        return std::fs::create_dir_all(path.join("PG_15_202209061")).unwrap();
    }
    for directory in ["global", "base/1", "pg_tblspc", "pg_wal/archive_status"] {
        std::fs::create_dir_all(path.join(directory)).unwrap();
    }
    std::fs::write(path.join("PG_VERSION"), "15\n").unwrap();
    std::fs::write(path.join("global/pg_internal.init"), "stale").unwrap();
    let mut control = vec![0; 8192];
    control[0..8].copy_from_slice(&cluster.0.to_ne_bytes());
    control[8..12].copy_from_slice(&1300_u32.to_ne_bytes());
    control[12..16].copy_from_slice(&202_209_061_u32.to_ne_bytes());
    control[16..20].copy_from_slice(&6_u32.to_ne_bytes());
    control[32..40].copy_from_slice(&Lsn(start.0 + 0x38).0.to_ne_bytes());
    control[40..48].copy_from_slice(&start.0.to_ne_bytes());
    control[48..52].copy_from_slice(&1_u32.to_ne_bytes());
    let checksum = crc32c::crc32c(&control[..288]);
    control[288..292].copy_from_slice(&checksum.to_ne_bytes());
    std::fs::write(path.join("global/pg_control"), control).unwrap();
}
