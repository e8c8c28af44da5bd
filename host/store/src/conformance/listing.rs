//! Listings: every object once, in the order of keys, over pages of any size.

use std::sync::Arc;

use bytes::Bytes;
use stillframe_core::store::{Key, ObjectEntry, Store};
use tokio::task::JoinSet;

use super::client::{WRITERS, all, delete, key, keys, numbered, page, put};

/// Every object is listed once and in order, whatever the size of the page.
pub(crate) async fn lists_three_thousand_keys_in_order_over_pages(store: &Arc<dyn Store>, prefix: &str) {
    const OBJECTS: usize = 3_000;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, prefix) = (Arc::clone(store), prefix.to_owned());
        writers.spawn(async move {
            for number in (writer..OBJECTS).step_by(WRITERS) {
                put(&store, &numbered(&prefix, number), vec![b'x'; number % 7].into()).await;
            }
        });
    }
    writers.join_all().await;

    let expected: Vec<ObjectEntry> =
        (0..OBJECTS).map(|number| ObjectEntry { key: numbered(prefix, number), size_bytes: (number % 7) as u64 }).collect();
    let below = format!("{prefix}/");
    assert!(all(store, &below).await == expected, "the list over pages is not the sorted list of what was put");
    // `all` has read pages of 1,000.
    for limit in [999, 650, 3_000, 3_001] {
        let mut pages: Vec<ObjectEntry> = Vec::new();
        loop {
            let after = pages.last().map(|entry| entry.key.clone());
            let page = page(store, &below, after.as_ref(), limit).await;
            assert_eq!(page.len(), limit.min(OBJECTS - pages.len()), "a page of at most {limit} after {after:?}");
            let is_last = page.len() < limit;
            pages.extend(page);
            if is_last {
                break;
            }
        }
        assert!(pages == expected, "pages of {limit} are not the sorted list of what was put");
    }
    assert_eq!(page(store, &below, None, 0).await, []);
}

/// Keys are ordered as text, not as paths: `a-b`, `a.b`, `a/b`, `a0`.
pub(crate) async fn orders_by_the_whole_key(store: &Arc<dyn Store>, prefix: &str) {
    let sorted = [
        "A/z", "B", "a-/b", "a-b/c", "a-c", "a.b", "a.b.c", "a/-", "a/A", "a/b-c", "a/b.c", "a/b/-", "a/b/c/d", "a/b0", "a0", "aa",
        "z",
    ];
    for text in sorted.iter().rev() {
        put(store, &key(prefix, text), Bytes::from_static(b"x")).await;
    }
    let expected: Vec<Key> = sorted.iter().map(|text| key(prefix, text)).collect();
    assert!(expected.is_sorted());
    assert_eq!(keys(all(store, &format!("{prefix}/")).await), expected);
    for limit in [1, 2, 5, expected.len()] {
        for start in 0..expected.len() {
            let listed = keys(page(store, &format!("{prefix}/"), Some(&expected[start]), limit).await);
            let wanted: Vec<Key> = expected[start + 1..].iter().take(limit).cloned().collect();
            assert_eq!(listed, wanted, "{limit} after {}", expected[start]);
        }
    }
}

/// The prefix of a listing is text: it may end in the middle of a name.
pub(crate) async fn lists_by_a_prefix_of_the_text(store: &Arc<dyn Store>, prefix: &str) {
    for text in ["main/wal/000A.zst", "main/wal/000B.zst", "main/wal/001A.zst", "main/wal-old/x", "main2/wal/000A.zst"] {
        put(store, &key(prefix, text), Bytes::from_static(b"x")).await;
    }
    for (text, expected) in [
        ("main/wal/000", vec!["main/wal/000A.zst", "main/wal/000B.zst"]),
        ("main/wal/000A.zst", vec!["main/wal/000A.zst"]),
        ("main/wal", vec!["main/wal-old/x", "main/wal/000A.zst", "main/wal/000B.zst", "main/wal/001A.zst"]),
        ("main/wal/", vec!["main/wal/000A.zst", "main/wal/000B.zst", "main/wal/001A.zst"]),
        ("main2", vec!["main2/wal/000A.zst"]),
        ("main/wal/9", vec![]),
        ("main/../main2/", vec![]),
        ("main/wal//", vec![]),
    ] {
        let expected: Vec<Key> = expected.into_iter().map(|text| key(prefix, text)).collect();
        assert_eq!(keys(all(store, &format!("{prefix}/{text}")).await), expected, "{text}");
    }
    assert_eq!(all(store, &format!("/{prefix}/main/")).await, []);
}

/// A listing goes on after a key whose object was deleted, or never was.
pub(crate) async fn continues_after_a_key_that_is_gone(store: &Arc<dyn Store>, prefix: &str) {
    let objects = ["a/1", "a/2", "b/1", "b/2"].map(|text| key(prefix, text));
    for object in &objects {
        put(store, object, Bytes::from_static(b"x")).await;
    }
    delete(store, &objects[0]).await;
    delete(store, &objects[1]).await;
    let below = format!("{prefix}/");
    for gone in [&objects[0], &objects[1], &key(prefix, "a"), &key(prefix, "a/3"), &key(prefix, "aa"), &key(prefix, "b")] {
        assert_eq!(keys(page(store, &below, Some(gone), 10).await), objects[2..], "after {gone}");
    }
    assert_eq!(keys(page(store, &below, Some(&objects[2]), 10).await), objects[3..]);
    assert_eq!(page(store, &below, Some(&objects[3]), 10).await, []);
}
