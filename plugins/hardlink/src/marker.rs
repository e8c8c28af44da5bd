//! The marker in the root: without it, nothing that is missing there is known to be gone.
//!
//! A disk that is not mounted leaves an empty directory, which looks as if every set had been deleted; the host would forget the
//! backups. So the first creation leaves a file in the root, nobody removes it, and only a root with it proves absence.

use serde::{Deserialize, Serialize};
use stillframe_sdk::tree::{Tree, TreeError};
use stillframe_sdk::{Error, invalid};

use crate::layout;

/// The one version of the format of a root so far.
const FORMAT_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Marker {
    format_version: u32,
}

/// Fails unless the root has its marker. Every answer that a set is absent depends on it.
///
/// A creation that failed to write the marker has cut nothing, and yet no answer is given afterwards: such a root cannot be told
/// from the mount point of a disk that is not mounted. The host keeps its intent until the root is there.
pub(crate) fn require(host: &impl Tree) -> Result<(), Error> {
    if exists(host)? { Ok(()) } else { Err(missing()) }
}

/// Whether the root has its marker. One that cannot be understood is an error: what lies there may be arranged differently.
pub(crate) fn exists(host: &impl Tree) -> Result<bool, Error> {
    let text = match host.read_file(&layout::marker()) {
        Ok(text) => text,
        Err(TreeError::NotFound(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let marker: Marker = serde_json::from_str(&text)
        .map_err(|cause| invalid("root", format!("its marker `{}` cannot be read: {cause}", layout::MARKER)))?;
    if marker.format_version != FORMAT_VERSION {
        let message = format!("its marker `{}` is of version {}, not {FORMAT_VERSION}", layout::MARKER, marker.format_version);
        return Err(invalid("root", message));
    }
    Ok(true)
}

/// Writes the marker, atomically and durably.
pub(crate) fn write(host: &impl Tree) -> Result<(), Error> {
    Ok(host.write_file(&layout::marker(), &content()?)?)
}

/// What a root without the marker is answered with.
pub(crate) fn missing() -> Error {
    let content = content().unwrap_or_default();
    invalid(
        "root",
        format!(
            "the directory has no marker `{}`: perhaps its file system is not mounted. Only if it is mounted, and this really is the \
             place for snapshots from now on, write that file with the content {content}",
            layout::MARKER
        ),
    )
}

fn content() -> Result<String, Error> {
    serde_json::to_string(&Marker { format_version: FORMAT_VERSION }).map_err(|cause| Error::Internal(cause.to_string()))
}
