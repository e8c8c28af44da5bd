//! `wal-push` and `wal-fetch`, alone and with what is done ahead.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use stillframe_core::catalog::WalArchive;
use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::flows::{Guarding, Ports, Pusher, WalFetched, wal_fetch, wal_prefetch, wal_push};
use stillframe_core::postgres::Lsn;
use stillframe_core::provider::DataPathName;
use stillframe_core::spool::AheadSettings;
use stillframe_core::testing::HastyClock;

use crate::harness::{Flow, exhaust};
use crate::seams::Seams;
use crate::world::{HOST, World, fill, segment, segment_content};

/// The real time, a second ahead so that files are settled. No limit is ever reached, but a look is soon repeated.
struct RealClock;

/// Longer sleeps are limits.
const LONGEST_LOOK: Duration = Duration::from_millis(100);

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::now() + Duration::from_secs(1)
    }

    fn uptime(&self) -> Duration {
        SystemClock.uptime()
    }

    async fn sleep(&self, duration: Duration) {
        if duration > LONGEST_LOOK {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn ports<'a>(seams: &'a Seams<'_>) -> Ports<'a> {
    Ports { clock: &RealClock, ..seams.ports() }
}

fn settings(world: &World, is_ahead: bool) -> AheadSettings {
    let spool = is_ahead.then(|| world.path("spool"));
    AheadSettings { spool, workers: 1, push_files: 8, fetch_files: 3 }
}

/// A world with a data directory beside it.
async fn world() -> World {
    let world = World::empty().await;
    let (data, cluster) = (world.path("pg"), world.server.facts().system_identifier);
    std::fs::create_dir_all(&data).unwrap();
    fill(&DataPathName::Data, &data, cluster, Lsn(0x20_0028));
    world
}

fn content(world: &World, number: u32) -> Vec<u8> {
    segment_content(number, world.server.facts().system_identifier)
}

fn wal_path(world: &World, number: u32) -> PathBuf {
    world.path(&format!("pg/pg_wal/{}", segment(number)))
}

struct WalPush {
    is_ahead: bool,
}

/// The segments that wait.
const WAITING: std::ops::RangeInclusive<u32> = 11..=13;

impl Flow for WalPush {
    const AT_LEAST: usize = 6;

    async fn world(&self) -> World {
        let world = world().await;
        for number in WAITING {
            std::fs::write(wal_path(&world, number), content(&world, number)).unwrap();
            std::fs::write(world.path(&format!("pg/pg_wal/archive_status/{}.ready", segment(number))), "").unwrap();
        }
        world
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, attempt: u8) -> Result<(), String> {
        let data = world.path("pg");
        let pusher = Pusher { data_directory: &data, name: HOST, guarding: Guarding::Refuse };
        let settings = settings(world, self.is_ahead);
        // PostgreSQL asks for the first one until it is archived, and then for the next.
        let last = if attempt == 1 { *WAITING.start() } else { *WAITING.end() };
        for number in *WAITING.start()..=last {
            let path = wal_path(world, number);
            let outcome = wal_push(&ports(seams), &settings, &pusher, &path, std::future::pending()).await;
            outcome.map_err(|error| format!("{error:?}"))?;
            assert_archived(world, number, "acknowledged").await;
        }
        Ok(())
    }

    async fn assert_done(&self, world: &World, attempt: u8, situation: &str) {
        let last = if attempt == 1 && !self.is_ahead { *WAITING.start() } else { *WAITING.end() };
        if attempt == 1 && self.is_ahead && situation != "unharmed" {
            // What is pushed ahead may fail; PostgreSQL asks for it.
            return assert_archived(world, *WAITING.start(), situation).await;
        }
        for number in *WAITING.start()..=last {
            assert_archived(world, number, situation).await;
        }
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        for number in WAITING {
            if world.archived().await.contains(&number) {
                assert_archived(world, number, situation).await;
            }
        }
    }
}

async fn assert_archived(world: &World, number: u32, situation: &str) {
    let archive = WalArchive::new(&*world.store, &world.layout, &world.archiving);
    let found = archive.fetch(segment(number)).await.unwrap();
    assert!(found == Some(content(world, number)), "what_is_archived_is_what_was_written: {situation}: {number}");
}

#[tokio::test]
async fn wal_push_alone() {
    exhaust(&WalPush { is_ahead: false }).await;
}

#[tokio::test]
async fn wal_push_with_others_that_wait() {
    exhaust(&WalPush { is_ahead: true }).await;
}

struct WalFetch {
    number: u32,
    is_archived: bool,
}

fn destination(world: &World) -> PathBuf {
    world.path("pg/pg_wal/RECOVERYXLOG")
}

fn assert_whole_or_absent(world: &World, destination: &Path, number: u32, situation: &str) {
    if let Ok(found) = std::fs::read(destination) {
        assert!(found == content(world, number), "a_restored_file_is_whole_or_absent: {situation}");
    }
}

impl Flow for WalFetch {
    const AT_LEAST: usize = 2;

    async fn world(&self) -> World {
        world().await
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let name = segment(self.number).to_string();
        let fetched = wal_fetch(&ports(seams), &settings(world, false), &name, &destination(world)).await;
        let (fetched, _) = fetched.map_err(|error| format!("{error:?}"))?;
        assert_eq!(fetched == WalFetched::Absent, !self.is_archived, "absence_is_proven_before_exit_1");
        assert!(self.is_archived || !seams.fuse.has_blown(), "absence_is_proven_before_exit_1");
        Ok(())
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert_eq!(destination(world).exists(), self.is_archived, "{situation}");
    }

    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        assert_whole_or_absent(world, &destination(world), self.number, situation);
    }

    async fn before_repeating(&self, world: &World, _seams: &Seams<'_>) {
        let _ = std::fs::remove_file(destination(world));
    }
}

#[tokio::test]
async fn wal_fetch_of_what_is_archived() {
    exhaust(&WalFetch { number: 3, is_archived: true }).await;
}

#[tokio::test]
async fn wal_fetch_of_what_is_not() {
    exhaust(&WalFetch { number: 77, is_archived: false }).await;
}

/// The process that fetches ahead, while the server is given the first segment only.
struct WalPrefetch;

const SERVED: u32 = 3;

/// What cannot be fetched makes it wait half a minute for a server that takes nothing: a third of a second of a real one.
const HASTE: u32 = 100;

impl WalPrefetch {
    /// Returns when the window is full.
    async fn filled(world: &World) {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let spooled = walk(&world.path("spool"));
            if (SERVED + 1..=SERVED + 3).all(|number| spooled.iter().any(|path| path.ends_with(segment(number).to_string()))) {
                return;
            }
        }
    }
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

impl Flow for WalPrefetch {
    const AT_LEAST: usize = 10;
    /// The spool is never looked at after a power cut.
    const IS_DURABLE: bool = false;

    async fn world(&self) -> World {
        world().await
    }

    async fn run(&self, world: &World, seams: &Seams<'_>, _attempt: u8) -> Result<(), String> {
        let clock = HastyClock::begin(HASTE);
        let (ports, settings) = (Ports { clock: &clock, ..seams.ports() }, settings(world, true));
        let fetched = wal_fetch(&ports, &settings, &segment(SERVED).to_string(), &destination(world)).await;
        let (fetched, next) = fetched.map_err(|error| format!("{error:?}"))?;
        assert_ne!(fetched, WalFetched::Absent, "absence_is_proven_before_exit_1");
        // It ends by itself when it cannot get what is next.
        wal_prefetch(&ports, &settings, &next.unwrap(), Self::filled(world)).await;
        Ok(())
    }

    async fn assert_done(&self, world: &World, _attempt: u8, situation: &str) {
        assert!(destination(world).exists(), "{situation}");
    }

    /// Whatever lies in the spool, the server is given what the archive holds.
    async fn assert_whatever_happened(&self, world: &World, situation: &str) {
        assert_whole_or_absent(world, &destination(world), SERVED, situation);
        let seams = Seams::new(world, None);
        // Not where the run itself had to write: what it left there is looked at later.
        let another = destination(world).with_extension("later");
        for number in SERVED + 1..=SERVED + 4 {
            let _ = std::fs::remove_file(&another);
            let name = segment(number).to_string();
            let fetched = wal_fetch(&ports(&seams), &settings(world, true), &name, &another).await;
            assert!(matches!(fetched.unwrap().0, WalFetched::Restored(_)), "{situation}");
            assert!(another.exists(), "{situation}: {number}");
            assert_whole_or_absent(world, &another, number, situation);
        }
        let _ = std::fs::remove_file(&another);
    }

    async fn before_repeating(&self, world: &World, _seams: &Seams<'_>) {
        let _ = std::fs::remove_file(destination(world));
    }
}

#[tokio::test]
async fn wal_fetch_ahead() {
    exhaust(&WalPrefetch).await;
}
