//! References to keys of the provider's section: `$root`.
//!
//! A value that is put into a rule must not change what the rule means. So it is never empty, never begins with `-`, which a
//! program would take for an option, and never holds a control character.

use serde_json::{Map, Value};
use stillframe_core::text::is_dangerous;

use super::PolicyError;

/// The keys of one provider's section, as a policy may refer to them.
#[derive(Debug, Clone)]
pub struct Keys<'a>(&'a Map<String, Value>);

impl<'a> Keys<'a> {
    /// The keys of this section.
    #[must_use]
    pub fn new(section: &'a Map<String, Value>) -> Self {
        Self(section)
    }

    /// The key that a text refers to; none for a text that means itself.
    #[must_use]
    pub fn reference(text: &str) -> Option<&str> {
        text.strip_prefix('$')
    }

    /// What a text means: itself, or the text in the key that it refers to. `wanted` ends the sentence "it is missing: ...".
    pub fn text(&self, text: &str, wanted: &str) -> Result<String, PolicyError> {
        let Some(key) = Self::reference(text) else { return Ok(text.to_owned()) };
        self.optional(key)?.ok_or_else(|| PolicyError::key(key, format!("it is missing: {wanted}")))
    }

    /// What a text means: itself, or all texts in the key that it refers to, of which there must be one at least.
    pub fn texts(&self, text: &str, wanted: &str) -> Result<Vec<String>, PolicyError> {
        match (Self::reference(text), self.list(text, wanted)?) {
            (Some(key), texts) if texts.is_empty() => Err(PolicyError::key(key, format!("it is empty: {wanted}"))),
            (_, texts) => Ok(texts),
        }
    }

    /// What a text means: itself, or all texts in the key that it refers to, which is a text or a list of texts. With an empty list
    /// what the policy says about them allows nothing.
    pub fn list(&self, text: &str, wanted: &str) -> Result<Vec<String>, PolicyError> {
        let Some(key) = Self::reference(text) else { return Ok(vec![text.to_owned()]) };
        match self.0.get(key) {
            None | Some(Value::Null) => Err(PolicyError::key(key, format!("it is missing: {wanted}"))),
            Some(Value::Array(values)) => values.iter().map(|value| checked(key, value)).collect(),
            Some(value) => Ok(vec![checked(key, value)?]),
        }
    }

    /// The text of a key that may be absent.
    pub fn optional(&self, key: &str) -> Result<Option<String>, PolicyError> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => checked(key, value).map(Some),
        }
    }
}

fn checked(key: &str, value: &Value) -> Result<String, PolicyError> {
    let Value::String(text) = value else { return Err(PolicyError::key(key, "it must be a text")) };
    if text.is_empty() {
        return Err(PolicyError::key(key, "it is empty"));
    }
    if text.chars().any(is_dangerous) {
        return Err(PolicyError::key(key, "it holds control characters"));
    }
    if text.starts_with('-') {
        return Err(PolicyError::key(key, format!("`{text}` begins with `-`, which a program would take for an option")));
    }
    Ok(text.clone())
}
