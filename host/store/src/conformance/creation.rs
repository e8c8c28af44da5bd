//! Conditional writes: of several writers exactly one creates, whatever happens beside them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use stillframe_core::store::{Key, PutOutcome, Store};
use tokio::task::JoinSet;

use super::client::{all, delete, get, key, keys, put, put_if_absent};

/// `put_if_absent` says that an object exists, and leaves it alone.
pub(crate) async fn never_replaces_with_put_if_absent(store: &Arc<dyn Store>, prefix: &str) {
    let object = key(prefix, "object");
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"first")).await, PutOutcome::Created);
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"second")).await, PutOutcome::AlreadyExists);
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"first")).await, PutOutcome::AlreadyExists);
    assert_eq!(get(store, &object).await.as_deref(), Some(b"first".as_slice()));
}

/// The store's own proof passes on a store that passes this suite, and nothing is seen of it afterwards.
pub(crate) async fn proves_itself_and_leaves_nothing(store: &Arc<dyn Store>, _prefix: &str) {
    let before = all(store, "").await;
    store.prove().await.unwrap_or_else(|error| panic!("{error}: {:?}", error.source));
    assert_eq!(all(store, "").await, before);
}

/// Of fifty concurrent writers exactly one creates, and no reader ever sees a byte of the others.
pub(crate) async fn lets_exactly_one_of_fifty_writers_create(store: &Arc<dyn Store>, prefix: &str) {
    const WRITERS: u8 = 50;
    const BODY_BYTES: usize = 64 << 10;
    for round in 0..5 {
        let object = key(prefix, &format!("round-{round}/object"));
        let mut writers = JoinSet::new();
        let mut readers = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, object) = (Arc::clone(store), object.clone());
            writers.spawn(async move {
                let outcome = put_if_absent(&store, &object, vec![writer; BODY_BYTES].into()).await;
                // What a writer reads after its answer is what stays.
                (writer, outcome, get(&store, &object).await)
            });
        }
        for _ in 0..4 {
            let (store, object) = (Arc::clone(store), object.clone());
            readers.spawn(async move { get(&store, &object).await });
        }
        let outcomes = writers.join_all().await;
        let winners: Vec<u8> =
            outcomes.iter().filter(|(_, outcome, _)| *outcome == PutOutcome::Created).map(|(writer, ..)| *writer).collect();
        assert_eq!(winners.len(), 1, "the winners of round {round} are {winners:?}");
        let body = Some(Bytes::from(vec![winners[0]; BODY_BYTES]));
        for (writer, _, seen) in outcomes {
            assert!(seen == body, "writer {writer} of round {round} saw another body than that of the winner");
        }
        for seen in readers.join_all().await {
            assert!(seen.is_none() || seen == body, "a reader of round {round} saw another body than that of the winner");
        }
        assert_eq!(all(store, &format!("{prefix}/round-{round}/")).await.len(), 1);
    }
}

/// A key is free again after its object was deleted, also while others delete and create beside it.
pub(crate) async fn creates_again_after_a_deletion(store: &Arc<dyn Store>, prefix: &str) {
    let mut workers = JoinSet::new();
    for worker in 0..8 {
        let (store, object) = (Arc::clone(store), key(prefix, &format!("shared/parent/object-{worker}")));
        workers.spawn(async move {
            for round in 0..25_u8 {
                assert_eq!(put_if_absent(&store, &object, vec![round].into()).await, PutOutcome::Created, "{object} {round}");
                assert_eq!(get(&store, &object).await, Some(vec![round].into()), "{object} {round}");
                delete(&store, &object).await;
                assert_eq!(get(&store, &object).await, None, "{object} {round}");
            }
        });
    }
    workers.join_all().await;
    assert_eq!(all(store, &format!("{prefix}/")).await, []);
}

/// While objects are replaced, every read gives one whole body and every listing has every object.
pub(crate) async fn never_misses_an_object_that_is_being_replaced(store: &Arc<dyn Store>, prefix: &str) {
    const OBJECTS: usize = 8;
    const BODY_BYTES: usize = 32 << 10;
    let objects: Vec<Key> = (0..OBJECTS).map(|number| key(prefix, &format!("object-{number}"))).collect();
    for object in &objects {
        put(store, object, vec![0; BODY_BYTES].into()).await;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for object in objects.clone() {
        let (store, is_over) = (Arc::clone(store), Arc::clone(&is_over));
        writers.spawn(async move {
            let mut generations = 0_u8;
            while !is_over.load(Ordering::Relaxed) {
                generations = generations.wrapping_add(1);
                put(&store, &object, vec![generations; BODY_BYTES].into()).await;
            }
        });
    }
    for _ in 0..20 {
        assert_eq!(keys(all(store, &format!("{prefix}/")).await), objects);
        // All at once: one after the other each would wait for eight writers.
        for (object, body) in objects.iter().zip(join_all(objects.iter().map(|object| get(store, object))).await) {
            let body = body.unwrap_or_default();
            assert_eq!(body.len(), BODY_BYTES, "{object}");
            assert_eq!(body.iter().collect::<BTreeSet<_>>().len(), 1, "{object} is a mixture of two bodies");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    writers.join_all().await;
}
