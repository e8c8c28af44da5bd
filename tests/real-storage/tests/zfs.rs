//! OpenZFS on an emulated machine, as the user of PostgreSQL with delegated rights.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

use std::path::{Path, PathBuf};

use stillframe_real_storage::{
    Guest, Pool, Subject, Volumes, allow_as_documented, mounts_below, recovers_to_the_moment_and_leaves_nothing, refuse, succeed,
};
use stillframe_tests::{Account, Site};

const DISK_MIB: u64 = 4096;
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
fn a_snapshot_that_is_held_or_cloned_refuses_to_go_and_stays_listed() {
    guest().run("a_snapshot_that_is_held_or_cloned_refuses_to_go_and_stays_listed", |disks| {
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
    // There is no udev that would.
    succeed("chmod", &["666", "/dev/zfs"]);
    let pool = Pool::create("tank", disk);
    pool.dataset("pg", &["recordsize=16K"]);
    succeed("zfs", &["create", "-o", "mountpoint=none", "-o", "canmount=off", "tank/stillframe"]);
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
