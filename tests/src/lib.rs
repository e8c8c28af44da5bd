//! The harness of the integration tests: real PostgreSQL servers of every major version, and the real `stillframe` binary.
//!
//! Servers run as an unprivileged user on free ports of the loopback interface, die with the test process and leave nothing
//! behind. What a test needs and the machine lacks is a panic that says what to install; nothing is skipped.

#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "a harness panics with what is wrong; nobody handles it")]
#![allow(clippy::unwrap_used, reason = "a harness panics with what is wrong; nobody handles it")]

mod account;
mod children;
mod cluster;
mod places;
mod server_binaries;
mod site;
mod sql;
mod stillframe;

pub use account::Account;
pub use cluster::{Cluster, ClusterBuilder, StopMode};
pub use places::ScratchDirectory;
pub use server_binaries::Postgres;
pub use site::{Site, SiteBuilder};
pub use sql::{Row, Session};
pub use stillframe::{ConfigFile, Finished, Running, Stillframe, binary_path};
