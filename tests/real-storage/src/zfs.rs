//! ZFS in a guest: a pool and its datasets, as its own tools show them.

use std::path::{Path, PathBuf};

use stillframe_tests::Account;

use crate::succeed;

/// A pool; dropped, it stays: the guest ends anyway.
#[derive(Debug)]
pub struct Pool {
    name: String,
    point: PathBuf,
}

impl Pool {
    /// Makes a pool on a disk.
    #[track_caller]
    pub fn create(name: &str, disk: &Path) -> Self {
        let point = Path::new("/").join(name);
        let mount = format!("mountpoint={}", point.display());
        let disk = disk.display().to_string();
        succeed("zpool", &["create", "-f", "-O", &mount, "-O", "atime=off", "-O", "compression=lz4", name, &disk]);
        Self { name: name.to_owned(), point }
    }

    /// Imports a pool from the disk on which it was made.
    #[track_caller]
    pub fn import(name: &str, disk: &Path) -> Self {
        // The machine that had it is gone, without having exported it.
        succeed("zpool", &["import", "-f", "-d", &disk.display().to_string(), name]);
        Self { name: name.to_owned(), point: Path::new("/").join(name) }
    }

    /// Where it is mounted.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Makes a dataset whose directory belongs to the user of the server.
    #[track_caller]
    pub fn dataset(&self, name: &str, properties: &[&str]) -> PathBuf {
        let options: Vec<&str> = properties.iter().flat_map(|property| ["-o", property]).collect();
        succeed("zfs", &[&["create", "-p"], options.as_slice(), &[&format!("{}/{name}", self.name)]].concat());
        let directory = self.point.join(name);
        Account::unprivileged().own(&directory);
        directory
    }

    /// Names of all snapshots.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<String> {
        self.list("snapshot")
    }

    /// Names of all datasets but the pool's own: clones as well.
    #[track_caller]
    pub fn datasets(&self) -> Vec<String> {
        let mut names = self.list("filesystem");
        names.retain(|name| *name != self.name);
        names
    }

    /// A property of a dataset or snapshot.
    #[track_caller]
    pub fn property(&self, name: &str, property: &str) -> String {
        succeed("zfs", &["get", "-H", "-p", "-o", "value", property, name]).trim().to_owned()
    }

    #[track_caller]
    fn list(&self, kind: &str) -> Vec<String> {
        succeed("zfs", &["list", "-H", "-r", "-t", kind, "-o", "name", &self.name]).lines().map(str::to_owned).collect()
    }
}
