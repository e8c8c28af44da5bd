//! Real backups with providers that lie, misbehave or break: one clear error, no backup mode left behind, nothing published that is
//! not so, nothing left that nobody knows, and every other backup as restorable as before.
//!
//! What each of them does and what must hold is listed in `docs/hostile-providers.md`.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod cutting;
mod deleting;
mod guests;
mod listing;
mod loading;
mod restoring;
mod stops;
mod telling;
mod traps;
mod undoing;
mod words;
