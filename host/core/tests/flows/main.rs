//! The flows on fakes: every step fails once, and the invariants hold each time.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod delete;
mod hooked_store;
mod house;
mod snapshot_fetch;
mod snapshot_push;
mod wal;
