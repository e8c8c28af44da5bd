//! A store in which something happens just before a certain record is read or written, or in which a record cannot be read.

use std::pin::Pin;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};
use stillframe_core::testing::MemoryStore;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Read,
    Write,
    Delete,
}

type Act<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

pub(crate) struct HookedStore<'a> {
    inner: &'a MemoryStore,
    hook: Mutex<Option<(Before, &'static str, Act<'a>)>>,
    unreadable: Option<&'static str>,
}

impl<'a> HookedStore<'a> {
    /// Runs this once, before the record whose key ends so is read or written.
    pub(crate) fn once(
        inner: &'a MemoryStore,
        before: Before,
        suffix: &'static str,
        act: impl Future<Output = ()> + Send + 'a,
    ) -> Self {
        Self { inner, hook: Mutex::new(Some((before, suffix, Box::pin(act)))), unreadable: None }
    }

    /// Fails every read of a key that ends so.
    pub(crate) fn unreadable(inner: &'a MemoryStore, suffix: &'static str) -> Self {
        Self { inner, hook: Mutex::new(None), unreadable: Some(suffix) }
    }

    async fn run_hook(&self, now: Before, key: &Key) {
        let act = {
            let mut hook = self.hook.lock().unwrap();
            match &*hook {
                Some((before, suffix, _)) if *before == now && key.as_str().ends_with(suffix) => hook.take(),
                _ => None,
            }
        };
        if let Some((_, _, act)) = act {
            act.await;
        }
    }

    fn check_readable(&self, key: &Key) -> Result<(), StoreError> {
        if self.unreadable.is_none_or(|suffix| !key.as_str().ends_with(suffix)) {
            return Ok(());
        }
        Err(StoreError {
            store: self.url(),
            operation: "read",
            target: key.to_string(),
            class: ErrorClass::Transient,
            advice: None,
            source: "injected fault".into(),
        })
    }
}

#[async_trait]
impl Store for HookedStore<'_> {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.run_hook(Before::Read, key).await;
        self.check_readable(key)?;
        self.inner.get(key).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, body).await
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        self.run_hook(Before::Write, key).await;
        self.inner.put_if_absent(key, body).await
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        self.check_readable(key)?;
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.run_hook(Before::Delete, key).await;
        self.inner.delete(key).await
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        self.inner.list_page(prefix, after, limit).await
    }
}
