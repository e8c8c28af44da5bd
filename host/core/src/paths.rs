//! Where a server keeps its data on this machine: the directories that a backup must contain, and what they are stored on.
//!
//! Nothing outside these directories may be missed and nothing may belong to another cluster, so everything is asked twice: of the
//! server and of the disk. Where they disagree there is no backup.

mod devices;
mod enclosed;
mod error;
mod mounts;
mod skip;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

pub use error::PathError;

use crate::data_directory::{linked_directory, read_control};
use crate::files::{FileError, sync_file_system};
use crate::postgres::{PgControl, ServerFacts, Tablespace};
use crate::provider::{DataPath, DataPathName, DataRole};

use mounts::{Mount, Mounts};

/// Finds the directories of a server.
#[async_trait]
pub trait Locator: Send + Sync {
    /// PGDATA first, then `pg_wal` when it lies elsewhere, then the tablespaces; links resolved. Reads files, so it may block.
    fn locate(&self, facts: &ServerFacts) -> Result<Vec<DataPath>, PathError>;

    /// Flushes the file systems of these paths. A snapshot of a disk holds what has reached the disk; PostgreSQL sees to its own
    /// files, and nobody to a configuration that was edited, or a data directory that was copied, just now. It may take
    /// long; a disk that hangs keeps nobody from giving it up, and the flush then goes on unseen.
    async fn flush(&self, paths: &[DataPath]) -> Result<(), PathError>;
}

/// The directories of a server on this machine.
#[derive(Debug, Clone)]
pub struct LocalPaths {
    /// PGDATA, as the operator knows it.
    pub pgdata: PathBuf,
    /// What the kernel tells about mounts and devices.
    pub kernel: KernelFiles,
}

/// Where the kernel shows its state, so that a test can show another one.
#[derive(Debug, Clone)]
pub struct KernelFiles {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys`
    pub sys: PathBuf,
}

impl Default for KernelFiles {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

#[async_trait]
impl Locator for LocalPaths {
    fn locate(&self, facts: &ServerFacts) -> Result<Vec<DataPath>, PathError> {
        let pgdata = resolve(&self.pgdata)?;
        check_cluster(&pgdata, facts)?;
        let mounts = Mounts::read(&self.kernel.proc)?;
        let describe = |role, name, path| self.describe(&mounts, role, name, path);
        let mut paths = vec![describe(DataRole::Data, DataPathName::Data, pgdata.clone())?];
        let wal = pgdata.join("pg_wal");
        if wal.is_symlink() || enclosed::is_mounted(&mounts, &wal) {
            paths.push(describe(DataRole::Wal, DataPathName::Wal, resolve(&wal)?)?);
        }
        check_links(&pgdata, &facts.tablespaces)?;
        for tablespace in &facts.tablespaces {
            let location = resolve(&link_of(&pgdata, tablespace.oid))?;
            paths.push(describe(DataRole::Tablespace, DataPathName::Tablespace(tablespace.oid), location)?);
        }
        for path in paths.iter().filter(|path| path.role != DataRole::Wal) {
            enclosed::check(&mounts, &path.path, &paths)?;
        }
        Ok(paths)
    }

    async fn flush(&self, paths: &[DataPath]) -> Result<(), PathError> {
        let flushed_before = |index: usize| paths[..index].iter().any(|earlier| earlier.mount_point == paths[index].mount_point);
        let directories: Vec<PathBuf> =
            (0..paths.len()).filter(|index| !flushed_before(*index)).map(|index| paths[index].path.clone()).collect();
        let flush = move || directories.iter().try_for_each(|directory| sync_file_system(directory));
        Ok(tokio::task::spawn_blocking(flush).await.map_err(PathError::Died)??)
    }
}

impl LocalPaths {
    fn describe(&self, mounts: &Mounts, role: DataRole, name: DataPathName, path: PathBuf) -> Result<DataPath, PathError> {
        let Some(mount) = mounts.holding(&path) else {
            return Err(PathError::NoMount { path });
        };
        let Mount { point, fs_type, source, device, .. } = mount;
        let last = if role == DataRole::Data { vec![PgControl::PATH.to_owned()] } else { Vec::new() };
        Ok(DataPath {
            role,
            name,
            path,
            mount_point: point.clone(),
            fs_type: fs_type.clone(),
            mount_source: mount.full_source(),
            devices: devices::stack(&self.kernel.sys, *device, source),
            skip: skip::patterns(role),
            last,
        })
    }
}

fn resolve(path: &Path) -> Result<PathBuf, PathError> {
    let resolved = path.canonicalize().map_err(|source| FileError::new("find", path, source))?;
    if resolved.is_dir() { Ok(resolved) } else { Err(PathError::NotADirectory { path: resolved }) }
}

/// Proves that the directory is the server's own, and that nothing in it leads elsewhere unseen.
fn check_cluster(pgdata: &Path, facts: &ServerFacts) -> Result<(), PathError> {
    let control = read_control(pgdata)?.ok_or_else(|| PathError::NotACluster { path: pgdata.to_owned() })?;
    let (found, expected) = (control.system_identifier(), facts.system_identifier);
    if found != expected {
        return Err(PathError::OtherCluster { path: pgdata.to_owned(), found, expected });
    }
    // A copy has the same identifier. A server in a container may spell a path that does not exist here; then it cannot be told.
    if let (Ok(named), Ok(here)) = (std::fs::metadata(&facts.data_directory), std::fs::metadata(pgdata))
        && (named.dev(), named.ino()) != (here.dev(), here.ino())
    {
        return Err(PathError::OtherDirectory { path: pgdata.to_owned(), of_server: facts.data_directory.clone() });
    }
    // Two hosts spell their directories alike: the primary's session would cover a cut of the standby's files that nobody waited for.
    if control.is_in_recovery() != facts.in_recovery {
        return Err(PathError::OtherRole { path: pgdata.to_owned(), server_replays: facts.in_recovery });
    }
    linked_directory(pgdata).map_or(Ok(()), |path| Err(PathError::LinkedDirectory { path }))
}

/// Proves that the links on disk are the tablespaces that the server knows.
fn check_links(pgdata: &Path, tablespaces: &[Tablespace]) -> Result<(), PathError> {
    for Tablespace { oid, name, location } in tablespaces {
        let found = std::fs::read_link(link_of(pgdata, *oid)).ok();
        if found.as_ref() != Some(location) {
            return Err(PathError::TablespaceLink { oid: *oid, name: name.clone(), location: location.clone(), found });
        }
    }
    let directory = pgdata.join("pg_tblspc");
    let failed = |source| FileError::new("list", &directory, source);
    for entry in std::fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_known = tablespaces.iter().any(|tablespace| *tablespace.oid.to_string() == *entry.file_name());
        if entry.path().is_symlink() && !is_known {
            return Err(PathError::UnknownTablespace { path: entry.path() });
        }
    }
    Ok(())
}

fn link_of(pgdata: &Path, oid: u32) -> PathBuf {
    pgdata.join("pg_tblspc").join(oid.to_string())
}

#[cfg(test)]
mod tests;
