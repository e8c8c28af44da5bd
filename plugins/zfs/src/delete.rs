//! Deleting a set: nothing is touched before it is known that all of it may go, and each snapshot goes by itself.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Deletion, Error, Host, invalid};

use crate::fault::Fault;
use crate::find;
use crate::holds::{self, Owner};
use crate::name::{HOLD_TAG, Handle};
use crate::set::Set;
use crate::zfs::{Hold, Zfs};

pub(crate) fn delete_set<H: Host + Command>(zfs: &Zfs<'_, H>, handle: &str) -> Result<Deletion, Error> {
    let Some(set) = find::by_handle(zfs, &Handle::parse(handle)?)? else { return Ok(Deletion::Absent) };
    // Once the others are gone, nobody would ever look for its snapshot again.
    if let Some(dataset) = set.uncovered(zfs.config).first() {
        return Err(invalid(
            "datasets",
            format!(
                "the set `{handle}` has a snapshot of `{dataset}`, which is not covered any more: add it, or what it was below"
            ),
        ));
    }
    remove(zfs, &set)?;
    Ok(Deletion::Deleted)
}

/// Destroys every snapshot of a set, unless somebody needs one of them.
pub(crate) fn remove<H: Host + Command>(zfs: &Zfs<'_, H>, set: &Set) -> Result<(), Error> {
    refuse_needed(zfs, set)?;
    for (done, snapshot) in (0..).zip(&set.snapshots) {
        zfs.host.progress(done, Some(set.snapshots.len() as u64), &format!("destroying `{}`", snapshot.name));
        for hold in set.holds.iter().filter(|hold| hold.snapshot == snapshot.name) {
            holds::release(zfs, hold)?;
        }
        if let Err(failure) = holds::ignore(zfs.destroy_snapshot(&snapshot.name), Fault::NotFound) {
            // It stays: then nobody else may clear it away. When even this fails, the reason of the first failure says more.
            let _ = holds::ensure(zfs, HOLD_TAG, std::slice::from_ref(&snapshot.name));
            return Err(failure.into());
        }
    }
    Ok(())
}

/// Clones, locks and other people's holds keep a set.
fn refuse_needed<H: Host>(zfs: &Zfs<'_, H>, set: &Set) -> Result<(), Error> {
    if let Some(snapshot) = set.snapshots.iter().find(|snapshot| !snapshot.clones.is_empty()) {
        return Err(Error::InUse(format!("`{}` has the clone `{}`", snapshot.name, snapshot.clones.join("`, `"))));
    }
    let owned: Vec<(&Hold, Owner)> = set.holds.iter().map(|hold| (hold, hold.owner())).collect();
    if let Some((hold, _)) = owned.iter().find(|(_, owner)| *owner == Owner::Foreign) {
        return Err(Error::InUse(format!("`{}` has the hold `{}`, which is not ours", hold.snapshot, hold.tag)));
    }
    let until_ms =
        owned.iter().filter_map(|(_, owner)| if let Owner::Lock(until_ms) = owner { Some(*until_ms) } else { None }).max();
    match until_ms.filter(|until_ms| *until_ms > zfs.host.now_ms()) {
        Some(until_ms) => Err(Error::Locked(until_ms)),
        None => Ok(()),
    }
}
