//! Gathers values from the file and the environment, and remembers where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::keys::{KEYS, sections, variable};

/// The environment variables of the process.
pub type Variables = BTreeMap<String, String>;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// The file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("(default)"),
            Self::File(path) => write!(formatter, "in `{}`", path.display()),
            Self::Variable(name) => write!(formatter, "from {name}"),
        }
    }
}

/// A value and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As text, whatever its type.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// The file's sections `[provider.*]`.
pub(super) type ProviderSections = toml::Table;

/// Gathers the values of all known keys; an unknown key anywhere is an error.
pub(super) fn gather(
    path: &Path,
    mut document: toml::Table,
    variables: &Variables,
) -> Result<(BTreeMap<String, Value>, ProviderSections), ConfigError> {
    let origin = Origin::File(path.to_owned());
    let providers = match document.remove("provider") {
        None => toml::Table::new(),
        Some(toml::Value::Table(table)) => table,
        Some(_) => return Err(not_a_section("provider", &origin)),
    };
    let defaults = KEYS.iter().filter_map(|key| Some((key.name.to_owned(), key.default?)));
    let mut values: BTreeMap<String, Value> =
        defaults.map(|(key, default)| (key, Value { text: default.to_owned(), origin: Origin::Default })).collect();

    if let Some(cache) = user_cache(variables) {
        values.insert("runtime.cache".to_owned(), Value { text: cache, origin: Origin::Default });
    }
    for (section, content) in document {
        if !sections().any(|known| known == section) {
            return Err(unknown(&section, &origin, sections().chain(["provider"])));
        }
        let toml::Value::Table(content) = content else { return Err(not_a_section(&section, &origin)) };
        for (name, value) in content {
            let key = format!("{section}.{name}");
            if !KEYS.iter().any(|known| known.name == key) {
                return Err(unknown(&key, &origin, KEYS.iter().map(|known| known.name)));
            }
            let text = as_text(&value).ok_or_else(|| ConfigError::Invalid {
                key: key.clone(),
                origin: origin.clone(),
                reason: "it must be a text or a number".to_owned(),
            })?;
            values.insert(key, Value { text, origin: origin.clone() });
        }
    }
    overrule(&mut values, variables)?;
    Ok((values, providers))
}

/// Where the user's programs cache what they can make again; compiled providers are worth a second each.
fn user_cache(variables: &Variables) -> Option<String> {
    let base = match (variables.get("XDG_CACHE_HOME"), variables.get("HOME")) {
        (Some(cache), _) if cache.starts_with('/') => cache.clone(),
        (_, Some(home)) if home.starts_with('/') => format!("{}/.cache", home.trim_end_matches('/')),
        _ => return None,
    };
    Some(format!("{base}/stillframe"))
}

/// Takes what the environment says. A misspelt variable of ours must not be silently without effect.
fn overrule(values: &mut BTreeMap<String, Value>, variables: &Variables) -> Result<(), ConfigError> {
    for (name, text) in variables {
        let is_ours = sections().any(|section| name.starts_with(&format!("STILLFRAME_{}_", section.to_uppercase())));
        if !is_ours {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        let Some(key) = KEYS.iter().find(|key| &variable(key.name) == name) else {
            let known: Vec<String> = KEYS.iter().map(|key| variable(key.name)).collect();
            return Err(unknown(name, &Origin::Variable("the environment".to_owned()), known.iter().map(String::as_str)));
        };
        values.insert(key.name.to_owned(), Value { text: text.clone(), origin });
    }
    if let Some(text) = variables.get("PGDATA") {
        let value = Value { text: text.clone(), origin: Origin::Variable("PGDATA".to_owned()) };
        values.entry("cluster.pgdata".to_owned()).or_insert(value);
    }
    Ok(())
}

fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

fn not_a_section(section: &str, origin: &Origin) -> ConfigError {
    ConfigError::Invalid { key: section.to_owned(), origin: origin.clone(), reason: format!("write it as a section `[{section}]`") }
}

/// The error for an unknown name, with the nearest one that is known.
pub(super) fn unknown<'a>(name: &str, origin: &Origin, known: impl Iterator<Item = &'a str>) -> ConfigError {
    /// Below this similarity a suggestion confuses more than it helps.
    const SIMILAR: f64 = 0.7;
    let scored = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = scored.filter(|(score, _)| *score >= SIMILAR).max_by(|one, other| one.0.total_cmp(&other.0));
    ConfigError::Unknown { key: name.to_owned(), origin: origin.clone(), nearest: nearest.map(|(_, known)| known.to_owned()) }
}
