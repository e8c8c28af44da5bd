//! The environment as the caller passes it: variables, the user of the process, its home.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::keyword;

/// What surrounds a connection string. `Debug` shows no value, since one may be a password.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    os_user: Option<String>,
}

impl Environment {
    /// Takes the variables of the process, and asks the operating system for its user.
    #[must_use]
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        Self { variables, os_user: whoami::username().ok() }
    }

    /// Replaces the user of the process.
    #[must_use]
    pub fn with_os_user(mut self, user: &str) -> Self {
        self.os_user = Some(user.to_owned());
        self
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(super) fn os_user(&self) -> Option<&str> {
        self.os_user.as_deref()
    }

    /// A path in the home directory; none without `HOME`.
    pub(super) fn in_home(&self, path: &str) -> Option<PathBuf> {
        self.variable("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(home).join(path))
    }

    /// The keywords that have a variable which is set.
    pub(super) fn keywords(&self) -> impl Iterator<Item = (&'static str, &str)> {
        keyword::all().filter_map(|keyword| Some((keyword.name, self.variable(keyword.variable?)?)))
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Environment").field("os_user", &self.os_user).finish_non_exhaustive()
    }
}
