//! The capabilities of the interface: one module each for what a guest can call.
//!
//! `host` is always granted. A provider that imports one of the others gets it only if the operator grants it; what this version
//! cannot grant is answered with `denied` while a provider describes itself, and refused before anything else is called.

mod absent;
mod host;
mod tree;

use std::fmt;

use serde::Serialize;

pub(crate) use host::Chatter;
pub(crate) use tree::TreeAccess;

/// What a call is told that uses a capability in `describe`.
const OFF: &str = "every capability is switched off while a provider describes itself";

/// A capability that an operator grants or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Runs programs.
    Command,
    /// Calls AWS.
    Aws,
    /// Calls HTTPS services.
    Http,
    /// Reads and writes directory trees.
    Tree,
}

impl Capability {
    /// The capability behind an interface of the package, if it is one.
    pub(crate) fn of_interface(interface: &str) -> Option<Self> {
        Some(match interface {
            "command" => Self::Command,
            "aws" => Self::Aws,
            "http" => Self::Http,
            "tree" => Self::Tree,
            _ => return None,
        })
    }

    /// Its name, as in the WIT.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Aws => "aws",
            Self::Http => "http",
            Self::Tree => "tree",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
