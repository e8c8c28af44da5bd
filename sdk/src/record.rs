//! Records that a provider keeps in a root of its own, as JSON files.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::tree::{Location, Tree, TreeError};

/// Reads a record; none when there is no such file. `what` names it in errors.
///
/// A damaged one is the error `internal`: the writing is atomic, so somebody else has changed it, and nobody can tell what it was.
pub fn read_record<T: DeserializeOwned>(host: &impl Tree, file: &Location, what: &str) -> Result<Option<T>, Error> {
    let text = match host.read_file(file) {
        Ok(text) => text,
        Err(TreeError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    serde_json::from_str(&text).map(Some).map_err(|cause| Error::Internal(format!("{what} cannot be read: {cause}")))
}

/// Writes a record, atomically and durably.
pub fn write_record<T: Serialize>(host: &impl Tree, file: &Location, record: &T) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(record).map_err(|cause| Error::Internal(cause.to_string()))?;
    Ok(host.write_file(file, &text)?)
}
