//! The capabilities of the interface: one module each for what a guest can call.
//!
//! `host` is always granted. A component that imports one of the others is loaded only if the operator grants it, and then gets
//! what its policy allows. While a provider describes itself, all of them answer `denied`.

mod aws;
mod command;
mod host;
mod http;
mod secret;
mod tree;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use aws::CredentialSource;
pub(crate) use host::Chatter;
pub(crate) use tree::TreeAccess;

use crate::settings::Grants;
use aws::AwsAccess;
use command::CommandAccess;
use http::HttpAccess;

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

/// What the calls of one provider may use besides directory trees, made once when it is loaded.
pub(crate) struct Access {
    command: Option<CommandAccess>,
    aws: Option<AwsAccess>,
    http: Option<HttpAccess>,
}

impl Access {
    /// What these grants give.
    pub(crate) fn new(grants: Grants, command_prefix: Vec<String>, credentials: Option<Arc<dyn CredentialSource>>) -> Self {
        Self {
            command: grants.command.map(|grant| CommandAccess::new(grant, command_prefix)),
            aws: grants.aws.map(|grant| AwsAccess::new(grant, credentials)),
            http: grants.http.map(HttpAccess::new),
        }
    }
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
