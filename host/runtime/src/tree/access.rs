//! What a root may be used for.
//!
//! A provider moves the cluster's files, and need not see them: `pg_hba.conf`, TLS keys and tables hold secrets. So only the
//! provider's own roots can be read, and of them only what `clone-tree` did not put there; everything else is refused with the
//! rule in words.

use super::TreeError;
use super::location::Location;

/// The kind of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The provider's own.
    Own,
    /// A directory of the cluster while a snapshot set is created.
    Source,
    /// A directory of the cluster while it is mapped to a volume: its facts help to judge, its content does not.
    Facts,
    /// A directory that a snapshot set is restored to.
    Target,
}

/// What a call does with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    Read,
    List,
    Write,
    Remove,
    CloneFrom,
    CloneTo,
    Base,
}

impl Access {
    /// Whether anything below it may be changed.
    pub(crate) fn is_writable(self) -> bool {
        matches!(self, Self::Own | Self::Target)
    }

    /// Fails unless a root of this kind can be used so.
    pub(super) fn check(self, usage: Usage, location: &Location) -> Result<(), TreeError> {
        let (allowed, rule) = match self {
            Self::Own => (true, ""),
            Self::Source => {
                (usage == Usage::CloneFrom, "is clone-only: it is read-only, and can be named as the source of `clone-tree` alone")
            }
            Self::Facts => {
                (false, "is clone-only: `resolve` learns its facts from `roots`, and only `create-set` can clone from it")
            }
            Self::Target => (
                matches!(usage, Usage::List | Usage::Write | Usage::Remove | Usage::CloneTo),
                "is a target: it can be filled, listed and emptied, but not read or cloned from",
            ),
        };
        if allowed {
            return Ok(());
        }
        Err(TreeError::Denied(format!("`{location}` cannot be {}: the root `{}` {rule}", usage.participle(), location.root)))
    }
}

impl Usage {
    fn participle(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "listed",
            Self::Write => "written",
            Self::Remove => "removed",
            Self::CloneFrom => "cloned from",
            Self::CloneTo => "cloned to",
            Self::Base => "used as a base",
        }
    }
}
