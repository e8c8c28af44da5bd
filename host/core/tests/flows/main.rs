//! The flows on fakes: every step fails once, and the invariants hold each time.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod archive_guard;
mod backup_lock;
mod check;
mod clocks;
mod cluster;
mod cold;
mod delete;
mod delete_restored;
mod drill;
mod drill_range;
mod external_archive;
mod hooked_store;
mod house;
mod lease;
mod lying_store;
mod policy;
mod readiness;
mod reconcile;
mod recoveries;
mod recovery_accept;
mod restore_elsewhere;
mod restore_point;
mod restore_refusals;
mod session;
mod several_providers;
mod snapshot_fetch;
mod snapshot_push;
mod standby_push;
mod two_operators;
mod wal;
mod wal_ahead;
mod wal_prefetch;
mod wal_show;
mod wal_verify;
mod walg;
mod window;
