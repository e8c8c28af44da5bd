//! A data directory with a `pg_control` and WAL files, a clock that a test can turn, and a store that tells what was asked of it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::flows::Ports;
use stillframe_core::postgres::{SystemIdentifier, WalSegmentSize};
use stillframe_core::spool::AheadSettings;
use stillframe_core::store::Store;
use stillframe_core::testing::{InjectedFault, MemoryStore, Operation, WatchedStore, Watcher, wal_segment};

use crate::house::{House, segment};

/// The data directory of a server, and a spool beside it.
pub(crate) struct DataDirectory {
    base: tempfile::TempDir,
    pub(crate) path: PathBuf,
    cluster: SystemIdentifier,
}

impl DataDirectory {
    pub(crate) fn of(house: &House) -> Self {
        Self::of_cluster(house.server.facts().system_identifier)
    }

    pub(crate) fn of_cluster(cluster: SystemIdentifier) -> Self {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("data");
        std::fs::create_dir_all(path.join("pg_wal/archive_status")).unwrap();
        std::fs::create_dir_all(path.join("global")).unwrap();
        let mut control = vec![0; 8192];
        control[0..8].copy_from_slice(&cluster.0.to_ne_bytes());
        control[8..12].copy_from_slice(&1300_u32.to_ne_bytes());
        control[12..16].copy_from_slice(&202_209_061_u32.to_ne_bytes());
        control[32..40].copy_from_slice(&0x0300_0028_u64.to_ne_bytes());
        std::fs::write(path.join("global/pg_control"), control).unwrap();
        let data = Self { base, path, cluster };
        data.change_control(|_| {});
        data
    }

    /// Changes `pg_control`, and gives it a true checksum.
    pub(crate) fn change_control(&self, change: impl FnOnce(&mut [u8])) {
        let path = self.path.join("global/pg_control");
        let mut control = std::fs::read(&path).unwrap();
        change(&mut control);
        let checksum = crc32c::crc32c(&control[..288]);
        control[288..292].copy_from_slice(&checksum.to_ne_bytes());
        std::fs::write(path, control).unwrap();
    }

    pub(crate) fn settings(&self) -> AheadSettings {
        AheadSettings { spool: Some(self.base.path().join("spool")), workers: 2, push_files: 32, fetch_files: 4 }
    }

    pub(crate) fn wal(&self, name: &str) -> PathBuf {
        self.path.join("pg_wal").join(name)
    }

    pub(crate) fn ready(&self, name: &str) -> PathBuf {
        self.path.join("pg_wal/archive_status").join(format!("{name}.ready"))
    }

    /// Writes a file that waits to be archived.
    pub(crate) fn waits(&self, name: &str, content: &[u8]) -> PathBuf {
        std::fs::write(self.wal(name), content).unwrap();
        std::fs::write(self.ready(name), b"").unwrap();
        self.wal(name)
    }

    /// Writes a segment of the first timeline that waits to be archived.
    pub(crate) fn segment_waits(&self, number: u32) -> PathBuf {
        self.waits(&segment(number).to_string(), &segment_content(number, self.cluster, u8::try_from(number).unwrap()))
    }

    pub(crate) fn status(&self) -> Vec<String> {
        names(&self.path.join("pg_wal/archive_status"))
    }

    /// Every file in the spool, relative to it.
    pub(crate) fn spooled(&self) -> Vec<String> {
        let spool = self.base.path().join("spool");
        let mut found = Vec::new();
        walk(&spool, &mut |path| found.push(path.strip_prefix(&spool).unwrap().to_str().unwrap().to_owned()));
        found.sort();
        found
    }

    /// The only file in the spool whose name is this.
    pub(crate) fn spooled_file(&self, name: &str) -> PathBuf {
        let found: Vec<String> = self.spooled().into_iter().filter(|path| path.rsplit('/').next() == Some(name)).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        self.base.path().join("spool").join(&found[0])
    }
}

fn walk(directory: &Path, found: &mut dyn FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { walk(&path, found) } else { found(&path) }
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A segment of 1 MiB with a true header; `filling` tells one content from another.
pub(crate) fn segment_content(number: u32, cluster: SystemIdentifier, filling: u8) -> Vec<u8> {
    wal_segment(number, cluster, WalSegmentSize::SMALLEST, filling)
}

/// The real time, a second ahead so that files are settled, moved on at will. Who sleeps waits for real, but only a moment.
pub(crate) struct TurnedClock {
    offset: Mutex<Duration>,
    passes: bool,
}

impl TurnedClock {
    /// Its sleepers never wake: no limit is ever reached.
    pub(crate) fn without_limits() -> Self {
        Self { offset: Mutex::new(Duration::from_secs(1)), passes: false }
    }

    /// Its sleepers wake after a moment, and so much time has passed.
    pub(crate) fn passing() -> Self {
        Self { passes: true, ..Self::without_limits() }
    }

    pub(crate) fn advance(&self, duration: Duration) {
        *self.offset.lock().unwrap() += duration;
    }
}

#[async_trait]
impl Clock for TurnedClock {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.offset.lock().unwrap()
    }

    fn uptime(&self) -> Duration {
        SystemClock.uptime() + *self.offset.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        if !self.passes {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(duration.min(Duration::from_millis(1))).await;
    }
}

/// A store that writes down what is asked of it, and fails or hangs at objects whose key ends so.
pub(crate) type TellingStore<'a> = WatchedStore<'a, Teller>;

#[derive(Default)]
pub(crate) struct Teller {
    asked: Mutex<Vec<(&'static str, String)>>,
    fails_at: Mutex<Option<&'static str>>,
    hangs_at: Mutex<Option<&'static str>>,
    released: tokio::sync::Notify,
}

/// Lets a store tell.
pub(crate) fn telling(inner: &MemoryStore) -> TellingStore<'_> {
    WatchedStore::new(inner, Teller::default())
}

impl Teller {
    pub(crate) fn fail_at(&self, suffix: &'static str) {
        *self.fails_at.lock().unwrap() = Some(suffix);
    }

    pub(crate) fn hang_at(&self, suffix: &'static str) {
        *self.hangs_at.lock().unwrap() = Some(suffix);
    }

    pub(crate) fn release(&self) {
        *self.hangs_at.lock().unwrap() = None;
        self.released.notify_waiters();
    }

    /// What was asked since this was last called.
    pub(crate) fn told(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Names of the WAL files that were asked for by operations that begin so, since this was last called, without their extension.
    pub(crate) fn files(&self, operation: &str) -> Vec<String> {
        let told = self.told().into_iter().filter(|(kind, _)| kind.starts_with(operation));
        told.map(|(_, key)| key.trim_end_matches(".zst").to_owned()).collect()
    }
}

#[async_trait]
impl Watcher for Teller {
    async fn before(&self, operation: Operation, target: &str) -> Result<(), InjectedFault> {
        self.asked.lock().unwrap().push((operation.as_str(), target.rsplit('/').next().unwrap().to_owned()));
        let ends = |suffix: &Mutex<Option<&'static str>>| suffix.lock().unwrap().is_some_and(|suffix| target.ends_with(suffix));
        loop {
            let released = self.released.notified();
            if !ends(&self.hangs_at) {
                break;
            }
            released.await;
        }
        if ends(&self.fails_at) { Err(InjectedFault) } else { Ok(()) }
    }
}

/// The seams of a house with another store and another clock.
pub(crate) fn ports<'a>(house: &'a House, store: &'a dyn Store, clock: &'a dyn Clock) -> Ports<'a> {
    Ports { clock, ..house.ports(store) }
}
