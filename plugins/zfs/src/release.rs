//! Undoing a restore: its clones are unmounted and destroyed.
//!
//! Whoever takes a dataset out of `clones` makes its clones invisible. So the handle of a restore names the datasets below which they
//! lie; where the handle was lost, the snapshots themselves tell of their clones, wherever these are.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, invalid};

use crate::clones::{self, RestoreClone};
use crate::fault::Fault;
use crate::find;
use crate::holds::ignore;
use crate::name::{self, RestoreHandle};
use crate::zfs::Zfs;

/// Takes the handle of a restore, or the token of its request. One that nobody knows is released.
pub(crate) fn release<H: Command>(zfs: &Zfs<'_, H>, handle: &str) -> Result<(), Error> {
    let Some(handle) = RestoreHandle::parse(handle) else { return Ok(()) };
    refuse_unseen(zfs, &handle)?;
    remove(zfs, &clones::of(zfs, &handle.token)?)
}

/// Of a clone that cannot be looked at, nobody may be told that it is gone.
fn refuse_unseen<H: Command>(zfs: &Zfs<'_, H>, handle: &RestoreHandle) -> Result<(), Error> {
    let is_seen = |dataset: &str| zfs.config.clones.iter().any(|parent| name::is_under(dataset, parent));
    if let Some(parent) = handle.parents.iter().find(|parent| !is_seen(parent)) {
        return Err(invalid(
            "clones",
            format!("the restore has a clone below `{parent}`, which is not in it any more: add it, so that all can be released"),
        ));
    }
    let made = find::clones(zfs)?;
    match made.iter().find(|clone| name::is_clone_of(clone, &handle.token) && !is_seen(clone)) {
        Some(clone) => Err(invalid(
            "clones",
            format!(
                "the restore has the clone `{clone}`, which lies below none of them: add its parent, so that all can be released"
            ),
        )),
        None => Ok(()),
    }
}

/// Removes clones: all of them, or none while one is used. Until every one is unmounted, nothing is destroyed: a server that runs
/// on them need not have a file of each open.
pub(crate) fn remove<H: Command>(zfs: &Zfs<'_, H>, clones: &[RestoreClone]) -> Result<(), Error> {
    // What was promoted holds the data of somebody who works with it.
    if let Some(clone) = clones.iter().find(|clone| clone.is_promoted()) {
        return Err(Error::InUse(format!(
            "`{0}` was promoted and is a dataset of its own; if it is to stay, run `zfs inherit stillframe:restore {0}`",
            clone.name
        )));
    }
    // Automatic snapshots, perhaps. Known before the first is destroyed, for that cannot be undone.
    if let Some((clone, below)) = clones.iter().find_map(|clone| Some((clone, clone.below.as_ref()?))) {
        return Err(Error::InUse(format!("`{}` has `{below}`, which is not ours: destroy that first", clone.name)));
    }
    let mounted: Vec<&RestoreClone> = clones.iter().filter(|clone| clone.is_mounted).collect();
    for (done, clone) in mounted.iter().enumerate() {
        if let Err(failure) = ignore(zfs.unmount(&clone.name), Fault::NotMounted) {
            for unmounted in &mounted[..done] {
                // What fails here is mounted by the next restore with the same token.
                let _ = zfs.mount(&unmounted.name);
            }
            return Err(failure.into());
        }
    }
    for clone in clones {
        ignore(zfs.destroy_clone(&clone.name), Fault::NotFound)?;
    }
    Ok(())
}
