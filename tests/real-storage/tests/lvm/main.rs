//! LVM in User-mode Linux: thin and classic volumes, ext4 and XFS.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

mod killed;
mod layers;
mod power_cut;

use std::fs::File;
use std::path::{Path, PathBuf};

use stillframe_real_storage::{
    FileSystem, Guest, Subject, VolumeGroup, Volumes, allow_as_documented, mounts_below, recovers_to_the_moment_and_leaves_nothing,
    succeed,
};
use stillframe_tests::Site;

const DISK_MIB: u64 = 6144;
const POOL_MIB: u64 = 3072;
/// Room for a cluster under load.
const DATA_MIB: u64 = 1024;
const RESTORES: &str = "/srv/restored";
const MOUNT_ROOT: &str = "/run/stillframe";

#[derive(Clone, Copy)]
enum Room {
    Thin,
    Classic,
}

#[test]
fn thin_on_ext4_recovers_to_the_moment_and_leaves_nothing() {
    one_volume("thin_on_ext4_recovers_to_the_moment_and_leaves_nothing", Room::Thin, FileSystem::Ext4);
}

#[test]
fn thin_on_xfs_recovers_to_the_moment_and_leaves_nothing() {
    one_volume("thin_on_xfs_recovers_to_the_moment_and_leaves_nothing", Room::Thin, FileSystem::Xfs);
}

#[test]
fn classic_on_ext4_recovers_to_the_moment_and_leaves_nothing() {
    one_volume("classic_on_ext4_recovers_to_the_moment_and_leaves_nothing", Room::Classic, FileSystem::Ext4);
}

#[test]
fn classic_on_xfs_recovers_to_the_moment_and_leaves_nothing() {
    one_volume("classic_on_xfs_recovers_to_the_moment_and_leaves_nothing", Room::Classic, FileSystem::Xfs);
}

#[test]
fn data_wal_and_tablespaces_on_volumes_of_their_own_recover_together() {
    guest().run("data_wal_and_tablespaces_on_volumes_of_their_own_recover_together", |disks| {
        let group = group(disks);
        let point = |name: &str, room, size_mib, file_system: FileSystem| {
            let mounted = file_system.on(&volume(&group, room, name, size_mib), &Path::new("/srv").join(name));
            let directory = mounted.directory("postgres");
            (mounted, directory)
        };
        let (_data, data) = point("data", Room::Thin, DATA_MIB, FileSystem::Xfs);
        let (_wal, wal) = point("wal", Room::Classic, 768, FileSystem::Ext4);
        let (_ts1, first) = point("ts1", Room::Classic, 384, FileSystem::Xfs);
        let (_ts2, second) = point("ts2", Room::Thin, 256, FileSystem::Ext4);
        let volumes = Volumes { wal: wal.join("pg_wal"), tablespaces: [first.join("ts"), second.join("ts")] };
        let subject = subject(&data).volumes(volumes).restores_are_mounted().look(|backup| {
            let volumes = backup["sets"][0]["volumes"].as_array().expect("a list");
            assert_eq!(volumes.last().expect("four")["id"], "vg0/data", "`pg_control` is cut last");
        });
        recovers_to_the_moment_and_leaves_nothing(subject, || kept(&group));
    });
}

#[test]
fn a_full_thin_pool_is_refused_before_anything_is_cut() {
    guest().run("a_full_thin_pool_is_refused_before_anything_is_cut", |disks| {
        let group = group(disks);
        let mounted = FileSystem::Xfs.on(&volume(&group, Room::Thin, "data", DATA_MIB), Path::new("/srv/data"));
        let site = subject(&mounted.directory("postgres")).start();
        // Another tenant of the pool fills it.
        let ballast = volume(&group, Room::Thin, "ballast", POOL_MIB);
        let used: f64 = group.column("pool", "data_percent").parse().expect("a number");
        assert!(used < 40.0, "{used} % are used");
        let (target, blocks) = (format!("of={}", ballast.display()), format!("count={}", POOL_MIB / 2));
        succeed("dd", &["if=/dev/urandom", &target, "bs=1M", &blocks, "conv=fsync", "status=none"]);
        let mut seek = POOL_MIB / 2;
        while group.column("pool", "data_percent").parse::<f64>().expect("a number") < 96.0 {
            succeed("dd", &["if=/dev/urandom", &target, "bs=1M", "count=32", &format!("seek={seek}"), "conv=fsync", "status=none"]);
            seek += 32;
        }
        let before = kept(&group);
        let refused = site.stillframe.run(["snapshot-push", "--provider", "lvm"]);
        assert!(!refused.is_success() && refused.stderr.contains("pool"), "{refused}");
        assert_eq!(kept(&group), before);
        assert_nothing_is_listed(&site);

        group.extend("pool", 1024);
        let name = site.backup_by("lvm", &[]);
        assert!(kept(&group).iter().any(|kept| kept.contains(&name)));
    });
}

#[test]
fn a_classic_snapshot_that_overflows_fails_the_backup_and_leaves_nothing() {
    guest().run("a_classic_snapshot_that_overflows_fails_the_backup_and_leaves_nothing", |disks| {
        let group = group(disks);
        let mounted = FileSystem::Ext4.on(&volume(&group, Room::Classic, "data", DATA_MIB), Path::new("/srv/data"));
        let site = subject(&mounted.directory("postgres")).key("classic_size", "16M").start();
        let before = kept(&group);
        // The archive is away, so that the push waits after the cut.
        set_archive_command(&site, "false");
        let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "lvm"]);
        running.wait_for_stderr("waiting for the WAL");
        let file = format!("of={}", mounted.point().join("written").display());
        succeed("dd", &["if=/dev/urandom", &file, "bs=1M", "count=64", "conv=fsync", "status=none"]);
        let snapshots = group.snapshots_of("data");
        assert_eq!(snapshots.len(), 1, "{snapshots:?}");
        let attributes = group.column(&snapshots[0], "lv_attr");
        assert_eq!(attributes.chars().nth(4), Some('I'), "it has overflowed: {attributes}");
        set_archive_command(&site, &site.stillframe.command_line("wal-push %p"));
        let failed = running.wait();
        assert!(!failed.is_success(), "{failed}");
        assert_eq!(kept(&group), before, "{failed}");
        assert_nothing_is_listed(&site);
    });
}

#[test]
fn a_snapshot_that_somebody_reads_refuses_to_go_and_stays_listed() {
    guest().run("a_snapshot_that_somebody_reads_refuses_to_go_and_stays_listed", |disks| {
        let group = group(disks);
        let mounted = FileSystem::Ext4.on(&volume(&group, Room::Classic, "data", DATA_MIB), Path::new("/srv/data"));
        let site = subject(&mounted.directory("postgres")).start();
        let before = kept(&group);
        let name = site.backup_by("lvm", &[]);
        let snapshot = group.snapshots_of("data").remove(0);
        let reader = File::open(group.device(&snapshot)).expect("it is active");
        let refused = site.stillframe.run(["delete", "target", &name, "--confirm"]);
        assert!(!refused.is_success() && refused.stderr.contains("in use"), "{refused}");
        assert_eq!(site.backups(), std::slice::from_ref(&name));
        assert_eq!(group.snapshots_of("data"), [snapshot]);
        drop(reader);
        site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
        assert_eq!(kept(&group), before);
    });
}

fn one_volume(test: &str, room: Room, file_system: FileSystem) {
    guest().run(test, |disks| {
        let group = group(disks);
        let mounted = file_system.on(&volume(&group, room, "data", DATA_MIB), Path::new("/srv/data"));
        let subject = subject(&mounted.directory("postgres")).restores_are_mounted();
        recovers_to_the_moment_and_leaves_nothing(subject, || kept(&group));
    });
}

fn guest() -> Guest {
    Guest::user_mode_linux()
        .disk_mib(DISK_MIB)
        .disk_mib(DISK_MIB)
        .provider("lvm", |config| config.value("provider.lvm", "volume_groups", vec!["vg0"]))
}

/// A group with a pool, and the rights that the documentation gives.
fn group(disks: &[PathBuf]) -> VolumeGroup {
    allow_as_documented("lvm");
    let group = VolumeGroup::create("vg0", disks);
    group.thin_pool("pool", POOL_MIB);
    group
}

fn volume(group: &VolumeGroup, room: Room, name: &str, size_mib: u64) -> PathBuf {
    match room {
        Room::Thin => group.thin_volume("pool", name, size_mib).device(),
        Room::Classic => group.classic_volume(name, size_mib).device(),
    }
}

fn subject(directory: &Path) -> Subject {
    let subject = Subject::new("lvm", &directory.join("data"), Path::new(RESTORES)).sudo();
    subject.key("volume_groups", vec!["vg0"]).key("classic_size", "512M")
}

/// Every volume, and what is mounted for restores.
fn kept(group: &VolumeGroup) -> Vec<String> {
    let mounts = mounts_below(Path::new(MOUNT_ROOT)).into_iter().map(|point| point.display().to_string());
    group.volumes().into_iter().chain(mounts).collect()
}

fn set_archive_command(site: &Site, command: &str) {
    site.cluster.append_setting("archive_command", command);
    site.cluster.reload();
    let quoted = command.replace('\'', "''");
    site.cluster.wait_until(&format!("SELECT setting = '{quoted}' FROM pg_settings WHERE name = 'archive_command'"));
}

fn assert_nothing_is_listed(site: &Site) {
    site.wait_until_no_session_is_left();
    assert!(site.backups().is_empty() && site.intents().is_empty());
}
