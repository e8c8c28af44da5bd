//! Disks that die: XFS is shut down under the store, and under the snapshots, as it does itself when its device fails.
//!
//! What could go wrong: what cannot be read is called absent, so that recovery ends early or a deletion takes it for garbage; WAL is
//! acknowledged that is nowhere; a backup is published whose snapshot nobody can read; the server stays in backup mode.
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use stillframe_real_storage::{FileSystem, LoopDevice, Mounted};
use stillframe_tests::{Finished, ScratchDirectory, Site, set_mode};

/// Room for the store, or for some snapshots of a new cluster.
const SIZE_MIB: u64 = 1024;
/// Exit code of what may work when it is tried again.
const TRY_AGAIN: i32 = 5;
/// From here on PostgreSQL takes the end of `restore_command` for a failure, and below for an absent file.
const FIRST_FAILURE: i32 = 126;
const DEAD: &str = "Input/output error";
/// Longest wait for programs that still have a file open there.
const PATIENCE: Duration = Duration::from_secs(30);

/// An XFS that can be shut down, and mounted again as after a repair.
struct Disk {
    device: LoopDevice,
    scratch: ScratchDirectory,
    mounted: Option<Mounted>,
}

impl Disk {
    fn new() -> Self {
        let (device, scratch) = (LoopDevice::of_mib(SIZE_MIB), ScratchDirectory::create());
        let mounted = Some(FileSystem::Xfs.on(device.path(), &scratch.join("xfs")));
        Self { device, scratch, mounted }
    }

    fn mounted(&self) -> &Mounted {
        self.mounted.as_ref().expect("it is mounted")
    }

    /// From now on every access to it fails.
    fn die(&self) {
        let point = self.mounted().point().to_owned();
        let status = Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(&point).status();
        assert!(status.expect("xfs_io of xfsprogs").success());
        assert!(std::fs::read_dir(&point).is_err(), "it is dead");
    }

    /// It is repaired, and mounted again.
    fn come_back(&mut self) {
        let point = self.mounted().point().to_owned();
        let deadline = Instant::now() + PATIENCE;
        while !Command::new("umount").arg("--quiet").arg(&point).status().expect("umount").success() {
            assert!(Instant::now() < deadline, "somebody still uses {}", point.display());
            thread::sleep(Duration::from_millis(50));
        }
        std::mem::forget(self.mounted.take());
        self.mounted = Some(Mounted::mount(self.device.path(), &self.scratch.join("xfs"), &[]));
    }
}

#[track_caller]
fn assert_dead(what: &str, finished: &Finished, codes: impl Fn(i32) -> bool) {
    assert!(finished.code().is_some_and(codes), "{what}: {finished}");
    assert!(finished.stderr.contains(DEAD) && finished.stderr.contains("hint:"), "{what}: {finished}");
}

fn archive_by(site: &Site, command: &str) {
    site.cluster.append_setting("archive_command", command);
    site.cluster.reload();
    let setting = "SELECT setting FROM pg_settings WHERE name = 'archive_command'";
    site.cluster.wait_until(&format!("SELECT ({setting}) = '{}'", command.replace('\'', "''")));
}

#[test]
fn when_the_disk_of_the_store_dies_everything_fails_and_nothing_is_absent_and_afterwards_all_is_there() {
    let mut disk = Disk::new();
    let store = disk.mounted().directory("archive").join("store");
    let site = Site::builder(15)
        .value("store", "url", format!("file://{}", store.display()))
        .value("archive", "fetch_ahead", 0)
        .value("backup", "archive_timeout_secs", 2)
        .start();
    let kept = site.backup(&[]);
    let segment = site.switch_wal();
    let (snapshots, own_command) = (site.snapshots(), site.stillframe.command_line("wal-push %p"));
    disk.die();

    for arguments in [
        vec!["snapshot-push", "--provider", "hardlink"],
        vec!["delete", "target", &kept, "--confirm"],
        vec!["delete", "everything", "--confirm"],
        vec!["delete", "garbage", "--confirm"],
        vec!["backup-mark", &kept],
        vec!["backup-list"],
        vec!["wal-verify"],
        vec!["window"],
        vec!["reconcile", "--confirm"],
        vec!["can-restore", "--to", "2030-01-01"],
    ] {
        assert_dead(&arguments.join(" "), &site.stillframe.run(&arguments), |code| code == TRY_AGAIN);
        // Nobody is in backup mode.
        site.wait_until_no_session_is_left();
    }
    let target = site.place("fetched").display().to_string();
    assert_dead("wal-fetch", &site.stillframe.run(["wal-fetch", &segment, &target]), |code| code >= FIRST_FAILURE);
    assert_dead("snapshot-fetch", &site.fetch("restored", &["--archiving", "off"]), |code| code == TRY_AGAIN);
    let checked = site.stillframe.run(["check", "--no-round-trip"]);
    assert!(checked.code() == Some(2) && checked.stdout.contains(DEAD), "critical, and no other code of a monitor: {checked}");
    let written = site.cluster.data_directory().join("pg_wal").join(&segment).display().to_string();
    assert_dead("wal-push", &site.stillframe.run(["wal-push", &written]), |code| code == TRY_AGAIN);
    // The server keeps what it cannot archive.
    let waiting = site.cluster.switch_wal();

    archive_by(&site, "false");
    disk.come_back();
    archive_by(&site, &own_command);
    site.cluster.wait_until_archived(&waiting);
    assert!(site.backups() == [kept.as_str()] && site.snapshots() == snapshots, "nothing is lost and nothing is left");
    site.stillframe.succeed(["wal-verify"]);
    site.stillframe.succeed(["reconcile", "--confirm"]);
    site.restore("restored", &[&kept, "--archiving", "off"]);
}

#[test]
fn when_the_disk_of_the_snapshots_dies_no_backup_is_published_and_what_was_cut_before_is_told_of() {
    let mut disk = Disk::new();
    let root = disk.mounted().directory("snapshots");
    set_mode(&root, 0o700);
    let site = Site::builder(15).value("provider.hardlink", "root", root.display().to_string()).start();
    let kept = site.backup(&[]);
    disk.die();

    let pushed = site.stillframe.run(["snapshot-push", "--provider", "hardlink"]);
    assert!(!pushed.is_success() && pushed.stderr.contains(DEAD), "{pushed}");
    site.wait_until_no_session_is_left();
    assert_eq!(site.backups(), [kept.as_str()], "sentinel_names_existing_snapshots");
    let deleted = site.stillframe.run(["delete", "target", &kept, "--confirm"]);
    assert!(!deleted.is_success() && deleted.stderr.contains(DEAD), "{deleted}");
    let listed = site.stillframe.run(["reconcile"]);
    assert!(listed.code() == Some(TRY_AGAIN) || listed.code() == Some(3), "what cannot be seen is not judged: {listed}");
    assert!(!listed.stdout.contains("has no trace"), "and not taken for gone: {listed}");

    disk.come_back();
    site.stillframe.succeed(["reconcile", "--confirm"]);
    // Its deletion had begun, and is finished or taken back; whichever it was, catalog and storage agree.
    let names: Vec<String> = site.backups();
    let there = |name: &String| root.join(name).is_dir();
    assert!(names.iter().all(there) && (names.contains(&kept) || !root.join(&kept).exists()), "{names:?}");
    let next = site.backup(&[]);
    site.restore("restored", &[&next, "--archiving", "off"]);
}
