//! Operations of the suite: a fault ends the case with its cause.

use std::sync::Arc;

use bytes::Bytes;
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Store, list};

/// Requests under way at once where a case makes thousands.
pub(super) const WRITERS: usize = 24;

pub(super) fn key(prefix: &str, text: &str) -> Key {
    Key::parse(&format!("{prefix}/{text}")).unwrap()
}

/// Two thirds of the numbers in one directory, the others in many.
pub(super) fn numbered(prefix: &str, number: usize) -> Key {
    let text = if number < 2_000 { format!("flat/{number:08}") } else { format!("nested/{:03}/{number:08}", number / 10) };
    key(prefix, &text)
}

pub(super) fn keys(entries: Vec<ObjectEntry>) -> Vec<Key> {
    entries.into_iter().map(|entry| entry.key).collect()
}

pub(super) async fn get(store: &Arc<dyn Store>, key: &Key) -> Option<Bytes> {
    store.get(key).await.unwrap()
}

pub(super) async fn put(store: &Arc<dyn Store>, key: &Key, body: Bytes) {
    store.put(key, body).await.unwrap();
}

pub(super) async fn put_if_absent(store: &Arc<dyn Store>, key: &Key, body: Bytes) -> PutOutcome {
    store.put_if_absent(key, body).await.unwrap()
}

pub(super) async fn head(store: &Arc<dyn Store>, key: &Key) -> Option<u64> {
    store.head(key).await.unwrap()
}

pub(super) async fn look_up(store: &Arc<dyn Store>, keys: &[Key]) -> Option<Vec<bool>> {
    store.look_up(keys).await.unwrap()
}

pub(super) async fn delete(store: &Arc<dyn Store>, key: &Key) {
    store.delete(key).await.unwrap();
}

pub(super) async fn page(store: &Arc<dyn Store>, prefix: &str, after: Option<&Key>, limit: usize) -> Vec<ObjectEntry> {
    store.list_page(prefix, after, limit).await.unwrap()
}

pub(super) async fn all(store: &Arc<dyn Store>, prefix: &str) -> Vec<ObjectEntry> {
    list(store.as_ref(), prefix).await.unwrap()
}
