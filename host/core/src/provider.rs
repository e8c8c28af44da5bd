//! Providers, as a seam: what cuts, describes, restores and deletes snapshots.
//!
//! These are the domain's own types; the WIT interface has its twins, and `host/runtime` converts between them in one file. What
//! each operation promises is written in `wit/provider.wit`.

mod error;
mod types;

use async_trait::async_trait;
use jiff::Timestamp;

pub use error::{ProviderError, ProviderFault};
pub use types::{
    BlockDevice, CapabilityNeed, CreateRequest, DataPath, DataPathName, DataRole, Deletion, Features, Labels, LockMode, Member,
    MemberState, OWNER_LABEL, ProviderDescription, ProviderName, RestoreDirectory, RestoreRequest, Restored, SetReference,
    SnapshotSet, Token, Volume, total_bytes,
};

/// A storage system that can take snapshots.
///
/// Every operation is idempotent by token or handle, and may be cancelled by dropping its future; what it did until then is
/// found out with [`Provider::get`].
#[async_trait]
pub trait Provider: Send + Sync {
    /// Its name in the configuration, which the sentinel records.
    fn name(&self) -> &ProviderName;

    /// What the provider says about itself; no capability is used.
    async fn describe(&self) -> Result<ProviderDescription, ProviderError>;

    /// Checks configuration, reachability and rights without a side effect; returns warnings.
    async fn check(&self) -> Result<Vec<String>, ProviderError>;

    /// Maps every path to exactly one volume, or fails.
    async fn resolve(&self, paths: &[DataPath]) -> Result<Vec<Volume>, ProviderError>;

    /// Cuts all volumes and returns at the cut.
    async fn create(&self, request: &CreateRequest) -> Result<SnapshotSet, ProviderError>;

    /// Tells the state of a set; none when there is no trace of it.
    async fn get(&self, reference: &SetReference) -> Result<Option<SnapshotSet>, ProviderError>;

    /// Lists all sets of an owner, complete or not.
    async fn list(&self, owner: &str) -> Result<Vec<SnapshotSet>, ProviderError>;

    /// Deletes a set.
    async fn delete(&self, handle: &str) -> Result<Deletion, ProviderError>;

    /// Makes a set available as directories.
    async fn restore(&self, request: &RestoreRequest) -> Result<Restored, ProviderError>;

    /// Undoes a restore; takes the token of its request in place of a handle that was lost.
    async fn release(&self, handle: &str) -> Result<(), ProviderError>;

    /// Locks a set until this moment; a later one prolongs an existing lock.
    async fn lock(&self, handle: &str, mode: LockMode, until: Timestamp) -> Result<(), ProviderError>;

    /// Lifts a lock.
    async fn unlock(&self, handle: &str) -> Result<(), ProviderError>;
}
