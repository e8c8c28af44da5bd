//! Every flow, broken at every effect: each effect on a seam is numbered, and the flow runs again and again, failing at effect n or
//! killed there, before and after it takes hold. The invariants hold each time, and a later run makes everything whole.
//!
//! A new flow is a struct with the trait [`harness::Flow`] and a test of one line. `README.md` has the list of mutations.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod cold;
mod deletion;
mod drill;
mod fetch;
mod fingerprint;
mod harness;
mod invariants;
mod marks;
mod policy;
mod programs;
mod push;
mod reconcile;
mod restore_point;
mod seams;
mod wal;
mod world;
