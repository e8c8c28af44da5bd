//! The only place that spells where things are: `stillframe-snapshots.json`, `<backup name>/set.json` and
//! `<backup name>/<data path name>/`.

use stillframe_sdk::tree::{Location, location};

/// The tree root that the host makes of the operator's `root`.
pub(crate) const ROOT: &str = "snapshots";

/// Name of the file that tells a root from the empty directory under a missing mount. No set can have it.
pub(crate) const MARKER: &str = "stillframe-snapshots.json";

/// Name of a set's record.
pub(crate) const RECORD: &str = "set.json";

/// The directory that holds all sets.
pub(crate) fn all() -> Location {
    location(ROOT, "")
}

/// The marker of the root.
pub(crate) fn marker() -> Location {
    location(ROOT, MARKER)
}

/// The directory of a set.
pub(crate) fn set(name: &str) -> Location {
    location(ROOT, name)
}

/// The record of a set.
pub(crate) fn record(name: &str) -> Location {
    location(ROOT, &format!("{name}/{RECORD}"))
}

/// The tree of one data path in a set.
pub(crate) fn tree(name: &str, path: &str) -> Location {
    location(ROOT, &format!("{name}/{path}"))
}
