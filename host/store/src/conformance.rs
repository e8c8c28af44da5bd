//! What every store must do, as one suite.
//!
//! The catalog, the lease and the WAL archive rely on each of these claims; a store that breaks one loses backups in the end.
//! [`conformance_tests!`](crate::conformance_tests) makes one named test of each case; [`run`] runs them all on a live store. Each
//! case writes below its own prefix and expects nothing to be there.

use std::sync::Arc;

use stillframe_core::store::Store;
use tokio::task::JoinSet;

mod client;
mod creation;
mod listing;
mod objects;

use client::{WRITERS, all, delete};
pub use creation::{
    creates_again_after_a_deletion, lets_exactly_one_of_fifty_writers_create, never_misses_an_object_that_is_being_replaced,
    never_replaces_with_put_if_absent,
};
pub use listing::{
    continues_after_a_key_that_is_gone, lists_by_a_prefix_of_the_text, lists_three_thousand_keys_in_order_over_pages,
    orders_by_the_whole_key,
};
pub use objects::{
    deletes_twice, gives_back_what_was_put, keeps_an_empty_object, keeps_the_longest_key, keeps_twenty_mebibytes,
    replaces_an_object_as_a_whole, reports_an_absent_object_as_absent,
};

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
    orders_by_the_whole_key(store, &below("order")).await;
    lists_by_a_prefix_of_the_text(store, &below("prefix")).await;
    continues_after_a_key_that_is_gone(store, &below("after")).await;
    never_misses_an_object_that_is_being_replaced(store, &below("replaced")).await;
    deletes_twice(store, &below("delete")).await;
    creates_again_after_a_deletion(store, &below("again")).await;
    keeps_an_empty_object(store, &below("empty")).await;
    keeps_twenty_mebibytes(store, &below("large")).await;
    keeps_the_longest_key(store, &below("long")).await;
    // Last, since some servers look at every object for every listing.
    lists_three_thousand_keys_in_order_over_pages(store, &below("pages")).await;
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
