//! Puts the real ends of the seams together: store, server, providers, clock, signals.
//!
//! Everything here is made when it is first needed: `wal-push` and `wal-fetch` start once per segment and must not pay for a
//! plugin engine or a TLS set-up that they do not use.

mod archiving;
mod credentials;
mod identity_command;
mod server;
mod signals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use stillframe_core::catalog::{ArchiveSettings, BackupName, Layout, LeaseRequest, external_layout, process_space};
use stillframe_core::clock::{Clock, SystemClock};
use stillframe_core::flows::{Ports, Primary, Progress, ProviderChoice, ProviderSource, Pusher};
use stillframe_core::postgres::Connection;
use stillframe_core::provider::{Provider, ProviderError, ProviderFault, ProviderName, Token};
use stillframe_core::session_directory::SessionId;
use stillframe_core::spool::AheadSettings;
use stillframe_core::store::{Store, StoreError};
use stillframe_postgres::{ConnectSettings, Environment};
use stillframe_runtime::{Runtime, RuntimeSettings};
use stillframe_store::open_foreign;

use crate::common::Common;
use crate::config::{Config, ConfigError, Origin, ProviderConfig, SessionPlace, Variables, host_name};
use crate::exit::Failure;
use crate::progress::ShownProgress;

use credentials::OperatorCredentials;
pub use server::InstalledPrograms;
pub use signals::{interrupted, termination};

/// Everything that a command needs.
pub struct World {
    pub config: Config,
    pub layout: Layout,
    archiving: ArchiveSettings,
    pub store: Arc<dyn Store>,
    pub providers: ConfiguredProviders,
    /// Who is told how far a long step is.
    pub progress: Box<dyn Progress>,
    variables: Variables,
    clock: SystemClock,
}

impl World {
    /// Reads the configuration and opens the store.
    pub async fn open(common: &Common) -> Result<Self, Failure> {
        let variables = variables();
        let config = Config::load(common.config.as_deref(), &variables)?;
        Ok(Self::of(config, variables).await?)
    }

    /// Opens the store that a configuration names.
    pub async fn of(config: Config, variables: Variables) -> Result<Self, StoreError> {
        let store = Box::pin(stillframe_store::open(&config.store)).await?;
        let layout = Layout::new(config.cluster.clone());
        let archiving = archiving::settings(&config.archive);
        let providers = ConfiguredProviders::new(config.runtime.clone(), config.providers.clone());
        let progress = Box::new(ShownProgress::default());
        Ok(Self { config, layout, archiving, store, providers, progress, variables, clock: SystemClock })
    }

    /// The seams for a flow that archives nothing; for one that does, see [`Self::archiving_now`].
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            store: &*self.store,
            layout: &self.layout,
            archiving: &self.archiving,
            clock: &self.clock,
            providers: &self.providers,
            progress: &*self.progress,
        }
    }

    /// How far ahead WAL is pushed and fetched.
    pub fn ahead(&self) -> AheadSettings {
        let mut settings = self.config.archive.ahead.clone();
        let is_default = self.config.values.get("archive.spool").is_some_and(|value| value.origin == Origin::Default);
        // Nobody asked for it, and a user without a home has no place for it: no reason to warn at every segment.
        if is_default && settings.spool.as_deref().is_some_and(|spool| std::fs::create_dir_all(spool).is_err()) {
            settings.spool = None;
        }
        settings
    }

    /// In which form WAL is archived now, for [`Ports::archiving`] of whoever archives. Read here and not before: who restores need
    /// not have the file of recipients, and of a process that stays it may have changed since it began.
    pub fn archiving_now(&self) -> Result<ArchiveSettings, ConfigError> {
        Ok(ArchiveSettings { recipients: self.config.archive.all_recipients()?, ..self.archiving.clone() })
    }

    /// Who pushes WAL from this data directory.
    pub fn pusher<'a>(&'a self, data_directory: &'a Path) -> Result<Pusher<'a>, ConfigError> {
        Ok(Pusher { data_directory, name: self.config.archive.instance()?, guarding: self.config.archive.guard })
    }

    /// The place in which another tool keeps WAL, for reading; none when none is configured whose layout is known.
    pub async fn external_archive(&self) -> Result<Option<Arc<dyn Store>>, StoreError> {
        match self.config.external.as_ref().and_then(|external| external.place.as_ref()) {
            Some(settings) => Ok(Some(open_foreign(settings, &external_layout()).await?)),
            None => Ok(None),
        }
    }

    /// Connects to the server of the cluster.
    pub async fn connect(&self) -> Result<Box<dyn Connection>, Failure> {
        self.connect_to(&self.config.conninfo).await
    }

    /// Connects to the primary of a standby for what it has to do; a server that is none, or is none any more, needs no other.
    pub async fn primary_of(&self, server: &mut dyn Connection, session: SessionPlace) -> Result<Primary, Failure> {
        match session {
            SessionPlace::Primary => match self.connect_to_primary().await? {
                Some(primary) => Ok(Primary::InBackupMode(primary)),
                None => Err(ConfigError::Missing { key: "cluster.primary_conninfo" }.into()),
            },
            SessionPlace::Server if server.facts().await?.in_recovery => {
                Ok(self.connect_to_primary().await?.map_or(Primary::Unknown, Primary::EndsSegment))
            }
            SessionPlace::Server => Ok(Primary::Unknown),
        }
    }

    /// Connects to the primary, when one is configured.
    pub async fn connect_to_primary(&self) -> Result<Option<Box<dyn Connection>>, Failure> {
        match &self.config.primary_conninfo {
            Some(conninfo) => self.connect_to(conninfo).await.map(Some),
            None => Ok(None),
        }
    }

    async fn connect_to(&self, conninfo: &str) -> Result<Box<dyn Connection>, Failure> {
        let settings = ConnectSettings::resolve(conninfo, &Environment::new(self.variables.clone()))?;
        Ok(Box::new(stillframe_postgres::connect(&settings).await?))
    }

    /// A fresh name and a fresh token for a backup.
    pub fn new_identity(&self) -> Result<(BackupName, Token), Failure> {
        let name = BackupName::new(self.clock.now(), random()?);
        Ok((name, new_token()?))
    }
}

/// The process's variables, those that are text.
pub fn variables() -> Variables {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// What this process says of itself when it asks for the lease of the cluster.
pub fn lease_request(command: &str) -> LeaseRequest {
    LeaseRequest {
        host: host_name(),
        process_id: std::process::id(),
        process_space: process_space(),
        command: command.to_owned(),
        deadline: LeaseRequest::DEADLINE,
    }
}

/// A fresh token: 128 random bits.
pub fn new_token() -> Result<Token, Failure> {
    Ok(Token(format!("{:032x}", u128::from_ne_bytes(random()?))))
}

/// A fresh id for a session: nobody guesses 128 random bits.
pub fn new_session_id() -> Result<SessionId, Failure> {
    Ok(SessionId::new(random()?))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|source| NoRandomness { source })?;
    Ok(bytes)
}

/// The system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
struct NoRandomness {
    #[source]
    source: getrandom::Error,
}

impl stillframe_core::error::Classify for NoRandomness {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Internal
    }
}

/// The configured providers; the engine starts with the first one that is opened.
pub struct ConfiguredProviders {
    settings: RuntimeSettings,
    runtime: OnceLock<Runtime>,
    providers: BTreeMap<ProviderName, ProviderConfig>,
}

impl ConfiguredProviders {
    /// Knows the providers, and starts nothing.
    pub fn new(settings: RuntimeSettings, providers: BTreeMap<ProviderName, ProviderConfig>) -> Self {
        Self { settings, runtime: OnceLock::new(), providers }
    }

    /// The runtime.
    pub fn runtime(&self) -> &Runtime {
        self.runtime.get_or_init(|| Runtime::new(self.settings.clone()).with_credentials(Arc::new(OperatorCredentials)))
    }

    /// Chooses who cuts what: the rules of `[paths]`, and for everything else the provider that is named, the default, or the only
    /// one. With rules there may be none: then they must be about everything.
    pub fn choose(&self, named: Option<&ProviderName>, config: &Config) -> Result<ProviderChoice, ConfigError> {
        let default = match named.or(config.default_provider.as_ref()) {
            Some(name) if self.providers.contains_key(name) => Some(name.clone()),
            Some(name) => {
                return Err(ConfigError::NoSuchProvider { name: name.clone(), known: self.providers.keys().cloned().collect() });
            }
            None => match self.providers.keys().next() {
                Some(only) if self.providers.len() == 1 => Some(only.clone()),
                _ if config.paths.is_empty() => return Err(ConfigError::WhichProvider { count: self.providers.len() }),
                _ => None,
            },
        };
        Ok(ProviderChoice { default, rules: config.paths.clone() })
    }
}

#[async_trait]
impl ProviderSource for ConfiguredProviders {
    async fn open(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        let Some(provider) = self.providers.get(name) else {
            let fault = ProviderFault::Unusable(format!("the configuration has no section `[provider.{name}]`"));
            return Err(ProviderError { provider: name.clone(), operation: "be loaded", fault });
        };
        Ok(Arc::new(self.runtime().load(provider.settings.clone()).await?))
    }
}

/// The path of this program, for `restore_command`.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| Path::new("stillframe").to_owned())
}
