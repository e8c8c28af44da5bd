//! What a provider restored elsewhere than it was asked: proven to be what it says, then linked to from the asked place.
//!
//! A provider that mounts or clones can often not do so just where somebody wants the data. A server that starts through the link
//! writes wherever it leads, so that a wrong answer would cost the living cluster.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::FetchError;
use crate::catalog::{RestoredDirectory, RestoredPart, Sentinel};
use crate::data_directory::{self, Occupation};
use crate::files::{self, FileError};
use crate::provider::{DataPathName, ProviderError, ProviderFault, ProviderName};

/// Device and inode of a directory.
type Identity = (u64, u64);

/// Proves every directory that lies elsewhere, before the first link is made.
pub(super) fn prove(sentinel: &Sentinel, parts: &[RestoredPart]) -> Result<(), FetchError> {
    let mut taken = taken(sentinel, parts);
    for (provider, directory, restored) in elsewhere(parts) {
        let lie = |what: String| -> FetchError {
            let fault = ProviderFault::BadAnswer(format!("it restored `{}` to `{}`, {what}", directory.name, restored.display()));
            ProviderError { provider: provider.clone(), operation: "restore the snapshot set", fault }.into()
        };
        let canonical = restored.canonicalize().map_err(|source| FileError::new("find", restored, source))?;
        if canonical != *restored {
            return Err(lie(format!("which is a way to `{}`", canonical.display())));
        }
        let found = std::fs::metadata(restored).map_err(|source| FileError::new("read", restored, source))?;
        if !found.is_dir() {
            return Err(lie("which is no directory".to_owned()));
        }
        if let Some(other) = taken.insert(identity(&found), restored.clone()) {
            return Err(lie(format!("which is the same directory as `{}`", other.display())));
        }
        if directory.name == DataPathName::Data {
            prove_cluster(sentinel, restored).map_err(|wrong| wrong.told_as(lie))?;
        }
    }
    Ok(())
}

/// Makes each asked directory, which is empty, a link to where its data is.
pub(super) fn link(parts: &[RestoredPart]) -> Result<(), FileError> {
    elsewhere(parts).try_for_each(|(_, directory, restored)| files::link_atomically(restored, &directory.asked))
}

fn elsewhere(parts: &[RestoredPart]) -> impl Iterator<Item = (&ProviderName, &RestoredDirectory, &PathBuf)> {
    let all = parts.iter().flat_map(|part| part.directories.iter().map(move |directory| (&part.provider, directory)));
    all.filter_map(|(provider, directory)| Some((provider, directory, directory.elsewhere()?)))
}

/// The directories that no restore may be: those that were asked for, and those of the original cluster, as far as they are here.
fn taken(sentinel: &Sentinel, parts: &[RestoredPart]) -> BTreeMap<Identity, PathBuf> {
    let asked = parts.iter().flat_map(|part| &part.directories).map(|directory| &directory.asked);
    let originals = sentinel.paths.iter().map(|path| &path.path);
    let known = asked.chain(originals).filter_map(|path| Some((identity(&std::fs::metadata(path).ok()?), path.clone())));
    known.collect()
}

/// The cluster of the backup, on which no server runs. What is wrong with the answer is told apart from what keeps us from looking.
fn prove_cluster(sentinel: &Sentinel, restored: &Path) -> Result<(), Wrong> {
    match data_directory::inspect(restored).map_err(|error| Wrong::Other(Box::new(error.into())))? {
        Occupation::Cluster { running: Some(pid), .. } => Err(Wrong::Answer(format!("on which a server runs (process {pid})"))),
        Occupation::Cluster { system_identifier, .. } if system_identifier == sentinel.system_identifier => Ok(()),
        Occupation::Cluster { system_identifier, .. } => {
            Err(Wrong::Answer(format!("which holds the cluster {system_identifier}, and not {}", sentinel.system_identifier)))
        }
        Occupation::Missing | Occupation::Empty | Occupation::Incomplete { .. } | Occupation::Foreign { .. } => {
            Err(Wrong::Answer("which holds no data directory".to_owned()))
        }
    }
}

enum Wrong {
    Answer(String),
    Other(Box<FetchError>),
}

impl Wrong {
    fn told_as(self, lie: impl FnOnce(String) -> FetchError) -> FetchError {
        match self {
            Self::Answer(what) => lie(what),
            Self::Other(error) => *error,
        }
    }
}

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}
