//! btrfs and XFS on loop devices, from the backup to the last snapshot that goes, and after a kill, a loss and a dead disk.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]

mod dying_disk;

use std::path::Path;

use serde_json::Value;
use stillframe_real_storage::{Btrfs, FileSystem, LoopDevice, Subject, Volumes, recovers_to_the_moment_and_leaves_nothing};
use stillframe_tests::{Account, ScratchDirectory, Site, StopMode, set_mode};

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

#[test]
fn on_btrfs_reconcile_undoes_what_a_kill_left_and_adopts_a_backup_whose_sentinel_was_lost() {
    let scratch = ScratchDirectory::create();
    let file_system = Btrfs::on(LoopDevice::of_mib(SIZE_MIB), &scratch.join("btrfs"));
    let site = btrfs(&file_system, &file_system.subvolume("pg").join("data")).start();
    // The other provider of the configuration was never used: that its place is no missing mount, the operator says.
    Account::unprivileged().write(&site.place("snapshots/stillframe-snapshots.json"), r#"{"format_version":1}"#);
    let before = subvolumes(&file_system);
    site.cluster.sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i");
    let kept = site.backup_by("btrfs", &[]);
    site.switch_wal();

    // It is cut, and where it stopped never comes into the archive.
    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
    let mut running = site.stillframe.spawn(["snapshot-push", "--provider", "btrfs"]);
    running.wait_for_stderr("waiting for the WAL");
    running.kill9();
    running.wait();
    let [killed] = &site.intents()[..] else { panic!("one intent: {:?}", site.intents()) };
    let is_kept = |name: &str| subvolumes(&file_system).iter().any(|path| path.contains(name));
    assert!(is_kept(killed) && is_kept(&kept), "both are cut: {:?}", subvolumes(&file_system));
    let shown = reconcile(&site, &[]);
    assert_eq!(summary(&shown), [("interrupted", killed.as_str(), "undo")], "{shown}");
    assert!(is_kept(killed), "without --confirm nothing is done");
    assert_eq!(reconcile(&site, &["--confirm"])["findings"][0]["outcome"], "done");
    assert!(!is_kept(killed) && is_kept(&kept), "{:?}", subvolumes(&file_system));

    std::fs::remove_file(site.place("store/main/snapshots_001").join(&kept).join("sentinel.json")).expect("it is there");
    assert!(site.backups().is_empty());
    let adopted = reconcile(&site, &["--confirm"]);
    assert_eq!(summary(&adopted), [("unpublished", kept.as_str(), "adopt")], "{adopted}");
    assert_eq!(adopted["findings"][0]["outcome"], "done", "{adopted}");
    assert_eq!(summary(&reconcile(&site, &[])), [], "0 orphans");

    site.cluster.sql("DROP TABLE t");
    let place = file_system.point().join("restores/main").display().to_string();
    let arguments = ["snapshot-fetch", &place, &kept, "--target-immediate", "--target-action", "promote", "--archiving", "off"];
    site.stillframe.succeed(arguments);
    let mut restored = site.recover(&place);
    assert_eq!(restored.value("SELECT count(*) || ' ' || sum(i) FROM t"), "1000 500500");
    restored.stop(StopMode::Fast);
    site.stillframe.succeed(["snapshot-release", &place]);
    site.stillframe.succeed(["delete", "everything", "--confirm"]);
    assert_eq!(subvolumes(&file_system), before, "the storage keeps nothing");
}

#[track_caller]
fn reconcile(site: &Site, arguments: &[&str]) -> Value {
    site.stillframe.succeed(["--json", "reconcile"].iter().chain(arguments)).json()
}

/// Case, subject and action of each finding.
fn summary(plan: &Value) -> Vec<(&str, &str, &str)> {
    let findings = plan["findings"].as_array().expect("a list").iter();
    findings.map(|found| ["case", "subject", "action"].map(|key| found[key].as_str().unwrap_or("-")).into()).collect()
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
