//! The spool: what one host remembers between two calls of `wal-push` or `wal-fetch`, so that the second is quick.
//!
//! Nothing in it is ever needed, and nothing in it is believed without proof: what is missing, old, foreign or doubtful costs time
//! and no more. It lies outside the data directory, since a snapshot of that must not carry a memory of what was archived. Each
//! archive, cluster and WAL directory has a place of its own, so that servers on one host may share a spool.

mod fingerprint;
mod markers;
mod prefetched;
mod sweep;

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;

pub(crate) use fingerprint::Fingerprint;
pub(crate) use markers::Markers;
pub(crate) use prefetched::{Prefetched, Tender};
pub(crate) use sweep::sweep;

use crate::data_directory::{InspectError, read_control};
use crate::flows::Ports;
use crate::hex::to_hex;
use crate::postgres::SystemIdentifier;

/// Only the user who runs the server may look into the spool or change it.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// What the names of a server's directories begin with.
const PUSHED: &str = "pushed-";
const FETCHED: &str = "fetched-";

/// Changes with every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Write permission of group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// How far ahead of PostgreSQL WAL is pushed and fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AheadSettings {
    /// The spool directory; without one nothing is done ahead.
    pub spool: Option<PathBuf>,
    /// Files that are under way at once.
    pub workers: usize,
    /// Files that one call of `wal-push` pushes beside the one asked for.
    pub push_files: usize,
    /// Segments that lie ready, or are under way, ahead of a server that recovers.
    pub fetch_files: usize,
}

impl Default for AheadSettings {
    fn default() -> Self {
        Self { spool: None, workers: 4, push_files: 32, fetch_files: 8 }
    }
}

/// The part of the spool that belongs to one WAL directory of one cluster and one archive.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The spool of all clusters.
    root: PathBuf,
    /// `<system identifier>-<digest of store and cluster name>`.
    cluster: PathBuf,
    /// Digest of where the WAL directory lies, and of this boot: what a machine that crashed had not written to its disk may look
    /// whole and be empty, so nothing of an earlier boot is ever looked at.
    server: String,
    /// This boot.
    boot: String,
    /// The cluster that the data directory belongs to.
    pub(crate) system_identifier: SystemIdentifier,
}

impl Place {
    /// Opens the place of the server whose data directory this is; makes what is missing.
    ///
    /// None when the settings name no spool. Fails when the data directory is none, or when the spool cannot be trusted.
    pub(crate) fn open(ports: &Ports<'_>, settings: &AheadSettings, data_directory: &Path) -> Result<Option<Self>, SpoolError> {
        let Some(root) = &settings.spool else { return Ok(None) };
        let control = read_control(data_directory).map_err(|source| SpoolError::DataDirectory { source })?;
        let system_identifier =
            control.ok_or_else(|| SpoolError::NotACluster { data_directory: data_directory.to_owned() })?.system_identifier();
        let wal = data_directory.join("pg_wal");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SpoolError::Unusable { path, source }
        };
        let data_directory = data_directory.canonicalize().map_err(failed(data_directory))?;
        let wal = wal.canonicalize().map_err(failed(&wal))?;
        let resolved = resolve(root).map_err(failed(root))?;
        if resolved.starts_with(&data_directory) || resolved.starts_with(&wal) {
            return Err(SpoolError::InsideDataDirectory { spool: root.clone() });
        }
        let found = std::fs::metadata(&wal).map_err(failed(&wal))?;
        let boot = std::fs::read_to_string(BOOT_ID).map_err(failed(Path::new(BOOT_ID)))?.trim().to_owned();
        let wal = [wal.as_os_str().as_encoded_bytes(), &found.dev().to_ne_bytes(), &found.ino().to_ne_bytes(), boot.as_bytes()];
        let server = digest(&wal);
        let archive = digest(&[ports.store.url().as_bytes(), ports.layout.cluster().as_str().as_bytes()]);
        let cluster = root.join(format!("{system_identifier}-{archive}"));
        make_private(root)?;
        make_private(&cluster)?;
        Ok(Some(Self { root: root.clone(), cluster, server, boot, system_identifier }))
    }

    /// Where the markers of pushed files lie.
    fn pushed(&self) -> PathBuf {
        self.cluster.join(format!("{PUSHED}{}", self.server))
    }

    /// Where prefetched segments lie.
    fn fetched(&self) -> PathBuf {
        self.cluster.join(format!("{FETCHED}{}", self.server))
    }
}

/// Why nothing can be done ahead.
#[derive(Debug, Error)]
pub(crate) enum SpoolError {
    /// The cluster's identity cannot be read.
    #[error("the data directory cannot be looked at")]
    DataDirectory {
        /// The cause.
        #[source]
        source: InspectError,
    },
    /// No cluster's data directory.
    #[error("`{}` is not the data directory of a cluster", data_directory.display())]
    NotACluster {
        /// The directory.
        data_directory: PathBuf,
    },
    /// A snapshot of the data directory would carry it.
    #[error("the spool `{}` lies inside the data directory", spool.display())]
    InsideDataDirectory {
        /// The spool.
        spool: PathBuf,
    },
    /// Somebody else could write into it.
    #[error("the directory `{}` belongs to another user, or others may write to it", path.display())]
    NotPrivate {
        /// The directory.
        path: PathBuf,
    },
    /// A full disk, a missing right, a file in the way.
    #[error("cannot use `{}`", path.display())]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Where the path leads, with as many parts of it as exist resolved.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not an absolute path without `..`"));
    }
    for existing in path.ancestors() {
        match existing.canonicalize() {
            Ok(resolved) => return Ok(resolved.join(path.strip_prefix(existing).unwrap_or(Path::new("")))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(path.to_owned())
}

/// Makes a directory that nobody else can write to, or proves that it is one.
fn make_private(path: &Path) -> Result<(), SpoolError> {
    let failed = |source| SpoolError::Unusable { path: path.to_owned(), source };
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(failed)?;
            path.symlink_metadata().map_err(failed)?
        }
        found => found.map_err(failed)?,
    };
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if !found.is_dir() || !is_ours || found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(SpoolError::NotPrivate { path: path.to_owned() });
    }
    Ok(())
}

/// Sixteen hexadecimal digits that stand for these parts.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_ne_bytes());
        hash.update(part);
    }
    to_hex(&hash.finalize()[..8])
}

/// Age of a file by the time of its last change; none when that lies in the future, of which a clock was turned back.
fn age(found: &Metadata, now: Timestamp) -> Option<Duration> {
    let changed = found.modified().ok()?;
    SystemTime::from(now).duration_since(changed).ok()
}
