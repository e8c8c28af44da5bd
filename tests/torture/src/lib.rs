//! Torture: `kill -9` of the program, its provider, the server and the store, under pgbench; and then the proof that nothing is lost
//! and nothing is left.
//!
//! A bounded run is a test. The long one is the program of this package, which `cargo xtask torture` builds and starts.

#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "a harness panics with what is wrong; nobody handles it")]
#![allow(clippy::unwrap_used, reason = "a harness panics with what is wrong; nobody handles it")]

mod act;
mod bounded;
mod installation;
mod ledger;
mod proof;
mod round;
mod settlement;
mod toll;
mod torture;

pub use act::Act;
pub use bounded::survives;
pub use installation::{Combination, Provider, StoreKind};
pub use settlement::Patience;
pub use toll::{Toll, Victim};
pub use torture::{Measure, torture};
