//! The section `[paths]`: which provider cuts which directory of the cluster, when one backup uses several.
//!
//! A key is `data`, `wal`, `tablespace-<oid>`, or an absolute directory that stands for everything below it. Everything that no key is
//! about goes to the provider of the backup.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stillframe_core::flows::{PathRule, PathSelector};
use stillframe_core::provider::ProviderName;

use super::source::unknown;
use super::{ConfigError, Origin, ProviderConfig};

/// Reads the section. A provider that is not configured would be noticed only by the next backup.
pub(super) fn read_all(
    path: &Path,
    section: toml::Table,
    providers: &BTreeMap<ProviderName, ProviderConfig>,
) -> Result<Vec<PathRule>, ConfigError> {
    let origin = Origin::File(path.to_owned());
    section.into_iter().map(|(key, value)| rule(&key, &value, providers, &origin)).collect()
}

fn rule(
    key: &str,
    value: &toml::Value,
    providers: &BTreeMap<ProviderName, ProviderConfig>,
    origin: &Origin,
) -> Result<PathRule, ConfigError> {
    let invalid = |reason: String| ConfigError::Invalid { key: format!("paths.{key}"), origin: origin.clone(), reason };
    let selector = if key.starts_with('/') {
        // Without what may stand at its end, and only as it is written otherwise: links are the kernel's.
        PathSelector::Below(Path::new(key).components().collect::<PathBuf>())
    } else {
        let expected = || invalid("write `data`, `wal`, `tablespace-` with an oid, or an absolute directory".to_owned());
        PathSelector::Name(key.to_owned().try_into().map_err(|_: String| expected())?)
    };
    let text = value.as_str().ok_or_else(|| invalid("it must be the name of a provider".to_owned()))?;
    let known = || providers.keys().map(ProviderName::as_str);
    let Some(provider) = providers.keys().find(|name| name.as_str() == text) else {
        return Err(invalid(match unknown(text, origin, known()) {
            ConfigError::Unknown { nearest: Some(nearest), .. } => {
                format!("no provider `{text}` is configured; did you mean `{nearest}`?")
            }
            _ => format!("no provider `{text}` is configured"),
        }));
    };
    Ok(PathRule { selector, provider: provider.clone() })
}

#[cfg(test)]
mod tests {
    use stillframe_core::provider::DataPathName;

    use super::super::tests::load;
    use super::*;

    const PROVIDERS: &str = "[cluster]\nname = \"main\"\n[store]\nurl = \"file:///store\"\n[provider.hardlink]\nroot = \"/snapshots\"\n[provider.fast]\nplugin = \"hardlink\"\nroot = \"/more\"\n";

    fn rules(section: &str) -> Result<Vec<PathRule>, ConfigError> {
        load(&format!("{PROVIDERS}[paths]\n{section}"), &[]).map(|config| config.paths)
    }

    #[test]
    fn names_and_directories_are_told_apart() {
        let rules = rules("data = \"hardlink\"\n\"/fast/\" = \"fast\"\ntablespace-16384 = \"fast\"").unwrap();
        let found: Vec<(PathSelector, &str)> = rules.iter().map(|rule| (rule.selector.clone(), rule.provider.as_str())).collect();
        let name = PathSelector::Name;
        let expected = [
            (PathSelector::Below("/fast".into()), "fast"),
            (name(DataPathName::Data), "hardlink"),
            (name(DataPathName::Tablespace(16384)), "fast"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn refuses_a_provider_that_is_not_configured_and_names_the_nearest() {
        let error = rules("data = \"hardlnik\"").unwrap_err().to_string();
        assert!(error.contains("`paths.data`") && error.contains("did you mean `hardlink`?"), "{error}");
    }

    #[test]
    fn refuses_keys_that_are_no_directory_of_a_cluster() {
        for section in ["pgdata = \"hardlink\"", "\"relative/path\" = \"hardlink\"", "tablespace-x = \"hardlink\"", "wal = 1"] {
            assert!(matches!(rules(section), Err(ConfigError::Invalid { .. })), "{section}");
        }
    }
}
