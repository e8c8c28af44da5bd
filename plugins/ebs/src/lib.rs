//! The provider `ebs`: snapshots of Amazon EBS volumes, through EC2's API.
//!
//! Nothing is kept but what EC2 keeps: every snapshot carries the whole set's record in its tags, put there by the request that
//! cuts it, so that a set is known wherever the provider was killed. Several volumes of one instance are cut at one instant
//! (`CreateSnapshots`). The host signs and sends each request, and a policy says which; no credential is ever in here. A restore
//! makes volumes, attaches them to this instance and mounts them, with programs of the host.

mod check;
mod config;
mod create;
mod delete;
mod describe;
mod ec2;
mod find;
mod handle;
mod lock;
mod machine;
mod placement;
mod release;
mod resolve;
mod restore;
mod set;
mod tags;
#[cfg(test)]
mod tests;
mod time;

use stillframe_sdk::aws::Aws;
use stillframe_sdk::command::Command;
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Host, LockMode, Provider, ProviderInfo, RestoreRequest, Restored, SetPage,
    SetReference, SnapshotSet, Volume,
};

pub use config::Config;

/// Snapshots of Amazon EBS volumes.
#[derive(Debug, Clone, Copy)]
pub struct Ebs;

stillframe_sdk::export_provider!(Ebs, restore, lock);

impl<H: Host + Aws + Command> Provider<H> for Ebs {
    type Config = Config;

    fn describe() -> ProviderInfo {
        describe::describe()
    }

    fn check(host: &H, config: &Config) -> Result<Vec<String>, Error> {
        check::check(host, config.checked()?)
    }

    fn resolve(host: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        resolve::resolve(host, config.checked()?, paths)
    }

    fn create_set(host: &H, config: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
        create::create_set(host, config.checked()?, &request)
    }

    fn get_set(host: &H, config: &Config, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        find::get_set(host, config.checked()?, &reference)
    }

    fn list_sets(host: &H, config: &Config, owner: &str, cursor: Option<String>) -> Result<SetPage, Error> {
        find::list_sets(host, config.checked()?, owner, cursor.as_deref())
    }

    fn delete_set(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
        delete::delete_set(host, config.checked()?, handle)
    }

    fn restore_set(host: &H, config: &Config, request: RestoreRequest) -> Result<Restored, Error> {
        restore::restore_set(host, config.checked()?, &request)
    }

    fn release(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
        release::release(host, config.checked()?, handle)
    }

    fn lock_set(host: &H, config: &Config, handle: &str, mode: LockMode, until_ms: u64) -> Result<(), Error> {
        lock::lock_set(host, config.checked()?, handle, mode, until_ms)
    }

    fn unlock_set(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
        lock::unlock_set(host, config.checked()?, handle)
    }
}
