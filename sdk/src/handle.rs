//! A handle for providers that find a set by its name.
//!
//! The host keeps a handle and gives it back; what it says is the provider's affair. Name and token together are enough for most, and
//! the token keeps a later set of the same name from being taken for the one that is meant.

use std::fmt;

use crate::{Error, invalid};

/// Longest handle that the interface allows, in bytes.
const MAX_HANDLE_BYTES: usize = 1_024;

/// Longest name of a backup, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Whether this can be the name of a backup, and so a part of a name in a storage system: `[A-Za-z0-9_-]`, at most 64 bytes.
#[must_use]
pub fn is_backup_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.bytes().all(legal)
}

/// `<name>:<token>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetHandle {
    /// Name of the backup.
    pub name: String,
    /// Token of the request that made the set.
    pub token: String,
}

impl SetHandle {
    /// Fails with `invalid` when one of the two could not be told from the other, or is too long.
    pub fn new(name: &str, token: &str) -> Result<Self, Error> {
        if !is_backup_name(name) {
            return Err(invalid("name", format!("`{name}` is not made of at most 64 letters, digits, `_` and `-`")));
        }
        if token.is_empty() || name.len() + 1 + token.len() > MAX_HANDLE_BYTES || token.chars().any(char::is_control) {
            return Err(invalid("token", "it is empty, too long for a handle, or not printable"));
        }
        Ok(Self { name: name.to_owned(), token: token.to_owned() })
    }

    /// Reads what [`fmt::Display`] wrote; anything else is the error `invalid`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        text.split_once(':')
            .and_then(|(name, token)| Self::new(name, token).ok())
            .ok_or_else(|| invalid("handle", format!("`{text}` was not given by this provider")))
    }
}

impl fmt::Display for SetHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.name, self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::SetHandle;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let handle = SetHandle::new("sf-1", "a:b").unwrap();
        assert_eq!(SetHandle::parse(&handle.to_string()), Ok(handle));
        for text in ["", "sf-1", "sf-1:", ":token", "../x:token", "a b:token", &format!("sf-1:{}", "t".repeat(1_020)), "sf-1:a\nb"]
        {
            assert!(SetHandle::parse(text).is_err(), "{text}");
        }
    }
}
