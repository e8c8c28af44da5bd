//! Reads a configuration of WAL-G: JSON, TOML, flat YAML, a file of `KEY=value` as shells and systemd have it, or a directory with
//! one file per variable. What would need a shell or a full reader of YAML is refused with its line, and never guessed.

use std::io;
use std::path::{Path, PathBuf};

use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

use super::super::Variables;
use super::table;

/// Stands for a value of several parts, which nobody reads.
const NESTED: &str = "(several parts)";

/// A configuration of WAL-G that cannot be read. No variant holds a value: any of them may be a secret.
#[derive(Debug, Error)]
pub enum SettingsFileError {
    /// The file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is not of the form that it looks like.
    #[error("`{}` is not {form}: line {line}: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        form: &'static str,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A setting that has one value has several.
    #[error("{name} in `{}` has several parts where one value is expected", path.display())]
    Nested {
        /// The file.
        path: PathBuf,
        /// The setting.
        name: String,
    },
}

impl Classify for SettingsFileError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Form { .. } | Self::Nested { .. } => {
                Some("write it as lines of `KEY=value`, or as flat JSON, TOML or YAML; nothing in it is executed".to_owned())
            }
        }
    }
}

/// Reads all settings, with their names in capitals, as WAL-G does.
pub fn read(path: &Path) -> Result<Variables, SettingsFileError> {
    if path.is_dir() {
        return directory(path);
    }
    let text = std::fs::read_to_string(path).map_err(unreadable(path))?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let looks_like_yaml = || {
        text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).is_some_and(|line| {
            let name = line.split([':', '=']).next().unwrap_or_default();
            line == "---" || line[name.len()..].starts_with(':')
        })
    };
    let pairs = match extension {
        "json" => json(&text),
        "toml" => toml(&text),
        "yaml" | "yml" => yaml(&text),
        _ if text.trim_start().starts_with('{') => json(&text),
        _ if looks_like_yaml() => yaml(&text),
        _ => lines(&text),
    };
    let pairs =
        pairs.map_err(|Fault { form, line, reason }| SettingsFileError::Form { path: path.to_owned(), form, line, reason })?;
    let mut settings = Variables::new();
    for (name, value) in pairs {
        let name = name.to_uppercase();
        let value = match value {
            Some(value) => value,
            None if table::is_never_read(&name) => NESTED.to_owned(),
            None => return Err(SettingsFileError::Nested { path: path.to_owned(), name }),
        };
        if !value.is_empty() {
            settings.insert(name, value);
        }
    }
    Ok(settings)
}

/// Name and value; none for a value of several parts.
type Pairs = Vec<(String, Option<String>)>;

struct Fault {
    form: &'static str,
    line: usize,
    reason: String,
}

fn directory(path: &Path) -> Result<Variables, SettingsFileError> {
    let mut settings = Variables::new();
    for entry in std::fs::read_dir(path).map_err(unreadable(path))? {
        let entry = entry.map_err(unreadable(path))?.path();
        let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name.starts_with('.') || !entry.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&entry).map_err(unreadable(&entry))?;
        let value = text.lines().next().unwrap_or_default().trim_end();
        if !value.is_empty() {
            settings.insert(name.to_uppercase(), value.to_owned());
        }
    }
    Ok(settings)
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> SettingsFileError {
    move |source| SettingsFileError::Read { path: path.to_owned(), source }
}

fn json(text: &str) -> Result<Pairs, Fault> {
    let fault = |line, reason: &str| Fault { form: "a JSON object", line, reason: reason.to_owned() };
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| fault(error.line(), "it cannot be understood"))?;
    let value = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Null => Some(String::new()),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(value.to_string()),
        serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
    };
    Ok(object.into_iter().map(|(name, content)| (name, value(content))).collect())
}

fn toml(text: &str) -> Result<Pairs, Fault> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        Fault { form: "TOML", line, reason: "it cannot be understood".to_owned() }
    })?;
    let value = |value: toml::Value| match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Array(_) | toml::Value::Table(_) => None,
        plain => Some(plain.to_string()),
    };
    Ok(table.into_iter().map(|(name, content)| (name, value(content))).collect())
}

/// `KEY: value`, without lists, anchors and the like. Lines below a key without a value belong to it, and are passed over.
fn yaml(text: &str) -> Result<Pairs, Fault> {
    let mut pairs: Pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let fault = |reason: &str| Fault { form: "flat YAML", line: number + 1, reason: reason.to_owned() };
        if line.trim().is_empty() || line.trim_start().starts_with('#') || matches!(line.trim_end(), "---" | "...") {
            continue;
        }
        if line.starts_with([' ', '\t', '-']) {
            let (_, value) = pairs.last_mut().ok_or_else(|| fault("it is indented below nothing"))?;
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                return Err(fault("a value of several lines is not read"));
            }
            *value = None;
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| fault("it is not of the form `KEY: value`"))?;
        if !value.is_empty() && !value.starts_with([' ', '\t']) {
            return Err(fault("a space is missing after the colon"));
        }
        let name = name.trim().trim_matches(['"', '\'']).to_owned();
        let value = value.trim();
        let value = match value.chars().next() {
            Some('|' | '>' | '{' | '[') => None,
            Some('&' | '*' | '!' | '%' | '@' | '`') => return Err(fault("the value is more than flat YAML")),
            Some('#') => Some(String::new()),
            _ => Some(yaml_scalar(value).ok_or_else(|| fault("the quotes have no end"))?),
        };
        pairs.push((name, value));
    }
    Ok(pairs)
}

fn yaml_scalar(text: &str) -> Option<String> {
    let ends_well = |rest: &str| rest.trim().is_empty() || rest.trim_start().starts_with('#') && rest.starts_with([' ', '\t']);
    if let Some(quoted) = text.strip_prefix('\'') {
        let mut value = String::new();
        let mut rest = quoted;
        loop {
            let (part, after) = rest.split_once('\'')?;
            value.push_str(part);
            // Two quotes are one quote of the value.
            match after.strip_prefix('\'') {
                Some(after) => rest = after,
                None => return ends_well(after).then_some(value),
            }
            value.push('\'');
        }
    }
    if text.starts_with('"') {
        // The escapes that people use are those of JSON.
        let mut stream = serde_json::Deserializer::from_str(text).into_iter::<String>();
        let value = stream.next()?.ok()?;
        return ends_well(&text[stream.byte_offset()..]).then_some(value);
    }
    let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
    Some(match text[..end].trim_end() {
        "null" | "~" => String::new(),
        plain => plain.to_owned(),
    })
}

/// `KEY=value` and `export KEY=value`, with quotes as a shell has them.
fn lines(text: &str) -> Result<Pairs, Fault> {
    let mut pairs = Pairs::new();
    for (number, line) in text.lines().enumerate() {
        let fault = |reason: &str| Fault { form: "a file of `KEY=value`", line: number + 1, reason: reason.to_owned() };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let (name, value) = line.split_once('=').ok_or_else(|| fault("it is not of the form `KEY=value`"))?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(fault("it does not begin with the name of a variable"));
        }
        pairs.push((name.to_owned(), Some(shell_word(value).map_err(fault)?)));
    }
    Ok(pairs)
}

/// One word of a shell, as far as no shell is needed to understand it.
fn shell_word(text: &str) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut letters = text.chars().peekable();
    let mut quote = None;
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some('\''), letter) if letter != '\'' => value.push(letter),
            (None | Some('"'), '$' | '`') => return Err("what a shell would put in place of `$` or a backquote is not known"),
            (None, '\'' | '"') => quote = Some(letter),
            (Some(open), letter) if letter == open => quote = None,
            (None, '\\') => value.push(letters.next().ok_or("a value of several lines is not read")?),
            (Some('"'), '\\') => match letters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
                None => return Err("a value of several lines is not read"),
            },
            (None, ' ' | '\t') => {
                let rest: String = letters.collect();
                let rest = rest.trim_start();
                return if rest.is_empty() || rest.starts_with('#') { Ok(value) } else { Err("something follows the value") };
            }
            (None, ';' | '&' | '|' | '<' | '>' | '(' | ')') => return Err("it holds a command"),
            (_, letter) => value.push(letter),
        }
    }
    if quote.is_some() { Err("the quotes have no end") } else { Ok(value) }
}
