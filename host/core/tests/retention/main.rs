//! Retention on made-up worlds: what a plan may never take, and what it has no reason to keep.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod examples;
mod model;
mod properties;
mod scale;
mod world;
