//! The provider `zfs`: snapshots of OpenZFS datasets, through the program `zfs` and nothing else.
//!
//! All datasets of a pool are cut by one `zfs snapshot`, which is atomic. What must be remembered stands on the snapshots
//! themselves, as user properties that the same command sets: so there is no moment at which a snapshot exists that nobody can
//! account for. A hold keeps everybody else's clean-up away from it. A restore is a writable clone. Every argument list that is
//! ever given to `zfs` is written in `zfs.rs`, and allowed by `policy.toml`.

mod check;
mod clones;
mod config;
mod create;
mod delete;
mod describe;
mod encode;
mod fault;
mod find;
mod holds;
mod lock;
mod name;
mod record;
mod release;
mod resolve;
mod restore;
mod rights;
mod set;
#[cfg(test)]
mod tests;
mod zfs;

use stillframe_sdk::command::Command;
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Host, LockMode, Provider, ProviderInfo, RestoreRequest, Restored, SetPage,
    SetReference, SnapshotSet, Volume,
};

pub use config::Config;
use zfs::Zfs;

/// Snapshots of OpenZFS datasets.
#[derive(Debug, Clone, Copy)]
pub struct ZfsProvider;

stillframe_sdk::export_provider!(ZfsProvider, restore, lock);

impl<H: Host + Command> Provider<H> for ZfsProvider {
    type Config = Config;

    fn describe() -> ProviderInfo {
        describe::describe()
    }

    fn check(host: &H, config: &Config) -> Result<Vec<String>, Error> {
        check::check(&Zfs::new(host, config)?)
    }

    fn resolve(host: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        resolve::resolve(&Zfs::new(host, config)?, paths)
    }

    fn create_set(host: &H, config: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
        create::create_set(&Zfs::new(host, config)?, &request)
    }

    fn get_set(host: &H, config: &Config, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        find::get_set(&Zfs::new(host, config)?, &reference)
    }

    fn list_sets(host: &H, config: &Config, owner: &str, cursor: Option<String>) -> Result<SetPage, Error> {
        find::list_sets(&Zfs::new(host, config)?, owner, cursor.as_deref())
    }

    fn delete_set(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
        delete::delete_set(&Zfs::new(host, config)?, handle)
    }

    fn restore_set(host: &H, config: &Config, request: RestoreRequest) -> Result<Restored, Error> {
        restore::restore_set(&Zfs::new(host, config)?, &request)
    }

    fn release(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
        release::release(&Zfs::new(host, config)?, handle)
    }

    fn lock_set(host: &H, config: &Config, handle: &str, mode: LockMode, until_ms: u64) -> Result<(), Error> {
        lock::lock_set(&Zfs::new(host, config)?, handle, mode, until_ms)
    }

    fn unlock_set(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
        lock::unlock_set(&Zfs::new(host, config)?, handle)
    }
}
