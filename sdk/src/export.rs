//! What turns a [`Provider`] into the exports of a component.

use std::marker::PhantomData;
use std::panic;
use std::sync::Once;

use crate::bindings::{base, lock, restore};
use crate::{
    CreateRequest, DataPath, Deletion, Error, Host, Level, LockMode, Provider, ProviderInfo, RestoreRequest, Restored, Sandbox,
    SetPage, SetReference, SnapshotSet, Volume, parse_config,
};

/// Carries the exports for `P`.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

impl<P: Provider<Sandbox> + 'static> base::exports::stillframe::provider::provider::Guest for Component<P> {
    fn describe() -> ProviderInfo {
        log_panics();
        P::describe()
    }

    fn check(config: String) -> Result<Vec<String>, Error> {
        P::check(&Sandbox, &enter(&config)?)
    }

    fn resolve(config: String, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        P::resolve(&Sandbox, &enter(&config)?, paths)
    }

    fn create_set(config: String, request: CreateRequest) -> Result<SnapshotSet, Error> {
        P::create_set(&Sandbox, &enter(&config)?, request)
    }

    fn get_set(config: String, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        P::get_set(&Sandbox, &enter(&config)?, reference)
    }

    fn list_sets(config: String, owner: String, cursor: Option<String>) -> Result<SetPage, Error> {
        P::list_sets(&Sandbox, &enter(&config)?, &owner, cursor)
    }

    fn delete_set(config: String, handle: String) -> Result<Deletion, Error> {
        P::delete_set(&Sandbox, &enter(&config)?, &handle)
    }
}

impl<P: Provider<Sandbox> + 'static> restore::exports::stillframe::provider::restore::Guest for Component<P> {
    fn restore_set(config: String, request: RestoreRequest) -> Result<Restored, Error> {
        P::restore_set(&Sandbox, &enter(&config)?, request)
    }

    fn release(config: String, handle: String) -> Result<(), Error> {
        P::release(&Sandbox, &enter(&config)?, &handle)
    }
}

impl<P: Provider<Sandbox> + 'static> lock::exports::stillframe::provider::lock::Guest for Component<P> {
    fn lock_set(config: String, handle: String, mode: LockMode, until_ms: u64) -> Result<(), Error> {
        P::lock_set(&Sandbox, &enter(&config)?, &handle, mode, until_ms)
    }

    fn unlock_set(config: String, handle: String) -> Result<(), Error> {
        P::unlock_set(&Sandbox, &enter(&config)?, &handle)
    }
}

/// What every call but `describe` begins with.
fn enter<C: serde::de::DeserializeOwned>(config: &str) -> Result<C, Error> {
    log_panics();
    parse_config(config)
}

/// A panic ends the instance with a trap that says nothing: the operator's log must hold the reason.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| panic::set_hook(Box::new(|panic| Sandbox.log(Level::Error, &panic.to_string()))));
}
