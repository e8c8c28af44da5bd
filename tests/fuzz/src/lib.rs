//! Fuzz targets: what is said of everything that reads what others wrote, for any bytes at all.
//!
//! A target is a plain function. It gives the bytes to the product and panics when the answer is a lie: a number beyond its bounds,
//! a record that changes when it is written and read again, a letter that moves the cursor of a terminal, a program that removes
//! what is not ours. `cargo xtask fuzz` searches for such bytes with libFuzzer; the tests of this package replay the seeds and all
//! that was ever found, and change each seed a little in many ways, on every machine.
#![allow(
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a target panics with what is wrong, and the fuzzer calls it"
)]

pub mod archived_file;
pub mod backup_history;
pub mod backup_label;
pub mod catalog_records;
pub mod ec2_replies;
mod input;
pub mod lvm_replies;
pub mod names;
mod operation;
pub mod passport;
pub mod pg_control;
pub mod policy;
pub mod provider_answer;
mod script;
pub mod segment_header;
pub mod sentinel;
mod store;
pub mod tablespace_map;
mod terminal;
pub mod timeline_history;
pub mod wal_name;
pub mod wal_pages;
pub mod wal_records;
pub mod walg_backup;
pub mod zfs_replies;

/// What the product made of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was understood, and everything that can be said of the result holds.
    Accepted,
    /// It was refused with an error.
    Refused,
}

/// One target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: of its module, of its program, and of the directory of its seeds.
    pub name: &'static str,
    /// What is said of any bytes; panics where it does not hold.
    pub run: fn(&[u8]) -> Verdict,
    /// Changes of each seed that the tests try: fewer where one takes longer, so that all of them take seconds.
    pub changes: usize,
}

/// Every target.
pub const TARGETS: [Target; 20] = [
    Target { name: "archived_file", run: archived_file::target, changes: 60 },
    Target { name: "backup_history", run: backup_history::target, changes: 2000 },
    Target { name: "backup_label", run: backup_label::target, changes: 2000 },
    Target { name: "catalog_records", run: catalog_records::target, changes: 300 },
    Target { name: "ec2_replies", run: ec2_replies::target, changes: 300 },
    Target { name: "lvm_replies", run: lvm_replies::target, changes: 300 },
    Target { name: "names", run: names::target, changes: 2000 },
    Target { name: "passport", run: passport::target, changes: 500 },
    Target { name: "pg_control", run: pg_control::target, changes: 2000 },
    Target { name: "policy", run: policy::target, changes: 500 },
    Target { name: "provider_answer", run: provider_answer::target, changes: 500 },
    Target { name: "segment_header", run: segment_header::target, changes: 2000 },
    Target { name: "sentinel", run: sentinel::target, changes: 500 },
    Target { name: "tablespace_map", run: tablespace_map::target, changes: 2000 },
    Target { name: "timeline_history", run: timeline_history::target, changes: 2000 },
    Target { name: "wal_name", run: wal_name::target, changes: 2000 },
    Target { name: "wal_pages", run: wal_pages::target, changes: 500 },
    Target { name: "wal_records", run: wal_records::target, changes: 60 },
    Target { name: "walg_backup", run: walg_backup::target, changes: 1000 },
    Target { name: "zfs_replies", run: zfs_replies::target, changes: 300 },
];

impl Verdict {
    /// Tells a success from a failure.
    fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Accepted } else { Self::Refused }
    }
}
