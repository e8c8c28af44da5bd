//! A place that another tool has made and keeps: read here, and never written.
//!
//! It has no marker of ours, so what proves that an object is absent is that the place holds WAL at all: a directory that is not
//! mounted, or a mistyped prefix, holds none. Every write and every deletion is refused before anything is asked of the place. Keys
//! have a cluster's name in front, which such a place does not know; it is taken off.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::catalog::Layout;
use stillframe_core::clock::SystemClock;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::MAX_OBJECT_BYTES;
use crate::open::{End, connect};
use crate::remote::{Wire, list_wire, retrying};
use crate::settings::StoreSettings;

/// Where WAL-G keeps WAL.
const WAL: &str = "wal_005";

/// Opens a place of WAL-G's layout for reading, under the names of this layout. Nothing is asked of it yet.
pub async fn open_foreign(settings: &StoreSettings, layout: &Layout) -> Result<Arc<dyn Store>, StoreError> {
    let (name, place) = match connect(settings, "open").await? {
        End::Directory(path) => (format!("file://{}", path.display()), Place::Directory(path.into())),
        End::Remote(wire) => (wire.name(), Place::Remote(retrying(settings, wire, Box::new(SystemClock)))),
    };
    Ok(Arc::new(ForeignStore { name, place, below: format!("{}/", layout.cluster()) }))
}

/// A place that somebody else keeps.
struct ForeignStore {
    name: String,
    place: Place,
    /// What every key begins with that is asked for.
    below: String,
}

enum Place {
    Directory(Arc<Path>),
    Remote(Box<dyn Wire>),
}

impl ForeignStore {
    fn failure(&self, operation: &'static str, target: &str, cause: impl Classify) -> StoreError {
        StoreError::new(self.name.clone(), operation, target, cause)
    }

    fn refuse<T>(&self, operation: &'static str, key: &Key) -> Result<T, StoreError> {
        Err(self.failure(operation, key.as_str(), ForeignFault::ReadOnly))
    }

    /// The name of an object in the place; none of a key that no object there can have.
    fn name_of<'key>(&self, key: &'key str) -> Option<&'key str> {
        key.strip_prefix(&self.below)
    }

    async fn read(&self, name: &str) -> Result<Option<Bytes>, ForeignFault> {
        match &self.place {
            Place::Directory(root) => {
                let path = root.join(name);
                blocking(move || read_file(&path)).await
            }
            Place::Remote(wire) => wire.get(name).await.map_err(ForeignFault::remote),
        }
    }

    /// What lies there of WAL, by name.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, u64)>, ForeignFault> {
        match &self.place {
            Place::Directory(root) => {
                let (root, prefix, after) = (root.clone(), prefix.to_owned(), after.map(str::to_owned));
                blocking(move || list_directory(&root, &prefix, after.as_deref(), limit)).await
            }
            Place::Remote(wire) => {
                let after = after.and_then(|after| Key::parse(after).ok());
                let page = list_wire(wire.as_ref(), prefix, after.as_ref(), limit).await.map_err(ForeignFault::remote)?;
                Ok(page.into_iter().map(|entry| (entry.key.as_str().to_owned(), entry.size_bytes)).collect())
            }
        }
    }

    /// Proves that WAL lies there at all, since an empty place says nothing of what it lacks.
    async fn prove_wal(&self) -> Result<(), ForeignFault> {
        let any = self.list(&format!("{WAL}/"), None, 1).await?;
        if any.is_empty() { Err(ForeignFault::NoWal) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for ForeignStore {
    fn url(&self) -> String {
        self.name.clone()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let failed = |fault| self.failure("read", key.as_str(), fault);
        let Some(name) = self.name_of(key.as_str()) else { return Ok(None) };
        let found = self.read(name).await.map_err(failed)?;
        if found.is_none() {
            self.prove_wal().await.map_err(failed)?;
        }
        Ok(found)
    }

    async fn put(&self, key: &Key, _body: Bytes) -> Result<(), StoreError> {
        self.refuse("write", key)
    }

    async fn put_if_absent(&self, key: &Key, _body: Bytes) -> Result<PutOutcome, StoreError> {
        self.refuse("write", key)
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        Ok(self.get(key).await?.map(|body| body.len() as u64))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.refuse("delete", key)
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let failed = |fault| self.failure("list", prefix, fault);
        let Some(wanted) = self.name_of(prefix) else { return Ok(Vec::new()) };
        let after = after.and_then(|key| self.name_of(key.as_str()));
        let page = self.list(wanted, after, limit).await.map_err(failed)?;
        if page.is_empty() && after.is_none() {
            self.prove_wal().await.map_err(failed)?;
        }
        let entry = |(name, size_bytes): (String, u64)| {
            Some(ObjectEntry { key: Key::parse(&format!("{}{name}", self.below)).ok()?, size_bytes })
        };
        Ok(page.into_iter().filter_map(entry).collect())
    }

    async fn prove(&self) -> Result<(), StoreError> {
        self.prove_wal().await.map_err(|fault| self.failure("prove", ".", fault))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, ForeignFault> {
    spawn_blocking(work).await.map_err(ForeignFault::Died)?.map_err(ForeignFault::System)
}

fn read_file(path: &Path) -> io::Result<Option<Bytes>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() > MAX_OBJECT_BYTES {
        return Err(io::Error::other("it is larger than any segment can be"));
    }
    let mut body = Vec::new();
    file.take(MAX_OBJECT_BYTES).read_to_end(&mut body)?;
    Ok(Some(body.into()))
}

/// The files of WAL are all in one directory. One that is not there holds nothing, which proves nothing.
fn list_directory(root: &Path, prefix: &str, after: Option<&str>, limit: usize) -> io::Result<Vec<(String, u64)>> {
    let entries = match std::fs::read_dir(root.join(WAL)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(|name| format!("{WAL}/{name}")) else { continue };
        if !name.starts_with(prefix) || after.is_some_and(|after| name.as_str() <= after) || Key::parse(&name).is_err() {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => found.push((name, metadata.len())),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    found.truncate(limit);
    Ok(found)
}

/// Why something is not done, or not known.
#[derive(Debug, Error)]
enum ForeignFault {
    #[error("the place is another tool's, which alone writes and deletes there")]
    ReadOnly,
    #[error("it holds no WAL: nothing lies in `{WAL}/`")]
    NoWal,
    #[error("the file system failed")]
    System(#[source] io::Error),
    #[error("the place cannot be read")]
    Remote { class: ErrorClass, advice: Option<String>, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("a task died")]
    Died(#[source] tokio::task::JoinError),
}

impl ForeignFault {
    fn remote(fault: impl Classify) -> Self {
        Self::Remote { class: fault.class(), advice: fault.hint(), source: Box::new(fault) }
    }
}

impl Classify for ForeignFault {
    fn class(&self) -> ErrorClass {
        match self {
            Self::ReadOnly | Self::Died(_) => ErrorClass::Internal,
            Self::NoWal => ErrorClass::Config,
            Self::System(error) if error.kind() == ErrorKind::PermissionDenied => ErrorClass::Config,
            Self::System(_) => ErrorClass::Transient,
            Self::Remote { class, .. } => *class,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoWal => Some(format!(
                "`url` under `[external_archive]` names the prefix in which WAL-G keeps `{WAL}`: is it mounted, and was anything archived?"
            )),
            Self::System(error) if error.kind() == ErrorKind::PermissionDenied => {
                Some("the user that runs stillframe must be able to read it, and should not be able to write there".to_owned())
            }
            Self::Remote { advice, .. } => advice.clone(),
            Self::ReadOnly | Self::System(_) | Self::Died(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
