//! Lets the provider fill the destination, and every tablespace's directory beside it.
//!
//! All directories are looked at before the first one is made. The directories that a failed restore made are removed again, if the
//! provider left them empty, so that the next try finds the place as this one did. After an interruption they stay.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{FetchError, FetchRequest};
use crate::catalog::{BackupPath, Sentinel};
use crate::data_directory::{self, Occupation};
use crate::files::FileError;
use crate::flows::Ports;
use crate::postgres::PgControl;
use crate::provider::{DataPathName, ProviderError, ProviderFault, RestoreDirectory, RestoreRequest};

/// Mode of a directory that holds a cluster's data: PostgreSQL refuses a wider one.
const DIRECTORY_MODE: u32 = 0o700;

/// Restores the set of this backup.
pub(super) async fn restore(ports: &Ports<'_>, request: &FetchRequest, sentinel: &Sentinel) -> Result<(), FetchError> {
    let provider = ports.providers.open(&sentinel.provider).await?;
    let places = places(request, sentinel)?;
    let made = make_directories(&places)?;
    let directories = places
        .iter()
        .map(|(path, place)| RestoreDirectory {
            name: path.name.clone(),
            role: path.role,
            path: place.clone(),
            last: if path.name == DataPathName::Data { vec![PgControl::PATH.to_owned()] } else { Vec::new() },
        })
        .collect();
    let restore = RestoreRequest { handle: sentinel.snapshot.handle.clone(), token: request.token.clone(), directories };
    tracing::info!(provider = %sentinel.provider, "the provider restores the snapshot set");
    let restored = match provider.restore(&restore).await {
        Ok(restored) => restored,
        Err(error) => {
            remove_directories(&made);
            return Err(error.into());
        }
    };
    // The host prepares the place that it asked for: a copy elsewhere would be started unprepared.
    let asked = |name: &DataPathName, path: &Path| places.iter().any(|(place, asked)| &place.name == name && asked == path);
    let Some((name, path)) = restored.directories.iter().find(|(name, path)| !asked(name, path)) else { return Ok(()) };
    let fault = ProviderFault::BadAnswer(format!("it restored `{name}` to `{}`, which nobody asked for", path.display()));
    if let Err(error) = provider.release(&restored.handle).await {
        tracing::warn!(%error, "cannot release the restore that failed");
    }
    remove_directories(&made);
    Err(ProviderError { provider: sentinel.provider.clone(), operation: "restore the snapshot set", fault }.into())
}

/// Where each directory of the backup goes; every place is missing or empty.
fn places<'a>(request: &FetchRequest, sentinel: &'a Sentinel) -> Result<Vec<(&'a BackupPath, PathBuf)>, FetchError> {
    let links = sentinel.tablespace_map.remapped(&request.tablespace_mapping)?.links()?;
    let mut places = Vec::new();
    for path in &sentinel.paths {
        let place = match &path.name {
            DataPathName::Data => request.destination.clone(),
            // Its content comes from the archive.
            DataPathName::Wal => continue,
            DataPathName::Tablespace(oid) => {
                let link = links.iter().find(|link| link.oid == *oid);
                let place = link.map_or_else(|| path.path.clone(), |link| link.location.clone());
                check_empty(*oid, &place)?;
                place
            }
        };
        places.push((path, place));
    }
    Ok(places)
}

fn check_empty(oid: u32, place: &Path) -> Result<(), FetchError> {
    let example = match data_directory::inspect(place)? {
        Occupation::Missing | Occupation::Empty => return Ok(()),
        Occupation::Foreign { example } => example,
        Occupation::Cluster { .. } | Occupation::Incomplete { .. } => "PG_VERSION".to_owned(),
    };
    Err(FetchError::TablespaceInUse { oid, location: place.to_owned(), example })
}

/// Makes what is missing; gives what it made.
fn make_directories(places: &[(&BackupPath, PathBuf)]) -> Result<Vec<PathBuf>, FileError> {
    let mut made = Vec::new();
    for (_, place) in places.iter().filter(|(_, place)| !place.exists()) {
        let result = DirBuilder::new().mode(DIRECTORY_MODE).recursive(true).create(place);
        if let Err(source) = result {
            remove_directories(&made);
            return Err(FileError::new("make the directory", place, source));
        }
        made.push(place.clone());
    }
    Ok(made)
}

/// Removes directories that were made, if the provider left them empty. What is not empty is left for people to look at.
fn remove_directories(made: &[PathBuf]) {
    for directory in made {
        if let Err(error) = fs::remove_dir(directory) {
            tracing::warn!(%error, directory = %directory.display(), "cannot remove what the failed restore made");
        }
    }
}
