//! Why a policy cannot be used.

use thiserror::Error;

/// A policy that cannot be used, with the place that has to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// A key of the provider's own section that the policy refers to is missing, or does not fit there.
    #[error("`{key}` is invalid: {reason}")]
    Key {
        /// The key, without the section.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The policy itself is wrong.
    #[error("`{place}` is invalid: {reason}")]
    Rule {
        /// Where in the policy: `command.zfs.allow[2]`; empty for the document as a whole.
        place: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl PolicyError {
    /// A fault of the policy's own text.
    #[must_use]
    pub fn rule(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Rule { place: place.into(), reason: reason.into() }
    }

    /// A fault of a key in the provider's section.
    #[must_use]
    pub fn key(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Key { key: key.into(), reason: reason.into() }
    }
}
