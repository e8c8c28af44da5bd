//! A place without a marker proves nothing and takes nothing.

use std::time::Duration;

use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Store as _, list};

use super::scripted::{ScriptedWire, Strikes, broken};
use crate::MAX_OBJECT_BYTES;
use crate::remote::RemoteStore;
use crate::testing::key;

const MARKER: &str = ".stillframe-store.json";
const TEXT: &[u8] = b"{\"format_version\":1}\n";

/// A place that is a store.
fn marked() -> ScriptedWire {
    ScriptedWire::default().holding(MARKER, TEXT)
}

fn store(wire: &ScriptedWire) -> RemoteStore {
    RemoteStore::behind(Box::new(wire.clone()))
}

#[tokio::test]
async fn a_place_without_a_marker_proves_no_absence_and_takes_no_write() {
    let wire = ScriptedWire::default().holding("there", b"x");
    let store = store(&wire);
    let body = Bytes::from_static(b"x");
    let errors = [
        store.get(&key("a")).await.map(|_| ()),
        store.head(&key("a")).await.map(|_| ()),
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

/// As if this long had passed since the last proof.
fn pass(store: &RemoteStore, time: Duration) {
    let mut proven_at = store.proven_at.lock().unwrap();
    *proven_at = proven_at.map(|instant| instant.checked_sub(time).unwrap());
}

/// How often the marker was read since this was last called.
fn proofs(wire: &ScriptedWire) -> usize {
    wire.take_requests().iter().filter(|request| request.contains(MARKER)).count()
}

#[tokio::test]
async fn writes_share_a_proof_for_a_minute_and_a_failure_is_not_remembered() {
    let wire = marked();
    let store = store(&wire);
    wire.fail(Strikes::Before, broken());
    assert_eq!(store.put(&key("a"), Bytes::new()).await.unwrap_err().class, ErrorClass::Transient);
    assert_eq!(proofs(&wire), 1);
    for _ in 0..3 {
        store.put(&key("a"), Bytes::new()).await.unwrap();
        store.delete(&key("a")).await.unwrap();
        pass(&store, Duration::from_secs(19));
    }
    assert_eq!(proofs(&wire), 1);
    pass(&store, Duration::from_secs(3));
    store.put(&key("a"), Bytes::new()).await.unwrap();
    assert_eq!(proofs(&wire), 1, "after a minute once more");
}

#[tokio::test]
async fn every_absence_costs_one_proof_and_a_presence_none() {
    let wire = marked().holding("a/1", b"x").holding("a/2", b"x");
    let store = store(&wire);
    assert!(store.get(&key("a/1")).await.unwrap().is_some());
    assert!(store.head(&key("a/1")).await.unwrap().is_some());
    assert_eq!(store.list_page("a/", None, 2).await.unwrap().len(), 2);
    assert_eq!(proofs(&wire), 0);
    for _ in 0..2 {
        assert_eq!(store.get(&key("b")).await.unwrap(), None);
        assert_eq!(wire.take_requests(), ["get b".to_owned(), format!("get {MARKER}")], "the proof comes after the answer");
        assert_eq!(store.head(&key("b")).await.unwrap(), None);
        assert_eq!(proofs(&wire), 1);
        assert_eq!(list(&store, "").await.unwrap().len(), 2);
        assert_eq!(proofs(&wire), 1);
    }
}

#[tokio::test]
async fn a_place_that_was_emptied_meanwhile_proves_no_absence_and_takes_no_writes() {
    let wire = marked().holding("a", b"x");
    let body = Bytes::from_static(b"x");
    let emptied = async || {
        let store = store(&wire);
        store.put(&key("a"), body.clone()).await.unwrap();
        assert_eq!(store.get(&key("b")).await.unwrap(), None);
        wire.with(|state| state.objects.remove(MARKER));
        store
    };
    let refill = || wire.clone().holding(MARKER, TEXT);
    for question in 0..3 {
        // A store of its own each time: a proof that failed would make the next question easy.
        let store = emptied().await;
        let outcome = match question {
            0 => store.get(&key("b")).await.map(|_| ()),
            1 => store.head(&key("b")).await.map(|_| ()),
            _ => list(&store, "").await.map(|_| ()),
        };
        assert_eq!(outcome.unwrap_err().class, ErrorClass::Config, "question {question}");
        // What failed is not forgotten within the minute either.
        assert_eq!(store.put(&key("b"), body.clone()).await.unwrap_err().class, ErrorClass::Config, "question {question}");
        refill();
    }
    for change in 0..3 {
        let store = emptied().await;
        pass(&store, Duration::from_secs(61));
        let outcome = match change {
            0 => store.put(&key("b"), body.clone()).await,
            1 => store.put_if_absent(&key("b"), body.clone()).await.map(|_| ()),
            _ => store.delete(&key("a")).await,
        };
        assert_eq!(outcome.unwrap_err().class, ErrorClass::Config, "change {change}");
        refill();
    }
    assert_eq!(wire.with(|state| state.objects.keys().cloned().collect::<Vec<_>>()), [MARKER, "a"]);
}

#[tokio::test]
async fn refuses_an_object_that_it_could_not_read_again() {
    let wire = marked();
    let store = store(&wire);
    // Nobody touches these bytes, so they take no memory.
    let body = Bytes::from(vec![0; usize::try_from(MAX_OBJECT_BYTES).unwrap() + 1]);
    let errors =
        [store.put(&key("a"), body.clone()).await.unwrap_err(), store.put_if_absent(&key("a"), body.clone()).await.unwrap_err()];
    for error in errors {
        assert_eq!(error.class, ErrorClass::Corrupt);
        assert!(error.source.to_string().contains("is larger than"), "{error:?}");
    }
    assert_eq!(wire.take_requests(), Vec::<String>::new());
    store.put(&key("a"), body.slice(1..)).await.unwrap();
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
    let mut wire = marked();
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
