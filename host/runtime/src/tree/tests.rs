//! Tests of the tree capability on a real file system; what they share is here.

mod access;
mod base;
mod clone;
mod flush;
mod locations;
mod mount;
mod reflink;
mod removal;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Access, CloneMethod, CloneOptions, CloneStats, Location, StopFlag, TreeError, TreeRoot, Trees};

/// A data directory in small under the root `data`, which is a source, and the provider's own root `snapshots`.
pub(super) struct Scene {
    pub(super) home: TempDir,
    pub(super) trees: Trees,
}

impl Scene {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(home: TempDir) -> Self {
        let data = home.path().join("data");
        for directory in ["base/1", "base/pgsql_tmp", "global", "pg_wal/archive_status", "pg_tblspc"] {
            fs::create_dir_all(data.join(directory)).unwrap();
        }
        fs::create_dir(home.path().join("snapshots")).unwrap();
        fs::write(data.join("PG_VERSION"), "15\n").unwrap();
        fs::write(data.join("base/1/1259"), vec![7; 40_000]).unwrap();
        fs::write(data.join("base/1/empty"), "").unwrap();
        fs::write(data.join("base/pgsql_tmp/pgsql_tmp1.0"), "sort").unwrap();
        fs::write(data.join("pg_wal/000000010000000000000001"), "wal").unwrap();
        fs::write(data.join("global/pg_control"), control_file(1)).unwrap();
        std::os::unix::fs::symlink("/elsewhere/ts", data.join("pg_tblspc/16384")).unwrap();
        let root = |name: &str, access| TreeRoot { name: name.to_owned(), path: home.path().join(name), access };
        let trees = Trees::open(vec![root("data", Access::Source), root("snapshots", Access::Own)]).unwrap();
        Self { home, trees }
    }

    fn data(&self, path: &str) -> PathBuf {
        self.home.path().join("data").join(path)
    }

    fn snapshot(&self, path: &str) -> PathBuf {
        self.home.path().join("snapshots").join(path)
    }

    fn clone_to(&self, path: &str, options: &CloneOptions) -> Result<CloneStats, TreeError> {
        self.trees.clone_tree(&at("data", ""), &at("snapshots", path), options, &StopFlag::default())
    }

    /// Every name under `snapshots`, the host's own included.
    fn all_snapshot_names(&self) -> Vec<String> {
        names(&self.home.path().join("snapshots"))
    }
}

fn at(root: &str, path: &str) -> Location {
    Location { root: root.to_owned(), path: path.to_owned() }
}

fn options() -> CloneOptions {
    CloneOptions {
        method: CloneMethod::Auto,
        base: None,
        skip: vec!["pg_wal/*".to_owned(), "**/pgsql_tmp*".to_owned()],
        last: vec!["global/pg_control".to_owned()],
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// A control file of PostgreSQL 15 with a checksum that fits, and this system identifier.
pub(super) fn control_file(system_identifier: u64) -> Vec<u8> {
    let mut content = vec![0; 8192];
    content[..8].copy_from_slice(&system_identifier.to_ne_bytes());
    content[8..12].copy_from_slice(&1300u32.to_ne_bytes());
    let checksum = crc32c::crc32c(&content[..288]);
    content[288..292].copy_from_slice(&checksum.to_ne_bytes());
    content
}
