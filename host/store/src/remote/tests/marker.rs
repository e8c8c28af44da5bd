//! A place without a marker proves nothing and takes nothing.

use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Key, Store as _, list};

use super::scripted::{ScriptedWire, Strikes, broken};
use crate::remote::RemoteStore;

const MARKER: &str = ".stillframe-store.json";

fn store(wire: &ScriptedWire) -> RemoteStore {
    RemoteStore::new("s3://bucket/prefix".to_owned(), Box::new(wire.clone()))
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

#[tokio::test]
async fn a_place_without_a_marker_proves_no_absence_and_takes_no_write() {
    let wire = ScriptedWire::default().holding("there", b"x");
    let store = store(&wire);
    let body = Bytes::from_static(b"x");
    let errors = [
        store.get(&key("a")).await.map(|_| ()),
        store.head(&key("a")).await.map(|_| ()),
        store.heads(&[key("a"), key("b")]).await.map(|_| ()),
        store.list_page("a", None, 10).await.map(|_| ()),
        list(&store, "a").await.map(|_| ()),
        store.put(&key("a"), body.clone()).await,
        store.put_if_absent(&key("a"), body).await.map(|_| ()),
        // Even the removal of what is there: it would be somebody else's.
        store.delete(&key("there")).await,
    ];
    for outcome in errors {
        let error = outcome.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config);
        assert!(error.advice.as_deref().is_some_and(|advice| advice.contains("stillframe store create")), "{error:?}");
    }
    assert_eq!(wire.with(|state| state.objects.len()), 1);
    // What is there is there, whosesoever it is.
    assert!(store.get(&key("there")).await.unwrap().is_some());
}

#[tokio::test]
async fn the_marker_is_read_once_and_a_failure_is_not_remembered() {
    let wire = ScriptedWire::default().holding(MARKER, b"{\"format_version\":1}\n");
    let store = store(&wire);
    wire.fail(Strikes::Before, broken());
    assert_eq!(store.put(&key("a"), Bytes::new()).await.unwrap_err().class, ErrorClass::Transient);
    for _ in 0..3 {
        store.put(&key("a"), Bytes::new()).await.unwrap();
        assert_eq!(store.get(&key("b")).await.unwrap(), None);
    }
    let markers = wire.take_requests().iter().filter(|request| request.contains(MARKER)).count();
    assert_eq!(markers, 2);
}

#[tokio::test]
async fn a_marker_of_a_later_version_is_refused() {
    let wire = ScriptedWire::default().holding(MARKER, b"{\"format_version\":2}\n");
    let error = store(&wire).get(&key("a")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config);
    assert!(error.source.to_string().contains("\"format_version\":2"), "{error:?}");
    assert!(store(&wire).create().await.is_err());
}

#[tokio::test]
async fn create_leaves_the_marker_and_nothing_else_and_may_be_repeated() {
    let wire = ScriptedWire::default().holding("there", b"x");
    let store = store(&wire);
    store.create().await.unwrap();
    store.create().await.unwrap();
    assert_eq!(wire.with(|state| state.objects.keys().cloned().collect::<Vec<_>>()), [MARKER, "there"]);
    assert_eq!(list(&store, "").await.unwrap().len(), 1, "the marker is not listed");
}

#[tokio::test]
async fn what_is_no_key_is_not_listed_and_hides_nothing_behind_it() {
    let mut wire = ScriptedWire::default().holding(MARKER, b"{\"format_version\":1}\n");
    for name in [".a", ".b", "a b", "a//b", "a/1", "a/2", "a/ü", "b"] {
        wire = wire.holding(name, b"x");
    }
    for limit in 1..=4 {
        let mut names = Vec::new();
        let mut after = None;
        loop {
            let page = store(&wire).list_page("", after.as_ref(), limit).await.unwrap();
            names.extend(page.iter().map(|entry| entry.key.to_string()));
            if page.len() < limit {
                break;
            }
            after = page.last().map(|entry| entry.key.clone());
        }
        assert_eq!(names, ["a/1", "a/2", "b"], "pages of {limit}");
    }
}
