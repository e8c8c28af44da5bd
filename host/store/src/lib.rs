//! Where Stillframe keeps its catalog and its WAL archive.
//!
//! Each module is one real end of [`stillframe_core::store::Store`]; all of them pass the suite in `conformance`, which is compiled
//! for tests and with the feature of that name.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod local;

pub use local::LocalStore;
