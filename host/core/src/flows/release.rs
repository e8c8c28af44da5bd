//! Undoes a restore: what the providers mounted, cloned or attached, then the links that lead there, then the record.
//!
//! In this order, so that whatever fails, the record still tells what is left and the next try goes on there. All of it may be
//! repeated: a provider takes what it does not know for released.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::catalog::{CatalogError, RestoreRecord, RestoredDirectory, RestoredPart};
use crate::error::{Classify, ErrorClass};
use crate::files::{self, FileError};
use crate::flows::Ports;
use crate::provider::{ProviderError, ProviderFault};

/// Releases everything that a record tells of, and removes it; gives the links that were removed.
pub(super) async fn release(ports: &Ports<'_>, record: &RestoreRecord) -> Result<Vec<PathBuf>, ReleaseFault> {
    let removed = release_parts(ports, record).await?;
    ports.restores().remove(record).await?;
    Ok(removed)
}

/// Releases everything that a record tells of; gives the links that were removed.
pub(super) async fn release_parts(ports: &Ports<'_>, record: &RestoreRecord) -> Result<Vec<PathBuf>, ReleaseFault> {
    let mut failed = None;
    for part in &record.parts {
        // One that fails does not keep the others from being released.
        if let Err(error) = release_part(ports, part).await {
            tracing::warn!(provider = %part.provider, "cannot release: {}", crate::error::chain(&error));
            failed.get_or_insert(error);
        }
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    for part in &record.parts {
        prove_released(part)?;
    }
    let mut removed = Vec::new();
    for directory in record.directories() {
        if let Some(restored) = directory.elsewhere()
            && remove_link(&directory.asked, restored)?
        {
            removed.push(directory.asked.clone());
        }
    }
    Ok(removed)
}

async fn release_part(ports: &Ports<'_>, part: &RestoredPart) -> Result<(), ProviderError> {
    let provider = ports.providers.open(&part.provider).await?;
    match provider.release(part.release_handle()).await {
        // What cannot restore has restored nothing.
        Err(ProviderError { fault: ProviderFault::Unsupported(_), .. }) => Ok(()),
        released => released,
    }
}

/// Refuses to forget what the provider says that it has released, and what is there all the same. Only where a link of ours leads: what
/// a restore that failed has called its place was never proven.
fn prove_released(part: &RestoredPart) -> Result<(), ProviderError> {
    let is_linked =
        |directory: &&RestoredDirectory| fs::read_link(&directory.asked).is_ok_and(|found| Some(&found) == directory.elsewhere());
    let is_filled = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    let mut places = part.directories.iter().filter(is_linked).filter_map(RestoredDirectory::elsewhere);
    let Some(left) = places.find(|place| is_filled(place)) else { return Ok(()) };
    let fault = ProviderFault::BadAnswer(format!("it released `{}`, and what was restored there is still there", left.display()));
    Err(ProviderError { provider: part.provider.clone(), operation: "release the restored directories", fault })
}

/// Removes a link that leads where ours led; whatever else is there by now is not ours. Returns whether it was there.
fn remove_link(link: &Path, target: &Path) -> Result<bool, FileError> {
    if !fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(false);
    }
    let removed = files::remove_file_if_present(link)?;
    files::sync_directory(link.parent().unwrap_or(Path::new("/")))?;
    Ok(removed)
}

/// Why something is left of a restore.
#[derive(Debug, Error)]
pub enum ReleaseFault {
    /// A provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A link cannot be removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The record cannot be removed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Classify for ReleaseFault {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Provider(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Catalog(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Provider(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
        }
    }
}
