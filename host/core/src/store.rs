//! The object store, as a seam: what the catalog and the WAL archive are written to.
//!
//! Operations that a directory, S3, GCS and Azure all have. Every implementation passes one conformance suite. Objects are
//! complete or absent, durable when a write returns, and listed in the order of their keys.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::error::{Classify, ErrorClass};

/// Longest key in bytes: S3 allows 1,024, of which the operator's prefix needs its share.
pub const MAX_KEY_BYTES: usize = 512;

/// The name of an object: relative, `/`-separated, and free of what any store would treat specially.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Checks a key: 1 to 512 bytes of `[A-Za-z0-9._/-]`, no empty part, no part that begins with a dot.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
        let parts_are_legal = text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        if text.len() > MAX_KEY_BYTES || !text.bytes().all(legal) || !parts_are_legal {
            return Err(InvalidKey { text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the last `/`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A text that is no legal key.
#[derive(Debug, Error)]
#[error("`{text}` is not a legal object key")]
pub struct InvalidKey {
    /// The text.
    pub text: String,
}

/// What a listing tells about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectEntry {
    /// Its key.
    pub key: Key,
    /// Its size as stored.
    pub size_bytes: u64,
}

/// Whether a conditional write took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum PutOutcome {
    /// The object is there, durable, with these bytes.
    Created,
    /// An object with this key was there before; it is untouched.
    AlreadyExists,
}

/// An object store. Every write is durable when it returns, and never visible in part.
#[async_trait]
pub trait Store: Send + Sync {
    /// Names the store for messages: `file:///var/lib/stillframe/store`. Never contains a secret.
    fn url(&self) -> String;

    /// Reads a whole object; none when its absence is certain.
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError>;

    /// Writes an object, replacing an older one atomically.
    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError>;

    /// Writes an object unless one with this key exists. Of several writers exactly one creates it.
    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError>;

    /// Size of an object in bytes; none when its absence is certain.
    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError>;

    /// Which of these objects are there, one answer for each in their order, where looking for each costs less than one listing, as
    /// in a directory; none elsewhere, whatever is asked for.
    async fn look_up(&self, _keys: &[Key]) -> Result<Option<Vec<bool>>, StoreError> {
        Ok(None)
    }

    /// Deletes an object. Absent is a success.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// Lists at most `limit` objects whose key begins with `prefix`, in the order of keys, those after `after` only.
    ///
    /// A page shorter than `limit` is the last one.
    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError>;

    /// Proves by doing them that reads, listings, deletions and conditional writes are what this trait promises. Leaves nothing.
    async fn prove(&self) -> Result<(), StoreError>;

    /// Room on the disk below it; none where there is no such limit, or nobody tells it.
    async fn space(&self) -> Result<Option<Space>, StoreError> {
        Ok(None)
    }
}

/// Room on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that are left to us.
    pub free_bytes: u64,
    /// Bytes that it has.
    pub total_bytes: u64,
}

/// Objects in one request of [`list`]; S3 gives at most 1,000.
pub const PAGE: usize = 1_000;

/// Lists every object whose key begins with `prefix`, in the order of keys; all of them or an error.
pub async fn list(store: &dyn Store, prefix: &str) -> Result<Vec<ObjectEntry>, StoreError> {
    let mut entries: Vec<ObjectEntry> = Vec::new();
    loop {
        let after = entries.last().map(|entry| entry.key.clone());
        let page = store.list_page(prefix, after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        entries.extend(page);
        if is_last {
            return Ok(entries);
        }
    }
}

/// A store operation that failed.
#[derive(Debug, Error)]
#[error("cannot {operation} `{target}` in the store {store}")]
pub struct StoreError {
    /// URL of the store.
    pub store: String,
    /// `read`, `write`, `list`, `delete`, `open` or `create`.
    pub operation: &'static str,
    /// The key or prefix.
    pub target: String,
    /// Transient, Config (rights, wrong bucket), Corrupt or Internal.
    pub class: ErrorClass,
    /// What the operator can do, where it is known.
    pub advice: Option<String>,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StoreError {
    /// What this cause is for an operation on a store.
    pub fn new(store: String, operation: &'static str, target: &str, cause: impl Classify) -> Self {
        let (class, advice) = (cause.class(), cause.hint());
        Self { store, operation, target: target.to_owned(), class, advice, source: Box::new(cause) }
    }
}

impl Classify for StoreError {
    fn class(&self) -> ErrorClass {
        self.class
    }

    fn hint(&self) -> Option<String> {
        self.advice.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn refuses_keys_that_could_leave_the_store() {
        for text in ["", "/a", "a//b", "a/", "../a", "a/../b", ".a", "a b", "a\n", "ä"] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(Key::parse("main/wal_005/0A.zst").unwrap().file_name(), "0A.zst");
    }
}
