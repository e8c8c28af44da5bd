//! A store in memory, one that fails at the n-th write, and one that tells what is about to be done.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::ErrorClass;
use crate::store::{Key, ObjectEntry, PutOutcome, Space, Store, StoreError};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<Key, Bytes>>,
    looks_up: bool,
}

impl MemoryStore {
    /// One that is rather asked for names than for a listing, as a directory is.
    #[must_use]
    pub fn like_a_directory() -> Self {
        Self { looks_up: true, ..Self::default() }
    }

    /// Every object, for comparing before and after.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<Key, Bytes> {
        self.objects().clone()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Key, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn url(&self) -> String {
        "memory:".to_owned()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        Ok(self.objects().get(key).cloned())
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        self.objects().insert(key.clone(), body);
        Ok(())
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Ok(PutOutcome::AlreadyExists);
        }
        objects.insert(key.clone(), body);
        Ok(PutOutcome::Created)
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        Ok(self.objects().get(key).map(|body| body.len() as u64))
    }

    async fn look_up(&self, keys: &[Key]) -> Result<Option<Vec<bool>>, StoreError> {
        let objects = self.objects();
        Ok(self.looks_up.then(|| keys.iter().map(|key| objects.contains_key(key)).collect()))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.objects().remove(key);
        Ok(())
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let objects = self.objects();
        let matching = objects.iter().filter(|(key, _)| key.as_str().starts_with(prefix) && after.is_none_or(|after| *key > after));
        Ok(matching.take(limit).map(|(key, body)| ObjectEntry { key: key.clone(), size_bytes: body.len() as u64 }).collect())
    }

    async fn prove(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Whether a failing write has its effect all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It fails before anything happens.
    Before,
    /// It takes effect, and the answer is lost.
    After,
}

/// A store whose n-th write fails, once; reads always work.
pub struct FaultyStore<'a> {
    inner: &'a dyn Store,
    writes: AtomicUsize,
    fails_at: Option<(usize, When)>,
}

impl<'a> FaultyStore<'a> {
    /// Fails at this write, counted from 0; none never fails.
    #[must_use]
    pub fn new(inner: &'a dyn Store, fails_at: Option<(usize, When)>) -> Self {
        Self { inner, writes: AtomicUsize::new(0), fails_at }
    }

    /// Writes so far.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    fn next_write(&self) -> Option<When> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        self.fails_at.filter(|(at, _)| *at == number).map(|(_, when)| when)
    }

    fn error(&self, key: &Key) -> StoreError {
        injected_fault(self.url(), "write", key.as_str())
    }
}

#[async_trait]
impl Store for FaultyStore<'_> {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        let fault = self.next_write();
        if fault != Some(When::Before) {
            self.inner.put(key, body).await?;
        }
        fault.map_or(Ok(()), |_| Err(self.error(key)))
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        let fault = self.next_write();
        if fault == Some(When::Before) {
            return Err(self.error(key));
        }
        let outcome = self.inner.put_if_absent(key, body).await?;
        fault.map_or(Ok(outcome), |_| Err(self.error(key)))
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let fault = self.next_write();
        if fault != Some(When::Before) {
            self.inner.delete(key).await?;
        }
        fault.map_or(Ok(()), |_| Err(self.error(key)))
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        self.inner.list_page(prefix, after, limit).await
    }

    async fn prove(&self) -> Result<(), StoreError> {
        self.inner.prove().await
    }
}

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the methods of the trait")]
pub enum Operation {
    Get,
    Put,
    PutIfAbsent,
    Head,
    Delete,
    List,
    Prove,
}

impl Operation {
    /// The name of the method.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put => "put",
            Self::PutIfAbsent => "put_if_absent",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Prove => "prove",
        }
    }
}

/// Is told of every operation on a store before it is done.
#[async_trait]
pub trait Watcher: Send + Sync {
    /// Does what a test wants to happen just then; an error stands in place of the operation.
    async fn before(&self, operation: Operation, target: &str) -> Result<(), InjectedFault>;
}

/// An operation must fail.
#[derive(Debug)]
pub struct InjectedFault;

/// A store with a watcher, which can be asked through it.
pub struct WatchedStore<'a, W> {
    inner: &'a dyn Store,
    watcher: W,
}

impl<'a, W: Watcher> WatchedStore<'a, W> {
    /// Sets a watcher before this store.
    pub fn new(inner: &'a dyn Store, watcher: W) -> Self {
        Self { inner, watcher }
    }

    async fn tell(&self, operation: Operation, target: &str) -> Result<(), StoreError> {
        let failed = |InjectedFault| injected_fault(self.url(), operation.as_str(), target);
        self.watcher.before(operation, target).await.map_err(failed)
    }
}

impl<W> Deref for WatchedStore<'_, W> {
    type Target = W;

    fn deref(&self) -> &W {
        &self.watcher
    }
}

#[async_trait]
impl<W: Watcher> Store for WatchedStore<'_, W> {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.tell(Operation::Get, key.as_str()).await?;
        self.inner.get(key).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        self.tell(Operation::Put, key.as_str()).await?;
        self.inner.put(key, body).await
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        self.tell(Operation::PutIfAbsent, key.as_str()).await?;
        self.inner.put_if_absent(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        self.tell(Operation::Head, key.as_str()).await?;
        self.inner.head(key).await
    }

    async fn look_up(&self, keys: &[Key]) -> Result<Option<Vec<bool>>, StoreError> {
        self.inner.look_up(keys).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.tell(Operation::Delete, key.as_str()).await?;
        self.inner.delete(key).await
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        self.tell(Operation::List, prefix).await?;
        self.inner.list_page(prefix, after, limit).await
    }

    async fn prove(&self) -> Result<(), StoreError> {
        self.tell(Operation::Prove, ".").await?;
        self.inner.prove().await
    }

    async fn space(&self) -> Result<Option<Space>, StoreError> {
        self.inner.space().await
    }
}

fn injected_fault(store: String, operation: &'static str, target: &str) -> StoreError {
    StoreError {
        store,
        operation,
        target: target.to_owned(),
        class: ErrorClass::Transient,
        advice: None,
        source: "injected fault".into(),
    }
}
