//! A btrfs file system with subvolumes, as its own tool shows them.

use std::path::{Path, PathBuf};

use stillframe_tests::Account;

use crate::{LoopDevice, Mounted, succeed};

/// A mounted btrfs file system; dropped, it is unmounted.
#[derive(Debug)]
pub struct Btrfs {
    // Declared first, so that it is unmounted before its device goes.
    mounted: Mounted,
    _device: Option<LoopDevice>,
}

impl Btrfs {
    /// Makes one on a loop device, and mounts it so that the owner of a subvolume may delete it.
    #[track_caller]
    pub fn on(device: LoopDevice, point: &Path) -> Self {
        Self { mounted: Self::on_disk(device.path(), point).mounted, _device: Some(device) }
    }

    /// Makes one on a disk, and mounts it in the same way.
    #[track_caller]
    pub fn on_disk(disk: &Path, point: &Path) -> Self {
        succeed("mkfs.btrfs", &["--quiet", "--force", &disk.display().to_string()]);
        Self { mounted: Mounted::mount(disk, point, &["-o", "user_subvol_rm_allowed"]), _device: None }
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        self.mounted.point()
    }

    /// Makes a subvolume that belongs to the user of the server.
    #[track_caller]
    pub fn subvolume(&self, name: &str) -> PathBuf {
        let path = self.point().join(name);
        succeed("btrfs", &["subvolume", "create", &path.display().to_string()]);
        Account::unprivileged().own(&path);
        path
    }

    /// Paths of all subvolumes below the root of the file system.
    #[track_caller]
    pub fn subvolumes(&self) -> Vec<String> {
        let listed = succeed("btrfs", &["subvolume", "list", &self.point().display().to_string()]);
        listed.lines().filter_map(|line| Some(line.split_once(" path ")?.1.to_owned())).collect()
    }
}
