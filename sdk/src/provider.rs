//! The one trait that a provider implements.

use serde::de::DeserializeOwned;

use crate::{
    CreateRequest, DataPath, Deletion, Error, Host, LockMode, ProviderInfo, RestoreRequest, Restored, SetPage, SetReference,
    SnapshotSet, Volume,
};

/// A storage system that can take snapshots, working through the capabilities of `H`.
///
/// The host starts a fresh instance for every call, so nothing is kept between calls but what the storage system keeps. What
/// each function must do is written in `wit/provider.wit`; that contract, and not this summary, is what the host relies on.
pub trait Provider<H: Host> {
    /// The configuration, as the operator wrote it. Use `#[serde(deny_unknown_fields)]`: an unknown key must be an error.
    type Config: DeserializeOwned;

    /// Says what the provider is. No capability is granted meanwhile.
    fn describe() -> ProviderInfo;

    /// Checks that the storage system answers and that the rights are there, without a side effect; returns warnings.
    fn check(host: &H, config: &Self::Config) -> Result<Vec<String>, Error>;

    /// Maps every data path to exactly one volume, or fails with `unmanaged-path`.
    fn resolve(host: &H, config: &Self::Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error>;

    /// Cuts all volumes and returns at the cut. Idempotent by token; a failed call removes what it has cut.
    fn create_set(host: &H, config: &Self::Config, request: CreateRequest) -> Result<SnapshotSet, Error>;

    /// Tells the state of a set; none when there is no trace of it.
    fn get_set(host: &H, config: &Self::Config, reference: SetReference) -> Result<Option<SnapshotSet>, Error>;

    /// Lists the sets whose label `stillframe-owner` has this value, oldest first, at most 100 at a time.
    fn list_sets(host: &H, config: &Self::Config, owner: &str, cursor: Option<String>) -> Result<SetPage, Error>;

    /// Deletes a set. Idempotent.
    fn delete_set(host: &H, config: &Self::Config, handle: &str) -> Result<Deletion, Error>;

    /// Makes a set available as directories. Exported by the word `restore`.
    fn restore_set(host: &H, config: &Self::Config, request: RestoreRequest) -> Result<Restored, Error> {
        let _ = (host, config, request);
        Err(Error::Unsupported("restore".to_owned()))
    }

    /// Undoes a restore. Idempotent. Exported by the word `restore`.
    fn release(host: &H, config: &Self::Config, handle: &str) -> Result<(), Error> {
        let _ = (host, config, handle);
        Err(Error::Unsupported("restore".to_owned()))
    }

    /// Locks a set until this moment (milliseconds since 1970). Exported by the word `lock`.
    fn lock_set(host: &H, config: &Self::Config, handle: &str, mode: LockMode, until_ms: u64) -> Result<(), Error> {
        let _ = (host, config, handle, mode, until_ms);
        Err(Error::Unsupported("lock".to_owned()))
    }

    /// Lifts a lock. Idempotent. Exported by the word `lock`.
    fn unlock_set(host: &H, config: &Self::Config, handle: &str) -> Result<(), Error> {
        let _ = (host, config, handle);
        Err(Error::Unsupported("lock".to_owned()))
    }
}
