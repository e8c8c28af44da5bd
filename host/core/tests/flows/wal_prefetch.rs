//! Fetching ahead: what is served from the spool is what the archive holds, and only the archive says what it does not hold.

use std::path::{Path, PathBuf};
use std::time::Duration;

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{Ports, PrefetchRequest, WalFetched, wal_fetch, wal_prefetch};
use stillframe_core::postgres::SystemIdentifier;
use stillframe_core::spool::AheadSettings;
use tokio::sync::oneshot;

use crate::cluster::{self, DataDirectory, TellingStore, TurnedClock, segment_content, telling};
use crate::house::{House, segment};

/// Longest wait for what a test expects to happen.
const SOON: Duration = Duration::from_secs(20);

/// A server that recovers from the archive of a house.
struct Recovery<'a> {
    house: &'a House,
    store: &'a TellingStore<'a>,
    clock: TurnedClock,
    data: DataDirectory,
}

impl<'a> Recovery<'a> {
    fn new(house: &'a House, store: &'a TellingStore<'a>) -> Self {
        Self { house, store, clock: TurnedClock::passing(), data: DataDirectory::of(house) }
    }

    fn ports(&self) -> Ports<'_> {
        cluster::ports(self.house, self.store, &self.clock)
    }

    fn destination(&self) -> PathBuf {
        self.data.wal("RECOVERYXLOG")
    }

    /// Asks for a file with these settings.
    async fn ask(
        &self,
        settings: &AheadSettings,
        name: &str,
    ) -> Result<(WalFetched, Option<PrefetchRequest>), stillframe_core::flows::WalFetchError> {
        wal_fetch(&self.ports(), settings, name, &self.destination()).await
    }

    /// Fetches as PostgreSQL does, and returns what should be prefetched then.
    async fn fetch(&self, number: u32) -> Option<PrefetchRequest> {
        let _ = std::fs::remove_file(self.destination());
        let name = segment(number).to_string();
        let (fetched, next) = self.ask(&self.data.settings(), &name).await.unwrap();
        assert_eq!(fetched, WalFetched::Restored(1 << 20));
        assert_eq!(std::fs::read(self.destination()).unwrap(), self.house.archived_content(number).await, "{name}");
        next
    }

    /// Runs the prefetcher beside these steps, and stops it after them.
    async fn beside(&self, request: &PrefetchRequest, steps: impl Future<Output = ()>) {
        let (ports, settings) = (self.ports(), self.data.settings());
        let (end, ended) = oneshot::channel::<()>();
        let prefetcher = wal_prefetch(&ports, &settings, request, async {
            let _ = ended.await;
        });
        let steps = async {
            tokio::time::timeout(SOON, steps).await.unwrap();
            let _ = end.send(());
        };
        tokio::join!(prefetcher, steps);
    }

    /// Waits until exactly these segments lie ready and none is under way.
    async fn ready(&self, numbers: impl IntoIterator<Item = u32>) {
        let expected: Vec<String> = numbers.into_iter().map(|number| segment(number).to_string()).collect();
        let is_control = |name: &&String| name.ends_with("/lock") || name.ends_with("/position");
        loop {
            let spooled = self.data.spooled();
            let found: Vec<&str> =
                spooled.iter().filter(|name| !is_control(name)).map(|path| path.rsplit('/').next().unwrap()).collect();
            if found == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Puts a file where a prefetched segment would lie.
    fn plant(&self, number: u32, content: &[u8]) -> PathBuf {
        let path = self.directory().join(segment(number).to_string());
        std::fs::write(&path, content).unwrap();
        path
    }

    fn directory(&self) -> PathBuf {
        self.data.spooled_file("lock").parent().unwrap().to_owned()
    }

    fn cluster(&self) -> SystemIdentifier {
        self.house.server.facts().system_identifier
    }
}

/// A server that has fetched segment 3 of an archive that ends with this one.
async fn recovering(last: u32, steps: impl AsyncFnOnce(&Recovery<'_>, &PrefetchRequest)) {
    let house = House::new().await;
    house.archive(&(4..=last).collect::<Vec<_>>()).await;
    let store = telling(&house.store);
    let recovery = Recovery::new(&house, &store);
    let request = recovery.fetch(3).await.unwrap();
    steps(&recovery, &request).await;
}

/// The same, beside a prefetcher that has filled its window.
async fn prefetching(last: u32, steps: impl AsyncFnOnce(&Recovery<'_>, &PrefetchRequest)) {
    recovering(last, async |recovery, request| {
        recovery
            .beside(request, async {
                recovery.ready(4..=last.min(7)).await;
                steps(recovery, request).await;
            })
            .await;
        assert_eq!(recovery.data.spooled(), [""; 0], "nothing stays behind");
    })
    .await;
}

#[tokio::test]
async fn what_was_prefetched_is_served_without_asking_the_store() {
    prefetching(20, async |recovery, _| {
        recovery.store.told();
        recovery.store.fail_at(".zst");
        for number in 4..=7 {
            assert_eq!(recovery.fetch(number).await, None, "somebody tends the spool already");
            let asked = recovery.store.files("get");
            assert!(!asked.contains(&segment(number).to_string()), "{asked:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_window_moves_with_the_server_and_never_grows() {
    prefetching(30, async |recovery, _| {
        for number in 4..=12 {
            recovery.ready(number..number + 4).await;
            recovery.fetch(number).await;
        }
        // A restart begins again at an earlier segment, and another target lies far ahead.
        recovery.fetch(3).await;
        recovery.ready(4..=7).await;
        recovery.fetch(20).await;
        recovery.ready(21..=24).await;
    })
    .await;
}

#[tokio::test]
async fn only_what_proves_itself_is_served_from_the_spool() {
    prefetching(20, async |recovery, _| {
        let ours = segment_content(9, recovery.cluster(), 77);
        let foreign = segment_content(9, SystemIdentifier(1), 77);
        let misplaced = segment_content(8, recovery.cluster(), 77);
        for (what, content) in [
            ("empty", &[][..]),
            ("cut off", &ours[..ours.len() - 1]),
            ("no header", &vec![0; 1 << 20]),
            ("of another cluster", &foreign),
            ("another segment", &misplaced),
        ] {
            let path = recovery.plant(9, content);
            recovery.fetch(9).await;
            assert!(!path.exists(), "{what}: it stays and would be met again");
        }
        let old = recovery.plant(9, &ours);
        let hours_ago = std::time::SystemTime::now() - Duration::from_hours(2);
        std::fs::File::options().append(true).open(old).unwrap().set_modified(hours_ago).unwrap();
        recovery.fetch(9).await;
        let link = recovery.directory().join(segment(9).to_string());
        let target = recovery.data.path.join("target");
        std::fs::write(&target, &ours).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        recovery.fetch(9).await;
    })
    .await;
}

#[tokio::test]
async fn the_test_of_planted_segments_would_notice_one_that_is_served() {
    prefetching(20, async |recovery, _| {
        let planted = segment_content(9, recovery.cluster(), 77);
        recovery.plant(9, &planted);
        recovery.ask(&recovery.data.settings(), &segment(9).to_string()).await.unwrap();
        assert_eq!(std::fs::read(recovery.destination()).unwrap(), planted);
    })
    .await;
}

#[tokio::test]
async fn absence_is_told_by_the_archive_and_never_by_what_was_not_prefetched() {
    prefetching(5, async |recovery, _| {
        // The prefetcher has found the archive's end; it may be longer by now.
        recovery.house.archive(&[6]).await;
        recovery.fetch(6).await;
        let (name, settings) = (segment(7).to_string(), recovery.data.settings());
        assert_eq!(recovery.ask(&settings, &name).await.unwrap(), (WalFetched::Absent, None));
        recovery.store.fail_at("000000010000000000000007.zst");
        assert_eq!(recovery.ask(&settings, &name).await.unwrap_err().class(), ErrorClass::Transient);
    })
    .await;
}

#[tokio::test]
async fn an_archive_that_fails_costs_the_prefetcher_and_not_the_recovery() {
    recovering(8, async |recovery, request| {
        recovery.store.fail_at("000000010000000000000004.zst");
        let one = AheadSettings { fetch_files: 1, ..recovery.data.settings() };
        // It ends by itself: there is nothing that it could do.
        tokio::time::timeout(SOON, wal_prefetch(&recovery.ports(), &one, request, std::future::pending())).await.unwrap();
        let error = recovery.ask(&one, &segment(4).to_string()).await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Transient);
        recovery.store.fail_at("nothing");
        recovery.fetch(4).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn two_servers_side_by_side_do_not_take_each_others_segments() {
    prefetching(8, async |one, _| {
        let other = Recovery::new(one.house, one.store);
        one.store.told();
        let name = segment(4).to_string();
        let (_, next) = other.ask(&one.data.settings(), &name).await.unwrap();
        assert!(one.store.files("get").contains(&name), "it came from the archive");
        assert!(next.is_some(), "it wants a prefetcher of its own");
        one.ready(4..=7).await;
    })
    .await;
}

#[tokio::test]
async fn one_process_tends_the_spool_of_a_server() {
    prefetching(8, async |recovery, request| {
        // The second one ends at once, and takes nothing away.
        wal_prefetch(&recovery.ports(), &recovery.data.settings(), request, std::future::pending()).await;
        recovery.ready(4..=7).await;
    })
    .await;
}

#[tokio::test]
async fn ends_and_leaves_nothing_when_nobody_takes_what_is_ready() {
    recovering(8, async |recovery, request| {
        let (ports, settings) = (recovery.ports(), recovery.data.settings());
        let promoted = async {
            recovery.ready(4..=7).await;
            recovery.clock.advance(Duration::from_mins(1));
        };
        let both = async { tokio::join!(wal_prefetch(&ports, &settings, request, std::future::pending()), promoted) };
        tokio::time::timeout(SOON, both).await.unwrap();
        assert_eq!(recovery.data.spooled(), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_prefetcher_left_is_used_when_whole_and_removed_when_not() {
    recovering(8, async |recovery, request| {
        let mut directory = PathBuf::new();
        recovery
            .beside(request, async {
                recovery.ready(4..=7).await;
                directory = recovery.directory();
            })
            .await;
        std::fs::create_dir_all(&directory).unwrap();
        let whole = segment(4).to_string();
        std::fs::write(directory.join(&whole), recovery.house.archived_content(4).await).unwrap();
        for leftover in [
            ".000000010000000000000005.1-1.stillframe",
            "000000010000000000000005.under-way",
            "position",
            "000000010000000000000002",
        ] {
            std::fs::write(directory.join(leftover), segment(2).to_string()).unwrap();
        }
        recovery.store.told();
        recovery
            .beside(request, async {
                recovery.ready(4..=7).await;
                assert!(!recovery.store.files("get").contains(&whole));
            })
            .await;
    })
    .await;
}

/// Waits until segment 4 is under way, which hangs in the store from here on, then takes these steps beside the prefetcher.
async fn while_segment_4_hangs(steps: impl AsyncFnOnce(&Recovery<'_>)) {
    recovering(8, async |recovery, request| {
        recovery.store.told();
        recovery.store.hang_at("000000010000000000000004.zst");
        let is_under_way = || recovery.data.spooled().iter().any(|path| path.ends_with("000000010000000000000004.under-way"));
        recovery
            .beside(request, async {
                while !is_under_way() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                steps(recovery).await;
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_server_waits_a_little_for_a_segment_that_is_under_way_and_no_longer() {
    while_segment_4_hangs(async |recovery| {
        let release = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            recovery.store.release();
        };
        tokio::join!(recovery.fetch(4), release);
        let asked = recovery.store.files("get");
        assert_eq!(asked.iter().filter(|name| **name == segment(4).to_string()).count(), 1, "{asked:?}");
    })
    .await;

    while_segment_4_hangs(async |recovery| {
        recovery.store.told();
        let asks_itself = async {
            recovery.clock.advance(Duration::from_secs(1));
            while !recovery.store.told().iter().any(|(_, name)| name.starts_with(&segment(4).to_string())) {
                recovery.clock.advance(Duration::from_millis(50));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            recovery.store.release();
        };
        tokio::join!(recovery.fetch(4), asks_itself);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_prefetched_where_the_cluster_is_not_known_or_nobody_wants_it() {
    let house = House::new().await;
    house.archive(&[4]).await;
    let store = telling(&house.store);
    let recovery = Recovery::new(&house, &store);
    let ports = recovery.ports();
    let fetch = async |settings: &AheadSettings, name: &str, destination: &Path| {
        wal_fetch(&ports, settings, name, destination).await.unwrap()
    };
    let (settings, name) = (recovery.data.settings(), segment(4).to_string());
    let elsewhere = tempfile::tempdir().unwrap();
    let (fetched, next) = fetch(&settings, &name, &elsewhere.path().join("by hand")).await;
    assert_eq!((fetched, next), (WalFetched::Restored(1 << 20), None));
    let none = AheadSettings { fetch_files: 0, ..settings.clone() };
    assert_eq!(fetch(&none, &name, &recovery.destination()).await.1, None);
    let none = AheadSettings { spool: None, ..settings.clone() };
    assert_eq!(fetch(&none, &name, &recovery.destination()).await.1, None);
    for other in ["00000002.history", "000000010000000000000004.partial"] {
        assert_eq!(fetch(&settings, other, &recovery.destination()).await, (WalFetched::Absent, None));
    }
    assert_eq!(fetch(&settings, &name, &recovery.destination()).await.1.map(|next| next.served), name.parse().ok());
}
