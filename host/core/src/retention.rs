//! Retention: what may go, what must stay, and why. Pure functions; time and catalog are arguments.
//!
//! A rule first decides about backups; the WAL follows from the backups that stay. Both decisions are made for every object and
//! carry their reason, so that a plan can be read before it is applied. Whatever is not understood is kept.

mod ancestry;
mod bystander;
mod decide;
mod error;
mod holds;
mod order;
mod outlook;
mod plan;
mod policy;
mod protected;
mod reason;
mod rule;
mod wal;
mod walg;

pub use ancestry::Ancestry;
pub use bystander::Bystander;
pub use error::PlanError;
pub use holds::RestorePlace;
pub use outlook::Outlook;
pub use plan::{Decision, DeletePlan, Holdings, Leftover, plan};
pub use policy::{InvalidPolicy, Period, RetentionPolicy};
pub use protected::{KeepRecovery, ProtectedTimeline, ProtectedWal};
pub use reason::{KeepReason, Reason, RemoveReason, WalReason};
pub use rule::{Cutoff, RetentionRule};
pub use wal::{WalDecision, WalPlan, WalRun, release_wal};
