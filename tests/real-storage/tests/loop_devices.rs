//! btrfs and XFS on loop devices.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

use std::path::Path;

use stillframe_real_storage::{Btrfs, FileSystem, LoopDevice, Subject, Volumes, recovers_to_the_moment_and_leaves_nothing};
use stillframe_tests::{Account, ScratchDirectory, set_mode};

/// Room for a cluster, its snapshots and a restored copy.
const SIZE_MIB: u64 = 2048;

#[test]
fn hardlink_on_xfs_recovers_to_the_moment_and_leaves_nothing() {
    let scratch = ScratchDirectory::create();
    let device = LoopDevice::of_mib(SIZE_MIB);
    let mounted = FileSystem::Xfs.on(device.path(), &scratch.join("xfs"));
    hardlink(&mounted.directory("pg"), &mounted.directory("snapshots"), &mounted.directory("restores"));
}

#[test]
fn hardlink_on_btrfs_recovers_to_the_moment_and_leaves_nothing() {
    let scratch = ScratchDirectory::create();
    let file_system = Btrfs::on(LoopDevice::of_mib(SIZE_MIB), &scratch.join("btrfs"));
    hardlink(&file_system.subvolume("pg"), &file_system.subvolume("snapshots"), &file_system.subvolume("restores"));
}

#[test]
fn btrfs_recovers_to_the_moment_and_leaves_nothing() {
    let scratch = ScratchDirectory::create();
    let file_system = Btrfs::on(LoopDevice::of_mib(SIZE_MIB), &scratch.join("btrfs"));
    let pg = file_system.subvolume("pg");
    let subject = btrfs(&file_system, &pg.join("data"));
    recovers_to_the_moment_and_leaves_nothing(subject, || subvolumes(&file_system));
}

#[test]
fn btrfs_with_data_wal_and_tablespaces_in_subvolumes_of_their_own_recovers_them_together() {
    let scratch = ScratchDirectory::create();
    let file_system = Btrfs::on(LoopDevice::of_mib(SIZE_MIB), &scratch.join("btrfs"));
    let [data, wal, first, second] = ["pg", "wal", "ts1", "ts2"].map(|name| file_system.subvolume(name));
    let volumes = Volumes { wal: wal.join("pg_wal"), tablespaces: [first.join("ts"), second.join("ts")] };
    let subject = btrfs(&file_system, &data.join("data")).volumes(volumes);
    recovers_to_the_moment_and_leaves_nothing(subject, || subvolumes(&file_system));
}

fn btrfs(file_system: &Btrfs, data: &Path) -> Subject {
    let root = file_system.point().join("stillframe");
    Account::unprivileged().create_directory(&root);
    set_mode(&root, 0o700);
    let subject = Subject::new("btrfs", data, &file_system.subvolume("restores"));
    subject.key("root", root.display().to_string())
}

fn hardlink(pg: &Path, snapshots: &Path, restores: &Path) {
    set_mode(snapshots, 0o700);
    let subject = Subject::new("hardlink", &pg.join("data"), restores);
    recovers_to_the_moment_and_leaves_nothing(subject.key("root", snapshots.display().to_string()), || sets(snapshots));
}

/// Every subvolume but the provider's own marker, which the first backup makes for good.
fn subvolumes(file_system: &Btrfs) -> Vec<String> {
    file_system.subvolumes().into_iter().filter(|name| !name.ends_with("/stillframe-snapshots")).collect()
}

/// Names of the snapshot sets, without the provider's own marker.
fn sets(snapshots: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(snapshots).expect("it is there").map(|entry| entry.expect("it can be read"));
    let directories = entries.filter(|entry| entry.path().is_dir());
    directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
