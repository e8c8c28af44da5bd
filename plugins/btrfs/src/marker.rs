//! The marker in each root, a subvolume: without it, nothing that is missing there is known to be gone.
//!
//! A file system that is not mounted leaves an empty directory, which looks as if every set had been deleted; the host would forget
//! the backups. So the first set that uses a root leaves the marker there, and nobody removes it.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, invalid};

use crate::{layout, program};

/// Whether a root has its marker.
pub(crate) fn exists(host: &impl Command, root: &str) -> Result<bool, Error> {
    Ok(program::subvolume_id(host, &layout::marker(root))?.is_some())
}

/// Fails unless a root has its marker. Every answer that something is absent depends on it.
pub(crate) fn require(host: &impl Command, root: &str) -> Result<(), Error> {
    if exists(host, root)? { Ok(()) } else { Err(missing(root)) }
}

/// Makes the marker of a root.
pub(crate) fn make(host: &impl Command, root: &str) -> Result<(), Error> {
    program::create(host, &layout::marker(root))
}

/// What a root without its marker is answered with.
pub(crate) fn missing(root: &str) -> Error {
    let marker = layout::marker(root);
    invalid(
        "root",
        format!(
            "`{root}` has no subvolume `{marker}`: perhaps its file system is not mounted. Only if it is mounted, and this really is the \
             place for snapshots from now on, run `btrfs subvolume create {marker}`"
        ),
    )
}
