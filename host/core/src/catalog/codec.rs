//! JSON records with a format version: how every object of the catalog is written and read.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{CatalogError, FORMAT_VERSION};
use crate::store::Key;

/// The one field that every version of every record has.
#[derive(Deserialize)]
struct Versioned {
    format_version: u32,
}

/// Renders a record, indented: an operator may have to read it in an emergency.
pub(super) fn to_bytes<T: Serialize>(key: &Key, record: &T) -> Result<Bytes, CatalogError> {
    let mut text = serde_json::to_vec_pretty(record).map_err(|source| CatalogError::Malformed { key: key.clone(), source })?;
    text.push(b'\n');
    Ok(text.into())
}

/// Reads a record of a kind that has had one form so far.
pub(super) fn from_bytes<T: DeserializeOwned>(key: &Key, body: &[u8]) -> Result<T, CatalogError> {
    version(key, body, FORMAT_VERSION)?;
    serde_json::from_slice(body).map_err(|source| CatalogError::Malformed { key: key.clone(), source })
}

/// Reads a record of a kind whose form has changed: `upgrade` makes the newest form of an older one.
pub(super) fn from_older_bytes<T: DeserializeOwned>(
    key: &Key,
    body: &[u8],
    newest: u32,
    upgrade: impl FnOnce(u32, &mut serde_json::Map<String, serde_json::Value>),
) -> Result<T, CatalogError> {
    let found = version(key, body, newest)?;
    let malformed = |source| CatalogError::Malformed { key: key.clone(), source };
    if found == newest {
        return serde_json::from_slice(body).map_err(malformed);
    }
    let mut record = serde_json::from_slice(body).map_err(malformed)?;
    upgrade(found, &mut record);
    serde_json::from_value(record.into()).map_err(malformed)
}

/// The version is looked at first: a newer record may have any other shape.
fn version(key: &Key, body: &[u8], newest: u32) -> Result<u32, CatalogError> {
    let versioned: Versioned =
        serde_json::from_slice(body).map_err(|source| CatalogError::Malformed { key: key.clone(), source })?;
    match versioned.format_version {
        found if (1..=newest).contains(&found) => Ok(found),
        found => Err(CatalogError::UnknownVersion { key: key.clone(), found, newest }),
    }
}
