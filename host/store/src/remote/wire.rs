//! One attempt of each request, as a seam between what vendors differ in and what every remote store needs.
//!
//! Names are texts below the prefix of the store. Unlike keys they may begin with a dot: so do the marker and the probes, which no
//! key can name and no listing shows.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::store::PutOutcome;

use super::fault::Fault;

/// A place for objects, reached over a network. No method repeats anything.
#[async_trait]
pub(crate) trait Wire: Send + Sync {
    /// Names the place, with the endpoint and the account that are really used; never with a secret.
    fn name(&self) -> String;

    /// Reads a whole object; none when the server says that this object is absent.
    async fn get(&self, name: &str) -> Result<Option<Bytes>, Fault>;

    /// Writes an object.
    async fn put(&self, name: &str, body: Bytes) -> Result<(), Fault>;

    /// Writes an object on the condition that there is none.
    async fn put_if_absent(&self, name: &str, body: Bytes) -> Result<PutOutcome, Fault>;

    /// Size of an object in bytes; none when the server says that it is absent.
    async fn head(&self, name: &str) -> Result<Option<u64>, Fault>;

    /// Deletes an object; absent is a success.
    async fn delete(&self, name: &str) -> Result<(), Fault>;

    /// Lists objects whose name begins with `prefix`, those after `after` only, at most about `limit`; not empty unless it is last.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Fault>;
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Names and sizes.
    pub(crate) entries: Vec<(String, u64)>,
    /// Whether nothing comes after it.
    pub(crate) is_last: bool,
}

/// One attempt with its body, bounded; boxed, since the vendors' futures are large.
pub(crate) fn within<'a, T: 'a>(
    limit: Duration,
    attempt: impl Future<Output = Result<T, Fault>> + Send + 'a,
) -> impl Future<Output = Result<T, Fault>> + Send + 'a {
    let attempt = Box::pin(attempt);
    async move {
        let expired = |_| Fault::TimedOut { waited_secs: limit.as_secs() };
        tokio::time::timeout(limit, attempt).await.map_err(expired)?
    }
}
