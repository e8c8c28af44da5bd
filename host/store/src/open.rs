//! From settings to a store.
//!
//! A local store is opened without a byte of TLS or of a vendor's client: `wal-push` starts once per segment.

use std::path::Path;
use std::sync::Arc;

use stillframe_core::clock::SystemClock;
use stillframe_core::store::{Store, StoreError};

use crate::cloud::CloudWire;
use crate::local::LocalStore;
use crate::remote::{Fault, RemoteStore, Wire};
use crate::s3::S3Wire;
use crate::settings::StoreSettings;
use crate::url::StoreUrl;

/// Opens an existing store. That a remote one is a store is proven before its first write and before it first calls something absent.
pub async fn open(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match connect(settings, "open").await? {
        End::Directory(path) => Arc::new(LocalStore::open(path)?),
        End::Remote(wire) => Arc::new(remote(settings, wire)),
    })
}

/// Makes a store where there is none; an existing one is opened. A remote one must first prove that it honours conditional writes.
///
/// Call it only when the operator asks for a new store: a mistyped prefix would become an empty store that proves absences.
pub async fn create(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match connect(settings, "create").await? {
        End::Directory(path) => Arc::new(LocalStore::create(path)?),
        End::Remote(wire) => {
            let store = remote(settings, wire);
            store.create().await?;
            Arc::new(store)
        }
    })
}

/// What a URL leads to.
pub(crate) enum End<'a> {
    Directory(&'a Path),
    Remote(Box<dyn Wire>),
}

fn remote(settings: &StoreSettings, wire: Box<dyn Wire>) -> RemoteStore {
    RemoteStore::new(settings, wire, Box::new(SystemClock))
}

/// Reaches the place, about which nothing is known yet.
pub(crate) async fn connect<'a>(settings: &'a StoreSettings, operation: &'static str) -> Result<End<'a>, StoreError> {
    settings.check().map_err(|error| StoreError::new(settings.name(), operation, ".", error))?;
    let wire: Result<Box<dyn Wire>, Fault> = match &settings.url {
        StoreUrl::File(path) => return Ok(End::Directory(path)),
        StoreUrl::S3(location) => S3Wire::connect(settings, location).await.map(|wire| Box::new(wire) as _),
        StoreUrl::Google(location) => CloudWire::google(settings, location).map(|wire| Box::new(wire) as _),
        StoreUrl::Azure(location) => CloudWire::azure(settings, location).map(|wire| Box::new(wire) as _),
    };
    wire.map(End::Remote).map_err(|fault| StoreError::new(settings.name(), operation, ".", fault))
}
