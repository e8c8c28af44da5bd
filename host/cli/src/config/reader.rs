//! Gives values their types, after every one has been checked against the table of keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use super::keys::KEYS;
use super::{ConfigError, Value};

/// Values that are what their keys say.
pub(super) struct Reader<'a> {
    values: &'a BTreeMap<String, Value>,
}

impl<'a> Reader<'a> {
    /// Checks every value; the order of the table is the order in which errors are told.
    pub(super) fn new(values: &'a BTreeMap<String, Value>) -> Result<Self, ConfigError> {
        for key in &KEYS {
            if let Some(value) = values.get(key.name) {
                key.kind.check(value).map_err(|reason| invalid(key.name, value, reason))?;
            }
        }
        Ok(Self { values })
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.value(key).map(|value| value.text.clone())
    }

    /// A value that only its own type can judge.
    pub(super) fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        parse(&value.text).map(Some).map_err(|reason| invalid(key, value, reason))
    }

    pub(super) fn number<T: FromStr>(&self, key: &str) -> Option<T> {
        self.value(key).and_then(|value| value.text.parse().ok())
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.number(key)
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.value(key).map(|value| PathBuf::from(&value.text))
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        self.value(key).map(Value::items).unwrap_or_default()
    }

    /// The error for a value that does not go with another one.
    pub(super) fn clash(&self, key: &'static str, reason: String, hint: String) -> ConfigError {
        let origin = self.value(key).map_or(super::Origin::Default, |value| value.origin.clone());
        ConfigError::Clash { key, origin, reason, hint }
    }
}

fn invalid(key: &str, value: &Value, reason: String) -> ConfigError {
    ConfigError::Invalid { key: key.to_owned(), origin: value.origin.clone(), reason }
}
