//! What the operator decides about the sandbox: the engine, and per provider its component, grants and limits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stillframe_core::provider::ProviderName;

use crate::digest::Sha256;
use crate::policy::{AwsGrant, CommandGrant, HttpGrant};

/// Memory that a provider gets unless the operator decides otherwise: four times what the measured ones needed.
pub(crate) const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;

/// Settings that all providers share.
#[derive(Debug, Clone, Default)]
pub struct RuntimeSettings {
    /// How components are run.
    pub engine: EngineKind,
    /// Directory for compiled code, absolute. Without one, every process compiles anew.
    pub cache: Option<PathBuf>,
}

/// How components are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// Native code; the interpreter where the system forbids executable memory.
    #[default]
    Auto,
    /// Native code, or an error.
    Native,
    /// The interpreter, which is 7 to 35 times slower and needs no executable memory.
    Pulley,
}

/// One provider as the operator configured it.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its name in the configuration.
    pub name: ProviderName,
    /// Where its component comes from.
    pub component: ComponentSource,
    /// Its own configuration, handed to it with every call.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// What it may use.
    pub grants: Grants,
    /// Put before every program that it runs, with its arguments: `/usr/bin/sudo -n`. The first one is an absolute path.
    pub command_prefix: Vec<String>,
    /// How much it may use.
    pub limits: Limits,
}

/// Where a component comes from.
#[derive(Debug, Clone)]
pub enum ComponentSource {
    /// It is part of this program.
    Embedded {
        /// The component's bytes.
        bytes: &'static [u8],
    },
    /// It is a file that the operator named.
    File {
        /// Where it is.
        path: PathBuf,
        /// The digest that the operator accepted. Without it the component can be inspected, but not loaded.
        sha256: Option<Sha256>,
    },
}

/// What the operator grants to one provider; see [`crate::policy`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Directory trees.
    pub tree: Option<TreeGrant>,
    /// Programs.
    pub command: Option<CommandGrant>,
    /// AWS.
    pub aws: Option<AwsGrant>,
    /// HTTPS services.
    pub http: Option<HttpGrant>,
    /// Directories strictly below which `restore-set` may put what it restores, in place of the directories asked for.
    pub restore_below: Vec<PathBuf>,
}

/// Which directory trees a provider may reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeGrant {
    /// Roots that it can read and write in every operation, by the name that it knows them under; what was cloned there it can
    /// restore and remove, but not read. Each is judged by itself: one that holds the cluster's directory opens that as well.
    pub roots: BTreeMap<String, PathBuf>,
    /// Whether it can clone the data paths while a snapshot set is created, and see the facts of their file systems while they are
    /// mapped to volumes. It never reads a file or a listing of them.
    pub read_data: bool,
    /// Whether it can fill the directories that a snapshot set is restored to. It never reads a file of them.
    pub write_restore: bool,
}

/// How much one operation of a provider may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All of its memories together.
    pub memory_bytes: u64,
    /// One deadline for every operation, in place of the operation's own.
    pub deadline_secs: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: DEFAULT_MEMORY_BYTES, deadline_secs: None }
    }
}
