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

/// Reads a record. The version is looked at first: a newer record may have any other shape.
pub(super) fn from_bytes<T: DeserializeOwned>(key: &Key, body: &[u8]) -> Result<T, CatalogError> {
    let malformed = |source| CatalogError::Malformed { key: key.clone(), source };
    let versioned: Versioned = serde_json::from_slice(body).map_err(malformed)?;
    if versioned.format_version != FORMAT_VERSION {
        return Err(CatalogError::UnknownVersion { key: key.clone(), found: versioned.format_version });
    }
    serde_json::from_slice(body).map_err(malformed)
}
