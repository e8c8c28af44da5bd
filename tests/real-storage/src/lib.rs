//! Real storage for tests: volumes, pools and file systems with a PostgreSQL server on them, and guests whose kernels have them.
//!
//! `cargo xtask test --real-storage` runs these tests, after it has looked which parts this machine can run; what it cannot run it
//! counts and names. Here nothing is skipped: what is missing is a panic that says so.

#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "a harness panics with what is wrong; nobody handles it")]
#![allow(clippy::unwrap_used, reason = "a harness panics with what is wrong; nobody handles it")]

mod btrfs;
mod file_system;
mod guest;
mod history;
mod killer;
mod layers;
mod load;
mod loop_device;
mod lvm;
mod programs;
mod scenario;
mod sudo;
mod zfs;

pub use btrfs::Btrfs;
pub use file_system::{FileSystem, Mounted, mounts_below};
pub use guest::{Guest, engine, is_guest};
pub use history::History;
pub use killer::{Killer, Moment};
pub use layers::{encrypt, loop_over, mirror, partition};
pub use load::Load;
pub use loop_device::LoopDevice;
pub use lvm::{LogicalVolume, VolumeGroup};
pub use programs::{refuse, succeed};
pub use scenario::{Subject, Volumes, recovers_to_the_moment_and_leaves_nothing};
pub use sudo::{allow_as_documented, allow_as_documented_with};
pub use zfs::Pool;
