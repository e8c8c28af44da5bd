//! An installation on four volumes of one instance: PGDATA, two tablespaces, and `pg_wal`. A fifth volume is none of its business.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use stillframe_tests::{Account, Cluster, Disks, Ec2, Finished, ScratchDirectory, Site, SiteBuilder, tested_major};

use crate::machine::{Mounted, PREFIX, allow_sudo, flush, mounts_below, text};

const SIZE_GIB: u64 = 4;
/// In the scratch directory.
const MOUNT_ROOT: &str = "mnt";
const DEADLINE: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Device, file system and mount point of each volume of the database.
const VOLUMES: [(&str, &str, &str); 4] = [
    ("/dev/sdf", "ext4", "pgdata"),
    ("/dev/sdg", "xfs", "tables"),
    ("/dev/sdh", "ext4", "indexes"),
    ("/dev/sdi", "ext4", "pg_wal"),
];
/// How many of them are restored: the content of `pg_wal` comes from the archive.
pub(crate) const RESTORED: usize = VOLUMES.len() - 1;

/// The installation. The server goes before its file systems, and these before their volumes.
pub(crate) struct EbsSite {
    pub(crate) site: Site,
    mounted: [Mounted; VOLUMES.len()],
    pub(crate) ec2: Ec2,
    pub(crate) volumes: [String; VOLUMES.len()],
    scratch: ScratchDirectory,
    before: Leftovers,
}

/// What a backup and a restore must not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leftovers {
    snapshots: BTreeSet<String>,
    volumes: BTreeSet<String>,
    loops: BTreeSet<PathBuf>,
    mounts: Vec<String>,
}

impl EbsSite {
    /// An installation that is started.
    pub(crate) fn start() -> Self {
        Self::start_with(|builder| builder)
    }

    /// The same with a configuration of the test's own.
    pub(crate) fn start_with(change: impl FnOnce(SiteBuilder) -> SiteBuilder) -> Self {
        let ec2 = Ec2::with_disks(Disks::create());
        let scratch = ScratchDirectory::create();
        allow_sudo(&scratch);
        let instance = ec2.add_instance();
        let volumes = VOLUMES.map(|(device, _, _)| ec2.add_attached_volume(&instance, device, SIZE_GIB));
        ec2.add_attached_volume(&instance, "/dev/sdj", 1);
        let mounted = VOLUMES.map(|(device, fs_type, name)| Mounted::new(device, fs_type, scratch.join(name)));
        let [data, tables, indexes, wal] = &mounted;
        let mut builder = Site::builder(tested_major()).cluster(|cluster| {
            let cluster = cluster.data_at(data.join("main")).wal_at(wal.join("wal"));
            let cluster = cluster.tablespace_at(tables.join("ts")).tablespace_at(indexes.join("ts"));
            // Several volumes are cut at one instant, and only what was flushed is certain to be in it.
            cluster.setting("fsync", "on")
        });
        let section = [
            ("region", ec2.region().to_owned()),
            ("endpoint", ec2.endpoint().to_owned()),
            ("mount_root", text(&scratch.join(MOUNT_ROOT)).to_owned()),
        ];
        for (key, value) in section {
            builder = builder.value("provider.ebs", key, value);
        }
        builder = builder.value("provider.ebs", "command_prefix", PREFIX.map(str::to_owned).to_vec());
        for (name, value) in ec2.environment() {
            builder = builder.variable(name, &value);
        }
        let site = change(builder).start();
        flush(&mounted);
        let before = Leftovers::of(&ec2, &scratch.join(MOUNT_ROOT));
        Self { site, mounted, ec2, volumes, scratch, before }
    }

    /// Takes a backup; gives its name.
    #[track_caller]
    pub(crate) fn backup(&self, arguments: &[&str]) -> String {
        self.site.backup_by("ebs", arguments)
    }

    /// Tries to take a backup.
    #[track_caller]
    pub(crate) fn try_backup(&self, arguments: &[&str]) -> Finished {
        let mut all = vec!["snapshot-push", "--provider", "ebs"];
        all.extend(arguments);
        self.site.stillframe.run(all)
    }

    /// Where restores are mounted.
    pub(crate) fn mount_root(&self) -> PathBuf {
        self.scratch.join(MOUNT_ROOT)
    }

    /// What a restore beside the original has to say, with further arguments.
    pub(crate) fn beside(&self, name: &str, more: &[&str]) -> Vec<String> {
        let ([_, tables, indexes, _], wal) = (&self.mounted, self.site.place("wal"));
        Account::unprivileged().create_directory(&wal);
        let mapping = |of: &Mounted, to: &str| format!("{}={}", of.join("ts").display(), self.site.place(to).display());
        let mappings = [mapping(tables, "tables"), mapping(indexes, "indexes")];
        let own = [name, "--archiving", "off", "--wal-directory", text(&wal)];
        let mapped = mappings.iter().flat_map(|mapping| ["--tablespace-mapping", mapping]);
        own.into_iter().chain(mapped).chain(more.iter().copied()).map(str::to_owned).collect()
    }

    /// Tries to restore beside the original.
    #[track_caller]
    pub(crate) fn try_restore(&self, place: &str, name: &str) -> Finished {
        let arguments = self.beside(name, &[]);
        self.site.fetch(place, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Restores beside the original, starts a server there, and waits until it takes writes.
    #[track_caller]
    pub(crate) fn restore(&self, place: &str, name: &str, more: &[&str]) -> Cluster {
        let arguments = self.beside(name, more);
        self.site.restore(place, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What `backup-list` says.
    #[track_caller]
    pub(crate) fn listing(&self) -> Value {
        self.site.stillframe.succeed(["--json", "backup-list"]).json()
    }

    /// Waits until this action has been carried out once more than before.
    #[track_caller]
    pub(crate) fn wait_until_done(&self, action: &str, before: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.ec2.done(action) <= before {
            assert!(Instant::now() < deadline, "{action} was not asked for; the last was {:?}", self.ec2.seen().last());
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Everything is as it was before the first backup.
    #[track_caller]
    pub(crate) fn assert_nothing_is_left(&self) {
        assert_eq!(self.leftovers(), self.before);
        assert!(self.site.backups().is_empty() && self.site.intents().is_empty());
        self.site.wait_until_no_session_is_left();
    }

    /// Volumes, loop devices and mounts are as they were; snapshots may be there.
    #[track_caller]
    pub(crate) fn assert_no_restore_is_left(&self) {
        let now = self.leftovers();
        assert_eq!(now, Leftovers { snapshots: now.snapshots.clone(), ..self.before.clone() });
    }

    fn leftovers(&self) -> Leftovers {
        Leftovers::of(&self.ec2, &self.mount_root())
    }
}

impl Leftovers {
    fn of(ec2: &Ec2, mount_root: &Path) -> Self {
        Self {
            snapshots: ec2.snapshots().into_iter().map(|snapshot| snapshot.id).collect(),
            // One that is being deleted is gone for everybody but those who look.
            volumes: ec2.volumes().into_iter().filter(|volume| volume.state() != "deleting").map(|volume| volume.id).collect(),
            loops: ec2.loops().into_iter().collect(),
            mounts: mounts_below(mount_root),
        }
    }
}
