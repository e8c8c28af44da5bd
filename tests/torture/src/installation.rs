//! What is tortured: a server under pgbench, a provider, and a store that can be taken away and given back.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::Value;
use stillframe_real_storage::{Btrfs, Load, LoopDevice, Subject};
use stillframe_tests::{Account, ObjectStoreServer, Row, ScratchDirectory, Site, SiteBuilder, set_mode};

/// The version that Debian 12 has, with pgbench.
const MAJOR: u32 = 15;
/// Room for a cluster, its snapshots and restored copies; only what is written takes any.
const BTRFS_MIB: u64 = 8192;
/// Short enough for the socket of a drill below a scratch directory.
const DRILLS: &str = "d";
/// What the names begin with of files that the host is writing for a provider.
const UNFINISHED: &str = ".stillframe-write-";
/// What the providers leave for good beside snapshots: the mark of a root.
const MARKERS: [&str; 2] = ["stillframe-snapshots.json", "stillframe-snapshots"];
const CHECKPOINTER: &str = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
/// Longest wait for a server that comes back by itself.
const PATIENCE: Duration = Duration::from_mins(1);

/// Who makes the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Copies and links of a directory tree, made by the host itself for the provider.
    Hardlink,
    /// Snapshots of subvolumes, made by a program that the provider runs; on a loop device.
    Btrfs,
}

impl Provider {
    /// Its name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hardlink => "hardlink",
            Self::Btrfs => "btrfs",
        }
    }
}

/// Where catalog and WAL are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// In a directory, which can be taken away like the mount of a server that died.
    Local,
    /// In a server that speaks S3, which can be killed.
    S3,
}

/// A provider and a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Combination {
    /// Who makes the snapshots.
    pub provider: Provider,
    /// Where catalog and WAL are.
    pub store: StoreKind,
}

impl Combination {
    /// All that are tortured.
    pub const ALL: [Self; 4] = [
        Self { provider: Provider::Hardlink, store: StoreKind::Local },
        Self { provider: Provider::Btrfs, store: StoreKind::S3 },
        Self { provider: Provider::Hardlink, store: StoreKind::S3 },
        Self { provider: Provider::Btrfs, store: StoreKind::Local },
    ];
}

impl FromStr for Combination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (provider, store) = match text {
            "hardlink-local" => (Provider::Hardlink, StoreKind::Local),
            "hardlink-s3" => (Provider::Hardlink, StoreKind::S3),
            "btrfs-local" => (Provider::Btrfs, StoreKind::Local),
            "btrfs-s3" => (Provider::Btrfs, StoreKind::S3),
            _ => return Err("there is no such combination".to_owned()),
        };
        Ok(Self { provider, store })
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.store {
            StoreKind::Local => "a store in a directory",
            StoreKind::S3 => "a store on S3",
        };
        write!(formatter, "{} and {store}", self.provider.name())
    }
}

/// An installation under load. Dropped, everything of it ends and goes.
pub(crate) struct Installation {
    // In this order: the load before its server, the server before its store, and file systems last.
    load: Option<Load>,
    pub(crate) site: Site,
    store: Store,
    pub(crate) combination: Combination,
    /// Where the provider keeps its snapshots.
    root: PathBuf,
    /// Where restores go.
    pub(crate) restores: PathBuf,
    marks: Mutex<Marks>,
    _file_system: Option<(Btrfs, ScratchDirectory)>,
}

/// What is known of permanence.
#[derive(Default)]
struct Marks {
    /// Backups that were seen to be permanent.
    seen: BTreeSet<String>,
    /// Backups from which the mark was taken, or may have been.
    lifted: BTreeSet<String>,
}

enum Store {
    Directory { place: PathBuf, aside: PathBuf },
    S3(ObjectStoreServer),
}

impl Installation {
    /// Starts everything.
    #[track_caller]
    pub(crate) fn start(combination: Combination) -> Self {
        let server = (combination.store == StoreKind::S3).then(ObjectStoreServer::moto_that_keeps);
        let configured = |builder: SiteBuilder| {
            let builder = builder.cluster(|cluster| cluster.wal_segment_size(1).setting("checkpoint_timeout", "30s"));
            let builder = builder.value("backup", "provider", combination.provider.name());
            // A backup whose WAL does not come, since its archiver was killed, shall fail now and then.
            let builder = builder.value("backup", "archive_timeout_secs", 45).value("retention", "count", 3);
            let builder = builder.value("retention", "standalone", "7 days");
            let variables = server.iter().flat_map(ObjectStoreServer::environment);
            let builder = variables.fold(builder, |builder, (name, value)| builder.variable(name, &value));
            server.iter().fold(builder, SiteBuilder::s3)
        };
        let (mut site, root, restores, file_system) = match combination.provider {
            Provider::Hardlink => {
                let site = configured(Site::builder(MAJOR)).start();
                let (root, restores) = (site.place("snapshots"), site.place("restores"));
                (site, root, restores, None)
            }
            Provider::Btrfs => {
                let scratch = ScratchDirectory::create();
                let file_system = Btrfs::on(LoopDevice::of_mib(BTRFS_MIB), &scratch.join("btrfs"));
                let (data, restores) = (file_system.subvolume("pg").join("data"), file_system.subvolume("restores"));
                let root = file_system.point().join("stillframe");
                Account::unprivileged().create_directory(&root);
                set_mode(&root, 0o700);
                let subject = Subject::new(combination.provider.name(), &data, &restores);
                let subject = subject.key("root", root.display().to_string()).site(configured);
                (subject.site(SiteBuilder::without_hardlink).start(), root, restores, Some((file_system, scratch)))
            }
        };
        let drills = restores.join(DRILLS);
        Account::unprivileged().create_directory(&drills);
        site.reconfigure(|config| config.value("drill", "directory", drills.display().to_string()));
        let store = match server {
            Some(server) => Store::S3(server),
            None => Store::Directory { place: site.place("store"), aside: site.place("aside") },
        };
        Load::prepare(&site.cluster, None);
        let mut installation =
            Self { load: None, site, store, combination, root, restores, marks: Mutex::default(), _file_system: file_system };
        installation.begin_load();
        installation
    }

    /// Begins the load, anew after the server was killed.
    #[track_caller]
    pub(crate) fn begin_load(&mut self) {
        self.load = None;
        self.load = Some(Load::begin(&self.site.cluster));
    }

    /// Ends the load.
    pub(crate) fn end_load(&mut self) {
        self.load = None;
    }

    /// Takes the store away: by a kill where it is a server, else an empty directory stands in its place.
    #[track_caller]
    pub(crate) fn take_store_away(&mut self) {
        match &mut self.store {
            Store::S3(server) => server.kill9(),
            Store::Directory { place, aside } => {
                // As under a mount that is gone, at the worst: anybody may write there.
                Account::unprivileged().create_directory(aside);
                set_mode(aside, 0o777);
                exchange(place, aside);
            }
        }
    }

    /// Gives it back; fails when anybody has written to the directory in its place.
    #[track_caller]
    pub(crate) fn give_store_back(&mut self) {
        match &mut self.store {
            Store::S3(server) => server.start_again(),
            Store::Directory { place, aside } => {
                exchange(place, aside);
                let strays = stillframe_tests::files(aside);
                assert!(strays.is_empty(), "written where no store was, and lost: {strays:?}");
                fs::remove_dir_all(aside.as_path()).unwrap();
            }
        }
    }

    /// Everything that the catalog lists.
    #[track_caller]
    pub(crate) fn listing(&self) -> Value {
        self.site.stillframe.succeed(["--json", "backup-list"]).json()
    }

    /// Remembers that a backup is not to be permanent any more.
    pub(crate) fn lift(&self, name: &str) {
        self.marks.lock().unwrap().lifted.insert(name.to_owned());
    }

    /// Backups that are permanent, or were; fails when one has gone that still was.
    #[track_caller]
    pub(crate) fn permanent(&self) -> BTreeSet<String> {
        let listing = self.listing();
        let listed = listing["backups"].as_array().into_iter().flatten();
        let now = listed.filter(|backup| backup["is_permanent"] == true);
        let now: BTreeSet<String> = now.filter_map(|backup| backup["backup_name"].as_str().map(str::to_owned)).collect();
        let mut marks = self.marks.lock().unwrap();
        let gone = marks.seen.iter().find(|name| !marks.lifted.contains(*name) && !now.contains(*name));
        assert_eq!(gone, None, "permanent_survives: {listing}");
        marks.seen.extend(now);
        marks.seen.union(&marks.lifted).cloned().collect()
    }

    /// What the storage holds, by the names in the directories themselves; without files that nobody has finished.
    pub(crate) fn stored(&self) -> BTreeSet<String> {
        self.in_storage().into_iter().filter(|name| !name.starts_with(UNFINISHED)).collect()
    }

    /// Files that a kill has kept from being finished. The next that is written to the same directory removes them.
    pub(crate) fn unfinished(&self) -> BTreeSet<String> {
        self.in_storage().into_iter().filter(|name| name.starts_with(UNFINISHED)).collect()
    }

    fn in_storage(&self) -> BTreeSet<String> {
        let mut names = names_in(&self.root);
        if self.combination.provider == Provider::Btrfs {
            // Directories that stay, whose content counts.
            names.retain(|name| !["records", "restores"].contains(&name.as_str()));
            names.extend(names_in(&self.root.join("records")));
            names.extend(names_in(&self.root.join("restores")));
        }
        names.retain(|name| !MARKERS.contains(&name.as_str()));
        names
    }

    /// The backup that something in the storage is of.
    pub(crate) fn backup_of(stored: &str) -> &str {
        // A snapshot of btrfs and its record have a suffix, and no name of a backup has a dot.
        stored.split_once('.').map_or(stored, |(name, _)| name)
    }

    /// What a provider changes when it is at work: its storage, and the places of restores.
    pub(crate) fn trace(&self) -> BTreeSet<String> {
        let mut names = self.stored();
        names.extend(names_in(&self.restores).into_iter().map(|name| format!("restores/{name}")));
        names
    }

    /// The process that writes the server's checkpoints: another one after each of the server's recoveries.
    #[track_caller]
    pub(crate) fn checkpointer(&self) -> String {
        self.site.cluster.value(CHECKPOINTER)
    }

    /// Waits until the server has noticed that one of its processes was killed, has ended the others, and answers again.
    #[track_caller]
    pub(crate) fn wait_for_a_recovery_since(&self, checkpointer: &str) {
        let deadline = Instant::now() + PATIENCE;
        let cluster = &self.site.cluster;
        let is_another = |rows: Vec<Row>| rows.first().is_some_and(|row| row[0].as_deref().is_some_and(|pid| pid != checkpointer));
        while !cluster.try_sql(CHECKPOINTER).is_ok_and(is_another) {
            assert!(Instant::now() < deadline, "the server does not come back:\n{}", cluster.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Takes away what earlier restores have left. Their records have to be gone.
    #[track_caller]
    pub(crate) fn clear_restores(&self) {
        for name in names_in(&self.restores).into_iter().filter(|name| name != DRILLS) {
            let path = self.restores.join(name);
            let removed = if path.is_symlink() { fs::remove_file(&path) } else { fs::remove_dir_all(&path) };
            removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }

    /// What is in the place for drills, but for the lock that stays.
    pub(crate) fn drills(&self) -> BTreeSet<String> {
        names_in(&self.restores.join(DRILLS)).into_iter().filter(|name| name != ".stillframe-drill.lock").collect()
    }
}

#[track_caller]
fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap_or_else(|error| panic!("{}: {error}", one.display()));
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
