//! Releases a restore: what a provider mounted, cloned or attached for it is given back, and its record goes.
//!
//! Never under a running server, and never from another host unless the operator says that the host is gone: a volume that is taken
//! from under a server loses its last writes. What was restored into its place by copying is nobody's to remove but the operator's; to
//! release it says that it needs its backup and the WAL no more, and that may be said while its server runs.

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
    let (mut records, mut unreadable) = ports.restores().all().await?;
    let (copies, unreadable_copies) = ports.restores().recoveries().await?;
    unreadable.extend(unreadable_copies);
    let is_copy = |record: &RestoreRecord| copies.iter().any(|copy| copy.token == record.token);
    let restored: Vec<Token> = records.iter().map(|record| record.token.clone()).collect();
    // A restore that was killed at its very end is recorded as both.
    records.extend(copies.iter().filter(|copy| !restored.contains(&copy.token)).cloned());
    let meant = request.choose(records)?;
    // A record that cannot be read may be the one that is meant.
    if let (true, Some(error)) = (meant.is_empty(), unreadable.pop()) {
        return Err(error.into());
    }
    for record in &meant {
        check_host(record, request)?;
        if restored.contains(&record.token) {
            check_unused(record, request)?;
        }
    }
    let mut report = ReleaseReport::default();
    for record in meant {
        tracing::info!(restore = record.token.0, backup = %record.backup, "releasing");
        if restored.contains(&record.token) {
            match release(ports, &record).await {
                Ok(links) => report.removed_links.extend(links),
                Err(source) => return Err(ReleaseError::NotReleased { token: record.token, source }),
            }
        }
        if is_copy(&record) {
            ports.restores().forget_recovery(&record).await?;
        }
        report.released.push(record);
    }
    Ok(report)
}

impl ReleaseRequest {
    /// The records that are meant. A place is one of this host; of another only when this host has none of that name.
    fn choose(&self, mut records: Vec<RestoreRecord>) -> Result<Vec<RestoreRecord>, ReleaseError> {
        let path = match &self.restore {
            RestoreSelector::Token(token) => {
                records.retain(|record| record.token == *token);
                return Ok(records);
            }
            RestoreSelector::Destination(path) => path,
        };
        let place = place_of(path);
        records.retain(|record| record.destination == *path || place_of(&record.destination) == place);
        let (ours, others): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.hostname == self.hostname);
        if self.hosts == ReleaseHosts::This && !ours.is_empty() {
            return Ok(ours);
        }
        let meant: Vec<RestoreRecord> = ours.into_iter().chain(others).collect();
        // A server may run on any of those: which of the hosts is gone, only the operator knows.
        if meant.iter().any(|record| record.hostname != meant[0].hostname) {
            return Err(ReleaseError::SeveralHosts { restores: meant });
        }
        Ok(meant)
    }
}

/// A path without links and `..` on the way; what it ends with may be a link of ours, and is not followed.
fn place_of(path: &Path) -> PathBuf {
    let resolved = path.parent().and_then(|parent| Some(parent.canonicalize().ok()?.join(path.file_name()?)));
    resolved.unwrap_or_else(|| path.to_owned())
}

fn check_host(record: &RestoreRecord, request: &ReleaseRequest) -> Result<(), ReleaseError> {
    if record.hostname == request.hostname || request.hosts == ReleaseHosts::Any {
        return Ok(());
    }
    Err(ReleaseError::OtherHost { token: record.token.clone(), hostname: record.hostname.clone() })
}

/// Refuses when a server runs on the data directory, by whatever name it was started.
///
/// Of the restore of another host only the place that the provider made can be here, should this host have had another name then:
/// whatever else has the same path is this host's own.
fn check_unused(record: &RestoreRecord, request: &ReleaseRequest) -> Result<(), ReleaseError> {
    let data = || record.directories().filter(|directory| directory.name == DataPathName::Data);
    let made = data().filter_map(|directory| directory.elsewhere());
    let is_ours = record.hostname == request.hostname;
    let ours = data().map(|directory| &directory.asked).chain([&record.destination]).filter(|_| is_ours);
    for place in made.chain(ours).filter(|place| place.is_dir()) {
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
    /// Several hosts have restored to a place of this name.
    #[error("restores to this place are recorded on {}", hosts(restores))]
    SeveralHosts {
        /// All of them.
        restores: Vec<RestoreRecord>,
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

fn hosts(restores: &[RestoreRecord]) -> String {
    restores.iter().map(|record| format!("`{}`", record.hostname)).collect::<Vec<_>>().join(" and ")
}

impl Classify for ReleaseError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Running { .. } | Self::OtherHost { .. } => ErrorClass::Refused,
            Self::SeveralHosts { .. } => ErrorClass::Usage,
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
            Self::SeveralHosts { restores } => {
                let command = |record: &RestoreRecord| {
                    format!("`stillframe snapshot-release {} --any-host` for the one of `{}`", record.token.0, record.hostname)
                };
                Some(format!("name the one whose host is gone: {}", restores.iter().map(command).collect::<Vec<_>>().join(", ")))
            }
            Self::NotReleased { source, .. } => {
                Some(source.hint().unwrap_or_else(|| "run it again: what is released already is passed over".to_owned()))
            }
        }
    }
}
