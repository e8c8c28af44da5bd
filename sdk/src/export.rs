//! What turns a [`Provider`] into the exports of a component.
//!
//! Nothing is done about panics: what the language writes to standard error, the host quotes in the error of the call.

use std::marker::PhantomData;

use crate::bindings::{base, lock, restore};
use crate::{
    CreateRequest, DataPath, Deletion, Error, LockMode, Provider, ProviderInfo, RestoreRequest, Restored, Sandbox, SetPage,
    SetReference, SnapshotSet, Volume, parse_config,
};

/// Carries the exports for `P`.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

impl<P: Provider<Sandbox> + 'static> base::exports::stillframe::provider::provider::Guest for Component<P> {
    fn describe() -> ProviderInfo {
        P::describe()
    }

    fn check(config: String) -> Result<Vec<String>, Error> {
        P::check(&Sandbox, &parse_config(&config)?)
    }

    fn resolve(config: String, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        P::resolve(&Sandbox, &parse_config(&config)?, paths)
    }

    fn create_set(config: String, request: CreateRequest) -> Result<SnapshotSet, Error> {
        P::create_set(&Sandbox, &parse_config(&config)?, request)
    }

    fn get_set(config: String, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        P::get_set(&Sandbox, &parse_config(&config)?, reference)
    }

    fn list_sets(config: String, owner: String, cursor: Option<String>) -> Result<SetPage, Error> {
        P::list_sets(&Sandbox, &parse_config(&config)?, &owner, cursor)
    }

    fn delete_set(config: String, handle: String) -> Result<Deletion, Error> {
        P::delete_set(&Sandbox, &parse_config(&config)?, &handle)
    }
}

impl<P: Provider<Sandbox> + 'static> restore::exports::stillframe::provider::restore::Guest for Component<P> {
    fn restore_set(config: String, request: RestoreRequest) -> Result<Restored, Error> {
        P::restore_set(&Sandbox, &parse_config(&config)?, request)
    }

    fn release(config: String, handle: String) -> Result<(), Error> {
        P::release(&Sandbox, &parse_config(&config)?, &handle)
    }
}

impl<P: Provider<Sandbox> + 'static> lock::exports::stillframe::provider::lock::Guest for Component<P> {
    fn lock_set(config: String, handle: String, mode: LockMode, until_ms: u64) -> Result<(), Error> {
        P::lock_set(&Sandbox, &parse_config(&config)?, &handle, mode, until_ms)
    }

    fn unlock_set(config: String, handle: String) -> Result<(), Error> {
        P::unlock_set(&Sandbox, &parse_config(&config)?, &handle)
    }
}
