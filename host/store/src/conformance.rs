//! What every store must do, as one suite.
//!
//! The catalog, the lease and the WAL archive rely on each of these claims; a store that breaks one loses backups in the end.
//! [`run`] runs every case on a live store. Each writes below its own prefix and expects nothing to be there.

use std::sync::Arc;

use stillframe_core::store::Store;
use tokio::task::JoinSet;

mod client;
pub(crate) mod creation;
pub(crate) mod listing;
pub(crate) mod objects;

use client::{WRITERS, all, delete};

/// Every case but that of thousands of objects, for a macro that makes something of them.
macro_rules! for_each_case {
    ($make:ident) => {
        $make! {
            objects::gives_back_what_was_put,
            objects::reports_an_absent_object_as_absent,
            objects::looks_up_several_in_their_order,
            objects::replaces_an_object_as_a_whole,
            creation::never_replaces_with_put_if_absent,
            creation::lets_exactly_one_of_fifty_writers_create,
            listing::orders_by_the_whole_key,
            listing::lists_by_a_prefix_of_the_text,
            listing::continues_after_a_key_that_is_gone,
            creation::never_misses_an_object_that_is_being_replaced,
            objects::deletes_twice,
            creation::creates_again_after_a_deletion,
            objects::keeps_an_empty_object,
            objects::keeps_twenty_mebibytes,
            objects::keeps_the_longest_key,
            creation::proves_itself_and_leaves_nothing,
        }
    };
}
pub(crate) use for_each_case;

/// Runs every case below `prefix` of an empty store.
pub(crate) async fn run(store: &Arc<dyn Store>, prefix: &str) {
    macro_rules! run_each {
        ($($module:ident::$case:ident,)*) => {
            $($module::$case(store, &format!("{prefix}/{}", stringify!($case))).await;)*
        };
    }
    for_each_case!(run_each);
    let mut deletions = JoinSet::new();
    for entry in all(store, &format!("{prefix}/")).await {
        if deletions.len() >= WRITERS {
            deletions.join_next().await;
        }
        let store = Arc::clone(store);
        deletions.spawn(async move { delete(&store, &entry.key).await });
    }
    deletions.join_all().await;
    assert_eq!(all(store, "").await, [], "neither the suite nor what the store keeps for itself may be seen");
    // Last, since some servers look at every object for every listing; and its objects stay, since to delete them takes as long as
    // everything else and shows nothing that the cases before it did not.
    listing::lists_three_thousand_keys_in_order_over_pages(store, &format!("{prefix}/pages")).await;
    assert!(all(store, "").await.iter().all(|entry| entry.key.as_str().starts_with(&format!("{prefix}/pages/"))));
}
