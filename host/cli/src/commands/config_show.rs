//! `config show`: every value and where it came from.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use crate::common::Common;
use crate::config::{Config, KEYS};
use crate::exit::Failure;
use crate::output::{print, table};
use crate::wiring::variables;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every value and where it came from
    Show,
}

#[derive(Serialize)]
struct Shown {
    file: String,
    values: BTreeMap<&'static str, ShownValue>,
    providers: Vec<String>,
}

#[derive(Serialize)]
struct ShownValue {
    value: Option<String>,
    origin: Option<String>,
    meaning: &'static str,
}

/// Shows. Connection strings lose their passwords first.
pub fn run(common: &Common, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(common.config.as_deref(), &variables())?;
    let shown = Shown {
        file: config.path.display().to_string(),
        values: KEYS
            .iter()
            .map(|key| {
                let value = config.values.get(key.name);
                let shown = ShownValue {
                    value: value.map(|value| without_password(&value.text)),
                    origin: value.map(|value| value.origin.to_string()),
                    meaning: key.meaning,
                };
                (key.name, shown)
            })
            .collect(),
        providers: config.providers.keys().map(ToString::to_string).collect(),
    };
    print(json, &shown, || {
        let rows: Vec<Vec<String>> = KEYS
            .iter()
            .map(|key| {
                let row = &shown.values[key.name];
                let (value, origin) = (row.value.clone(), row.origin.clone());
                vec![
                    key.name.to_owned(),
                    value.unwrap_or_else(|| "-".to_owned()),
                    origin.unwrap_or_default(),
                    key.meaning.to_owned(),
                ]
            })
            .collect();
        let providers = if shown.providers.is_empty() { "none".to_owned() } else { shown.providers.join(", ") };
        format!("{}\n\nproviders: {providers}", table(&["KEY", "VALUE", "ORIGIN", "MEANING"], &rows))
    });
    Ok(ExitCode::SUCCESS)
}

/// A connection string that may hold a password is not shown at all: it can be quoted, escaped and spaced in too many ways.
fn without_password(text: &str) -> String {
    if text.contains('@') || text.to_lowercase().contains("pass") {
        "(not shown, since it may hold a password)".to_owned()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn never_shows_a_password() {
        for text in [
            "password= secret",
            "host=a password=secret user=b",
            "password = secret",
            "password='se cret' user=b",
            "postgresql://me:secret@host/db",
            "postgresql://me:se@cret@host/db?x=1",
            "postgresql://host/db?user=me&password=secret&sslmode=require",
            "host=a PASSWORD=secret sslpassword=secret",
        ] {
            let shown = without_password(text);
            assert!(!shown.contains("secret") && !shown.contains("cret"), "{text} became {shown}");
        }
        assert_eq!(without_password("host=/run user=postgres"), "host=/run user=postgres");
    }
}
