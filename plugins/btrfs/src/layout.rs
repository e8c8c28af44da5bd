//! The only place that spells where things are.
//!
//! In `root`: `records/<backup name>.json` and `restores/<token>.json`. In every root: the snapshots `<backup name>.<number>`, the
//! restored ones `restored-<token>.<number>`, and the subvolume `stillframe-snapshots`, by which a root is told from the mount point
//! of a file system that is not mounted.

use stillframe_sdk::is_backup_name;
use stillframe_sdk::tree::{Location, location};

/// The tree root that the host makes of the operator's `root`.
pub(crate) const ROOT: &str = "snapshots";

/// Name of the subvolume that tells a root from the empty directory under a missing mount.
const MARKER: &str = "stillframe-snapshots";

/// Ends the name of a record.
const RECORD_SUFFIX: &str = ".json";

pub(crate) fn marker(root: &str) -> String {
    format!("{root}/{MARKER}")
}

pub(crate) fn records() -> Location {
    location(ROOT, "records")
}

pub(crate) fn record(name: &str) -> Location {
    location(ROOT, &format!("records/{name}{RECORD_SUFFIX}"))
}

/// The set that a file among the records is about, if it is one.
pub(crate) fn name_of_record(file: &str) -> Option<&str> {
    file.strip_suffix(RECORD_SUFFIX).filter(|name| is_backup_name(name))
}

pub(crate) fn restore_record(token: &str) -> Location {
    location(ROOT, &format!("restores/{token}{RECORD_SUFFIX}"))
}

/// Absolute path of one snapshot of a set.
pub(crate) fn snapshot(root: &str, name: &str, number: usize) -> String {
    format!("{root}/{name}.{number}")
}

/// Absolute path of one snapshot of a restore.
pub(crate) fn restored(root: &str, token: &str, number: usize) -> String {
    format!("{root}/restored-{token}.{number}")
}
