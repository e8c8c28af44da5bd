//! The harness of the integration tests: real PostgreSQL servers of every major version, and the real `stillframe` binary.
//!
//! Servers run as an unprivileged user on free ports of the loopback interface, die with the test process and leave nothing
//! behind. What a test needs and the machine lacks is a panic that says what to install; nothing is skipped.

#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "a harness panics with what is wrong; nobody handles it")]
#![allow(clippy::unwrap_used, reason = "a harness panics with what is wrong; nobody handles it")]

mod account;
mod age_key;
mod attempt;
mod backlog;
mod book;
mod boto;
mod checksums;
mod children;
mod cluster;
mod ec2;
mod http;
mod listener;
mod object_store;
mod places;
mod processes;
mod random;
mod server_binaries;
mod site;
mod small_disk;
mod sql;
mod standby_host;
mod stillframe;
mod terminal;

pub use account::Account;
pub use age_key::AgeKey;
pub use attempt::{Attempt, Horizon, kill_after, kill_now};
pub use backlog::{Archive, Backlog, leftovers};
pub use book::{Block, Page, Reader, Report, Shell, World, pages, with_own_machine};
pub use boto::Boto;
pub use checksums::table_checksums;
pub use children::{bound_command, spawn};
pub use cluster::{Cluster, ClusterBuilder, StopMode, copy_tree};
pub use ec2::{Attachment, Completion, Disks, Ec2, Fault, Seen, Snapshot, Tags, Volume};
pub use object_store::{BUCKET, Dialect, FaultProxy, Loss, ObjectStoreServer, OwnServer, Precondition, python_with_moto};
pub use places::{ScratchDirectory, compiled_cache, file_name, files, set_mode};
pub use processes::{CommandLines, Found, is_alive, runs_the_binary};
pub use random::Random;
pub use server_binaries::{Postgres, majors, tested_major};
pub use site::{Site, SiteBuilder};
pub use small_disk::{SmallDisk, with_own_mounts};
pub use sql::{Row, Session};
pub use standby_host::StandbyHost;
pub use stillframe::{ConfigFile, FETCH_ERRORS, Finished, PUSH_ERRORS, Running, Stillframe, binary_path};
pub use terminal::Terminal;
