//! A store in a directory.
//!
//! A key is the path of a file below the root, so the archive can be read with `ls` and `zstdcat`. Nothing about the root is
//! remembered between operations: each one opens it afresh and first proves, by a marker file, that it is a store. An archive that
//! is not mounted leaves an empty directory behind, and an empty directory must never pass for the proof that an object is absent.
//! One limit: an object `a` and an object `a/b` cannot both exist; the second write fails.

use std::path::{Path, absolute};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Space, Store, StoreError};
use tokio::task::spawn_blocking;

mod fault;
mod listing;
mod lock;
mod object;
mod probe;
mod publish;
mod tree;

#[cfg(test)]
mod tests;

use fault::Fault;
use publish::Publication;
use tree::Root;

/// A store in a directory of a local or network file system.
#[derive(Debug, Clone)]
pub struct LocalStore {
    root: Arc<Path>,
}

impl LocalStore {
    /// Opens the store in an existing directory that [`LocalStore::create`] has marked.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::at(path)?;
        Root::enter(&store.root).map_err(|fault| store.failure("open", ".", fault))?;
        Ok(store)
    }

    /// Makes the directory and its parents where they are missing, and marks it as a store; an existing store is opened.
    ///
    /// Call it only when the operator asks for a new store: on a mount point whose file system is missing it would mark, and from
    /// then on fill, the directory underneath.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let store = Self::at(path)?;
        Root::create(&store.root).map_err(|fault| store.failure("create", ".", fault))?;
        Ok(store)
    }

    fn at(path: &Path) -> Result<Self, StoreError> {
        let root = absolute(path).map_err(|source| {
            Self { root: path.into() }.failure("open", ".", Fault::System { step: "make the path of the store absolute", source })
        })?;
        Ok(Self { root: root.into() })
    }

    /// Runs file system calls where they may block, on a root that has just been proven to be a store.
    async fn on_root<T, F>(&self, operation: &'static str, target: &str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Root) -> Result<T, Fault> + Send + 'static,
    {
        let path = Arc::clone(&self.root);
        match spawn_blocking(move || work(&Root::enter(&path)?)).await {
            Ok(outcome) => outcome.map_err(|fault| self.failure(operation, target, fault)),
            Err(source) => Err(StoreError {
                store: self.url(),
                operation,
                target: target.to_owned(),
                class: ErrorClass::Internal,
                advice: None,
                source: Box::new(source),
            }),
        }
    }

    fn failure(&self, operation: &'static str, target: &str, fault: Fault) -> StoreError {
        StoreError::new(self.url(), operation, target, fault)
    }
}

#[async_trait]
impl Store for LocalStore {
    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let wanted = key.clone();
        self.on_root("read", key.as_str(), move |root| object::read(root, &wanted)).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        let wanted = key.clone();
        let work = move |root: &Root| publish::publish(root, &wanted, &body, Publication::Replace).map(|_| ());
        self.on_root("write", key.as_str(), work).await
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        let wanted = key.clone();
        let work = move |root: &Root| publish::publish(root, &wanted, &body, Publication::IfAbsent);
        self.on_root("write", key.as_str(), work).await
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        let wanted = key.clone();
        self.on_root("read", key.as_str(), move |root| object::size(root, &wanted)).await
    }

    async fn look_up(&self, keys: &[Key]) -> Result<Option<Vec<bool>>, StoreError> {
        let wanted = keys.to_vec();
        let target = keys.first().map_or("", Key::as_str);
        let is_there = |root: &Root, key: &Key| object::size(root, key).map(|size| size.is_some());
        self.on_root("read", target, move |root| wanted.iter().map(|key| is_there(root, key)).collect()).await.map(Some)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let wanted = key.clone();
        self.on_root("delete", key.as_str(), move |root| object::remove(root, &wanted)).await
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let (wanted, after) = (prefix.to_owned(), after.cloned());
        self.on_root("list", prefix, move |root| listing::page(root, &wanted, after.as_ref(), limit)).await
    }

    async fn prove(&self) -> Result<(), StoreError> {
        self.on_root("prove", ".", probe::prove).await
    }

    async fn space(&self) -> Result<Option<Space>, StoreError> {
        self.on_root("look at", ".", Root::space).await.map(Some)
    }
}
