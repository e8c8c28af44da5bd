//! Where each directory of a backup goes: looked at before the first one is made, and put back as found when the restore fails.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{FetchError, FetchRequest, resolve_existing};
use crate::catalog::Sentinel;
use crate::data_directory::{self, Occupation};
use crate::files::{self, FileError, FileStep};
use crate::provider::{DataPathName, DataRole};

/// Mode of a directory that holds a cluster's data: PostgreSQL refuses a wider one.
const DIRECTORY_MODE: u32 = 0o700;

/// Where one directory of the backup is wanted.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: DataPathName,
    pub(super) role: DataRole,
    pub(super) path: PathBuf,
    /// Whether the directory was there before.
    pub(super) existed: bool,
}

/// All of them but `pg_wal`, whose content comes from the archive; every place is missing or empty.
pub(super) fn find(request: &FetchRequest, sentinel: &Sentinel) -> Result<Vec<Place>, FetchError> {
    let links = sentinel.tablespace_map.remapped(&request.tablespace_mapping)?.links()?;
    let mut places = Vec::new();
    for path in &sentinel.paths {
        let place = match &path.name {
            DataPathName::Data => request.destination.clone(),
            DataPathName::Wal => continue,
            DataPathName::Tablespace(oid) => {
                let link = links.iter().find(|link| link.oid == *oid);
                let place = link.map_or_else(|| path.path.clone(), |link| link.location.clone());
                check_empty(*oid, &place)?;
                place
            }
        };
        let place = behind_link(place);
        places.push(Place { name: path.name.clone(), role: path.role, existed: place.exists(), path: place });
    }
    // What holds another one is not empty when its provider comes to it.
    for inner in &places {
        let resolved = resolve_existing(&inner.path);
        let is_around = |outer: &&Place| outer.name != inner.name && resolved.starts_with(resolve_existing(&outer.path));
        if let Some(outer) = places.iter().find(is_around) {
            return Err(FetchError::Nested { inner: inner.path.clone(), outer: outer.path.clone() });
        }
    }
    Ok(places)
}

/// The empty directory that a link of the operator's leads to: the link is not ours to replace, nor to remove one day.
fn behind_link(place: PathBuf) -> PathBuf {
    if place.is_symlink() { place.canonicalize().unwrap_or(place) } else { place }
}

fn check_empty(oid: u32, place: &Path) -> Result<(), FetchError> {
    let example = match data_directory::inspect(place)? {
        Occupation::Missing | Occupation::Empty => return Ok(()),
        Occupation::Foreign { example } => example,
        Occupation::Cluster { .. } | Occupation::Incomplete { .. } => "PG_VERSION".to_owned(),
    };
    Err(FetchError::TablespaceInUse { oid, location: place.to_owned(), example })
}

/// Makes what is missing.
pub(super) fn make(places: &[Place]) -> Result<(), FileError> {
    for (number, place) in places.iter().enumerate().filter(|(_, place)| !place.existed) {
        if let Err(error) = make_one(&place.path) {
            put_back(&places[..=number]);
            return Err(error);
        }
    }
    Ok(())
}

/// Makes a directory and those above it that are missing, so that they are there after a power cut as well.
fn make_one(path: &Path) -> Result<(), FileError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    let make = || DirBuilder::new().mode(DIRECTORY_MODE).recursive(true).create(path);
    files::change(FileStep::Make, path, make).map_err(|source| FileError::new("make the directory", path, source))?;
    missing.iter().filter_map(|made| made.parent()).try_for_each(files::sync_directory)
}

/// Makes the places what they were: what was made goes if it is empty, and an empty directory that a link replaced comes back. What
/// is not empty is left for people to look at.
pub(super) fn put_back(places: &[Place]) {
    for place in places {
        let result = match (place.existed, place.path.symlink_metadata().is_ok()) {
            (true, true) | (false, false) => continue,
            (true, false) => {
                files::change(FileStep::Make, &place.path, || DirBuilder::new().mode(DIRECTORY_MODE).create(&place.path))
            }
            (false, true) => files::change(FileStep::Remove, &place.path, || fs::remove_dir(&place.path)),
        };
        if let Err(error) = result {
            tracing::warn!(%error, directory = %place.path.display(), "cannot put back what was there before the failed restore");
        }
    }
}
