//! The only place that spells where things are: `stillframe-snapshots.json`, `<backup name>/set.json` and
//! `<backup name>/<data path name>/`.

use stillframe_sdk::tree::{Location, location};
use stillframe_sdk::{Error, invalid};

/// The tree root that the host makes of the operator's `root`.
pub(crate) const ROOT: &str = "snapshots";

/// Name of the file that tells a root from the empty directory under a missing mount. No set can have it.
pub(crate) const MARKER: &str = "stillframe-snapshots.json";

/// Name of a set's record.
pub(crate) const RECORD: &str = "set.json";

/// Longest handle that the interface allows, in bytes.
const MAX_HANDLE_BYTES: usize = 1_024;

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

/// Whether this can be the name of a directory of ours: `[A-Za-z0-9_-]`, at most 64 bytes.
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
