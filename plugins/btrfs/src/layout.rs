//! The only place that spells where things are.
//!
//! In `root`: `records/<backup name>.json` and `restores/<token>.json`. In every root: the snapshots `<backup name>.<number>`, the
//! restored ones `restored-<token>.<number>`, and the subvolume `stillframe-snapshots`, by which a root is told from the mount point
//! of a file system that is not mounted.

use stillframe_sdk::tree::{Location, location};
use stillframe_sdk::{Error, invalid};

/// The tree root that the host makes of the operator's `root`.
pub(crate) const ROOT: &str = "snapshots";

/// Name of the subvolume that tells a root from the empty directory under a missing mount.
const MARKER: &str = "stillframe-snapshots";

/// Ends the name of a record.
const RECORD_SUFFIX: &str = ".json";

/// Longest handle that the interface allows, in bytes.
const MAX_HANDLE_BYTES: usize = 1_024;

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
    file.strip_suffix(RECORD_SUFFIX).filter(|name| is_name(name))
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

/// Whether this can be a part of a file's name: `[A-Za-z0-9_-]`, at most 64 bytes.
pub(crate) fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(legal)
}

/// A set's handle: its name, and its token so that a later set of the same name is not taken for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) name: String,
    pub(crate) token: String,
}

impl Handle {
    pub(crate) fn new(name: &str, token: &str) -> Result<Self, Error> {
        if !is_name(name) {
            return Err(invalid("name", format!("`{name}` is not made of at most 64 letters, digits, `_` and `-`")));
        }
        if token.is_empty() || name.len() + 1 + token.len() > MAX_HANDLE_BYTES {
            return Err(invalid("token", "it is empty or too long for a handle"));
        }
        Ok(Self { name: name.to_owned(), token: token.to_owned() })
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        text.split_once(':')
            .and_then(|(name, token)| Self::new(name, token).ok())
            .ok_or_else(|| invalid("handle", format!("`{text}` was not given by this provider")))
    }

    pub(crate) fn text(&self) -> String {
        format!("{}:{}", self.name, self.token)
    }
}
