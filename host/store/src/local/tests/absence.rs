//! When an object is reported as absent, and when that would be a guess.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Key, Store as _, StoreError, list};
use tempfile::TempDir;

use crate::LocalStore;

#[test]
fn refuses_to_open_what_is_not_there_or_not_marked() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    for path in [missing.as_path(), directory.path()] {
        let error = LocalStore::open(path).unwrap_err();
        assert_eq!(error.class, ErrorClass::Config, "{}", error.source);
        assert!(error.advice.unwrap().contains("mount its file system"));
    }
    assert!(!missing.exists(), "opening created the directory");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "opening wrote into the directory");
}

#[test]
fn refuses_a_store_of_a_later_format() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(".stillframe-store"), "stillframe-store 2\n").unwrap();
    for outcome in [LocalStore::open(directory.path()), LocalStore::create(directory.path())] {
        let error = outcome.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config);
        assert!(error.source.to_string().contains("stillframe-store 2"), "{}", error.source);
    }
}

#[tokio::test]
async fn creates_once_and_keeps_what_is_there() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("new/parents/store");
    let object = Key::parse("a/object").unwrap();
    LocalStore::create(&path).unwrap().put(&object, Bytes::from_static(b"kept")).await.unwrap();
    let again = LocalStore::create(&path).unwrap();
    assert_eq!(again.get(&object).await.unwrap().as_deref(), Some(b"kept".as_slice()));
    assert_eq!(LocalStore::open(&path).unwrap().head(&object).await.unwrap(), Some(4));
}

/// An archive that is unmounted leaves the empty directory that it was mounted on.
#[tokio::test]
async fn reports_no_absence_after_an_unmount() {
    let directory = TempDir::new().unwrap();
    let (path, away) = (directory.path().join("store"), directory.path().join("away"));
    let store = LocalStore::create(&path).unwrap();
    let object = Key::parse("main/wal_005/segment").unwrap();
    store.put(&object, Bytes::from_static(b"x")).await.unwrap();

    fs::rename(&path, &away).unwrap();
    expect_doubt(&store, &object, &path).await;
    fs::create_dir(&path).unwrap();
    expect_doubt(&store, &object, &path).await;
    assert_eq!(fs::read_dir(&path).unwrap().count(), 0, "something was written beside the store");

    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    assert_eq!(store.get(&object).await.unwrap().as_deref(), Some(b"x".as_slice()));
}

#[tokio::test]
async fn reports_no_absence_when_the_key_names_something_else() {
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    store.put(&Key::parse("a/object").unwrap(), Bytes::from_static(b"x")).await.unwrap();
    for text in ["a", "a/object/below"] {
        let key = Key::parse(text).unwrap();
        assert_eq!(class(store.get(&key).await), ErrorClass::Config, "get {text}");
        assert_eq!(class(store.head(&key).await), ErrorClass::Config, "head {text}");
        assert_eq!(class(store.put(&key, Bytes::new()).await), ErrorClass::Config, "put {text}");
        assert_eq!(class(store.put_if_absent(&key, Bytes::new()).await), ErrorClass::Config, "put_if_absent {text}");
        assert_eq!(class(store.delete(&key).await), ErrorClass::Config, "delete {text}");
    }
    assert_eq!(list(&store, "").await.unwrap().len(), 1);
}

async fn expect_doubt(store: &LocalStore, object: &Key, path: &Path) {
    assert_eq!(class(store.get(object).await), ErrorClass::Config);
    assert_eq!(class(store.head(object).await), ErrorClass::Config);
    assert_eq!(class(store.delete(object).await), ErrorClass::Config);
    assert_eq!(class(store.put(object, Bytes::new()).await), ErrorClass::Config);
    assert_eq!(class(store.put_if_absent(object, Bytes::new()).await), ErrorClass::Config);
    assert_eq!(class(list(store, "").await), ErrorClass::Config);
    assert!(LocalStore::open(path).is_err());
}

fn class<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> ErrorClass {
    outcome.unwrap_err().class
}
