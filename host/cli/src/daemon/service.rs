//! What the daemon does for its clients: the same flows as the commands, on a world that stays.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use stillframe_core::error::{Classify, chain};
use stillframe_core::flows::{Ports, PrefetchRequest, WalFetched, wal_fetch, wal_prefetch, wal_push};
use stillframe_core::postgres::WalFileName;
use stillframe_core::spool::AheadSettings;
use tokio::sync::{Mutex as Turn, watch};
use tokio::task::JoinSet;

use super::check::{Check, ConfigurationId, DirectoryId};
use super::protocol::Reply;
use crate::wiring::World;

/// What connections are served with.
#[async_trait]
pub trait Service: Send + Sync {
    /// Whether it would do for this client exactly what the plain command does.
    fn check(&self, check: Check) -> Reply;

    /// Whether this is the data directory of its server.
    fn is_home(&self, directory: DirectoryId) -> bool;

    /// Archives the file of this name.
    async fn push(&self, name: &str) -> Reply;

    /// Restores the file of this name.
    async fn fetch(&self, name: &str, destination: &Path) -> Reply;

    /// Begins nothing further ahead: the daemon ends.
    fn end(&self);

    /// Waits, after [`Self::end`], until nothing is left behind of what went on beside the connections.
    async fn ended(&self);
}

/// The archive of one cluster.
pub struct WalService {
    shared: Arc<Shared>,
    /// They leave decrypted segments behind when nobody waits for them.
    prefetching: Mutex<JoinSet<()>>,
    /// A recovery asks for one file at a time, in the same place: what was asked for last must be what gets its name last.
    fetching: Turn<()>,
}

struct Shared {
    world: World,
    data_directory: PathBuf,
    /// What the world was made from; none when that cannot be told, and then it is nobody's.
    configuration: Option<ConfigurationId>,
    ahead: AheadSettings,
    ending: watch::Sender<bool>,
}

impl WalService {
    /// Serves the cluster of this data directory. `configuration` is taken before the world reads it: a change in between must show.
    pub fn new(world: World, data_directory: PathBuf, configuration: Option<ConfigurationId>) -> Self {
        let ahead = world.ahead();
        let shared = Shared { world, data_directory, configuration, ahead, ending: watch::Sender::new(false) };
        Self { shared: Arc::new(shared), prefetching: Mutex::default(), fetching: Turn::default() }
    }

    /// Prefetches beside the connections. Another process, or another task, that does so already ends this one at once.
    fn prefetch(&self, request: PrefetchRequest) {
        let shared = Arc::clone(&self.shared);
        let mut prefetching = self.prefetching();
        // Those that have ended.
        while prefetching.try_join_next().is_some() {}
        prefetching.spawn(async move {
            wal_prefetch(&shared.world.ports(), &shared.ahead, &request, shared.ending()).await;
        });
    }

    fn prefetching(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.prefetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    async fn ending(&self) {
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }
}

#[async_trait]
impl Service for WalService {
    fn check(&self, check: Check) -> Reply {
        if !DirectoryId::of(&self.shared.data_directory.join("pg_wal")).is_ok_and(|ours| ours == check.directory) {
            tracing::warn!("a client works in the WAL directory of another server; it does without this daemon");
            return Reply::Failed;
        }
        if self.shared.configuration != Some(check.configuration) {
            let hint = "restart the daemon";
            tracing::warn!(
                hint,
                "a client has another configuration, environment, host name or program than this daemon was started with; it does without"
            );
            return Reply::Reconfigured;
        }
        Reply::Serving
    }

    fn is_home(&self, directory: DirectoryId) -> bool {
        DirectoryId::of(&self.shared.data_directory).is_ok_and(|ours| ours == directory)
    }

    async fn push(&self, name: &str) -> Reply {
        let shared = &*self.shared;
        // The name of a file and nothing else: it is joined to a directory.
        if let Err(error) = name.parse::<WalFileName>() {
            return refuse(name, &error.to_string(), None);
        }
        let path = shared.data_directory.join("pg_wal").join(name);
        // The only part of the configuration that may change without a restart: a key must not stay in use because nobody thought
        // of the daemon.
        let archiving = match shared.world.archiving_now() {
            Ok(archiving) => archiving,
            Err(error) => return refuse(name, &chain(&error), error.hint()),
        };
        let who = match shared.world.pusher(&shared.data_directory) {
            Ok(who) => who,
            Err(error) => return refuse(name, &chain(&error), error.hint()),
        };
        let ports = Ports { archiving: &archiving, ..shared.world.ports() };
        match wal_push(&ports, &shared.ahead, &who, &path, shared.ending()).await {
            Ok(pushed) => {
                tracing::debug!(file = name, ?pushed, "archived");
                Reply::Done
            }
            Err(error) => refuse(name, &chain(&error), error.hint()),
        }
    }

    async fn fetch(&self, name: &str, destination: &Path) -> Reply {
        let shared = &*self.shared;
        let destination = shared.data_directory.join(destination);
        let _turn = self.fetching.lock().await;
        match wal_fetch(&shared.world.ports(), &shared.ahead, name, &destination).await {
            Ok((WalFetched::Restored(_), next)) => {
                if let Some(request) = next {
                    self.prefetch(request);
                }
                Reply::Done
            }
            Ok((WalFetched::Absent, _)) => Reply::Missing,
            Err(error) => refuse(name, &chain(&error), error.hint()),
        }
    }

    fn end(&self) {
        self.shared.ending.send_replace(true);
    }

    async fn ended(&self) {
        let mut prefetching = std::mem::take(&mut *self.prefetching());
        while prefetching.join_next().await.is_some() {}
    }
}

fn refuse(name: &str, error: &str, hint: Option<String>) -> Reply {
    tracing::error!(file = name, error, hint = hint.unwrap_or_default(), "failed");
    Reply::Failed
}
