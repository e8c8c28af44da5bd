//! The provider `hardlink`: snapshots as plain directory trees, for any file system.
//!
//! A set is a directory under the root `snapshots`: a record, and one tree for each data path. A tree is made by sharing extents
//! where the file system can, otherwise by copying; files that have provably not changed are hard-linked from the previous
//! isolated set. The host does the walking (capability `tree`); what is here is the order of steps that keeps the record true
//! wherever the provider is killed. A marker beside the sets tells the root from the directory under a disk that is not mounted.

mod check;
mod config;
mod create;
mod delete;
mod describe;
mod erase;
mod find;
mod layout;
mod marker;
mod record;
mod resolve;
mod restore;
#[cfg(test)]
mod tests;

use stillframe_sdk::tree::Tree;
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Host, Provider, ProviderInfo, RestoreRequest, Restored, SetPage, SetReference,
    SnapshotSet, Volume,
};

pub use config::{Config, Method};

/// Snapshots as plain directory trees.
#[derive(Debug, Clone, Copy)]
pub struct Hardlink;

stillframe_sdk::export_provider!(Hardlink, restore);

impl<H: Host + Tree> Provider<H> for Hardlink {
    type Config = Config;

    fn describe() -> ProviderInfo {
        describe::describe()
    }

    fn check(host: &H, config: &Config) -> Result<Vec<String>, Error> {
        check::check(host, config)
    }

    fn resolve(_: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        resolve::resolve(config, paths)
    }

    fn create_set(host: &H, config: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
        create::create_set(host, config, request)
    }

    fn get_set(host: &H, _: &Config, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        find::get_set(host, &reference)
    }

    fn list_sets(host: &H, _: &Config, owner: &str, cursor: Option<String>) -> Result<SetPage, Error> {
        find::list_sets(host, owner, cursor.as_deref())
    }

    fn delete_set(host: &H, _: &Config, handle: &str) -> Result<Deletion, Error> {
        delete::delete_set(host, handle)
    }

    fn restore_set(host: &H, _: &Config, request: RestoreRequest) -> Result<Restored, Error> {
        restore::restore_set(host, request)
    }

    fn release(_: &H, _: &Config, _: &str) -> Result<(), Error> {
        // A restore is a copy of its own: there is nothing to give back, and removing it is the operator's decision.
        Ok(())
    }
}
