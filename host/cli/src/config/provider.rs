//! The sections `[provider.NAME]`: which component, what it is granted, and what is handed to it.
//!
//! A bundled provider needs no path and comes with a policy: the narrowest grants that let it work, in which the operator can
//! replace any capability. Every other provider names its file, the SHA-256 that the operator accepted, and each grant. Keys
//! that are not ours are the provider's own, and it checks them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use stillframe_core::provider::ProviderName;
use stillframe_runtime::policy::{Policy, PolicyError};
use stillframe_runtime::{ComponentSource, Limits, ProviderSettings, Sha256};

use super::source::unknown;
use super::{ConfigError, Origin};

/// A component that is part of this program.
#[derive(Debug)]
pub struct Bundled {
    /// Its name.
    pub name: &'static str,
    component: &'static [u8],
    policy: &'static str,
}

impl Bundled {
    /// What it is granted unless the operator says otherwise. Read when a section needs it: most calls of the program are of
    /// PostgreSQL for one WAL file.
    pub fn policy(&self) -> Result<Policy, PolicyError> {
        Policy::parse(self.policy)
    }
}

/// The components that are part of this program, as the build has found them.
pub const fn bundled() -> &'static [Bundled] {
    include!(concat!(env!("OUT_DIR"), "/bundled.rs"))
}

/// One configured provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// How to load it.
    pub settings: ProviderSettings,
}

impl ProviderConfig {
    /// Directories in which it keeps snapshots: nobody may start a server inside.
    pub fn snapshot_roots(&self) -> impl Iterator<Item = &PathBuf> {
        self.settings.grants.tree.iter().flat_map(|grant| grant.roots.values())
    }
}

/// Keys of a section that are ours.
const OWN_KEYS: [&str; 7] = ["plugin", "component", "sha256", "deadline_secs", "memory_mib", "grants", "command_prefix"];

/// What is ours in a section.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Own {
    plugin: Option<String>,
    component: Option<PathBuf>,
    sha256: Option<Sha256>,
    deadline_secs: Option<u64>,
    memory_mib: Option<u64>,
    #[serde(default)]
    grants: Policy,
    #[serde(default)]
    command_prefix: Vec<String>,
}

/// Reads all sections.
pub(super) fn read_all(path: &Path, sections: toml::Table) -> Result<BTreeMap<ProviderName, ProviderConfig>, ConfigError> {
    let origin = Origin::File(path.to_owned());
    let mut providers = BTreeMap::new();
    for (name, section) in sections {
        let key = format!("provider.{name}");
        let invalid = |reason: String| ConfigError::Invalid { key: key.clone(), origin: origin.clone(), reason };
        let toml::Value::Table(section) = section else { return Err(invalid(format!("write it as a section `[{key}]`"))) };
        let name = ProviderName::try_from(name).map_err(invalid)?;
        let config = read(&name, section, &origin)?;
        providers.insert(name, config);
    }
    Ok(providers)
}

fn read(name: &ProviderName, section: toml::Table, origin: &Origin) -> Result<ProviderConfig, ConfigError> {
    let invalid = |key: &str, reason: String| ConfigError::Invalid {
        key: format!("provider.{name}{}{key}", if key.is_empty() { "" } else { "." }),
        origin: origin.clone(),
        reason,
    };
    let (own, theirs): (toml::Table, toml::Table) = section.into_iter().partition(|(key, _)| OWN_KEYS.contains(&key.as_str()));
    let own: Own = own.try_into().map_err(|error: toml::de::Error| invalid("", told(&error)))?;
    let Ok(Value::Object(mut config)) = serde_json::to_value(&theirs) else {
        return Err(invalid("", "it holds what JSON cannot express".to_owned()));
    };
    if !own.grants.defaults().is_empty() {
        return Err(invalid(
            "grants.defaults",
            format!("only a bundled provider has defaults: write its keys under `[provider.{name}]`"),
        ));
    }
    let (component, policy) = match (own.component, own.plugin) {
        (Some(_), Some(_)) => return Err(invalid("plugin", "`component` already says where it comes from".to_owned())),
        (Some(path), None) if !path.is_absolute() => {
            return Err(invalid("component", format!("`{}` is not an absolute path", path.display())));
        }
        (Some(path), None) => (ComponentSource::File { path, sha256: own.sha256 }, own.grants),
        (None, plugin) => {
            let plugin = plugin.as_deref().unwrap_or(name.as_str());
            let bundled = find(plugin, origin).map_err(|reason| invalid("", reason))?;
            let policy = bundled.policy().map_err(|error| invalid("", error.to_string()))?;
            fill(&mut config, policy.defaults());
            (ComponentSource::Embedded { bytes: bundled.component }, policy.replaced_by(own.grants))
        }
    };
    let grants = policy.resolve(&config).map_err(|error| match error {
        PolicyError::Key { key, reason } => invalid(&key, reason),
        PolicyError::Rule { place, reason } => invalid(&format!("grants.{place}"), reason),
    })?;
    let memory_bytes = own.memory_mib.map_or(Limits::default().memory_bytes, |mebibytes| mebibytes.saturating_mul(1 << 20));
    let limits = Limits { deadline_secs: own.deadline_secs, memory_bytes };
    let command_prefix = checked_prefix(own.command_prefix).map_err(|reason| invalid("command_prefix", reason))?;
    Ok(ProviderConfig { settings: ProviderSettings { name: name.clone(), component, config, grants, command_prefix, limits } })
}

/// A wrong type, with its place below the section. The text of the file is not shown: it may hold a password.
fn told(error: &toml::de::Error) -> String {
    error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// The bundled provider of this name, or what is wrong with the name.
fn find(plugin: &str, origin: &Origin) -> Result<&'static Bundled, String> {
    if let Some(found) = bundled().iter().find(|bundled| bundled.name == plugin) {
        return Ok(found);
    }
    let known = bundled().iter().map(|bundled| bundled.name);
    Err(match unknown(plugin, origin, known) {
        ConfigError::Unknown { nearest: Some(nearest), .. } => {
            format!("no provider `{plugin}` is bundled; did you mean `{nearest}`?")
        }
        _ => format!("no provider `{plugin}` is bundled; name its file with `component` and `sha256`"),
    })
}

/// Keys that the operator left out, as the provider's policy has them.
fn fill(config: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (key, value) in defaults {
        config.entry(key.clone()).or_insert_with(|| value.clone());
    }
}

/// What every program is started through, if anything.
fn checked_prefix(prefix: Vec<String>) -> Result<Vec<String>, String> {
    match prefix.first() {
        Some(first) if !Path::new(first).is_absolute() => Err(format!("`{first}` is not an absolute path")),
        _ if prefix.iter().any(|word| word.is_empty() || word.contains(char::is_control)) => {
            Err("a word of it is empty or holds control characters".to_owned())
        }
        _ => Ok(prefix),
    }
}

#[cfg(test)]
mod tests;
