//! The configuration: one TOML file, overruled by `STILLFRAME_*` variables, overruled by flags.
//!
//! Every key stands in one table with its meaning and its default, from which the environment variables, the check for unknown
//! keys and `config show` follow. Each value remembers where it came from. `PG*` variables fill what the connection string
//! leaves open, exactly as for `psql`, and `PGDATA` a missing `cluster.pgdata`.

mod error;
mod keys;
mod provider;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stillframe_core::catalog::ClusterName;
use stillframe_core::flows::PushDeadlines;
use stillframe_core::postgres::CheckpointMode;
use stillframe_core::provider::ProviderName;
use stillframe_runtime::{EngineKind, RuntimeSettings};

pub use error::ConfigError;
pub use keys::KEYS;
pub use provider::{ProviderConfig, bundled};
pub use source::{Origin, Value, Variables};

/// Where the configuration lies unless the operator says otherwise.
pub const DEFAULT_PATH: &str = "/etc/stillframe/stillframe.toml";

/// The configuration of one cluster, checked.
#[derive(Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Name of the cluster.
    pub cluster: ClusterName,
    /// Its data directory.
    pub pgdata: Option<PathBuf>,
    /// How to connect to it.
    pub conninfo: String,
    /// How to connect to the primary of a standby.
    pub primary_conninfo: Option<String>,
    /// Where catalog and archive lie.
    pub store_url: String,
    /// The provider of a backup that names none.
    pub default_provider: Option<ProviderName>,
    /// How the first checkpoint of a backup is written.
    pub checkpoint: CheckpointMode,
    /// How long a backup may take.
    pub deadlines: PushDeadlines,
    /// How components are run.
    pub runtime: RuntimeSettings,
    /// The providers.
    pub providers: BTreeMap<ProviderName, ProviderConfig>,
    /// Every value with its origin, for `config show`.
    pub values: BTreeMap<String, Value>,
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// `path` is what the flag `--config` says; the variable `STILLFRAME_CONFIG` and the default place come after it.
    pub fn load(path: Option<&Path>, variables: &Variables) -> Result<Self, ConfigError> {
        let path = path
            .map(Path::to_owned)
            .or_else(|| variables.get("STILLFRAME_CONFIG").map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
        // A restored server calls us from its own directory: the path that it is given must hold there, too.
        let path = std::path::absolute(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let document: toml::Table =
            text.parse().map_err(|source| ConfigError::Syntax { path: path.clone(), source: Box::new(source) })?;
        let (values, sections) = source::gather(&path, document, variables)?;
        let providers = provider::read_all(&path, sections)?;
        Self::check(path, values, providers)
    }

    fn check(
        path: PathBuf,
        values: BTreeMap<String, Value>,
        providers: BTreeMap<ProviderName, ProviderConfig>,
    ) -> Result<Self, ConfigError> {
        let read = Reader { values: &values };
        let default_provider = read.parsed("backup.provider", |text| ProviderName::try_from(text.to_owned()))?;
        if let Some(name) = &default_provider
            && !providers.contains_key(name)
        {
            return Err(ConfigError::NoSuchProvider { name: name.clone(), known: providers.keys().cloned().collect() });
        }
        Ok(Self {
            cluster: read
                .parsed("cluster.name", |text| ClusterName::try_from(text.to_owned()).map_err(|error| error.to_string()))?
                .ok_or(ConfigError::Missing { key: "cluster.name" })?,
            pgdata: read.absolute_path("cluster.pgdata")?,
            conninfo: read.text("cluster.conninfo").unwrap_or_default(),
            primary_conninfo: read.text("cluster.primary_conninfo"),
            store_url: read.text("store.url").ok_or(ConfigError::Missing { key: "store.url" })?,
            default_provider,
            checkpoint: read
                .parsed("backup.checkpoint", |text| match text {
                    "fast" => Ok(CheckpointMode::Fast),
                    "spread" => Ok(CheckpointMode::Spread),
                    other => Err(format!("`{other}` is neither `fast` nor `spread`")),
                })?
                .unwrap_or_default(),
            deadlines: PushDeadlines {
                cut: read.seconds("backup.cut_timeout_secs")?,
                archive: read.seconds("backup.archive_timeout_secs")?,
                ready: read.seconds("backup.ready_timeout_secs")?,
            },
            runtime: RuntimeSettings {
                engine: read
                    .parsed("runtime.engine", |text| match text {
                        "auto" => Ok(EngineKind::Auto),
                        "native" => Ok(EngineKind::Native),
                        "pulley" => Ok(EngineKind::Pulley),
                        other => Err(format!("`{other}` is none of `auto`, `native` and `pulley`")),
                    })?
                    .unwrap_or_default(),
                cache: read.absolute_path("runtime.cache")?,
            },
            providers,
            path,
            values,
        })
    }

    /// The data directory, or the error that says how to name it.
    pub fn pgdata(&self) -> Result<&Path, ConfigError> {
        self.pgdata.as_deref().ok_or(ConfigError::Missing { key: "cluster.pgdata" })
    }
}

/// Gives values their types.
struct Reader<'a> {
    values: &'a BTreeMap<String, Value>,
}

impl Reader<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.values.get(key).map(|value| value.text.clone())
    }

    fn parsed<T>(&self, key: &'static str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        let parsed = parse(&value.text);
        parsed.map(Some).map_err(|reason| ConfigError::Invalid { key: key.to_owned(), origin: value.origin.clone(), reason })
    }

    fn absolute_path(&self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        self.parsed(key, |text| {
            let path = PathBuf::from(text);
            if path.is_absolute() { Ok(path) } else { Err(format!("`{text}` is not an absolute path")) }
        })
    }

    fn seconds(&self, key: &'static str) -> Result<Duration, ConfigError> {
        let seconds = self.parsed(key, |text| match text.parse() {
            Ok(0) | Err(_) => Err(format!("`{text}` is not a number of seconds from 1")),
            Ok(seconds) => Ok(Duration::from_secs(seconds)),
        })?;
        seconds.ok_or(ConfigError::Missing { key })
    }
}

#[cfg(test)]
mod tests;
