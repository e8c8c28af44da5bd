//! Holds: ours on every snapshot, locks with a moment in their tag, and those of others.

use stillframe_sdk::Error;
use stillframe_sdk::command::Command;

use crate::fault::{Failure, Fault};
use crate::name::{self, HOLD_TAG, LOCK_TAG_PREFIX};
use crate::set::Set;
use crate::zfs::{Hold, Zfs};

/// Whose hold it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Ours, on every snapshot.
    Set,
    /// A lock until this moment, in milliseconds since 1970.
    Lock(u64),
    /// Somebody else's.
    Foreign,
}

impl Hold {
    pub(crate) fn owner(&self) -> Owner {
        if self.tag == HOLD_TAG {
            return Owner::Set;
        }
        let until_ms = self.tag.strip_prefix(LOCK_TAG_PREFIX).and_then(|until| until.parse().ok());
        until_ms.map_or(Owner::Foreign, Owner::Lock)
    }
}

/// Holds what is not held yet of a set that can be restored. Of any other, nothing is worth keeping from others.
pub(crate) fn finish<H: Command>(zfs: &Zfs<'_, H>, set: &mut Set) -> Result<(), Error> {
    let missing: Vec<String> = set.names().into_iter().filter(|snapshot| !set.is_held(snapshot)).collect();
    if missing.is_empty() || !set.is_usable() {
        return Ok(());
    }
    // Those that `zfs promote` has moved one by one: a grant allows no more there.
    let (home, moved): (Vec<String>, Vec<String>) =
        missing.iter().cloned().partition(|snapshot| zfs.config.covers(name::dataset(snapshot)));
    for snapshots in std::iter::once(home.as_slice()).chain(moved.chunks(1)).filter(|snapshots| !snapshots.is_empty()) {
        ensure(zfs, HOLD_TAG, snapshots).map_err(Failure::about_a_known_one)?;
    }
    set.holds.extend(missing.into_iter().map(|snapshot| Hold { snapshot, tag: HOLD_TAG.to_owned() }));
    Ok(())
}

/// Holds snapshots with this tag; one that is held already stays so.
pub(crate) fn ensure<H: Command>(zfs: &Zfs<'_, H>, tag: &str, snapshots: &[String]) -> Result<(), Failure> {
    match zfs.hold(tag, snapshots) {
        Err(failure) if failure.fault == Fault::TagExists => {}
        answer => return answer,
    }
    // Some of them were held: `zfs` goes on behind them, but what else went wrong would be lost in its words.
    let held = zfs.holds(snapshots)?;
    let missing = |snapshot: &&String| !held.iter().any(|hold| hold.tag == tag && hold.snapshot == **snapshot);
    for snapshot in snapshots.iter().filter(missing) {
        ignore(zfs.hold(tag, std::slice::from_ref(snapshot)), Fault::TagExists)?;
    }
    Ok(())
}

/// Releases one hold; one that is not there is released.
pub(crate) fn release<H: Command>(zfs: &Zfs<'_, H>, hold: &Hold) -> Result<(), Error> {
    match zfs.release(&hold.tag, &hold.snapshot) {
        Err(failure) if failure.fault == Fault::NotFound => Ok(()),
        answer => Ok(ignore(answer, Fault::TagAbsent)?),
    }
}

/// A fault that means that it is done already.
pub(crate) fn ignore(answer: Result<(), Failure>, fault: Fault) -> Result<(), Failure> {
    match answer {
        Err(failure) if failure.fault == fault => Ok(()),
        answer => answer,
    }
}
