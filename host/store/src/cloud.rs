//! Google Cloud Storage and Azure Blob Storage.
//!
//! Signing, tokens and the two wire formats are crate `object_store`'s; the requests go out through our own client, where every
//! refusal is read by its code before the crate turns it into text. The crate's own repetition is off.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, RetryConfig};
use stillframe_core::store::PutOutcome;

use crate::MAX_OBJECT_BYTES;
use crate::remote::{Fault, Page, Wire, within};
use crate::settings::StoreSettings;
use crate::url::Location;

mod azure;
mod failure;
mod google;
mod http;

#[cfg(test)]
mod tests;

use failure::fault;

/// What the crate's two clients have in common.
trait Client: ObjectStore + PaginatedListStore {}

impl<C: ObjectStore + PaginatedListStore> Client for C {}

/// A bucket or container, and a prefix.
pub(crate) struct CloudWire {
    client: Box<dyn Client>,
    name: String,
    prefix: String,
    timeout: Duration,
    shows: PrefixItself,
}

/// Whether a listing shows the object whose name is the prefix of the listing and nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrefixItself {
    Listed,
    /// The crate takes it for a directory.
    LeftOut,
}

impl CloudWire {
    /// With settings whose endpoint and account are what the client really uses.
    fn new(client: impl Client, settings: &StoreSettings, location: &Location, shows: PrefixItself) -> Self {
        let (name, timeout) = (settings.name(), settings.timeout);
        Self { client: Box::new(client), name, prefix: location.prefix().to_owned(), timeout, shows }
    }

    fn path(&self, name: &str) -> Result<Path, Fault> {
        Path::parse(format!("{}{name}", self.prefix)).map_err(|error| fault(error.into()))
    }
}

/// Whether a prefix could be the whole name of an object.
fn is_name(prefix: &str) -> bool {
    !prefix.is_empty() && !prefix.ends_with('/')
}

/// One attempt of each request: the crate repeats nothing.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

#[async_trait]
impl Wire for CloudWire {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        let path = self.path(name)?;
        within(self.timeout, async {
            let found = match self.client.get(&path).await {
                Ok(found) => found,
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(fault(error)),
            };
            let expected_bytes = found.meta.size;
            if expected_bytes > MAX_OBJECT_BYTES {
                return Err(Fault::TooLarge { size_bytes: expected_bytes });
            }
            let body = found.bytes().await.map_err(fault)?;
            match body.len() as u64 {
                read_bytes if read_bytes != expected_bytes => Err(Fault::Truncated { expected_bytes, read_bytes }),
                _ => Ok(Some(body)),
            }
        })
        .await
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<(), Fault> {
        let path = self.path(name)?;
        within(self.timeout, async { self.client.put(&path, body.into()).await.map(|_| ()).map_err(fault) }).await
    }

    async fn put_if_absent(&self, name: &str, body: Bytes) -> Result<PutOutcome, Fault> {
        let path = self.path(name)?;
        within(self.timeout, async {
            match self.client.put_opts(&path, body.into(), PutOptions::from(PutMode::Create)).await {
                Ok(_) => Ok(PutOutcome::Created),
                Err(object_store::Error::AlreadyExists { .. }) => Ok(PutOutcome::AlreadyExists),
                Err(error) => Err(fault(error)),
            }
        })
        .await
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, Fault> {
        let path = self.path(name)?;
        within(self.timeout, async {
            match self.client.head(&path).await {
                Ok(meta) => Ok(Some(meta.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(fault(error)),
            }
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), Fault> {
        let path = self.path(name)?;
        within(self.timeout, async {
            match self.client.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(fault(error)),
            }
        })
        .await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Fault> {
        let full_prefix = format!("{}{prefix}", self.prefix);
        let offset = after.map(|after| format!("{}{after}", self.prefix));
        let mut entries = Vec::new();
        let is_asked_for = self.shows == PrefixItself::LeftOut && is_name(prefix) && after.is_none_or(|after| after < prefix);
        if is_asked_for && let Some(size) = self.head(prefix).await? {
            entries.push((prefix.to_owned(), size));
        }
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions {
                offset: offset.clone(),
                max_keys: Some(limit),
                page_token,
                ..PaginatedListOptions::default()
            };
            let request = async { self.client.list_paginated(Some(&full_prefix), options).await.map_err(fault) };
            let answer = within(self.timeout, request).await?;
            for object in answer.result.objects {
                let full = object.location.as_ref();
                // An emulator may begin at the first object whatever the offset, and one above the prefix would be no name of ours.
                if let Some(name) = full.strip_prefix(self.prefix.as_str()).filter(|name| after.is_none_or(|after| *name > after)) {
                    entries.push((name.to_owned(), object.size));
                }
            }
            match answer.page_token {
                Some(next) if entries.is_empty() => page_token = Some(next),
                next => return Ok(Page { entries, is_last: next.is_none() }),
            }
        }
    }
}
