//! Policies: what an operator lets a provider do, in words that can be checked, matched and read.
//!
//! A policy is a TOML document. A bundled provider brings one along, and `[provider.NAME.grants]` has the same grammar. What
//! depends on the installation stands there as `$key`, a key of the provider's own section; [`Policy::resolve`] puts the values
//! in and checks everything, so that a rule that could never work, or that allows more than it seems to, is an error of the
//! configuration and not a surprise at night.

pub mod aws;
mod command;
mod error;
pub mod http;
mod keys;
mod pattern;
mod rule;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use stillframe_core::text::is_dangerous;

pub use aws::{AwsGrant, AwsPolicy};
pub(crate) use command::shown;
pub use command::{CommandDenial, CommandGrant, CommandPolicy, ProgramGrant};
pub use error::PolicyError;
pub use http::{HttpGrant, HttpPolicy};
pub use keys::Keys;
pub use pattern::Pattern;
pub use rule::Rule;

use crate::settings::{Grants, TreeGrant};

/// Directories that are never for restores alone, and by which a provider could name nearly everything on the machine, or what
/// everybody may write.
const SHARED: [&str; 18] = [
    "/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr",
    "/var", "/var/lib", "/var/tmp",
];

/// A policy as it is written, before the values of the provider's keys are put in.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    restore_below: Option<Directories>,
    #[serde(default)]
    defaults: Map<String, Value>,
    tree: Option<TreePolicy>,
    command: Option<BTreeMap<String, CommandPolicy>>,
    aws: Option<AwsPolicy>,
    http: Option<HttpPolicy>,
}

/// One directory, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "an absolute path, or a list of them")]
enum Directories {
    One(String),
    Several(Vec<String>),
}

/// The table `[tree]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TreePolicy {
    #[serde(default)]
    roots: BTreeMap<String, String>,
    #[serde(default)]
    read_data: bool,
    #[serde(default)]
    write_restore: bool,
}

impl Policy {
    /// Reads a policy that a provider brings along.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        toml::from_str(text).map_err(|error: toml::de::Error| PolicyError::rule("policy.toml", error.to_string().trim_end()))
    }

    /// Keys of the provider's section that the host fills in where the operator wrote none.
    #[must_use]
    pub fn defaults(&self) -> &Map<String, Value> {
        &self.defaults
    }

    /// This policy with what an operator wrote instead: each capability as a whole, since a rule that was forgotten in the middle
    /// of a list would stay in force unseen. Of `aws` it is each key as a whole: who only names a profile need not repeat the rules.
    #[must_use]
    pub fn replaced_by(self, operators: Self) -> Self {
        Self {
            restore_below: operators.restore_below.or(self.restore_below),
            defaults: self.defaults,
            tree: operators.tree.or(self.tree),
            command: operators.command.or(self.command),
            aws: match (operators.aws, self.aws) {
                (Some(own), Some(bundled)) => Some(own.or(&bundled)),
                (own, bundled) => own.or(bundled),
            },
            http: operators.http.or(self.http),
        }
    }

    /// Puts the values of a section's keys in, and checks everything.
    pub fn resolve(&self, section: &Map<String, Value>) -> Result<Grants, PolicyError> {
        let keys = Keys::new(section);
        let mut restore_below = Vec::new();
        for text in self.restore_below.iter().flat_map(Directories::texts) {
            let found = directories(text, "restore_below", "restored clones", &keys)?;
            found.iter().try_for_each(|path| refuse_shared(path, text, "restore_below"))?;
            restore_below.extend(found);
        }
        Ok(Grants {
            tree: self.tree.as_ref().map(|tree| tree.resolve(&keys)).transpose()?,
            command: self.command.as_ref().map(|programs| CommandGrant::resolve(programs, &keys)).transpose()?,
            aws: self.aws.as_ref().map(|aws| aws.resolve(&keys)).transpose()?,
            http: self.http.as_ref().map(|http| http.resolve(&keys)).transpose()?,
            restore_below,
        })
    }
}

impl TreePolicy {
    fn resolve(&self, keys: &Keys<'_>) -> Result<TreeGrant, PolicyError> {
        let root = |(name, path): (&String, &String)| {
            let text = keys.text(path, &format!("name the directory for the {name}"))?;
            Ok((name.clone(), directory(text, path, &format!("tree.roots.{name}"))?))
        };
        Ok(TreeGrant {
            roots: self.roots.iter().map(root).collect::<Result<_, _>>()?,
            read_data: self.read_data,
            write_restore: self.write_restore,
        })
    }
}

impl Directories {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

/// The absolute paths that are written here, or in the key that is named here.
fn directories(text: &str, place: &str, what_for: &str, keys: &Keys<'_>) -> Result<Vec<PathBuf>, PolicyError> {
    let paths = keys.list(text, &format!("name the directory for the {what_for}"))?;
    paths.into_iter().map(|path| directory(path, text, place)).collect()
}

/// A path that must be an absolute one, with what was written for it.
fn directory(path: String, written: &str, place: &str) -> Result<PathBuf, PolicyError> {
    let path = PathBuf::from(path);
    if written.chars().any(is_dangerous) {
        return Err(PolicyError::rule(place, "it holds control characters"));
    }
    match Keys::reference(written) {
        _ if path.is_absolute() && !path.components().any(|part| part == Component::ParentDir) => Ok(path),
        Some(key) => Err(PolicyError::key(key, "it must be an absolute path")),
        None => Err(PolicyError::rule(place, format!("`{written}` must be an absolute path"))),
    }
}

/// Fails for a directory that holds far more than restores: the host prepares what lies there for recovery, whatever it was before.
fn refuse_shared(path: &Path, written: &str, place: &str) -> Result<(), PolicyError> {
    let Some(shared) = SHARED.iter().find(|shared| path.components().eq(Path::new(shared).components())) else { return Ok(()) };
    let reason = format!("`{shared}` holds much besides restores: name a directory below it that is for them alone");
    Err(match Keys::reference(written) {
        Some(key) => PolicyError::key(key, reason),
        None => PolicyError::rule(place, reason),
    })
}

#[cfg(test)]
mod tests;
