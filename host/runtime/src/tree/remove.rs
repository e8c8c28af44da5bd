//! Removing a tree: from its name first, then from the disk.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::beneath;
use super::index::Index;
use super::location::Place;
use super::staging::Staging;
use super::{StopFlag, TreeError};

/// What the names begin with that a removal gives to a tree before it frees its storage.
const TRASH_PREFIX: &str = ".stillframe-trash-";

pub(super) fn remove_tree(target: &Place<'_>, stop: &StopFlag) -> Result<(), TreeError> {
    let failed = |cause: io::Error| TreeError::of("remove", &target.location, &cause);
    if target.is_root() {
        return Err(TreeError::Denied(format!("`{}` is a root and cannot be removed", target.location)));
    }
    let (parent, its_own) = target.open_existing_parent()?;
    if !its_own {
        return Ok(());
    }
    Staging::remove_leftover(&parent, target)?;
    empty_trash(&parent, target, stop)?;
    // Before the tree, so that no index outlives its clone; and after all that can fail, so that no clone outlives its index,
    // without which a provider could read it.
    Index::remove(&parent, target.name()).map_err(failed)?;
    match beneath::kind(&parent, target.name()) {
        Ok(FileType::Directory) => {}
        // A file goes in one step, of which a kill leaves nothing.
        Ok(kind) => {
            beneath::remove(&parent, target.name(), kind, &|| true).map_err(failed)?;
            return parent.sync_all().map_err(failed);
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed(cause)),
    }
    let mut trash = OsString::from(TRASH_PREFIX);
    trash.push(target.name());
    loop {
        match beneath::rename(&parent, target.name(), &trash) {
            Ok(()) => break,
            Err(Errno::NOENT) => return Ok(()),
            // Another removal of the same name has just come this far.
            Err(Errno::EXIST) => empty_trash(&parent, target, stop)?,
            Err(errno) => return Err(failed(errno.into())),
        }
    }
    parent.sync_all().map_err(failed)?;
    empty_trash(&parent, target, stop)
}

/// Frees the storage of every removed tree in the directory, those of dead processes too.
fn empty_trash(parent: &File, target: &Place<'_>, stop: &StopFlag) -> Result<(), TreeError> {
    let failed = |cause: io::Error| TreeError::of("free the storage beside", &target.location, &cause);
    for (name, kind) in beneath::names(parent).map_err(failed)? {
        if name.as_bytes().starts_with(TRASH_PREFIX.as_bytes()) {
            stop.check()?;
            beneath::remove(parent, &name, kind, &|| !stop.is_stopped())
                .map_err(|cause| if stop.is_stopped() { TreeError::TimedOut } else { failed(cause) })?;
        }
    }
    Ok(())
}

/// Removes the index of a clone that was not published.
pub(super) fn forget_index(parent: &File, destination: &Place<'_>) {
    if let Err(cause) = Index::remove(parent, destination.name()) {
        tracing::warn!(clone = %destination.location, %cause, "the index of an unpublished clone could not be removed");
    }
}
