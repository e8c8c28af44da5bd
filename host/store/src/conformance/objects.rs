//! Objects one at a time: what was written is read, replaced, deleted, and absent only when it is.

use std::sync::Arc;

use bytes::Bytes;
use stillframe_core::store::{MAX_KEY_BYTES, ObjectEntry, PutOutcome, Store};

use super::client::{all, delete, get, head, key, keys, look_up, put, put_if_absent};

/// An object comes back byte for byte, and `head` knows its size.
pub(crate) async fn gives_back_what_was_put(store: &Arc<dyn Store>, prefix: &str) {
    let every_byte: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let object = key(prefix, "a/deep/er/object.json");
    put(store, &object, every_byte.clone()).await;
    assert_eq!(get(store, &object).await, Some(every_byte));
    assert_eq!(head(store, &object).await, Some(256));
}

/// An object that is not there is none, whether or not there are others around it.
pub(crate) async fn reports_an_absent_object_as_absent(store: &Arc<dyn Store>, prefix: &str) {
    assert_eq!(all(store, &format!("{prefix}/")).await, []);
    put(store, &key(prefix, "there/object"), Bytes::from_static(b"x")).await;
    for absent in ["object", "nowhere/object", "there/object2", "there/objec", "there/nowhere/object"] {
        assert_eq!(get(store, &key(prefix, absent)).await, None, "{absent}");
        assert_eq!(head(store, &key(prefix, absent)).await, None, "{absent}");
    }
    assert_eq!(all(store, &format!("{prefix}/nowhere/")).await, []);
}

/// Each of several objects gets its own answer, also beside others, and none of no objects is no question.
pub(crate) async fn looks_up_several_in_their_order(store: &Arc<dyn Store>, prefix: &str) {
    let keys = ["b/2", "a/1", "absent", "b/3", "a/0", "a/1", "c/empty", "a/11"].map(|text| key(prefix, text));
    let sizes = [Some(2), Some(1), None, None, None, Some(1), Some(0), None];
    put(store, &keys[0], Bytes::from_static(b"xx")).await;
    put(store, &keys[1], Bytes::from_static(b"x")).await;
    put(store, &keys[6], Bytes::new()).await;
    for (key, size) in keys.iter().zip(sizes) {
        assert_eq!(head(store, key).await, size, "{key}");
    }
    // A store that cannot look up cheaply says so, whatever it is asked for.
    let can = look_up(store, &[]).await;
    assert!(can.as_ref().is_none_or(Vec::is_empty), "{can:?}");
    let expected: Vec<bool> = sizes.iter().map(Option::is_some).collect();
    assert_eq!(look_up(store, &keys).await, can.as_ref().map(|_| expected));
    assert_eq!(look_up(store, &keys[2..3]).await, can.map(|_| vec![false]));
}

/// A second `put` replaces the whole object, also a longer one.
pub(crate) async fn replaces_an_object_as_a_whole(store: &Arc<dyn Store>, prefix: &str) {
    let object = key(prefix, "object");
    put(store, &object, Bytes::from_static(b"a long first body")).await;
    put(store, &object, Bytes::from_static(b"short")).await;
    assert_eq!(get(store, &object).await.as_deref(), Some(b"short".as_slice()));
    assert_eq!(head(store, &object).await, Some(5));
    assert_eq!(all(store, &format!("{prefix}/")).await, [ObjectEntry { key: object, size_bytes: 5 }]);
}

/// To delete what is absent is a success, and only the named object goes.
pub(crate) async fn deletes_twice(store: &Arc<dyn Store>, prefix: &str) {
    let (object, neighbour) = (key(prefix, "a/object"), key(prefix, "a/object2"));
    put(store, &object, Bytes::from_static(b"x")).await;
    put(store, &neighbour, Bytes::from_static(b"y")).await;
    delete(store, &object).await;
    delete(store, &object).await;
    delete(store, &key(prefix, "never/was/there")).await;
    assert_eq!(get(store, &object).await, None);
    assert_eq!(head(store, &object).await, None);
    assert_eq!(keys(all(store, &format!("{prefix}/")).await), [neighbour]);
}

/// An object without a byte exists.
pub(crate) async fn keeps_an_empty_object(store: &Arc<dyn Store>, prefix: &str) {
    let object = key(prefix, "empty");
    assert_eq!(put_if_absent(store, &object, Bytes::new()).await, PutOutcome::Created);
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"x")).await, PutOutcome::AlreadyExists);
    assert_eq!(get(store, &object).await, Some(Bytes::new()));
    assert_eq!(head(store, &object).await, Some(0));
    assert_eq!(all(store, &format!("{prefix}/")).await, [ObjectEntry { key: object, size_bytes: 0 }]);
}

/// A body of 20 MiB, more than a WAL segment of the usual size, comes back as it was.
pub(crate) async fn keeps_twenty_mebibytes(store: &Arc<dyn Store>, prefix: &str) {
    // A period that is prime, so that no lost or doubled block goes unseen.
    let body: Bytes = (0..20_u32 << 20).map(|index| (index % 251).to_le_bytes()[0]).collect::<Vec<u8>>().into();
    let object = key(prefix, "large");
    put(store, &object, body.clone()).await;
    assert!(get(store, &object).await.as_ref() == Some(&body), "the body came back changed");
    assert_eq!(head(store, &object).await, Some(20 << 20));
}

/// A key of the greatest legal length can be written, listed, read and deleted.
pub(crate) async fn keeps_the_longest_key(store: &Arc<dyn Store>, prefix: &str) {
    // A directory allows names of 255 bytes, so the length comes from several.
    let room = MAX_KEY_BYTES - prefix.len() - 1;
    let text: String = (1..=room).map(|position| if position % 200 == 0 && position < room { '/' } else { 'k' }).collect();
    let object = key(prefix, &text);
    assert_eq!(object.as_str().len(), MAX_KEY_BYTES);
    put(store, &object, Bytes::from_static(b"x")).await;
    assert_eq!(keys(all(store, &format!("{prefix}/")).await), std::slice::from_ref(&object));
    assert_eq!(get(store, &object).await.as_deref(), Some(b"x".as_slice()));
    delete(store, &object).await;
    assert_eq!(get(store, &object).await, None);
}
