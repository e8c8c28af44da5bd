//! `config import`: makes a configuration of WAL-G's settings.
//!
//! It writes no secret into it, and refuses by name what cannot be honoured: whoever moves from WAL-G must not find out at a restore
//! that something was left behind.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::files::sync_directory;
use thiserror::Error;

use crate::config::Variables;
use crate::config::walg::{Plan, Taken, file, of_environment, plan, render};
use crate::exit::Failure;
use crate::output::{count, print};
use crate::wiring::variables;

#[derive(Debug, Args)]
pub struct Options {
    /// WAL-G's configuration: JSON, TOML, flat YAML, lines of KEY=value, or a directory with a file per variable
    /// [default: the environment]
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Write the configuration into a new file instead of printing it
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the keys for S3 into a new file that only you can read, and name it in the configuration
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// Leave out what cannot be honoured, and say so in the file
    #[arg(long)]
    partial: bool,
}

#[derive(Serialize)]
struct Imported<'a> {
    configuration: &'a str,
    written: Option<&'a Path>,
    taken: BTreeMap<&'a str, &'a [String]>,
    secrets: Vec<&'a str>,
    without_effect: BTreeMap<&'a str, &'a str>,
    refused: BTreeMap<&'a str, &'a str>,
}

/// Imports.
pub fn run(options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let (settings, source) = match &options.from {
        Some(path) => (file::read(path)?, format!("`{}`", path.display())),
        None => (of_environment(&variables()), "the environment".to_owned()),
    };
    let mut plan = plan(&settings, &BTreeMap::new());
    check(&plan, options)?;
    let credentials = options.credentials.as_deref().map(|path| Credentials::take(path, &settings, &mut plan)).transpose()?;
    let text = render::render(&plan, &source);
    if let Some(credentials) = &credentials {
        write_new(&credentials.path, &credentials.text, 0o600)?;
    }
    if let Some(path) = &options.output
        && let Err(error) = write_new(path, &text, 0o644)
    {
        if let Some(credentials) = &credentials {
            // A second try finds the place free; the first error is the one to tell.
            let _ = std::fs::remove_file(&credentials.path);
        }
        return Err(error.into());
    }
    let imported = Imported {
        configuration: &text,
        written: options.output.as_deref(),
        taken: plan.taken.iter().map(|taken| (taken.key, taken.names.as_slice())).collect(),
        secrets: plan.secrets.iter().map(|(name, _)| name.as_str()).collect(),
        without_effect: plan.passed.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect(),
        refused: plan.refused.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect(),
    };
    print(json, &imported, || match &options.output {
        Some(path) => format!("{} is written: {} taken over", path.display(), count(plan.taken.len(), "key")),
        None => text.clone(),
    });
    Ok(ExitCode::SUCCESS)
}

fn check(plan: &Plan, options: &Options) -> Result<(), ImportError> {
    if !plan.refused.is_empty() && !options.partial {
        let settings = plan.refused.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        return Err(ImportError::Refused { settings });
    }
    let has_store = plan.taken.iter().any(|taken| taken.key == "store.url");
    if has_store || options.partial { Ok(()) } else { Err(ImportError::NoStore) }
}

/// A file of credentials as the tools of AWS read it.
struct Credentials {
    path: PathBuf,
    text: String,
}

impl Credentials {
    /// Moves the keys out of the plan, and names their file in it.
    fn take(path: &Path, settings: &Variables, plan: &mut Plan) -> Result<Self, ImportError> {
        const KEYS: [(&str, &[&str]); 3] = [
            ("aws_access_key_id", &["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]),
            ("aws_secret_access_key", &["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]),
            ("aws_session_token", &["AWS_SESSION_TOKEN"]),
        ];
        let path = std::path::absolute(path).map_err(|source| ImportError::Write { path: path.to_owned(), source })?;
        let mut lines = vec!["[default]".to_owned()];
        for (key, names) in KEYS {
            // Beside a store of another kind they are no secrets of the plan, and our own reader would refuse them.
            let is_wanted = |name: &&str| plan.secrets.iter().any(|(secret, _)| secret == name);
            let mut wanted = names.iter().copied().filter(is_wanted);
            let Some((name, value)) = wanted.find_map(|name| Some((name, settings.get(name)?))) else { continue };
            // A line break would make a second line of the file out of one value.
            if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(ImportError::OddSecret { name: name.to_owned() });
            }
            lines.push(format!("{key} = {value}"));
            plan.secrets.retain(|(secret, _)| !names.contains(&secret.as_str()));
        }
        // Half a pair opens nothing.
        if lines.len() < 3 {
            return Err(ImportError::NoCredentials);
        }
        plan.taken.retain(|taken| !matches!(taken.key, "store.credentials_file" | "store.profile"));
        let names = vec!["--credentials".to_owned()];
        plan.taken.push(Taken { key: "store.credentials_file", text: path.display().to_string(), names, was: None });
        lines.push(String::new());
        Ok(Self { path, text: lines.join("\n") })
    }
}

/// Writes a file that was not there before, durably.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), ImportError> {
    let failed = |source| ImportError::Write { path: path.to_owned(), source };
    let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let write = |mut file: File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let file = open().map_err(failed)?;
    if let Err(source) = write(file) {
        let _ = std::fs::remove_file(path);
        return Err(failed(source));
    }
    let path = std::path::absolute(path).map_err(failed)?;
    sync_directory(path.parent().unwrap_or(Path::new("/"))).map_err(|source| failed(std::io::Error::other(source)))
}

/// An import that was not done.
#[derive(Debug, Error)]
enum ImportError {
    #[error("settings of WAL-G cannot be honoured: {}", settings.join("; "))]
    Refused { settings: Vec<String> },
    #[error("no setting names a store, such as WALG_S3_PREFIX or WALG_FILE_PREFIX")]
    NoStore,
    #[error("there are no keys for S3 among the settings")]
    NoCredentials,
    #[error("{name} holds something else than visible letters")]
    OddSecret { name: String },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Classify for ImportError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Refused { .. } => ErrorClass::Refused,
            Self::NoStore | Self::NoCredentials | Self::OddSecret { .. } => ErrorClass::Config,
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => ErrorClass::Refused,
            Self::Write { .. } => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { .. } => Some("--partial leaves them out, and lists them at the top of the configuration".to_owned()),
            Self::NoStore => Some("name WAL-G's configuration by --from; without it the environment is read".to_owned()),
            Self::NoCredentials => Some("leave --credentials out".to_owned()),
            Self::OddSecret { .. } => Some("write the file of credentials by hand".to_owned()),
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
                Some("nothing is overwritten: name another file".to_owned())
            }
            Self::Write { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests;
