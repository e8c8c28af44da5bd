//! The configuration: `[provider.btrfs]` without the host's own keys.

use serde::Deserialize;
use stillframe_sdk::{Error, invalid};

/// Longest directory, in bytes: each volume tells in an attribute which one it uses, and values of attributes have this limit.
const MAX_ROOT_BYTES: usize = 256;

/// What the operator configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory on the file system of the cluster: for the records, and for the snapshots of that file system. The host opens it as
    /// the root `snapshots` as well.
    pub root: String,
    /// Directories on other file systems, for the snapshots of what lies there.
    #[serde(default)]
    pub other_roots: Vec<String>,
}

impl Config {
    /// All directories for snapshots, the one with the records first; each an absolute path that means one place only.
    pub(crate) fn roots(&self) -> Result<Vec<&str>, Error> {
        let roots = [("root", &self.root)].into_iter().chain(self.other_roots.iter().map(|root| ("other_roots", root)));
        roots.map(|(key, root)| is_plain(root).then_some(root.as_str()).ok_or_else(|| refusal(key, root))).collect()
    }
}

fn is_plain(root: &str) -> bool {
    root.len() <= MAX_ROOT_BYTES
        && root.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

fn refusal(key: &str, root: &str) -> Error {
    invalid(
        key,
        format!(
            "`{root}` must be an absolute path of at most {MAX_ROOT_BYTES} bytes, without `.`, `..`, double or closing slashes"
        ),
    )
}
