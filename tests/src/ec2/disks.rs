//! Real disks behind the volumes: images in one btrfs subvolume, so that the snapshot of a set is a snapshot of the subvolume.
//!
//! Everything lies in the scratch directory and in mounts of the test's own; with the test's processes all of it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::loops::AttachedImage;
use super::private_devices::{cover_dev, run};
use crate::ScratchDirectory;
use crate::small_disk::has_own_mounts;

/// Room for all volumes and snapshots; a file with holes.
const POOL_BYTES: u64 = 64 << 30;

/// The disks of a simulator; for root, within [`with_own_mounts`](crate::with_own_mounts).
#[derive(Debug)]
pub struct Disks {
    // Before the pool that their images lie in.
    attached: BTreeMap<String, AttachedImage>,
    /// For each set of images, the snapshots that need it.
    sets: BTreeMap<u64, BTreeSet<String>>,
    next: u64,
    pool: PathBuf,
    scratch: ScratchDirectory,
}

impl Disks {
    /// Makes room for disks, and gives the test a `/dev` of its own.
    #[track_caller]
    pub fn create() -> Self {
        assert!(rustix::process::geteuid().is_root(), "only root can attach loop devices: run this test as root");
        assert!(has_own_mounts(), "everybody would see these mounts");
        let scratch = ScratchDirectory::create();
        cover_dev(&scratch);
        let (image, pool) = (scratch.join("pool.img"), scratch.join("pool"));
        File::create(&image).and_then(|file| file.set_len(POOL_BYTES)).expect("the scratch directory is ours");
        run(Command::new("mkfs.btrfs").args(["--quiet"]).arg(&image));
        fs::create_dir(&pool).expect("the scratch directory is ours");
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&pool));
        run(Command::new("btrfs").args(["subvolume", "create"]).arg(pool.join("volumes")));
        fs::create_dir(pool.join("sets")).expect("the pool is empty");
        Self { attached: BTreeMap::new(), sets: BTreeMap::new(), next: 0, pool, scratch }
    }

    /// Makes an empty disk and attaches it under this name, for a volume of somebody else's service.
    pub fn attach_blank(&mut self, volume: &str, device: &str, size_gib: u64) {
        self.create_blank(volume, size_gib);
        self.attach(volume, device).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Makes an empty disk.
    pub(super) fn create_blank(&mut self, volume: &str, size_gib: u64) {
        let file = File::create_new(self.image(volume)).expect("ids are given once");
        file.set_len(size_gib << 30).expect("a hole needs no room");
    }

    /// Makes a disk of a snapshot's content; it may be larger.
    pub(super) fn create_from(&mut self, set: u64, of: &str, volume: &str, size_gib: u64) {
        let (from, to) = (self.set(set).join(format!("{of}.img")), self.image(volume));
        copy_shared(&from, &to);
        let file = File::options().write(true).open(&to).expect("it was just made");
        file.set_len(size_gib << 30).expect("a hole needs no room");
    }

    /// Cuts all disks at one instant, for the snapshots of these; gives the set that holds them.
    pub(super) fn cut_all(&mut self, snapshots: impl IntoIterator<Item = String>) -> u64 {
        let set = self.new_set(snapshots);
        run(Command::new("btrfs").args(["subvolume", "snapshot", "-r"]).arg(self.pool.join("volumes")).arg(self.set(set)));
        set
    }

    /// Cuts one disk, for this snapshot; gives the set that holds it.
    pub(super) fn cut_one(&mut self, snapshot: &str, volume: &str) -> u64 {
        let set = self.new_set([snapshot.to_owned()]);
        run(Command::new("btrfs").args(["subvolume", "create"]).arg(self.set(set)));
        copy_shared(&self.image(volume), &self.set(set).join(format!("{volume}.img")));
        set
    }

    /// Forgets what only this snapshot needed.
    pub(super) fn delete_snapshot(&mut self, set: u64, snapshot: &str) {
        let Some(needed_by) = self.sets.get_mut(&set) else { return };
        needed_by.remove(snapshot);
        if needed_by.is_empty() {
            self.sets.remove(&set);
            run(Command::new("btrfs").args(["subvolume", "delete"]).arg(self.set(set)));
        }
    }

    /// Attaches a disk under this name; fails when there is something of that name.
    pub(super) fn attach(&mut self, volume: &str, device: &str) -> Result<(), String> {
        let number = self.next_number();
        let facts = self.scratch.join(format!("facts-{number}"));
        let attached = AttachedImage::attach(&self.image(volume), volume, device, &facts)?;
        self.attached.insert(volume.to_owned(), attached);
        Ok(())
    }

    /// Detaches a disk; false while the instance uses it.
    pub(super) fn detach(&mut self, volume: &str) -> bool {
        if self.attached.get(volume).is_some_and(AttachedImage::is_mounted) {
            return false;
        }
        self.attached.remove(volume);
        true
    }

    /// Deletes a disk.
    pub(super) fn delete(&mut self, volume: &str) {
        fs::remove_file(self.image(volume)).expect("it was made with the volume");
    }

    /// Loop devices of the machine that show an image of these disks.
    pub(super) fn loops(&self) -> Vec<PathBuf> {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten().map(|entry| entry.path());
        let is_ours = |device: &PathBuf| {
            let image = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
            Path::new(image.trim()).starts_with(self.pool.join("volumes"))
        };
        devices.filter(is_ours).collect()
    }

    fn new_set(&mut self, snapshots: impl IntoIterator<Item = String>) -> u64 {
        let set = self.next_number();
        self.sets.insert(set, snapshots.into_iter().collect());
        set
    }

    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn image(&self, volume: &str) -> PathBuf {
        self.pool.join("volumes").join(format!("{volume}.img"))
    }

    fn set(&self, set: u64) -> PathBuf {
        self.pool.join("sets").join(set.to_string())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        self.attached.clear();
        // What a test has left mounted keeps it until the test's processes are gone.
        let _unmounted = Command::new("umount").arg(&self.pool).status();
    }
}

fn copy_shared(from: &Path, to: &Path) {
    run(Command::new("cp").args(["--reflink=always", "--sparse=auto"]).arg(from).arg(to));
}
