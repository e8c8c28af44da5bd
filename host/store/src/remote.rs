//! A store at the other end of a network.
//!
//! What S3, GCS and Azure differ in is behind [`Wire`], one attempt of each request; what all of them need is here, once: a marker
//! that proves the place to be a store before anything in it is called absent, repetition of what a network loses, and the proof
//! that conditional writes are honoured.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::clock::Clock;
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};

use crate::MAX_OBJECT_BYTES;
use crate::settings::StoreSettings;

mod answer;
mod fault;
mod listing;
mod marker;
mod probe;
mod retrying;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use fault::{Fault, Reason, find};
pub(crate) use wire::{Page, Wire, within};

use retrying::Retrying;

pub(crate) use listing::page as list_wire;

/// A wire whose losses are repeated.
pub(crate) fn retrying(settings: &StoreSettings, wire: Box<dyn Wire>, clock: Box<dyn Clock>) -> Box<dyn Wire> {
    Box::new(Retrying::new(wire, settings.max_attempts, clock))
}

/// How long a place that was proven to be a store is written to without another proof. A daemon lives for months, and a bucket may
/// be emptied or made anew meanwhile; a batch of writes pays at most one request per minute.
const PROOF_LIFETIME: Duration = Duration::from_mins(1);

/// A store behind a wire, known to be one before it is believed.
pub(crate) struct RemoteStore {
    wire: Box<dyn Wire>,
    /// Since when the marker is known to have been there; none when it was missing the last time.
    proven_at: Mutex<Option<Instant>>,
}

impl RemoteStore {
    /// The store of these settings, behind a wire whose losses are repeated; not yet proven.
    pub(crate) fn new(settings: &StoreSettings, wire: Box<dyn Wire>, clock: Box<dyn Clock>) -> Self {
        Self::behind(Box::new(Retrying::new(wire, settings.max_attempts, clock)))
    }

    /// A store behind just this wire.
    fn behind(wire: Box<dyn Wire>) -> Self {
        Self { wire, proven_at: Mutex::new(None) }
    }

    /// Proves that the place can be a store, and marks it.
    pub(crate) async fn create(&self) -> Result<(), StoreError> {
        let made = async {
            probe::prove(self.wire.as_ref()).await?;
            marker::make(self.wire.as_ref()).await
        };
        made.await.map_err(self.failure("create", "."))?;
        self.prove("create", ".").await
    }

    /// Proves the marker now. An absence is told only after a proof that began when the server had answered: what was proven
    /// before would hold for a place that has been emptied since.
    async fn prove(&self, operation: &'static str, target: &str) -> Result<(), StoreError> {
        let begun = Instant::now();
        let proof = marker::prove(self.wire.as_ref()).await;
        *self.proven_at.lock().unwrap_or_else(PoisonError::into_inner) = proof.is_ok().then_some(begun);
        proof.map_err(self.failure(operation, target))
    }

    /// Proves the marker, unless that was done lately.
    async fn prove_for_a_change(&self, operation: &'static str, target: &str) -> Result<(), StoreError> {
        let proven_at = *self.proven_at.lock().unwrap_or_else(PoisonError::into_inner);
        match proven_at {
            Some(instant) if instant.elapsed() < PROOF_LIFETIME => Ok(()),
            _ => self.prove(operation, target).await,
        }
    }

    fn failure(&self, operation: &'static str, target: &str) -> impl FnOnce(Fault) -> StoreError {
        let (store, target) = (self.wire.name(), target.to_owned());
        move |fault| StoreError::new(store, operation, &target, fault)
    }
}

/// What is larger is refused when it is read, so it must not be written either.
fn check_size(body: &Bytes) -> Result<(), Fault> {
    let size_bytes = body.len() as u64;
    if size_bytes > MAX_OBJECT_BYTES { Err(Fault::TooLarge { size_bytes }) } else { Ok(()) }
}

#[async_trait]
impl Store for RemoteStore {
    fn url(&self) -> String {
        self.wire.name()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let found = self.wire.get(key.as_str()).await.map_err(self.failure("read", key.as_str()))?;
        if found.is_none() {
            self.prove("read", key.as_str()).await?;
        }
        Ok(found)
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        check_size(&body).map_err(self.failure("write", key.as_str()))?;
        self.prove_for_a_change("write", key.as_str()).await?;
        self.wire.put(key.as_str(), body).await.map_err(self.failure("write", key.as_str()))
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        check_size(&body).map_err(self.failure("write", key.as_str()))?;
        self.prove_for_a_change("write", key.as_str()).await?;
        self.wire.put_if_absent(key.as_str(), body).await.map_err(self.failure("write", key.as_str()))
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        let found = self.wire.head(key.as_str()).await.map_err(self.failure("read", key.as_str()))?;
        if found.is_none() {
            self.prove("read", key.as_str()).await?;
        }
        Ok(found)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        // Absent is a success, so a deletion at the wrong place would be one as well.
        self.prove_for_a_change("delete", key.as_str()).await?;
        self.wire.delete(key.as_str()).await.map_err(self.failure("delete", key.as_str()))
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let page = listing::page(self.wire.as_ref(), prefix, after, limit).await.map_err(self.failure("list", prefix))?;
        // A page that is not full says that nothing else is there.
        if page.len() < limit {
            self.prove("list", prefix).await?;
        }
        Ok(page)
    }

    async fn prove(&self) -> Result<(), StoreError> {
        Self::prove(self, "prove", ".").await?;
        probe::prove(self.wire.as_ref()).await.map_err(self.failure("prove", "."))
    }
}
