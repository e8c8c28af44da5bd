//! What is in the directory and is no object, and what leads out of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Key, PutOutcome, Store as _, list};
use tempfile::TempDir;

use crate::LocalStore;

#[tokio::test]
async fn follows_no_symbolic_link_out_of_the_store() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("object"), "secret").unwrap();
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    fs::create_dir(directory.path().join("a")).unwrap();
    symlink(outside.path(), directory.path().join("a/directory")).unwrap();
    symlink(outside.path().join("object"), directory.path().join("a/file")).unwrap();
    symlink(outside.path().join("nowhere"), directory.path().join("a/dangling")).unwrap();

    for text in ["a/directory/object", "a/file", "a/dangling"] {
        let key = Key::parse(text).unwrap();
        let error = store.get(&key).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config, "{text}");
        assert!(error.source.to_string().contains("is a symbolic link"), "{text}: {}", error.source);
        assert!(store.head(&key).await.is_err(), "{text}");
        assert!(store.put_if_absent(&key, Bytes::from_static(b"x")).await.is_err(), "{text}");
    }
    let below = Key::parse("a/directory/new").unwrap();
    assert!(store.put(&below, Bytes::from_static(b"x")).await.is_err());
    assert!(store.delete(&Key::parse("a/directory/object").unwrap()).await.is_err());
    assert_eq!(names(outside.path()), ["object"]);

    store.put(&Key::parse("a/file").unwrap(), Bytes::from_static(b"mine")).await.unwrap();
    assert_eq!(fs::read(outside.path().join("object")).unwrap(), b"secret", "a write went through the link");
}

/// Were it left out, retention would take the backups behind it for deleted.
#[tokio::test]
async fn a_listing_fails_at_a_symbolic_link_instead_of_leaving_it_out() {
    let outside = TempDir::new().unwrap();
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    store.put(&Key::parse("main/other/object").unwrap(), Bytes::from_static(b"x")).await.unwrap();
    symlink(outside.path(), directory.path().join("main/wal_005")).unwrap();
    for prefix in ["", "main/", "main/wal_005/", "main/wal"] {
        let error = list(&store, prefix).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config, "{prefix}");
        assert!(error.source.to_string().contains("`wal_005` is a symbolic link"), "{prefix}: {}", error.source);
    }
    assert_eq!(list(&store, "main/other/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_listing_hides_what_no_key_can_name() {
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    store.put(&Key::parse("a/object").unwrap(), Bytes::from_static(b"x")).await.unwrap();
    fs::write(directory.path().join("a/.temporary-0123456789abcdef"), "part").unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    fs::write(directory.path().join("lost+found/#12"), "x").unwrap();
    fs::create_dir(directory.path().join(".snapshot")).unwrap();
    fs::write(directory.path().join(".snapshot/object"), "x").unwrap();
    let keys: Vec<String> = list(&store, "").await.unwrap().into_iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(keys, ["a/object"]);
}

#[tokio::test]
async fn waits_for_nobody_at_a_pipe_or_a_socket() {
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
    let fifo = directory.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for text in ["socket", "pipe"] {
        assert_eq!(store.get(&Key::parse(text).unwrap()).await.unwrap_err().class, ErrorClass::Config, "{text}");
    }
    assert!(list(&store, "").await.is_err());
}

#[tokio::test]
async fn leaves_nothing_but_objects_behind() {
    let directory = TempDir::new().unwrap();
    let store = LocalStore::create(directory.path()).unwrap();
    let (object, other) = (Key::parse("a/b/object").unwrap(), Key::parse("a/other").unwrap());
    for key in [&object, &other] {
        store.put(key, Bytes::from_static(b"1")).await.unwrap();
        store.put(key, Bytes::from_static(b"2")).await.unwrap();
        assert_eq!(store.put_if_absent(key, Bytes::from_static(b"3")).await.unwrap(), PutOutcome::AlreadyExists);
    }
    assert_eq!(names(&directory.path().join("a/b")), ["object"]);
    store.delete(&object).await.unwrap();
    assert_eq!(names(&directory.path().join("a")), ["other"], "the empty directory stayed");
    store.delete(&other).await.unwrap();
    assert_eq!(names(directory.path()), [".stillframe-store"]);
}

#[tokio::test]
async fn shows_objects_to_the_owner_and_the_group_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    let store = LocalStore::create(&root).unwrap();
    store.put(&Key::parse("a/object").unwrap(), Bytes::from_static(b"x")).await.unwrap();
    for path in [root.clone(), root.join("a"), root.join("a/object")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{} has the mode {mode:o}", path.display());
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
