//! The files of a server that does not run: what a cold backup must know of it, read from the disk and from nobody's word.
//!
//! It is looked at again and again while a backup is cut. Whoever starts the server changes `pg_control` within its first second and
//! once more when it stops, so that two looks which agree prove that nobody did.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{InspectError, read_control, running_server};
use crate::error::{Classify, ErrorClass};
use crate::files::{FileError, read_if_present};
use crate::postgres::{PgControl, PgVersion, Tablespace, WalFileName};

use super::occupation::major_version;

/// What keeps a directory from being that of a server that was shut down: left by one that runs, or read by one that starts.
const LOCK_FILE: &str = "postmaster.pid";
const LABEL_FILE: &str = "backup_label";

/// A server that does not run.
pub trait StoppedServer: Send + Sync {
    /// What its files say now. Reads files, so it may block.
    fn look(&self) -> Result<StoppedFiles, StoppedError>;

    /// A segment in its `pg_wal`; none when it is not there.
    fn segment(&self, name: WalFileName) -> Result<Option<Vec<u8>>, StoppedError>;
}

/// What the files of a server say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoppedFiles {
    /// `global/pg_control`.
    pub control: PgControl,
    /// Major version, from `PG_VERSION`; the rest of the version nobody knows whose server does not run.
    pub version: PgVersion,
    /// The process of a server that runs here all the same.
    pub running: Option<u32>,
    /// A file that a server leaves only while it runs, or that its next start would act on.
    pub obstacle: Option<&'static str>,
    /// The data directory, links resolved.
    pub data_directory: PathBuf,
    /// The links in `pg_tblspc`, by object identifier.
    pub tablespaces: Vec<Tablespace>,
}

/// A server that was stopped on this machine.
#[derive(Debug, Clone)]
pub struct LocalStoppedServer {
    /// PGDATA, as the operator knows it.
    pub pgdata: PathBuf,
}

impl StoppedServer for LocalStoppedServer {
    fn look(&self) -> Result<StoppedFiles, StoppedError> {
        let directory = self.pgdata.canonicalize().map_err(|source| FileError::new("find", &self.pgdata, source))?;
        let lacking = |missing| StoppedError::NotACluster { directory: directory.clone(), missing };
        // Before pg_control: a server that starts between the two has changed it by then, or is seen by the next look.
        let running = running_server(&directory)?;
        let obstacle = [LOCK_FILE, LABEL_FILE].into_iter().find(|name| directory.join(name).symlink_metadata().is_ok());
        let text = major_version(&directory)?.ok_or_else(|| lacking("PG_VERSION"))?;
        let major = text.parse().ok().filter(|major| *major >= PgVersion::OLDEST_MAJOR);
        let major: u32 = major.ok_or(StoppedError::Version(text))?;
        Ok(StoppedFiles {
            control: read_control(&directory)?.ok_or_else(|| lacking(PgControl::PATH))?,
            version: PgVersion(major * 10_000),
            running,
            obstacle,
            tablespaces: links(&directory)?,
            data_directory: directory,
        })
    }

    fn segment(&self, name: WalFileName) -> Result<Option<Vec<u8>>, StoppedError> {
        Ok(read_if_present(&self.pgdata.join("pg_wal").join(name.to_string()))?)
    }
}

/// Tablespaces are known by their links here; their names only the catalogs of the databases know.
fn links(directory: &Path) -> Result<Vec<Tablespace>, FileError> {
    let place = directory.join("pg_tblspc");
    let failed = |source| FileError::new("list", &place, source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&place).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let oid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(oid), true) = (oid, entry.path().is_symlink()) {
            let location = std::fs::read_link(entry.path()).map_err(|source| FileError::new("read", entry.path(), source))?;
            found.push(Tablespace { oid, name: oid.to_string(), location });
        }
    }
    found.sort_by_key(|tablespace: &Tablespace| tablespace.oid);
    Ok(found)
}

/// Files of a server that cannot be read.
#[derive(Debug, Error)]
pub enum StoppedError {
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// `pg_control` is there and unusable.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// There is no cluster.
    #[error("`{}` is no data directory: it lacks `{missing}`", directory.display())]
    NotACluster {
        /// The directory.
        directory: PathBuf,
        /// The file that it lacks.
        missing: &'static str,
    },
    /// Of a server that is not supported.
    #[error("`{0}` in PG_VERSION is no version from 10 on")]
    Version(String),
}

impl Classify for StoppedError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::File(error) => error.class(),
            Self::Inspect(error) => error.class(),
            Self::NotACluster { .. } => ErrorClass::Config,
            Self::Version(_) => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::Inspect(error) => error.hint(),
            Self::NotACluster { .. } => Some("is `pgdata` the data directory?".to_owned()),
            Self::Version(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
