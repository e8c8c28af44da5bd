//! The flows: one story per file, each a function of ordered steps whose order is the contract.

mod backup_mark;
mod delete;
mod snapshot_fetch;
mod snapshot_push;
mod wal_fetch;
mod wal_push;

use std::sync::Arc;

use async_trait::async_trait;

pub use backup_mark::{MarkError, backup_mark};
pub use delete::{DeleteError, DeleteReport, apply_delete, plan_delete};
pub use snapshot_fetch::{BackupSelector, FetchError, FetchReport, FetchRequest, snapshot_fetch};
pub use snapshot_push::{PushDeadlines, PushError, PushRequest, Server, snapshot_push};
pub use wal_fetch::{WalFetchError, WalFetched, wal_fetch};
pub use wal_push::{WalPushError, wal_push};

use crate::catalog::{ArchiveSettings, Catalog, Layout, WalArchive};
use crate::clock::Clock;
use crate::provider::{Provider, ProviderError, ProviderName};
use crate::store::Store;

/// What a flow reaches the world through.
pub struct Ports<'a> {
    /// Where catalog and archive lie.
    pub store: &'a dyn Store,
    /// How this cluster's objects are named there.
    pub layout: &'a Layout,
    /// In which form WAL is archived.
    pub archiving: &'a ArchiveSettings,
    /// The clock.
    pub clock: &'a dyn Clock,
    /// The configured providers.
    pub providers: &'a dyn ProviderSource,
}

impl Ports<'_> {
    fn catalog(&self) -> Catalog<'_> {
        Catalog::new(self.store, self.layout)
    }

    fn archive(&self) -> WalArchive<'_> {
        WalArchive::new(self.store, self.layout)
    }
}

/// Opens providers by their names in the configuration, when a flow needs one and not before.
#[async_trait]
pub trait ProviderSource: Send + Sync {
    /// Loads the provider; fails when it is not configured, or not what it must be.
    async fn open(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError>;
}

/// Whether a snapshot set may change with the live cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// It may not.
    #[default]
    Required,
    /// The operator accepts it, for a test.
    NotRequired,
}
