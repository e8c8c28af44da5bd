//! Proves that what lies inside a data path lies on the same storage, so that a snapshot of that storage holds it.
//!
//! A mount inside is asked of the kernel. A btrfs subvolume inside is no mount, and a snapshot of its parent leaves an empty
//! directory in its place: it has a device number of its own, as every other file system has.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::PathError;
use super::mounts::Mounts;
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
    let is_known = |inner: &Path| paths.iter().any(|other| other.path != path && inner.starts_with(&other.path));
    for mount in mounts.below(path) {
        let point = &mount.point;
        let is_zfs_snapshot = point.components().any(|part| part.as_os_str() == ZFS_SNAPSHOTS);
        // Containers mount single files of the configuration over others; they are no data.
        let is_setting = point.parent() == Some(path) && point.is_file();
        if !is_known(point) && !is_zfs_snapshot && !is_setting {
            return Err(PathError::MountInside { path: path.to_owned(), mount: point.clone() });
        }
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
    let mut found = list(path);
    let holds_databases = |inner: &&PathBuf| {
        let name = inner.file_name().unwrap_or_default();
        name == DATABASES || name.as_encoded_bytes().starts_with(TABLESPACE_VERSION)
    };
    let databases: Vec<PathBuf> = found.iter().filter(holds_databases).flat_map(|inner| list(inner)).collect();
    found.extend(databases);
    found
}
