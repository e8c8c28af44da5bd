//! Gives PostgreSQL one archived WAL file, for `restore_command`.
//!
//! PostgreSQL takes an exit code up to 125 for "there is no such file" and may then end recovery and promote. So absence is
//! reported only when it is proven, and every doubt is an error. The file appears under its name complete and durable, or not.

mod file;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::catalog::ArchiveError;
use crate::error::{Classify, ErrorClass};
use crate::files::FileError;
use crate::flows::Ports;
use crate::postgres::{HeaderError, InvalidWalName, WalFileName};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalFetched {
    /// It is there now, with this many bytes.
    Restored(u64),
    /// The archive certainly does not have it.
    Absent,
}

/// Writes the archived file `name` (`%f`) to `destination` (`%p`).
pub async fn wal_fetch(ports: &Ports<'_>, name: &str, destination: &Path) -> Result<WalFetched, WalFetchError> {
    let name: WalFileName = name.parse()?;
    file::restore_file(ports, name, destination).await
}

/// Why it is not known, or could not be given.
#[derive(Debug, Error)]
pub enum WalFetchError {
    /// Not the name of a WAL file.
    #[error(transparent)]
    Name(#[from] InvalidWalName),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is archived is not the segment that its name says.
    #[error("the archived `{name}` is not the segment that its name says")]
    Header {
        /// The file.
        name: WalFileName,
        /// What is wrong with it.
        #[source]
        source: HeaderError,
    },
    /// The destination cannot be written.
    #[error("cannot restore the file to `{destination}`")]
    Write {
        /// Where to.
        destination: PathBuf,
        /// The cause.
        #[source]
        source: FileError,
    },
}

impl Classify for WalFetchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Name(_) => ErrorClass::Usage,
            Self::Archive(error) => error.class(),
            Self::Header { .. } => ErrorClass::Corrupt,
            Self::Write { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(_) => Some("PostgreSQL must call it: restore_command = 'stillframe wal-fetch %f %p'".to_owned()),
            Self::Archive(error) => error.hint(),
            Self::Header { .. } => Some("another tool put it there; restore it from a copy of the store".to_owned()),
            Self::Write { source, .. } => source.hint(),
        }
    }
}
