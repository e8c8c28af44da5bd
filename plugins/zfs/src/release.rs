//! Undoing a restore: its clones are unmounted and destroyed.

use stillframe_sdk::Error;
use stillframe_sdk::command::Command;

use crate::clones::{self, RestoreClone};
use crate::fault::Fault;
use crate::holds::ignore;
use crate::name;
use crate::zfs::Zfs;

/// The handle of a restore is the token of its request. One that nobody knows is released.
pub(crate) fn release<H: Command>(zfs: &Zfs<'_, H>, token: &str) -> Result<(), Error> {
    if name::is_token(token) { remove(zfs, &clones::of(zfs, token)?) } else { Ok(()) }
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
