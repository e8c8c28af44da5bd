//! The configuration: `[provider.hardlink]` without the host's own keys.

use serde::Deserialize;
use stillframe_sdk::tree::CloneMethod;
use stillframe_sdk::{Error, invalid};

/// What the operator configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the sets are kept. The host opens it as the root `snapshots`, so it means nothing in here.
    pub root: Option<String>,
    /// How the content of files gets into a set.
    pub method: Method,
    /// Allows `cp-al`.
    pub allow_not_isolated: bool,
    /// Links unchanged files from the previous set.
    pub link_unchanged: bool,
}

/// How the content of files gets into a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Shares extents where the file system can, otherwise copies.
    #[default]
    Auto,
    /// Shares extents, or fails.
    Reflink,
    /// Copies.
    Copy,
    /// Links to the live files.
    CpAl,
}

impl Default for Config {
    fn default() -> Self {
        Self { root: None, method: Method::Auto, allow_not_isolated: false, link_unchanged: true }
    }
}

impl Config {
    /// How to clone. `cp-al` must be asked for twice, because what it makes is no snapshot.
    pub(crate) fn clone_method(&self) -> Result<CloneMethod, Error> {
        match self.method {
            Method::Auto => Ok(CloneMethod::Auto),
            Method::Reflink => Ok(CloneMethod::Reflink),
            Method::Copy => Ok(CloneMethod::Copy),
            Method::CpAl if self.allow_not_isolated => Ok(CloneMethod::Shared),
            Method::CpAl => Err(invalid(
                "method",
                "`cp-al` links to the live files, which PostgreSQL overwrites in place: later changes of the cluster appear in the \
                 backup, and a server started on it damages the cluster. Use `auto`; for an experiment set \
                 `allow_not_isolated = true` as well",
            )),
        }
    }

    /// Whether a set is independent of later writes to the cluster.
    pub(crate) fn isolated(&self) -> bool {
        self.method != Method::CpAl
    }
}
