//! Gathers values from the file and the environment, and remembers where each came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::keys::{self, KEYS, overrules, sections, variable};
use super::{ConfigError, kind, secrets, walg};

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
    /// Its parts, when the file has it as a list.
    pub items: Option<Vec<String>>,
    /// Where it came from.
    pub origin: Origin,
}

impl Value {
    /// A value that is no list.
    pub(super) fn new(text: impl Into<String>, origin: Origin) -> Self {
        Self { text: text.into(), items: None, origin }
    }

    /// The parts of a list: as the file has them, or what commas and white space part.
    pub fn items(&self) -> Vec<String> {
        let parted = || self.text.split([',', ' ', '\t', '\n', '\r']).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        self.items.clone().unwrap_or_else(parted)
    }
}

/// What the file and the environment say.
pub(super) struct Gathered {
    /// The values of all known keys.
    pub values: BTreeMap<String, Value>,
    /// The file's sections `[provider.*]`.
    pub providers: toml::Table,
    /// The file's section `[paths]`.
    pub paths: toml::Table,
    /// What was passed over, for `config show`.
    pub notices: Vec<String>,
}

/// Gathers the values of all known keys; an unknown key anywhere is an error.
pub(super) fn gather(path: &Path, mut document: toml::Table, variables: &Variables) -> Result<Gathered, ConfigError> {
    let origin = Origin::File(path.to_owned());
    if let Some(key) = secrets::private_key_in(&document) {
        return Err(ConfigError::PrivateKey { key, origin });
    }
    let mut table_of_names = |section: &str| match document.remove(section) {
        None => Ok(toml::Table::new()),
        Some(toml::Value::Table(table)) => Ok(table),
        Some(_) => Err(not_a_section(section, &origin)),
    };
    let (providers, paths) = (table_of_names("provider")?, table_of_names("paths")?);
    let defaults = KEYS.iter().filter_map(|key| Some((key.name.to_owned(), key.default?)));
    let mut values: BTreeMap<String, Value> = defaults.map(|(key, default)| (key, Value::new(default, Origin::Default))).collect();

    if let Some(state) = user_state(variables) {
        values.insert("session.directory".to_owned(), Value::new(format!("{state}/sessions"), Origin::Default));
    }
    if let Some(cache) = user_cache(variables) {
        values.insert("archive.spool".to_owned(), Value::new(format!("{cache}/spool"), Origin::Default));
        // Beside each other: the engine clears its cache of whatever it does not know.
        values.insert("runtime.cache".to_owned(), Value::new(format!("{cache}/providers"), Origin::Default));
    }
    if let Some(instance) = kind::instance_of(&host_name()) {
        values.insert("archive.instance".to_owned(), Value::new(instance, Origin::Default));
    }
    for (section, content) in document {
        if !sections().any(|known| known == section) {
            return Err(unknown(&section, &origin, sections().chain(["paths", "provider"])));
        }
        let toml::Value::Table(content) = content else { return Err(not_a_section(&section, &origin)) };
        for (name, value) in content {
            let key = format!("{section}.{name}");
            let Some(known) = keys::find(&key) else {
                return Err(unknown(&key, &origin, KEYS.iter().map(|known| known.name)));
            };
            let value = read_value(&value, known.kind.is_list(), &origin).map_err(|reason| ConfigError::Invalid {
                key: key.clone(),
                origin: origin.clone(),
                reason,
            })?;
            values.insert(key, value);
        }
    }
    overrule(&mut values, variables)?;
    let notices = walg::fill(&mut values, variables)?;
    Ok(Gathered { values, providers, paths, notices })
}

/// The name of this host, as the kernel has it.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
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

/// Where the user's programs keep what they cannot make again, and nobody clears.
fn user_state(variables: &Variables) -> Option<String> {
    let base = match (variables.get("XDG_STATE_HOME"), variables.get("HOME")) {
        (Some(state), _) if state.starts_with('/') => state.clone(),
        (_, Some(home)) if home.starts_with('/') => format!("{}/.local/state", home.trim_end_matches('/')),
        _ => return None,
    };
    Some(format!("{base}/stillframe"))
}

/// Takes what the environment says. A misspelt variable of ours must not be silently without effect.
fn overrule(values: &mut BTreeMap<String, Value>, variables: &Variables) -> Result<(), ConfigError> {
    for (name, text) in variables {
        if !overrules(name) {
            continue;
        }
        let origin = Origin::Variable(name.clone());
        let Some(key) = KEYS.iter().find(|key| &variable(key.name) == name) else {
            let known: Vec<String> = KEYS.iter().map(|key| variable(key.name)).collect();
            return Err(unknown(name, &Origin::Variable("the environment".to_owned()), known.iter().map(String::as_str)));
        };
        if secrets::has_private_key(text) {
            return Err(ConfigError::PrivateKey { key: key.name.to_owned(), origin });
        }
        values.insert(key.name.to_owned(), Value::new(text, origin));
    }
    if let Some(text) = variables.get("PGDATA") {
        let value = Value::new(text, Origin::Variable("PGDATA".to_owned()));
        values.entry("cluster.pgdata".to_owned()).or_insert(value);
    }
    Ok(())
}

fn read_value(value: &toml::Value, is_list: bool, origin: &Origin) -> Result<Value, String> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Array(items) if is_list => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            let texts = texts.ok_or("every entry must be a text")?;
            return Ok(Value { text: texts.join(", "), items: Some(texts), origin: origin.clone() });
        }
        _ if is_list => return Err("it must be a list of texts".to_owned()),
        _ => return Err("it must be a text or a number".to_owned()),
    };
    Ok(Value::new(text, origin.clone()))
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
