//! The provider `btrfs`: read-only snapshots of subvolumes.
//!
//! A set is a record below the operator's `root`, and one read-only snapshot for each subvolume that the cluster's directories lie
//! in. Snapshots lie beside the record, or in one of `other_roots` for a subvolume of another file system. A restore makes writable
//! snapshots of them, which share extents and depend on nothing. The program `btrfs` does the work; what is here is the order of
//! steps that keeps the record true wherever the provider is killed.

mod check;
mod config;
mod create;
mod delete;
mod describe;
mod find;
mod layout;
mod marker;
mod program;
mod record;
mod resolve;
mod restore;
mod storage;
#[cfg(test)]
mod tests;

use stillframe_sdk::command::Command;
use stillframe_sdk::tree::Tree;
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Host, Provider, ProviderInfo, RestoreRequest, Restored, SetPage, SetReference,
    SnapshotSet, Volume,
};

pub use config::Config;

/// Read-only snapshots of subvolumes.
#[derive(Debug, Clone, Copy)]
pub struct Btrfs;

stillframe_sdk::export_provider!(Btrfs, restore);

impl<H: Host + Tree + Command> Provider<H> for Btrfs {
    type Config = Config;

    fn describe() -> ProviderInfo {
        describe::describe()
    }

    fn check(host: &H, config: &Config) -> Result<Vec<String>, Error> {
        check::check(host, config)
    }

    fn resolve(host: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        resolve::resolve(host, config, paths)
    }

    fn create_set(host: &H, config: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
        create::create_set(host, config, request)
    }

    fn get_set(host: &H, config: &Config, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        find::get_set(host, config, &reference)
    }

    fn list_sets(host: &H, config: &Config, owner: &str, cursor: Option<String>) -> Result<SetPage, Error> {
        find::list_sets(host, config, owner, cursor.as_deref())
    }

    fn delete_set(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
        delete::delete_set(host, config, handle)
    }

    fn restore_set(host: &H, config: &Config, request: RestoreRequest) -> Result<Restored, Error> {
        restore::restore_set(host, config, request)
    }

    fn release(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
        restore::release(host, config, handle)
    }
}
