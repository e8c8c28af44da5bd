//! What every store must do, as one suite.
//!
//! The catalog, the lease and the WAL archive rely on each of these claims; a store that breaks one loses backups in the end.
//! [`conformance_tests!`](crate::conformance_tests) makes one named test of each case; [`run`] runs them all on a live store. Each
//! case writes below its own prefix and expects nothing to be there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use stillframe_core::store::{Key, MAX_KEY_BYTES, ObjectEntry, PutOutcome, Store, StoreError, list};
use tokio::task::JoinSet;

/// Requests under way at once where a case makes thousands.
const WRITERS: usize = 24;

/// Makes one test per case; `$fixture` is an async function that returns `(Arc<dyn Store>, guard)` with an empty store.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:path) => {
        $crate::conformance_tests!(
            $fixture:
            gives_back_what_was_put,
            reports_an_absent_object_as_absent,
            replaces_an_object_as_a_whole,
            never_replaces_with_put_if_absent,
            lets_exactly_one_of_fifty_writers_create,
            lists_three_thousand_keys_in_order_over_pages,
            orders_by_the_whole_key,
            lists_by_a_prefix_of_the_text,
            continues_after_a_key_that_is_gone,
            never_misses_an_object_that_is_being_replaced,
            deletes_twice,
            creates_again_after_a_deletion,
            keeps_an_empty_object,
            keeps_twenty_mebibytes,
            keeps_the_longest_key,
        );
    };
    ($fixture:path: $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let (store, _guard) = $fixture().await;
                $crate::conformance::$case(&store, "conformance").await;
            }
        )*

        #[tokio::test]
        async fn passes_the_whole_suite_below_one_prefix() {
            let (store, _guard) = $fixture().await;
            $crate::conformance::run(&store, "run").await;
            let left = stillframe_core::store::list(store.as_ref(), "").await.unwrap();
            assert!(left.is_empty(), "the suite left {left:?}");
        }
    };
}

/// Runs every case below `prefix` and removes what it wrote.
///
/// # Panics
/// When the store breaks a claim.
pub async fn run(store: &Arc<dyn Store>, prefix: &str) {
    let below = |case: &str| format!("{prefix}/{case}");
    gives_back_what_was_put(store, &below("round-trip")).await;
    reports_an_absent_object_as_absent(store, &below("absent")).await;
    replaces_an_object_as_a_whole(store, &below("replace")).await;
    never_replaces_with_put_if_absent(store, &below("if-absent")).await;
    lets_exactly_one_of_fifty_writers_create(store, &below("race")).await;
    lists_three_thousand_keys_in_order_over_pages(store, &below("pages")).await;
    orders_by_the_whole_key(store, &below("order")).await;
    lists_by_a_prefix_of_the_text(store, &below("prefix")).await;
    continues_after_a_key_that_is_gone(store, &below("after")).await;
    never_misses_an_object_that_is_being_replaced(store, &below("replaced")).await;
    deletes_twice(store, &below("delete")).await;
    creates_again_after_a_deletion(store, &below("again")).await;
    keeps_an_empty_object(store, &below("empty")).await;
    keeps_twenty_mebibytes(store, &below("large")).await;
    keeps_the_longest_key(store, &below("long")).await;
    let mut deletions = JoinSet::new();
    for entry in all(store, &format!("{prefix}/")).await {
        if deletions.len() >= WRITERS {
            deletions.join_next().await;
        }
        let store = Arc::clone(store);
        deletions.spawn(async move { delete(&store, &entry.key).await });
    }
    deletions.join_all().await;
    assert_eq!(all(store, &format!("{prefix}/")).await, []);
}

/// An object comes back byte for byte, and `head` knows its size.
///
/// # Panics
/// When it does not.
pub async fn gives_back_what_was_put(store: &Arc<dyn Store>, prefix: &str) {
    let every_byte: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let object = key(prefix, "a/deep/er/object.json");
    put(store, &object, every_byte.clone()).await;
    assert_eq!(get(store, &object).await, Some(every_byte));
    assert_eq!(head(store, &object).await, Some(256));
}

/// An object that is not there is none, whether or not there are others around it.
///
/// # Panics
/// When it is anything else.
pub async fn reports_an_absent_object_as_absent(store: &Arc<dyn Store>, prefix: &str) {
    assert_eq!(all(store, &format!("{prefix}/")).await, []);
    put(store, &key(prefix, "there/object"), Bytes::from_static(b"x")).await;
    for absent in ["object", "nowhere/object", "there/object2", "there/objec", "there/nowhere/object"] {
        assert_eq!(get(store, &key(prefix, absent)).await, None, "{absent}");
        assert_eq!(head(store, &key(prefix, absent)).await, None, "{absent}");
    }
    assert_eq!(all(store, &format!("{prefix}/nowhere/")).await, []);
}

/// A second `put` replaces the whole object, also a longer one.
///
/// # Panics
/// When something of the old one stays.
pub async fn replaces_an_object_as_a_whole(store: &Arc<dyn Store>, prefix: &str) {
    let object = key(prefix, "object");
    put(store, &object, Bytes::from_static(b"a long first body")).await;
    put(store, &object, Bytes::from_static(b"short")).await;
    assert_eq!(get(store, &object).await.as_deref(), Some(b"short".as_slice()));
    assert_eq!(head(store, &object).await, Some(5));
    assert_eq!(all(store, &format!("{prefix}/")).await, [ObjectEntry { key: object, size_bytes: 5 }]);
}

/// `put_if_absent` says that an object exists, and leaves it alone.
///
/// # Panics
/// When it creates twice or changes the first.
pub async fn never_replaces_with_put_if_absent(store: &Arc<dyn Store>, prefix: &str) {
    let object = key(prefix, "object");
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"first")).await, PutOutcome::Created);
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"second")).await, PutOutcome::AlreadyExists);
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"first")).await, PutOutcome::AlreadyExists);
    assert_eq!(get(store, &object).await.as_deref(), Some(b"first".as_slice()));
}

/// Of fifty concurrent writers exactly one creates, and no reader ever sees a byte of the others.
///
/// # Panics
/// When there is no winner, or a second one, or a loser's body is seen.
pub async fn lets_exactly_one_of_fifty_writers_create(store: &Arc<dyn Store>, prefix: &str) {
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

/// Every object is listed once and in order, whatever the size of the page.
///
/// # Panics
/// When one is missing, doubled or out of order, or a page is not as long as it must be.
pub async fn lists_three_thousand_keys_in_order_over_pages(store: &Arc<dyn Store>, prefix: &str) {
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
    for limit in [1_000, 999, 331, 3_000, 3_001] {
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
///
/// # Panics
/// When they are not.
pub async fn orders_by_the_whole_key(store: &Arc<dyn Store>, prefix: &str) {
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
    for limit in 1..=expected.len() {
        for start in 0..expected.len() {
            let listed = keys(page(store, &format!("{prefix}/"), Some(&expected[start]), limit).await);
            let wanted: Vec<Key> = expected[start + 1..].iter().take(limit).cloned().collect();
            assert_eq!(listed, wanted, "{limit} after {}", expected[start]);
        }
    }
}

/// The prefix of a listing is text: it may end in the middle of a name.
///
/// # Panics
/// When it is taken for a directory.
pub async fn lists_by_a_prefix_of_the_text(store: &Arc<dyn Store>, prefix: &str) {
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
///
/// # Panics
/// When it fails or starts elsewhere.
pub async fn continues_after_a_key_that_is_gone(store: &Arc<dyn Store>, prefix: &str) {
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

/// While objects are replaced, every read gives one whole body and every listing has every object.
///
/// # Panics
/// When an object is seen as absent, in part or as a mixture.
pub async fn never_misses_an_object_that_is_being_replaced(store: &Arc<dyn Store>, prefix: &str) {
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
    for _ in 0..60 {
        assert_eq!(keys(all(store, &format!("{prefix}/")).await), objects);
        for object in &objects {
            let body = get(store, object).await.unwrap_or_default();
            assert_eq!(body.len(), BODY_BYTES, "{object}");
            assert_eq!(body.iter().collect::<BTreeSet<_>>().len(), 1, "{object} is a mixture of two bodies");
        }
    }
    is_over.store(true, Ordering::Relaxed);
    writers.join_all().await;
}

/// To delete what is absent is a success, and only the named object goes.
///
/// # Panics
/// When it fails, or another object goes.
pub async fn deletes_twice(store: &Arc<dyn Store>, prefix: &str) {
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

/// A key is free again after its object was deleted, also while others delete and create beside it.
///
/// # Panics
/// When a writer fails or an object is lost.
pub async fn creates_again_after_a_deletion(store: &Arc<dyn Store>, prefix: &str) {
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

/// An object without a byte exists.
///
/// # Panics
/// When it passes for absent.
pub async fn keeps_an_empty_object(store: &Arc<dyn Store>, prefix: &str) {
    let object = key(prefix, "empty");
    assert_eq!(put_if_absent(store, &object, Bytes::new()).await, PutOutcome::Created);
    assert_eq!(put_if_absent(store, &object, Bytes::from_static(b"x")).await, PutOutcome::AlreadyExists);
    assert_eq!(get(store, &object).await, Some(Bytes::new()));
    assert_eq!(head(store, &object).await, Some(0));
    assert_eq!(all(store, &format!("{prefix}/")).await, [ObjectEntry { key: object, size_bytes: 0 }]);
}

/// A body of 20 MiB, more than a WAL segment of the usual size, comes back as it was.
///
/// # Panics
/// When it does not.
pub async fn keeps_twenty_mebibytes(store: &Arc<dyn Store>, prefix: &str) {
    // A period that is prime, so that no lost or doubled block goes unseen.
    let body: Bytes = (0..20_u32 << 20).map(|index| (index % 251).to_le_bytes()[0]).collect::<Vec<u8>>().into();
    let object = key(prefix, "large");
    put(store, &object, body.clone()).await;
    assert!(get(store, &object).await.as_ref() == Some(&body), "the body came back changed");
    assert_eq!(head(store, &object).await, Some(20 << 20));
}

/// A key of the greatest legal length can be written, listed, read and deleted.
///
/// # Panics
/// When it cannot.
pub async fn keeps_the_longest_key(store: &Arc<dyn Store>, prefix: &str) {
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

fn key(prefix: &str, text: &str) -> Key {
    Key::parse(&format!("{prefix}/{text}")).unwrap_or_else(|error| panic!("{error}"))
}

/// Two thirds of the numbers in one directory, the others in many.
fn numbered(prefix: &str, number: usize) -> Key {
    let text = if number < 2_000 { format!("flat/{number:08}") } else { format!("nested/{:03}/{number:08}", number / 10) };
    key(prefix, &text)
}

fn keys(entries: Vec<ObjectEntry>) -> Vec<Key> {
    entries.into_iter().map(|entry| entry.key).collect()
}

async fn get(store: &Arc<dyn Store>, key: &Key) -> Option<Bytes> {
    expect_success(store.get(key).await)
}

async fn put(store: &Arc<dyn Store>, key: &Key, body: Bytes) {
    expect_success(store.put(key, body).await);
}

async fn put_if_absent(store: &Arc<dyn Store>, key: &Key, body: Bytes) -> PutOutcome {
    expect_success(store.put_if_absent(key, body).await)
}

async fn head(store: &Arc<dyn Store>, key: &Key) -> Option<u64> {
    expect_success(store.head(key).await)
}

async fn delete(store: &Arc<dyn Store>, key: &Key) {
    expect_success(store.delete(key).await);
}

async fn page(store: &Arc<dyn Store>, prefix: &str, after: Option<&Key>, limit: usize) -> Vec<ObjectEntry> {
    expect_success(store.list_page(prefix, after, limit).await)
}

async fn all(store: &Arc<dyn Store>, prefix: &str) -> Vec<ObjectEntry> {
    expect_success(list(store.as_ref(), prefix).await)
}

fn expect_success<T>(outcome: Result<T, StoreError>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}: {}", error.source))
}
