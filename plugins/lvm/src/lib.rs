//! The provider `lvm`: snapshots of logical volumes, thin and classic.
//!
//! A set is one snapshot for each volume, which carries the set's whole record in its tags, given in the very command that makes
//! it: wherever the provider is killed, what is there tells what it is. Only the last mark, `cut-end`, says that a set is whole.
//! Programs run through the capability `command`; their JSON reports are read, and nothing else of what they print but the words
//! that tell one failure from another. A restore is a writable clone (thin) or a copy (classic), mounted in a place of its own.

mod check;
mod config;
mod copy;
mod create;
mod delete;
mod describe;
mod find;
mod layout;
mod program;
mod record;
mod release;
mod report;
mod resolve;
mod restore;
mod room;
mod set;
mod tags;
#[cfg(test)]
mod tests;

use stillframe_sdk::command::Command;
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Host, Provider, ProviderInfo, RestoreRequest, Restored, SetPage, SetReference,
    SnapshotSet, Volume,
};

pub use config::{ClassicSize, Config, Groups, Mode, MountRoot, Percent};

/// Snapshots of logical volumes.
#[derive(Debug, Clone, Copy)]
pub struct Lvm;

stillframe_sdk::export_provider!(Lvm, restore);

impl<H: Host + Command> Provider<H> for Lvm {
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
        create::create_set(host, config, &request)
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
        restore::restore_set(host, config, &request)
    }

    fn release(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
        release::release(host, config, handle)
    }
}
