//! The provider `ebs` through the real binary: a simulator of EC2 whose volumes are real disks, and moto for its own reading of the API.
//!
//! All of it needs root: disks are loop devices, and restored volumes are mounted through sudo as an operator would set it up.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod backup;
mod faults;
mod load;
mod locks;
mod machine;
mod moto;
mod readiness;
mod restores;
mod secrets;
mod site;
