//! That listings and replacements wait for each other, and nothing else waits for either.

use std::fs::{self, File};
use std::path::Path;
use std::thread::yield_now;

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use stillframe_core::store::{Key, PutOutcome, Store as _, list};
use tempfile::TempDir;

use crate::LocalStore;

/// Looks at what must not happen; without the lock it happens within the first few.
const LOOKS: usize = 300;

#[tokio::test]
async fn replaces_nothing_while_somebody_lists() {
    let (directory, store, object) = store_with_an_object().await;
    let listing = locked(directory.path(), FlockOperation::LockShared);
    let (writer, key) = (store.clone(), object.clone());
    let replacement = tokio::spawn(async move { writer.put(&key, Bytes::from_static(b"new")).await });
    while fs::read_dir(directory.path().join("a")).unwrap().count() < 2 {
        tokio::task::yield_now().await;
        yield_now();
    }
    // The new bytes are there, under a temporary name.
    for _ in 0..LOOKS {
        assert_eq!(store.get(&object).await.unwrap().as_deref(), Some(b"old".as_slice()));
    }
    assert_eq!(list(&store, "").await.unwrap().len(), 1, "two listings exclude each other");
    drop(listing);
    replacement.await.unwrap().unwrap();
    assert_eq!(store.get(&object).await.unwrap().as_deref(), Some(b"new".as_slice()));
}

#[tokio::test]
async fn lists_nothing_while_somebody_replaces() {
    let (directory, store, object) = store_with_an_object().await;
    let replacement = locked(directory.path(), FlockOperation::LockExclusive);
    let lister = store.clone();
    let listing = tokio::spawn(async move { list(&lister, "").await });
    for _ in 0..LOOKS {
        assert_eq!(store.head(&object).await.unwrap(), Some(3));
        assert!(!listing.is_finished(), "the listing did not wait");
    }
    drop(replacement);
    assert_eq!(listing.await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn creates_reads_and_deletes_at_any_time() {
    let (directory, store, object) = store_with_an_object().await;
    let _lock = locked(directory.path(), FlockOperation::LockExclusive);
    let other = Key::parse("a/other").unwrap();
    assert_eq!(store.put_if_absent(&other, Bytes::from_static(b"x")).await.unwrap(), PutOutcome::Created);
    assert_eq!(store.get(&other).await.unwrap().as_deref(), Some(b"x".as_slice()));
    store.delete(&object).await.unwrap();
    assert_eq!(store.head(&object).await.unwrap(), None);
}

async fn store_with_an_object() -> (TempDir, LocalStore, Key) {
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    let object = Key::parse("a/object").unwrap();
    store.put(&object, Bytes::from_static(b"old")).await.unwrap();
    (directory, store, object)
}

/// What another process that lists or replaces holds.
fn locked(root: &Path, operation: FlockOperation) -> File {
    let marker = File::open(root.join(".stillframe-store")).unwrap();
    flock(&marker, operation).unwrap();
    marker
}
