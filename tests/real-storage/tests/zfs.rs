//! OpenZFS on an emulated machine, as the user of PostgreSQL with delegated rights.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

use std::path::{Path, PathBuf};

use stillframe_real_storage::{
    Guest, History, Killer, Moment, Pool, Subject, Volumes, allow_as_documented, allow_as_documented_with, engine, mounts_below,
    recovers_to_the_moment_and_leaves_nothing, refuse, succeed,
};
use stillframe_tests::{Account, Cluster, ConfigFile, ScratchDirectory, Site, Stillframe, StopMode, compiled_cache};

const DISK_MIB: u64 = 4096;
/// Of pools beside that of the data directory.
const SMALL_DISK_MIB: u64 = 1024;
/// Of the cluster that lies in several, that of the data directory first.
const POOLS: [&str; 3] = ["tank", "fast", "space"];
/// When a push is killed, and whether backup mode is over by then: while it cuts, which goes on alone, and before it holds.
const KILLS: [(Moment, bool); 2] = [(Moment::Within("zfs snapshot "), false), (Moment::After("zfs holds -H "), true)];
/// Rows of the test's own history between two steps.
const ROWS: usize = 25;
const RESTORES: &str = "/srv/restored";
const MOUNT_ROOT: &str = "/run/stillframe";
/// What the documentation delegates.
const RIGHTS: &str = "snapshot,userprop,hold,release,destroy,mount";

#[test]
fn data_wal_and_tablespaces_in_datasets_of_their_own_recover_to_the_moment_and_leave_nothing() {
    let test = "data_wal_and_tablespaces_in_datasets_of_their_own_recover_to_the_moment_and_leave_nothing";
    guest().run(test, |disks| {
        let pool = pool(&disks[0]);
        delegate();
        let [wal, first, second] = ["pg/wal", "pg/ts1", "pg/ts2"].map(|name| pool.dataset(name, &[]));
        let volumes = Volumes { wal: wal.join("pg_wal"), tablespaces: [first.join("ts"), second.join("ts")] };
        let subject = subject(&pool).volumes(volumes).sudo_to_restore().restores_are_mounted();
        recovers_to_the_moment_and_leaves_nothing(subject, || kept(&pool));
    });
}

#[test]
fn a_cluster_over_three_pools_recovers_to_the_moment_and_its_control_file_is_cut_last() {
    let test = "a_cluster_over_three_pools_recovers_to_the_moment_and_its_control_file_is_cut_last";
    guest().disk_mib(SMALL_DISK_MIB).disk_mib(SMALL_DISK_MIB).run(test, |disks| {
        let [tank, fast, space] = POOLS;
        let pools = [pool_named(tank, &disks[0]), pool_named(fast, &disks[1]), pool_named(space, &disks[2])];
        allow_as_documented_with("zfs", |lines| lines.replace("tank/", &format!("({})/", POOLS.join("|"))));
        let [tank, fast, space] = &pools;
        let second = tank.dataset("pg/ts2", &[]);
        let tablespaces = [space.point().join("pg/ts"), second.join("ts")];
        let volumes = Volumes { wal: fast.point().join("pg/pg_wal"), tablespaces };
        let subject = Subject::new("zfs", &tank.point().join("pg/data"), Path::new(RESTORES)).volumes(volumes);
        let below = |name: &str| POOLS.map(|pool| format!("{pool}/{name}")).to_vec();
        let subject = subject.key("datasets", below("pg")).key("clones", below("stillframe"));
        // It also sees what is run.
        let killer = Killer::install();
        let subject = subject.key("command_prefix", killer.prefix()).restores_are_mounted();
        recovers_to_the_moment_and_leaves_nothing(subject, || pools.iter().flat_map(kept).collect());

        let cuts = killer.seen("zfs snapshot ");
        assert_eq!(cuts.len(), POOLS.len(), "one for each pool: {cuts:?}");
        assert!(cuts[2].contains(" tank/pg@") && cuts[2].contains(" tank/pg/ts2@"), "all of its pool, and last: {cuts:?}");
    });
}

#[test]
fn a_killed_push_is_accounted_for_and_a_backup_outlives_a_power_cut() {
    let test = "a_killed_push_is_accounted_for_and_a_backup_outlives_a_power_cut";
    let before_the_cut = |disks: &[PathBuf]| {
        let pool = pool(&disks[0]);
        let store = pool.dataset("store", &[]).join("store");
        let killer = Killer::install();
        let subject = subject(&pool).key("command_prefix", killer.prefix());
        let site = subject.value("store", "url", format!("file://{}", store.display())).start();
        let before = kept(&pool);
        for (killed, (moment, has_left)) in (1..).zip(KILLS) {
            let finished = killer.kill(moment, &site.stillframe, &["snapshot-push", "--provider", "zfs"]);
            assert_eq!(finished.says("left backup mode"), has_left, "nothing but the cut runs in backup mode: {finished}");
            site.wait_until_no_session_is_left();
            let known: Vec<String> = site.intents().iter().map(|name| format!("tank/pg@{name}")).collect();
            assert_eq!((known.len(), pool.snapshots()), (killed, known.clone()), "{moment:?}: it is cut, and the catalog knows");
            assert!(known.iter().all(|snapshot| pool.property(snapshot, "userrefs") == "0"), "{moment:?}: nothing has held it");
        }
        for name in site.intents() {
            expire(&store, &name);
        }
        site.stillframe.succeed(["delete", "garbage", "--confirm"]);
        assert!(site.intents().is_empty());
        assert_eq!(kept(&pool), before);

        let mut history = History::begin(&site.cluster);
        history.write(&site.cluster, ROWS);
        site.backup_by("zfs", &[]);
        history.write(&site.cluster, ROWS);
        site.switch_wal();
        site
    };
    guest().run_through_a_power_cut(test, before_the_cut, |disks| {
        allow_as_documented("zfs");
        succeed("chmod", &["666", "/dev/zfs"]);
        let pool = Pool::import("tank", &disks[0]);
        let directory = ScratchDirectory::create();
        let stillframe = after_the_cut(&pool, &directory);
        let listing = stillframe.succeed(["--json", "backup-list"]).json();
        let name = listing["backups"][0]["backup_name"].as_str().expect("the backup is listed").to_owned();
        Account::unprivileged().create_directory(Path::new(RESTORES));
        let place = format!("{RESTORES}/main");
        stillframe.succeed(["snapshot-fetch", &place, &name, "--archiving", "off"]);
        let mut cluster = Cluster::adopt(&place, 15);
        cluster.start().wait_until_recovered();
        History::assert_rows(&cluster, 2 * ROWS);
        cluster.stop(StopMode::Fast);
        stillframe.succeed(["snapshot-release", &place]);
        stillframe.succeed(["delete", "everything", "--confirm"]);
        assert_eq!(pool.snapshots(), [""; 0]);
    });
}

/// No clock can be moved from here, so the record of the interrupted backup is.
fn expire(store: &Path, name: &str) {
    let record = store.join("main/snapshots_001").join(name).join("intent.json");
    let text = std::fs::read(&record).expect("the intent is there");
    let mut intent: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    intent["expires_at"] = intent["begun_at"].clone();
    intent.as_object_mut().expect("it is an object").remove("checksum");
    Account::unprivileged().write(&record, intent.to_string());
}

/// The same installation, of which the disks have kept the data and the store.
fn after_the_cut(pool: &Pool, directory: &ScratchDirectory) -> Stillframe {
    let config = ConfigFile::new().cluster("main", &Cluster::adopt(pool.point().join("pg/data"), 15));
    let config = config.store_directory(&pool.point().join("store/store")).value("runtime", "engine", engine());
    let config = config.value("runtime", "cache", compiled_cache().display().to_string());
    let config = config.value("archive", "spool", directory.join("spool").display().to_string());
    let config = config.value("provider.zfs", "datasets", vec!["tank/pg"]).value("provider.zfs", "clones", vec!["tank/stillframe"]);
    let config = config.value("provider.zfs", "command_prefix", vec!["/usr/bin/sudo", "-n"]);
    Stillframe::new(config.write(directory.path()))
}

#[test]
fn without_delegated_rights_nothing_is_cut_and_the_grant_is_named() {
    guest().run("without_delegated_rights_nothing_is_cut_and_the_grant_is_named", |disks| {
        let pool = pool(&disks[0]);
        let site = subject(&pool).start();
        let before = kept(&pool);
        let refused = site.stillframe.run(["snapshot-push", "--provider", "zfs"]);
        assert!(!refused.is_success() && refused.stderr.contains("zfs allow"), "{refused}");
        site.wait_until_no_session_is_left();
        assert_eq!(kept(&pool), before);
        assert!(site.backups().is_empty() && site.intents().is_empty());
    });
}

#[test]
fn a_snapshot_that_is_held_cloned_or_locked_refuses_to_go_and_stays_listed() {
    guest().run("a_snapshot_that_is_held_cloned_or_locked_refuses_to_go_and_stays_listed", |disks| {
        let pool = pool(&disks[0]);
        delegate();
        let site = subject(&pool).start();
        let before = kept(&pool);
        let name = site.backup_by("zfs", &[]);
        let snapshot = format!("tank/pg@{name}");
        refuse("zfs", &["destroy", &snapshot]);

        succeed("zfs", &["hold", "keep", &snapshot]);
        assert_is_in_use(&site, &pool, &name);
        succeed("zfs", &["release", "keep", &snapshot]);

        succeed("zfs", &["clone", "-o", "canmount=off", &snapshot, "tank/clone"]);
        assert_is_in_use(&site, &pool, &name);
        succeed("zfs", &["destroy", "tank/clone"]);

        site.stillframe.succeed(["backup-lock", &name, "--until", "2100-01-01 00:00:00+00"]);
        assert!(succeed("zfs", &["holds", "-H", &snapshot]).contains("stillframe:lock:4102444800000"));
        let compliance = site.stillframe.run(["backup-lock", &name, "--until", "2100-01-01 00:00:00+00", "--mode", "compliance"]);
        assert!(!compliance.is_success(), "ZFS cannot bind its administrator: {compliance}");
        let kept_by_lock = site.stillframe.run(["delete", "everything", "--confirm"]);
        assert_eq!(site.backups(), std::slice::from_ref(&name), "{kept_by_lock}");
        assert!(pool.snapshots().contains(&snapshot));
        site.stillframe.succeed(["backup-lock", &name, "--release"]);

        site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
        assert_eq!(kept(&pool), before);
    });
}

fn assert_is_in_use(site: &Site, pool: &Pool, name: &str) {
    let refused = site.stillframe.run(["delete", "target", name, "--confirm"]);
    assert!(!refused.is_success() && refused.stderr.contains("in use"), "{refused}");
    assert_eq!(site.backups(), [name.to_owned()]);
    assert!(pool.snapshots().contains(&format!("tank/pg@{name}")));
    assert_ne!(pool.property(&format!("tank/pg@{name}"), "userrefs"), "0", "it is held as before");
}

fn guest() -> Guest {
    Guest::emulator().disk_mib(DISK_MIB).provider("zfs", |config| config.value("provider.zfs", "datasets", vec!["tank/pg"]))
}

fn pool(disk: &Path) -> Pool {
    allow_as_documented("zfs");
    pool_named("tank", disk)
}

fn pool_named(name: &str, disk: &Path) -> Pool {
    // There is no udev that would.
    succeed("chmod", &["666", "/dev/zfs"]);
    let pool = Pool::create(name, disk);
    pool.dataset("pg", &["recordsize=16K"]);
    succeed("zfs", &["create", "-o", "mountpoint=none", "-o", "canmount=off", &format!("{name}/stillframe")]);
    pool
}

fn delegate() {
    succeed("zfs", &["allow", "-u", &Account::unprivileged().name, RIGHTS, "tank/pg"]);
}

fn subject(pool: &Pool) -> Subject {
    let data: PathBuf = pool.point().join("pg/data");
    let subject = Subject::new("zfs", &data, Path::new(RESTORES));
    subject.key("datasets", vec!["tank/pg"]).key("clones", vec!["tank/stillframe"])
}

/// Every dataset, snapshot and clone, and what is mounted for restores.
fn kept(pool: &Pool) -> Vec<String> {
    let mounts = mounts_below(Path::new(MOUNT_ROOT)).into_iter().map(|point| point.display().to_string());
    pool.datasets().into_iter().chain(pool.snapshots()).chain(mounts).collect()
}
