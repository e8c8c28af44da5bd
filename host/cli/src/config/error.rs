//! Why a configuration was refused, always with the place and the way out.

use std::path::PathBuf;

use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::provider::ProviderName;
use thiserror::Error;

use super::Origin;
use super::keys::variable;

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML. The line itself is not shown: it may hold a password.
    #[error("`{}` is not valid TOML{}: {reason}", path.display(), line.map(|line| format!(" in line {line}")).unwrap_or_default())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// A key that nobody knows.
    #[error("unknown key `{key}` {origin}")]
    Unknown {
        /// The key.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// The nearest known key.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("`{key}` {origin} is invalid: {reason}")]
    Invalid {
        /// The key.
        key: String,
        /// Where it stands.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// A value that does not go with another one.
    #[error("`{key}` {origin} cannot be used: {reason}")]
    Clash {
        /// The key.
        key: &'static str,
        /// Where it stands.
        origin: Origin,
        /// What is wrong.
        reason: String,
        /// What the operator can do.
        hint: String,
    },
    /// A private key, which has no place here. It is not shown.
    #[error("`{key}` {origin} holds a private key")]
    PrivateKey {
        /// The key under which it stands.
        key: String,
        /// Where it stands.
        origin: Origin,
    },
    /// The file with recipients cannot be read.
    #[error("cannot read the recipients in `{}`", path.display())]
    Recipients {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Settings of WAL-G without which the archive would not be what they ask for.
    #[error("settings of WAL-G cannot be honoured: {}", refused.join("; "))]
    WalG {
        /// Each with its reason.
        refused: Vec<String>,
    },
    /// A key without which nothing works.
    #[error("`{key}` is not configured")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// Nothing tells this server from its copies.
    #[error("this host has no name that would tell its server from a copy of it")]
    NoInstance,
    /// A provider that is not there.
    #[error("no provider `{name}` is configured")]
    NoSuchProvider {
        /// Its name.
        name: ProviderName,
        /// Those that are.
        known: Vec<ProviderName>,
    },
    /// Several providers, and none is named.
    #[error("{count} providers are configured, and the backup names none")]
    WhichProvider {
        /// How many.
        count: usize,
    },
}

impl Classify for ConfigError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => {
                Some("name the file with --config or STILLFRAME_CONFIG; the README has the smallest one, and \
                 `stillframe config import` makes one of the settings of WAL-G"
                .to_owned())
            }
            Self::Unknown { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::Unknown { nearest: None, .. } => Some("see all keys with `stillframe config show`".to_owned()),
            Self::Missing { key } => {
                let (section, name) = key.split_once('.').unwrap_or(("", key));
                Some(format!("set `{name}` under `[{section}]`, or the variable {}", variable(key)))
            }
            Self::NoInstance => Self::Missing { key: "archive.instance" }.hint(),
            Self::NoSuchProvider { name, known } if known.is_empty() => Some(format!("add a section `[provider.{name}]`")),
            Self::NoSuchProvider { known, .. } => {
                let known: Vec<&str> = known.iter().map(ProviderName::as_str).collect();
                Some(format!("these are: {}", known.join(", ")))
            }
            Self::WhichProvider { count: 0 } => Some("add a section such as `[provider.hardlink]`".to_owned()),
            Self::WhichProvider { .. } => Some("name one with --provider, or set `provider` under `[backup]`".to_owned()),
            Self::Clash { hint, .. } => Some(hint.clone()),
            Self::PrivateKey { .. } => Some(
                "name the file that holds it by `identity_file` under `[archive]`; recipients are public keys, which begin with `age1`"
                    .to_owned(),
            ),
            Self::WalG { .. } => Some(
                "unset them, or name the store by `url` under `[store]`: then no variable of WAL-G counts".to_owned(),
            ),
            Self::Syntax { .. } | Self::Invalid { .. } | Self::Recipients { .. } => None,
        }
    }
}
