//! The simulator of EC2 keeps the promises on which the tests of the provider `ebs` rest, seen through Amazon's own client.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod disks;
mod faults;
mod locks;
mod raw;
mod requests;
mod snapshots;
mod volumes;
