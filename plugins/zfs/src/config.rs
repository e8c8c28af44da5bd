//! The configuration: `[provider.zfs]` without the host's own keys.

use serde::Deserialize;
use stillframe_sdk::{Error, invalid};

use crate::name;

/// What the operator configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The datasets that may be snapshotted, with those below them.
    pub datasets: Vec<String>,
    /// Where clones for restores are made: for each pool one dataset, that exists already.
    #[serde(default)]
    pub clones: Vec<String>,
    /// Directory below which clones are mounted.
    #[serde(default = "default_mount_root")]
    pub mount_root: String,
}

fn default_mount_root() -> String {
    "/run/stillframe/mnt".to_owned()
}

impl Config {
    /// Refuses what could not work, and what would make the grant wider than it reads.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.datasets.is_empty() {
            return Err(invalid("datasets", "it must name the datasets that may be snapshotted"));
        }
        for (key, names) in [("datasets", &self.datasets), ("clones", &self.clones)] {
            if let Some(name) = names.iter().find(|name| !name::is_dataset(name)) {
                return Err(invalid(
                    key,
                    format!("`{name}` is not a dataset's name of letters, digits, `_`, `.`, `:`, `-` and `/`"),
                ));
            }
        }
        for (index, parent) in self.clones.iter().enumerate() {
            if let Some(dataset) = self.datasets.iter().find(|dataset| name::is_under(dataset, parent)) {
                return Err(invalid(
                    "clones",
                    format!(
                        "what is below `{parent}` may be destroyed, and `{dataset}` lies there: use a dataset of its own for clones"
                    ),
                ));
            }
            if self.clones[..index].iter().any(|earlier| name::pool(earlier) == name::pool(parent)) {
                return Err(invalid(
                    "clones",
                    format!("it names two datasets of the pool `{}`: one is enough", name::pool(parent)),
                ));
            }
        }
        if !is_directory(&self.mount_root) {
            return Err(invalid("mount_root", "it must be an absolute path without `.`, `..`, empty parts and control characters"));
        }
        Ok(())
    }

    /// Whether a dataset may be snapshotted.
    pub(crate) fn covers(&self, dataset: &str) -> bool {
        self.datasets.iter().any(|root| name::is_under(dataset, root))
    }

    /// The dataset below which clones of this pool's snapshots are made.
    pub(crate) fn clones_of(&self, pool: &str) -> Result<&str, Error> {
        self.clones.iter().map(String::as_str).find(|parent| name::pool(parent) == pool).ok_or_else(|| {
            invalid(
                "clones",
                format!(
                    "it names no dataset of the pool `{pool}`, in which a restore must make its clones: \
                     `zfs create -o canmount=off -o mountpoint=none {pool}/stillframe`, then add `{pool}/stillframe`"
                ),
            )
        })
    }
}

fn is_directory(path: &str) -> bool {
    let legal = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.chars().any(char::is_control);
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(legal))
}
