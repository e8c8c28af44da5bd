//! The suite on a directory, and the faults that only a directory has.

use std::sync::Arc;

use stillframe_core::store::Store;
use tempfile::TempDir;

use super::LocalStore;

mod absence;
mod boundary;
mod exclusion;
mod faults;

/// The suite, one test for each of its claims.
mod conformance {
    crate::conformance_tests!(super::empty_store);
}

#[expect(clippy::unused_async, reason = "a fixture that starts a server waits")]
async fn empty_store() -> (Arc<dyn Store>, TempDir) {
    let directory = TempDir::new().unwrap();
    (Arc::new(LocalStore::create(&directory.path().join("store")).unwrap()), directory)
}
