//! Reading the configuration that the host passes with every call.

use serde::de::DeserializeOwned;

use crate::{Error, invalid};

/// Reads a provider's configuration; what is wrong with it is the error `invalid`, which names the key.
pub fn parse_config<C: DeserializeOwned>(json: &str) -> Result<C, Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let config = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (inner, text) = (error.inner(), error.inner().to_string());
        // The place in a text that the operator never sees helps nobody.
        let place = format!(" at line {} column {}", inner.line(), inner.column());
        let message = text.strip_suffix(&place).unwrap_or(&text);
        invalid(&key(&error.path().to_string(), message), message)
    })?;
    deserializer.end().map_err(|error| invalid("configuration", error.to_string()))?;
    Ok(config)
}

/// The key that an error is about. An error about a key itself (unknown, missing, twice) has it only in its text.
fn key(path: &str, message: &str) -> String {
    let named = ["unknown field `", "missing field `", "duplicate field `"].iter().find_map(|words| message.strip_prefix(words));
    let parent = path.trim_matches('.');
    match named.and_then(|rest| rest.split_once('`')) {
        // An unknown key may stand in the path already.
        Some((key, _)) if parent.is_empty() || parent == key || parent.ends_with(&format!(".{key}")) => {
            if parent.is_empty() {
                key.to_owned()
            } else {
                parent.to_owned()
            }
        }
        Some((key, _)) => format!("{parent}.{key}"),
        None if parent.is_empty() => "configuration".to_owned(),
        None => parent.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the reading is tested")]
    struct Config {
        size: u32,
        #[serde(default)]
        inner: Option<Inner>,
        #[serde(default)]
        mode: Mode,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the reading is tested")]
    struct Inner {
        name: String,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        #[default]
        Auto,
        CpAl,
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        for (json, field, word) in [
            (r#"{"size":1,"sise":2}"#, "sise", "unknown field"),
            (r"{}", "size", "missing field"),
            (r#"{"size":"big"}"#, "size", "expected u32"),
            (r#"{"size":1,"size":2}"#, "size", "duplicate field"),
            (r#"{"size":1,"mode":"fast"}"#, "mode", "expected `auto` or `cp-al`"),
            (r#"{"size":1,"inner":{"nam":"x"}}"#, "inner.nam", "unknown field"),
            (r#"{"size":1,"inner":{}}"#, "inner.name", "missing field"),
            (r#"{"size":1,"inner":{"name":3}}"#, "inner.name", "expected a string"),
            (r"[", "configuration", "EOF"),
            (r#"{"size":1} x"#, "configuration", "trailing"),
        ] {
            let Err(Error::Invalid(argument)) = parse_config::<Config>(json) else { panic!("{json} was accepted") };
            assert_eq!(argument.field, field, "{json}");
            assert!(argument.message.contains(word), "{json}: {}", argument.message);
            assert!(!argument.message.contains(" line 1 column") || field == "configuration", "{}", argument.message);
        }
        assert!(parse_config::<Config>(r#"{"size":1,"mode":"cp-al","inner":{"name":"x"}}"#).is_ok());
    }
}
