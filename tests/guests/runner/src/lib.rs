//! A provider that runs the programs of its configuration, and tells how each ended. A test grants it whatever it is about.

#![cfg(target_family = "wasm")]

use serde::Deserialize;
use stillframe_sdk::command::{Command, Invocation};
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Features, Host, Provider, ProviderInfo, Sandbox, SetPage, SetReference, SnapshotSet,
    Volume,
};

/// Characters of an output that are told.
const TOLD: usize = 200;

/// Runs programs.
#[derive(Debug, Clone, Copy)]
pub struct Runner;

stillframe_sdk::export_provider!(Runner);

/// What to do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    runs: Vec<Run>,
}

#[derive(Debug, Clone, Deserialize)]
struct Run {
    program: String,
    #[serde(default)]
    args: Vec<String>,
    stdin: Option<String>,
    timeout_ms: Option<u32>,
}

impl<H: Host + Command> Provider<H> for Runner {
    type Config = Config;

    /// Tries what it must not have here, and tells in its summary how that ended.
    fn describe() -> ProviderInfo {
        let run = Run { program: "true".to_owned(), args: Vec::new(), stdin: None, timeout_ms: None };
        ProviderInfo {
            name: "runner".to_owned(),
            version: "1.0.0".to_owned(),
            summary: told(&Sandbox, &run),
            features: Features::empty(),
            config_schema: r#"{"type":"object"}"#.to_owned(),
            needs: Vec::new(),
        }
    }

    fn check(host: &H, config: &Config) -> Result<Vec<String>, Error> {
        Ok(config.runs.iter().map(|run| told(host, run)).collect())
    }

    fn resolve(_: &H, _: &Config, _: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        Ok(Vec::new())
    }

    fn create_set(_: &H, _: &Config, _: CreateRequest) -> Result<SnapshotSet, Error> {
        Err(Error::Unsupported("creating".to_owned()))
    }

    fn get_set(_: &H, _: &Config, _: SetReference) -> Result<Option<SnapshotSet>, Error> {
        Ok(None)
    }

    fn list_sets(_: &H, _: &Config, _: &str, _: Option<String>) -> Result<SetPage, Error> {
        Ok(SetPage { sets: Vec::new(), next: None })
    }

    fn delete_set(_: &H, _: &Config, _: &str) -> Result<Deletion, Error> {
        Ok(Deletion::Absent)
    }
}

/// Runs one program, and tells how it ended.
fn told(host: &impl Command, run: &Run) -> String {
    let Run { program, args, stdin, timeout_ms } = run.clone();
    match host.run(&Invocation { program, args, stdin, timeout_ms }) {
        Ok(output) => format!(
            "{:?} truncated={} stdout {}: {} stderr {}: {}",
            output.status,
            output.truncated,
            output.stdout.len(),
            begin(&output.stdout),
            output.stderr.len(),
            begin(&output.stderr)
        ),
        Err(error) => format!("{error:?}"),
    }
}

fn begin(text: &str) -> String {
    text.chars().take(TOLD).collect()
}
