//! File systems on block devices, mounted for the time of a test.

use std::fs;
use std::path::{Path, PathBuf};

use stillframe_tests::Account;

use crate::succeed;

/// What a volume is formatted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4 with its defaults.
    Ext4,
    /// XFS whose files can share extents.
    Xfs,
}

impl FileSystem {
    /// Makes a file system on a device, and mounts it at a new directory.
    #[track_caller]
    pub fn on(self, device: &Path, point: &Path) -> Mounted {
        let device_text = device.display().to_string();
        match self {
            Self::Ext4 => succeed("mkfs.ext4", &["-q", "-F", &device_text]),
            Self::Xfs => succeed("mkfs.xfs", &["-q", "-f", "-m", "reflink=1", &device_text]),
        };
        Mounted::mount(device, point, &[])
    }
}

/// A mounted file system; dropped, it is unmounted.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
}

impl Mounted {
    /// Mounts a device at a new directory.
    #[track_caller]
    pub fn mount(device: &Path, point: &Path, options: &[&str]) -> Self {
        fs::create_dir_all(point).unwrap_or_else(|error| panic!("cannot create {}: {error}", point.display()));
        let (device, text) = (device.display().to_string(), point.display().to_string());
        succeed("mount", &[options, &[&device, &text]].concat());
        Self { point: point.to_owned() }
    }

    /// Shows a directory at another place.
    #[track_caller]
    pub fn bind(directory: &Path, point: &Path) -> Self {
        Self::mount(directory, point, &["--bind"])
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// A directory in it that belongs to the user of the server.
    #[track_caller]
    pub fn directory(&self, name: &str) -> PathBuf {
        let directory = self.point.join(name);
        // The root of the file system stays root's, as an administrator leaves it.
        Account::unprivileged().create_directory(&directory);
        directory
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A panic is on its way perhaps, whose server still runs: the mount then goes as soon as nobody uses it.
        let lazily = if std::thread::panicking() { "--lazy" } else { "--quiet" };
        succeed("umount", &[lazily, &self.point.display().to_string()]);
    }
}

/// What is mounted below a directory, as the kernel lists it.
pub fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("the kernel lists its mounts");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(directory) && point != directory).collect()
}
