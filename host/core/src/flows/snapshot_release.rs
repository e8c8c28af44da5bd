//! Releases a restore: what a provider mounted, cloned or attached for it is given back, and its record goes.
//!
//! Never under a running server, and never from another host unless the operator says that the host is gone: a volume that is taken
//! from under a server loses its last writes. What was restored into its place by copying is nobody's to remove but the operator's.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::catalog::{CatalogError, RestoreRecord};
use crate::data_directory;
use crate::error::{Classify, ErrorClass};
use crate::files::FileError;
use crate::flows::Ports;
use crate::flows::release::{ReleaseFault, release};
use crate::provider::{DataPathName, Token};

/// Which restore, and who asks.
#[derive(Debug, Clone)]
pub struct ReleaseRequest {
    /// Which.
    pub restore: RestoreSelector,
    /// This host.
    pub hostname: String,
    /// Whether the host of the restore may be another one.
    pub hosts: ReleaseHosts,
}

/// Which restore the operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreSelector {
    /// The one whose data directory is this: an absolute path.
    Destination(PathBuf),
    /// The one with this token.
    Token(Token),
}

/// Whose restores may be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReleaseHosts {
    /// Those of this host, where it can be seen whether a server runs on them.
    #[default]
    This,
    /// Any: the operator knows that the other host is gone.
    Any,
}

/// What was released.
#[derive(Debug, Default)]
pub struct ReleaseReport {
    /// The restores that are gone; empty when none was recorded.
    pub released: Vec<RestoreRecord>,
    /// The links that were removed.
    pub removed_links: Vec<PathBuf>,
}

/// Releases. A restore that nobody has recorded, or that an earlier run has released, is a success with an empty report.
pub async fn snapshot_release(ports: &Ports<'_>, request: &ReleaseRequest) -> Result<ReleaseReport, ReleaseError> {
    let (records, mut unreadable) = ports.restores().all().await?;
    let meant: Vec<RestoreRecord> = records.into_iter().filter(|record| request.means(record)).collect();
    // A record that cannot be read may be the one that is meant.
    if let (true, Some(error)) = (meant.is_empty(), unreadable.pop()) {
        return Err(error.into());
    }
    for record in &meant {
        check_host(record, request)?;
        check_unused(record)?;
    }
    let mut report = ReleaseReport::default();
    for record in meant {
        tracing::info!(restore = record.token.0, backup = %record.backup, "releasing");
        match release(ports, &record).await {
            Ok(links) => report.removed_links.extend(links),
            Err(source) => return Err(ReleaseError::NotReleased { token: record.token, source }),
        }
        report.released.push(record);
    }
    Ok(report)
}

impl ReleaseRequest {
    fn means(&self, record: &RestoreRecord) -> bool {
        match &self.restore {
            RestoreSelector::Token(token) => record.token == *token,
            RestoreSelector::Destination(path) => {
                record.destination == *path && (record.hostname == self.hostname || self.hosts == ReleaseHosts::Any)
            }
        }
    }
}

fn check_host(record: &RestoreRecord, request: &ReleaseRequest) -> Result<(), ReleaseError> {
    if record.hostname == request.hostname || request.hosts == ReleaseHosts::Any {
        return Ok(());
    }
    Err(ReleaseError::OtherHost { token: record.token.clone(), hostname: record.hostname.clone() })
}

/// Refuses when a server runs on the data directory, by whatever name it was started.
fn check_unused(record: &RestoreRecord) -> Result<(), ReleaseError> {
    let data = record.directories().filter(|directory| directory.name == DataPathName::Data);
    let places = data.flat_map(|directory| [Some(&directory.asked), directory.restored.as_ref()]).flatten();
    for place in places.chain([&record.destination]).filter(|place| place.is_dir()) {
        if let Some(pid) = data_directory::running_server(place)? {
            return Err(ReleaseError::Running { destination: record.destination.clone(), pid });
        }
    }
    Ok(())
}

/// Why a restore was not released.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The records cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The directory cannot be looked at.
    #[error(transparent)]
    File(#[from] FileError),
    /// A server runs there.
    #[error("a server runs on `{}` (process {pid})", destination.display())]
    Running {
        /// The data directory of the restore.
        destination: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// It was made elsewhere.
    #[error("the restore `{}` was made on the host `{hostname}`", token.0)]
    OtherHost {
        /// The restore.
        token: Token,
        /// Its host.
        hostname: String,
    },
    /// Something is left of it.
    #[error("the restore `{}` could not be released", token.0)]
    NotReleased {
        /// The restore.
        token: Token,
        /// Why.
        #[source]
        source: ReleaseFault,
    },
}

impl Classify for ReleaseError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Running { .. } | Self::OtherHost { .. } => ErrorClass::Refused,
            Self::NotReleased { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Catalog(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Running { destination, .. } => Some(format!("stop it first: `pg_ctl -D {} stop`", Path::display(destination))),
            Self::OtherHost { hostname, .. } => Some(format!(
                "run it on `{hostname}`, where it can be seen whether a server uses it; if that host is gone for good, add --any-host"
            )),
            Self::NotReleased { source, .. } => {
                Some(source.hint().unwrap_or_else(|| "run it again: what is released already is passed over".to_owned()))
            }
        }
    }
}
