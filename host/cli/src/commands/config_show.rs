//! `config show`: every value and where it came from.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use crate::commands::config_import;
use crate::common::Common;
use crate::config::{Config, KEYS};
use crate::exit::Failure;
use crate::output::{or_dash, print, table};
use crate::wiring::variables;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every value and where it came from
    Show,
    /// Make a configuration of the settings of WAL-G, in its file or in the environment
    Import(config_import::Options),
}

#[derive(Serialize)]
struct Shown {
    file: String,
    values: BTreeMap<&'static str, ShownValue>,
    providers: Vec<String>,
    paths: BTreeMap<String, String>,
    notices: Vec<String>,
}

#[derive(Serialize)]
struct ShownValue {
    value: Option<String>,
    origin: Option<String>,
    meaning: &'static str,
}

/// Shows. What may be secret is left out first, by the kind of the key.
pub fn run(common: &Common, json: bool) -> Result<ExitCode, Failure> {
    let config = Config::load(common.config.as_deref(), &variables())?;
    let shown = Shown {
        file: config.path.display().to_string(),
        values: KEYS
            .iter()
            .map(|key| {
                let value = config.values.get(key.name);
                let shown = ShownValue {
                    value: value.map(|value| key.kind.shown(value)),
                    origin: value.map(|value| value.origin.to_string()),
                    meaning: key.meaning,
                };
                (key.name, shown)
            })
            .collect(),
        providers: config.providers.keys().map(ToString::to_string).collect(),
        paths: config.paths.iter().map(|rule| (rule.selector.to_string(), rule.provider.to_string())).collect(),
        notices: config.notices,
    };
    print(json, &shown, || {
        let rows: Vec<Vec<String>> = KEYS
            .iter()
            .map(|key| {
                let row = &shown.values[key.name];
                let origin = row.origin.clone().unwrap_or_default();
                vec![key.name.to_owned(), or_dash(row.value.clone()), origin, key.meaning.to_owned()]
            })
            .collect();
        let providers = if shown.providers.is_empty() { "none".to_owned() } else { shown.providers.join(", ") };
        let mut text = format!("{}\n\nproviders: {providers}", table(&["KEY", "VALUE", "ORIGIN", "MEANING"], &rows));
        for (path, provider) in &shown.paths {
            text.push_str(&["\n", path, " is cut by ", provider].concat());
        }
        for notice in &shown.notices {
            text.push_str("\n\nnotice: ");
            text.push_str(notice);
        }
        text
    });
    Ok(ExitCode::SUCCESS)
}
