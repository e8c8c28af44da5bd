//! Layers of devices: below LVM they do no harm, and what a snapshot would not hold is refused.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stillframe_real_storage::{
    Btrfs, FileSystem, Guest, Mounted, Volumes, encrypt, loop_over, mirror, partition, recovers_to_the_moment_and_leaves_nothing,
};
use stillframe_tests::{Account, Site, set_mode};

use super::{DATA_MIB, DISK_MIB, Room, assert_nothing_is_listed, group, guest, kept, subject, volume};

const BTRFS_ROOT: &str = "/srv/btrfs/stillframe";

/// From the top: a bind mount, XFS, a thin volume, encryption, a mirror, and below it a partition and a loop device. A tablespace
/// lies behind a symbolic link, and another on btrfs, whose snapshots are another provider's.
#[test]
fn a_cluster_on_lvm_over_encryption_over_a_mirror_and_on_btrfs_recovers_as_one() {
    let guest = guest().disk_mib(2048).provider("btrfs", |config| config.value("provider.btrfs", "root", BTRFS_ROOT));
    guest.run("layers::a_cluster_on_lvm_over_encryption_over_a_mirror_and_on_btrfs_recovers_as_one", |disks| {
        let mirrored = mirror(0, [&partition(&disks[0]), &loop_over(&disks[1])]);
        let group = group(&[encrypt(&mirrored, "encrypted")]);
        let mount = |name: &str, room, size_mib, file_system: FileSystem| {
            file_system.on(&volume(&group, room, name, size_mib), &Path::new("/srv").join(name))
        };
        let data = mount("data", Room::Thin, DATA_MIB, FileSystem::Xfs);
        let shown = Mounted::bind(&data.directory("postgres"), Path::new("/srv/pg"));
        let wal = mount("wal", Room::Thin, 768, FileSystem::Ext4);
        let second = mount("ts2", Room::Classic, 256, FileSystem::Ext4);
        symlink(second.directory("postgres"), "/srv/fast").unwrap();
        let btrfs = Btrfs::on_disk(&disks[2], Path::new("/srv/btrfs"));
        let first = btrfs.subvolume("ts1");
        Account::unprivileged().create_directory(Path::new(BTRFS_ROOT));
        set_mode(Path::new(BTRFS_ROOT), 0o700);

        let volumes = Volumes {
            wal: wal.directory("postgres").join("pg_wal"),
            tablespaces: [first.join("ts"), PathBuf::from("/srv/fast/ts")],
        };
        let subject = subject(shown.point()).volumes(volumes).restores_are_mounted();
        let subject = subject.also("btrfs", &first, "root", BTRFS_ROOT).look(|backup| {
            assert_eq!(backup["providers"], serde_json::json!(["btrfs", "lvm"]), "the data directory is cut last");
            assert_eq!(volumes_of(backup, 1), [("vg0/wal", "wal"), ("vg0/ts2", "tablespace-16385"), ("vg0/data", "data")]);
        });
        recovers_to_the_moment_and_leaves_nothing(subject, || {
            let subvolumes = btrfs.subvolumes().into_iter().filter(|name| !name.ends_with("/stillframe-snapshots"));
            kept(&group).into_iter().chain(subvolumes).collect()
        });
    });
}

/// Volumes of a set with the first path on each, in cutting order.
fn volumes_of(backup: &Value, set: usize) -> Vec<(&str, &str)> {
    let volumes = backup["sets"][set]["volumes"].as_array().expect("a list");
    volumes.iter().map(|volume| (volume["id"].as_str().expect("a text"), volume["paths"][0].as_str().expect("a text"))).collect()
}

#[test]
fn a_directory_that_no_snapshot_would_hold_stops_the_backup_and_is_named() {
    let guest = Guest::user_mode_linux().disk_mib(DISK_MIB).disk_mib(512);
    let guest = guest.provider("lvm", |config| config.value("provider.lvm", "volume_groups", vec!["vg0"]));
    guest.run("layers::a_directory_that_no_snapshot_would_hold_stops_the_backup_and_is_named", |disks| {
        let group = group(&disks[..1]);
        let data = FileSystem::Ext4.on(&volume(&group, Room::Thin, "data", DATA_MIB), Path::new("/srv/data"));
        let small = |name: &str| volume(&group, Room::Classic, name, 64);
        let mount = |name: &str, device: &Path| FileSystem::Ext4.on(device, &Path::new("/srv").join(name));
        let uncovered = [
            (mount("vault", &encrypt(&small("sealed"), "vault")), "is encrypted within a logical volume"),
            (mount("mirrored", &mirror(0, [&small("left"), &small("right")])), "(md) lies between the file system and"),
            (mount("looped", &loop_over(&small("below"))), "(loop) is not a logical volume"),
            (mount("plain", &partition(&disks[1])), "(part) is not a logical volume"),
        ];
        let site = subject(&data.directory("postgres")).start();
        let before = kept(&group);
        for (mounted, reason) in &uncovered {
            let location = mounted.directory("postgres");
            refused_with(&site, &location, reason);
        }
        let memory = Path::new("/run/tablespace");
        Account::unprivileged().create_directory(memory);
        refused_with(&site, memory, "is no block device");
        assert_eq!(kept(&group), before);
        assert_nothing_is_listed(&site);
        site.backup_by("lvm", &[]);
    });
}

/// A tablespace there stops the backup.
fn refused_with(site: &Site, location: &Path, reason: &str) {
    let location = location.display().to_string();
    site.cluster.sql(&format!("CREATE TABLESPACE elsewhere LOCATION '{location}'"));
    let refused = site.stillframe.run(["snapshot-push", "--provider", "lvm"]);
    assert!(!refused.is_success() && refused.stderr.contains(&location) && refused.stderr.contains(reason), "{refused}");
    site.cluster.sql("DROP TABLESPACE elsewhere");
}
