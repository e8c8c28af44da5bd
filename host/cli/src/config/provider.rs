//! The sections `[provider.NAME]`: which component, what it is granted, and what is handed to it.
//!
//! A bundled provider needs no path and comes with the narrowest grants that let it work; every other one names its file, the
//! SHA-256 that the operator accepted, and each grant. Keys that are not ours are the provider's own, and it checks them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stillframe_core::provider::ProviderName;
use stillframe_runtime::{ComponentSource, Grants, Limits, ProviderSettings, Sha256, TreeGrant};

use super::source::unknown;
use super::{ConfigError, Origin};

/// A component that is part of this program.
pub struct Bundled {
    /// Its name.
    pub name: &'static str,
    component: &'static [u8],
    /// Its own key that names the directory that it is granted, and the name under which it knows it.
    root: (&'static str, &'static str),
}

/// The components that are part of this program.
pub const fn bundled() -> &'static [Bundled] {
    const HARDLINK: Bundled = Bundled {
        name: "hardlink",
        component: include_bytes!(concat!(env!("OUT_DIR"), "/hardlink.wasm")),
        root: ("root", "snapshots"),
    };
    &[HARDLINK]
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
const OWN_KEYS: [&str; 6] = ["plugin", "component", "sha256", "deadline_secs", "memory_mib", "grants"];

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
    grants: OwnGrants,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct OwnGrants {
    tree: Option<OwnTree>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct OwnTree {
    #[serde(default)]
    roots: BTreeMap<String, PathBuf>,
    #[serde(default)]
    read_data: bool,
    #[serde(default)]
    write_restore: bool,
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
    let own: Own = own.try_into().map_err(|error: toml::de::Error| invalid("", error.message().to_owned()))?;
    let Ok(serde_json::Value::Object(config)) = serde_json::to_value(&theirs) else {
        return Err(invalid("", "it holds what JSON cannot express".to_owned()));
    };
    let limits = Limits {
        deadline_secs: own.deadline_secs,
        memory_bytes: own.memory_mib.map_or(Limits::default().memory_bytes, |mebibytes| mebibytes.saturating_mul(1 << 20)),
    };
    let mut grants = Grants { tree: own.grants.tree.map(TreeGrant::from) };
    let component = match (&own.component, &own.plugin) {
        (Some(_), Some(_)) => return Err(invalid("plugin", "`component` already says where it comes from".to_owned())),
        (Some(path), None) if !path.is_absolute() => {
            return Err(invalid("component", format!("`{}` is not an absolute path", path.display())));
        }
        (Some(path), None) => ComponentSource::File { path: path.clone(), sha256: own.sha256 },
        (None, plugin) => {
            let plugin = plugin.as_deref().unwrap_or(name.as_str());
            let Some(bundled) = bundled().iter().find(|bundled| bundled.name == plugin) else {
                let known = bundled().iter().map(|bundled| bundled.name);
                return Err(match unknown(plugin, origin, known) {
                    ConfigError::Unknown { nearest: Some(nearest), .. } => {
                        invalid("", format!("no provider `{plugin}` is bundled; did you mean `{nearest}`?"))
                    }
                    _ => invalid("", format!("no provider `{plugin}` is bundled; name its file with `component` and `sha256`")),
                });
            };
            if grants.tree.is_none() {
                grants.tree = Some(default_grant(bundled, &config).map_err(|reason| invalid(bundled.root.0, reason))?);
            }
            ComponentSource::Embedded { bytes: bundled.component }
        }
    };
    Ok(ProviderConfig { settings: ProviderSettings { name: name.clone(), component, config, grants, limits } })
}

/// The narrowest grant with which a bundled provider works: its own directory, the data to be cloned, the restore to be filled.
fn default_grant(bundled: &Bundled, config: &serde_json::Map<String, serde_json::Value>) -> Result<TreeGrant, String> {
    let (key, root) = bundled.root;
    let path = config.get(key).ok_or_else(|| "it is missing: name the directory for the snapshots".to_owned())?;
    let path = path.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
    let path = path.ok_or_else(|| "it must be an absolute path".to_owned())?;
    Ok(TreeGrant { roots: BTreeMap::from([(root.to_owned(), path)]), read_data: true, write_restore: true })
}

impl From<OwnTree> for TreeGrant {
    fn from(own: OwnTree) -> Self {
        Self { roots: own.roots, read_data: own.read_data, write_restore: own.write_restore }
    }
}
