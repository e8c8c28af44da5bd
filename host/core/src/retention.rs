//! Retention: what may go, what must stay, and why. Pure functions; time and catalog are arguments.
//!
//! A rule first decides about backups; the WAL follows from the backups that stay. Both decisions are made for every object and
//! carry their reason, so that a plan can be read before it is applied. Whatever is not understood is kept.

mod plan;
mod protected;
mod rule;
mod walg;

pub use plan::{
    Decision, DeletePlan, KeepReason, Leftover, PlanError, Reason, RemoveReason, RestorePlace, WalDecision, plan, release_wal,
};
pub use protected::{Ancestry, KeepRecovery, ProtectedWal, WalReason};
pub use rule::{Cutoff, RetentionRule};
