//! The configuration: one TOML file, overruled by `STILLFRAME_*` variables, overruled by flags.
//!
//! Every key stands in one table with its meaning and its default, from which the environment variables, the check for unknown
//! keys and `config show` follow. Each value remembers where it came from. `PG*` variables fill what the connection string
//! leaves open, exactly as for `psql`, and `PGDATA` a missing `cluster.pgdata`. Variables of WAL-G count only while nobody has
//! named a store: one that was forgotten in the environment must not change where WAL goes.

mod archive;
mod drill;
mod error;
mod external;
mod keys;
mod kind;
mod paths;
mod provider;
mod reader;
mod retention;
mod secrets;
mod session;
mod session_place;
mod source;
mod store;
pub mod walg;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stillframe_core::catalog::ClusterName;
use stillframe_core::flows::{PathRule, PushDeadlines};
use stillframe_core::postgres::CheckpointMode;
use stillframe_core::provider::ProviderName;
use stillframe_core::retention::RetentionPolicy;
use stillframe_runtime::{EngineKind, RuntimeSettings};
use stillframe_store::StoreSettings;

use reader::Reader;

pub use archive::{ArchiveConfig, IdentitySource};
pub use drill::DrillConfig;
pub use error::ConfigError;
pub use external::ExternalConfig;
pub use keys::{KEYS, overrules};
pub use provider::{ProviderConfig, bundled};
pub use secrets::has_private_key;
pub use session::SessionConfig;
pub use session_place::SessionPlace;
pub use source::{Origin, Value, Variables, host_name};

use source::Gathered;

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
    /// How the store is reached.
    pub store: StoreSettings,
    /// How WAL is archived.
    pub archive: ArchiveConfig,
    /// Where another tool keeps WAL; none when nobody has said.
    pub external: Option<ExternalConfig>,
    /// The provider of a backup that names none.
    pub default_provider: Option<ProviderName>,
    /// How the first checkpoint of a backup is written.
    pub checkpoint: CheckpointMode,
    /// Where backup mode is while the files of a standby are cut.
    pub session_place: SessionPlace,
    /// How long a backup may take.
    pub deadlines: PushDeadlines,
    /// How backups are proven.
    pub drill: DrillConfig,
    /// How sessions for outside tools are held.
    pub session: SessionConfig,
    /// What `delete policy` keeps; none when nobody has said.
    pub retention: Option<RetentionPolicy>,
    /// How components are run.
    pub runtime: RuntimeSettings,
    /// The providers.
    pub providers: BTreeMap<ProviderName, ProviderConfig>,
    /// Which of them cuts which directory, where the file says so.
    pub paths: Vec<PathRule>,
    /// Every value with its origin, for `config show`.
    pub values: BTreeMap<String, Value>,
    /// What was passed over and may surprise, for `config show`: no other command repeats it at every call.
    pub notices: Vec<String>,
}

impl Config {
    /// Reads and checks the configuration.
    ///
    /// `path` is what the flag `--config` says; the variable `STILLFRAME_CONFIG` and the default place come after it.
    pub fn load(path: Option<&Path>, variables: &Variables) -> Result<Self, ConfigError> {
        let path = Self::choose_path(path, variables.get("STILLFRAME_CONFIG").map(String::as_str));
        // A restored server calls us from its own directory: the path that it is given must hold there, too.
        let path = std::path::absolute(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
        let document: toml::Table = text.parse().map_err(|source: toml::de::Error| ConfigError::Syntax {
            path: path.clone(),
            line: source.span().and_then(|span| Some(text.get(..span.start)?.matches('\n').count() + 1)),
            reason: source.message().to_owned(),
        })?;
        let Gathered { values, providers, paths, notices } = source::gather(&path, document, variables)?;
        let providers = provider::read_all(&path, providers)?;
        let paths = paths::read_all(&path, paths, &providers)?;
        Self::check(path, values, providers, paths, notices)
    }

    /// Where the file lies that the flag, the variable `STILLFRAME_CONFIG` or nobody names.
    pub fn choose_path(flag: Option<&Path>, variable: Option<&str>) -> PathBuf {
        flag.or(variable.map(Path::new)).unwrap_or(Path::new(DEFAULT_PATH)).to_owned()
    }

    fn check(
        path: PathBuf,
        values: BTreeMap<String, Value>,
        providers: BTreeMap<ProviderName, ProviderConfig>,
        paths: Vec<PathRule>,
        notices: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let read = Reader::new(&values)?;
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
            pgdata: read.path("cluster.pgdata"),
            conninfo: read.text("cluster.conninfo").unwrap_or_default(),
            // A variable that is empty takes it away: it does not mean the primary of this host.
            primary_conninfo: read.text("cluster.primary_conninfo").filter(|conninfo| !conninfo.is_empty()),
            store: store::read(&read)?,
            archive: archive::read(&read)?,
            external: external::read(&read)?,
            default_provider,
            checkpoint: match read.text("backup.checkpoint").as_deref() {
                Some("spread") => CheckpointMode::Spread,
                _ => CheckpointMode::Fast,
            },
            session_place: SessionPlace::of(read.text("backup.session").as_deref()),
            deadlines: PushDeadlines {
                cut: seconds(&read, "backup.cut_timeout_secs")?,
                archive: seconds(&read, "backup.archive_timeout_secs")?,
                ready: seconds(&read, "backup.ready_timeout_secs")?,
            },
            drill: drill::read(&read)?,
            session: session::read(&read)?,
            retention: retention::read(&read)?,
            runtime: RuntimeSettings {
                engine: match read.text("runtime.engine").as_deref() {
                    Some("native") => EngineKind::Native,
                    Some("pulley") => EngineKind::Pulley,
                    _ => EngineKind::Auto,
                },
                cache: read.path("runtime.cache"),
            },
            providers,
            paths,
            path,
            values,
            notices,
        })
    }

    /// The data directory, or the error that says how to name it.
    pub fn pgdata(&self) -> Result<&Path, ConfigError> {
        self.pgdata.as_deref().ok_or(ConfigError::Missing { key: "cluster.pgdata" })
    }
}

fn seconds(read: &Reader<'_>, key: &'static str) -> Result<Duration, ConfigError> {
    read.number(key).map(Duration::from_secs).ok_or(ConfigError::Missing { key })
}

#[cfg(test)]
mod tests;
