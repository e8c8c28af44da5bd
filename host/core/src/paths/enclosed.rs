//! Proves that what lies inside a data path lies on the same storage, so that a snapshot of that storage holds it.
//!
//! A mount inside is asked of the kernel. A btrfs subvolume inside is no mount, and a snapshot of its parent leaves an empty
//! directory in its place: it has a device number of its own, as every other file system has.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::PathError;
use super::mounts::Mounts;
use crate::data_directory::linked_database;
use crate::provider::DataPath;

/// Where the files of the databases are, one directory each.
const DATABASES: &str = "base";

/// Begins the name of a tablespace's directory of one server version: `PG_15_202209061`.
const TABLESPACE_VERSION: &[u8] = b"PG_";

/// Where ZFS shows the snapshots of a file system that somebody has looked at: mounts, but no data of the cluster.
const ZFS_SNAPSHOTS: &str = ".zfs";

/// Whether `pg_wal` is a mount point: that is as good as a symbolic link, since its content comes from the archive.
pub(super) fn is_mounted(mounts: &Mounts, wal: &Path) -> bool {
    mounts.at(wal).is_some()
}

/// Fails with the first place in a data path that another storage holds and that is no data path itself.
pub(super) fn check(mounts: &Mounts, path: &Path, paths: &[DataPath]) -> Result<(), PathError> {
    // Only a path inside this one takes something away from it: what encloses it holds no more of it than it does itself.
    let is_inside = |other: &&DataPath| other.path != path && other.path.starts_with(path);
    let is_known = |inner: &Path| paths.iter().filter(is_inside).any(|other| inner.starts_with(&other.path));
    for mount in mounts.below(path) {
        let point = &mount.point;
        let is_zfs_snapshot = point.components().any(|part| part.as_os_str() == ZFS_SNAPSHOTS);
        // Containers mount single files of the configuration over others; they are no data.
        let is_setting = point.parent() == Some(path) && point.is_file();
        if !is_known(point) && !is_zfs_snapshot && !is_setting {
            return Err(PathError::MountInside { path: path.to_owned(), mount: point.clone() });
        }
    }
    if let Some(link) = database_directories(path).iter().find_map(|directory| linked_database(directory)) {
        return Err(PathError::LinkedDirectory { path: link });
    }
    let Ok(own) = path.metadata() else { return Ok(()) };
    let is_elsewhere =
        |inner: &PathBuf| !is_known(inner) && inner.metadata().is_ok_and(|inner| inner.is_dir() && inner.dev() != own.dev());
    match inner_directories(path).into_iter().find(is_elsewhere) {
        Some(inner) => Err(PathError::OtherStorageInside { path: path.to_owned(), inner }),
        None => Ok(()),
    }
}

/// What lies in a data path, and one level deeper where each database has a directory of its own.
fn inner_directories(path: &Path) -> Vec<PathBuf> {
    let is_own = |inner: &PathBuf| {
        let is_apart = inner.file_name().is_some_and(|name| name == "pg_wal" || name == ZFS_SNAPSHOTS);
        !inner.is_symlink() && !is_apart
    };
    let list = |parent: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(is_own).collect()
    };
    let databases: Vec<PathBuf> = database_directories(path).iter().flat_map(|inner| list(inner)).collect();
    let mut found = list(path);
    found.extend(databases);
    found
}

/// The directories in a data path in which each database has one.
fn database_directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let holds_databases = |inner: &PathBuf| {
        let name = inner.file_name().unwrap_or_default();
        name == DATABASES || name.as_encoded_bytes().starts_with(TABLESPACE_VERSION)
    };
    entries.map(|entry| entry.path()).filter(holds_databases).collect()
}
