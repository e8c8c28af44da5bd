//! A store in memory, and one that fails at the n-th write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::ErrorClass;
use crate::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<Key, Bytes>>,
}

impl MemoryStore {
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

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.objects().remove(key);
        Ok(())
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let objects = self.objects();
        let matching = objects.iter().filter(|(key, _)| key.as_str().starts_with(prefix) && after.is_none_or(|after| *key > after));
        Ok(matching.take(limit).map(|(key, body)| ObjectEntry { key: key.clone(), size_bytes: body.len() as u64 }).collect())
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
        StoreError {
            store: self.url(),
            operation: "write",
            target: key.to_string(),
            class: ErrorClass::Transient,
            advice: None,
            source: "injected fault".into(),
        }
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
}
