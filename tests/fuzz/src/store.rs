//! A store in memory that holds what the input says, and the cluster that it is of.

use std::cell::RefCell;

use stillframe_core::catalog::{ClusterName, Layout};
use stillframe_core::store::{Key, Store as _};
use stillframe_core::testing::MemoryStore;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// The cluster of all targets.
pub(crate) const CLUSTER: &str = "main";

/// The name of the backup in all seeds.
pub(crate) const BACKUP: &str = "sf-20261121T083214Z-9k3m2p7x";

pub(crate) fn layout() -> Layout {
    Layout::new(ClusterName::try_from(CLUSTER.to_owned()).expect("the name is legal"))
}

/// Puts an object below the cluster's prefix; false when no store would take its name.
pub(crate) fn put(store: &MemoryStore, place: &str, content: &[u8]) -> bool {
    let Ok(key) = Key::parse(&format!("{CLUSTER}/{place}")) else { return false };
    settled(store.put(&key, content.to_vec().into())).is_ok()
}

/// Waits for what only works in memory.
pub(crate) fn settled<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow_mut(|runtime| {
        let make = || Builder::new_current_thread().enable_time().max_blocking_threads(1).build().expect("threads can be started");
        runtime.get_or_insert_with(make).block_on(work)
    })
}
