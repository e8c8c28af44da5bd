//! The WAL archive on a store in memory: forms, digests, encryption, and what other tools make of it.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod encryption;
#[path = "../flows/hooked_store.rs"]
#[expect(dead_code, reason = "the tests of the flows use the rest of it")]
mod hooked_store;
mod lookup;
mod parked;
mod place;
mod sidecar;
mod tools;
mod vectors;
