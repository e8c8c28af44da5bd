//! A store on a disk that is full, read-only or dying.

use std::collections::BTreeSet;
use std::path::Path;

use stillframe_tests::{ScratchDirectory, Site, SmallDisk, set_mode, with_own_mounts};

use crate::{assert_accounted, assert_goes_on, assert_says, impatient};

/// Fits everything.
const WIDE_KIB: u64 = 64 << 10;

/// A server whose store lies on a disk of its own.
fn site_on(disk: &SmallDisk) -> Site {
    let store = disk.path().join("store");
    let site = Site::with_small_segments().value("store", "url", format!("file://{}", store.display()));
    site.value("backup", "archive_timeout_secs", 1).start()
}

#[test]
fn a_push_with_room_for_less_than_it_needs_leaves_no_snapshot_that_nobody_knows() {
    with_own_mounts("disks::a_push_with_room_for_less_than_it_needs_leaves_no_snapshot_that_nobody_knows", || {
        let scratch = ScratchDirectory::create();
        let disk = SmallDisk::mount(&scratch.join("disk"), WIDE_KIB);
        let site = site_on(&disk);
        site.switch_wal();
        let mut failed = BTreeSet::new();
        // Each object takes a page and an inode, and each directory an inode: one more each time, so that another write fails.
        let pages = [0, 1, 2, 4].map(|pages| (pages * 4, 1_000));
        let inodes = [0, 1, 2, 4].map(|inodes| (WIDE_KIB, inodes));
        for (kib, inodes) in pages.into_iter().chain(inodes) {
            let what = format!("{kib} KiB and {inodes} inodes are left");
            disk.leave(kib, inodes);
            let pushed = site.stillframe.run(["snapshot-push", "--provider", "hardlink"]);
            assert!(!pushed.is_success(), "{what}: {pushed}");
            assert_says(&what, &pushed, &[5], "");
            // Either a write of its own fails, or that of its WAL.
            let is_told = ["No space left on device", "is not in the archive"].iter().any(|words| pushed.stderr.contains(words));
            assert!(is_told, "{what}: {pushed}");
            failed.insert(pushed.stderr.lines().find(|line| line.starts_with("error:")).unwrap().to_owned());
            assert_accounted(&what, &site);
            assert!(site.backups().is_empty(), "{what}");
            disk.leave(WIDE_KIB, 10_000);
        }
        assert!(failed.len() > 1, "several writes failed: {failed:?}");
        assert_goes_on("there is room again", &site);
        // A disk that is full is made empty by deleting.
        let name = site.backups().remove(0);
        disk.leave(0, 0);
        let deleted = site.stillframe.run(["delete", "target", &name, "--confirm"]);
        if !deleted.is_success() {
            assert_says("deleting on a full disk", &deleted, &[5], "No space left on device");
            assert!(site.backups().contains(&name), "nothing of it is gone: {deleted}");
        }
        disk.leave(WIDE_KIB, 10_000);
        site.stillframe.run(["delete", "target", &name, "--confirm"]);
        assert!(site.backups().is_empty() && site.snapshots().is_empty());
    });
}

/// Whatever writes fails with a word about it, and nothing of the store or of the snapshots changes; whatever reads goes on.
#[track_caller]
fn assert_only_reads(site: &Site, name: &str, words: &str) {
    let before = site.snapshots();
    for arguments in [
        vec!["snapshot-push", "--provider", "hardlink"],
        vec!["delete", "target", name, "--confirm"],
        vec!["delete", "everything", "--confirm"],
        vec!["backup-mark", name],
    ] {
        let finished = site.stillframe.run(&arguments);
        assert_says(&arguments.join(" "), &finished, &[3], words);
        assert!(finished.stderr.contains("hint:"), "{finished}");
        assert_eq!(site.snapshots(), before, "{arguments:?}");
    }
    assert_eq!(site.backups(), [name]);
    site.wait_until_no_session_is_left();
    for arguments in
        [vec!["backup-show", name], vec!["wal-verify"], vec!["window"], vec!["reconcile"], vec!["delete", "everything"]]
    {
        site.stillframe.succeed(&arguments);
    }
    let checked = site.stillframe.run(["check", "--no-round-trip"]);
    assert!(checked.code() == Some(2) && checked.stdout.contains(words), "{checked}");
}

#[test]
fn a_read_only_store_is_told_of_and_costs_nothing() {
    with_own_mounts("disks::a_read_only_store_is_told_of_and_costs_nothing", || {
        let scratch = ScratchDirectory::create();
        let disk = SmallDisk::mount(&scratch.join("disk"), WIDE_KIB);
        let site = site_on(&disk);
        let name = site.backup(&[]);
        site.switch_wal();
        disk.make_read_only();
        assert_only_reads(&site, &name, "Read-only file system");
        let fetched = site.fetch("restored", &[&name, "--archiving", "off"]);
        assert_says("a restore that cannot be announced", &fetched, &[3], "Read-only file system");
        assert!(fetched.stderr.contains("--unannounced") && !site.place("restored").join("PG_VERSION").exists(), "{fetched}");
        site.restore("from-read-only", &[&name, "--archiving", "off", "--unannounced"]);
        disk.make_writable();
        assert_goes_on("it is writable again", &site);
        site.restore("restored", &[&name, "--archiving", "off"]);
    });
}

#[test]
fn a_store_without_the_right_to_write_is_told_of_and_costs_nothing() {
    let site = Site::with_small_segments().value("backup", "archive_timeout_secs", 1).start();
    let name = site.backup(&[]);
    site.switch_wal();
    let directories = |mode| {
        for directory in walk(&site.place("store")) {
            set_mode(&directory, mode);
        }
    };
    directories(0o500);
    assert_only_reads(&site, &name, "Permission denied");
    directories(0o700);
    assert_goes_on("it may be written again", &site);
}

/// A directory and those below it.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let below = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let below: Vec<_> = below.filter(|path| path.is_dir()).flat_map(|path| walk(&path)).collect();
    [vec![directory.to_owned()], below].concat()
}

#[test]
fn a_push_whose_store_goes_read_only_after_the_cut_leaves_what_a_later_run_settles() {
    with_own_mounts("disks::a_push_whose_store_goes_read_only_after_the_cut_leaves_what_a_later_run_settles", || {
        let scratch = ScratchDirectory::create();
        let disk = SmallDisk::mount(&scratch.join("disk"), WIDE_KIB);
        let site = site_on(&disk);
        site.switch_wal();
        let kept = site.backup(&[]);
        let slow = site.configured(|config| impatient(config).value("backup", "archive_timeout_secs", 5));
        site.cluster.append_setting("archive_command", "false");
        site.cluster.reload();
        site.cluster.wait_until("SELECT setting = 'false' FROM pg_settings WHERE name = 'archive_command'");
        let mut running = slow.spawn(["snapshot-push", "--provider", "hardlink"]);
        running.wait_for_stderr("waiting for the WAL");
        disk.make_read_only();
        let pushed = running.wait();
        assert_says("the WAL never came, and the intent cannot be removed", &pushed, &[5], "it stays recorded as the intent");
        assert_accounted("read-only after the cut", &site);
        disk.make_writable();
        site.cluster.append_setting("archive_command", &site.stillframe.command_line("wal-push %p"));
        site.cluster.reload();
        site.cluster.wait_until("SELECT setting <> 'false' FROM pg_settings WHERE name = 'archive_command'");
        site.switch_wal();
        assert_goes_on("it is writable again", &site);
        // Its snapshot was undone; of its record it is waited for what it may have asked for.
        assert_eq!(site.snapshots(), site.backups().into_iter().collect());
        assert!(site.backups().contains(&kept));
    });
}
