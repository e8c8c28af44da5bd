//! Names: of datasets, snapshots, clones, and of what the host is given to keep.

use stillframe_sdk::{Error, invalid};

/// Prefix of every user property of ours.
pub(crate) const PROPERTY_PREFIX: &str = "stillframe:";

/// Marks a clone: the token of the restore that made it.
pub(crate) const RESTORE_PROPERTY: &str = "stillframe:restore";

/// Tag of the hold on every snapshot of ours.
pub(crate) const HOLD_TAG: &str = "stillframe";

/// Tag of a lock, before the moment at which it expires, in milliseconds since 1970.
pub(crate) const LOCK_TAG_PREFIX: &str = "stillframe:lock:";

/// Longest name in ZFS, in bytes: of a dataset, or of a snapshot with its dataset.
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// Longest token, in bytes: with a backup's name it is a handle, which stands on a clone, and a grant knows names of 128 bytes.
const MAX_TOKEN_BYTES: usize = 60;

/// Longest handle of a restore, in bytes: what the interface takes.
const MAX_RESTORE_HANDLE_BYTES: usize = 1_024;

/// Whether this is the name of a dataset that the grant can express. ZFS allows spaces as well, which nobody needs here.
pub(crate) fn is_dataset(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('-') && part != "." && part != ".." && part.bytes().all(legal);
    name.len() <= MAX_NAME_BYTES && name.split('/').all(is_part)
}

/// Whether a dataset is this one or one below it.
pub(crate) fn is_under(dataset: &str, root: &str) -> bool {
    dataset.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The pool of a dataset or snapshot.
pub(crate) fn pool(name: &str) -> &str {
    name.split(['/', '@']).next().unwrap_or(name)
}

/// The dataset of a snapshot.
pub(crate) fn dataset(snapshot: &str) -> &str {
    snapshot.split('@').next().unwrap_or(snapshot)
}

/// Whether this is a token that can stand in a name: the host's are made of hexadecimal digits.
pub(crate) fn is_token(token: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-');
    token.len() <= MAX_TOKEN_BYTES
        && token.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && token.bytes().all(legal)
}

/// Whether this can be the name of a backup, and so of its snapshots: `[A-Za-z0-9_-]`, at most 64 bytes.
fn is_backup(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && !name.starts_with('-') && name.len() <= 64 && name.bytes().all(legal)
}

/// The name of the clone that a restore makes of the volume with this number.
pub(crate) fn clone(parent: &str, token: &str, volume: usize) -> String {
    format!("{parent}/{token}-{volume}")
}

/// Whether a clone has a name that only the restore with this token gives.
pub(crate) fn is_clone_of(dataset: &str, token: &str) -> bool {
    let last = dataset.rsplit('/').next().unwrap_or(dataset);
    let number = last.strip_prefix(token).and_then(|rest| rest.strip_prefix('-'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A restore's handle, `TOKEN@tank/stillframe,fast/stillframe`: its token, and the datasets below which its clones lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoreHandle {
    pub(crate) token: String,
    /// None when only the token is known.
    pub(crate) parents: Vec<String>,
}

impl RestoreHandle {
    pub(crate) fn new(token: &str, parents: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let handle = Self { token: token.to_owned(), parents: parents.into_iter().collect() };
        if !is_token(token) {
            return Err(invalid("token", "it cannot be part of a clone's name"));
        }
        if handle.text().len() > MAX_RESTORE_HANDLE_BYTES {
            return Err(invalid("clones", format!("together their names are longer than {MAX_RESTORE_HANDLE_BYTES} bytes")));
        }
        Ok(handle)
    }

    /// None for what is neither a handle of this provider nor a token.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (token, parents) = text.split_once('@').map_or((text, None), |(token, parents)| (token, Some(parents)));
        let parents: Vec<String> = parents.into_iter().flat_map(|parents| parents.split(',')).map(str::to_owned).collect();
        (is_token(token) && parents.iter().all(|parent| is_dataset(parent))).then(|| Self { token: token.to_owned(), parents })
    }

    pub(crate) fn text(&self) -> String {
        format!("{}@{}", self.token, self.parents.join(","))
    }
}

/// A set's handle: its name for a person, and its token, by which it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Handle {
    pub(crate) name: String,
    pub(crate) token: String,
}

impl Handle {
    pub(crate) fn new(name: &str, token: &str) -> Result<Self, Error> {
        if !is_backup(name) {
            return Err(invalid("name", format!("`{name}` is not made of at most 64 letters, digits, `_` and `-`")));
        }
        if !is_token(token) {
            return Err(invalid(
                "token",
                format!("it is not made of at most {MAX_TOKEN_BYTES} letters, digits, `_`, `.`, `:` and `-`"),
            ));
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
