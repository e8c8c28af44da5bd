//! Locks: a further hold, whose tag carries the moment until which the set is kept.
//!
//! A hold binds everybody who does not release it by hand, and so this provider: it is governance. Nothing in ZFS binds the
//! administrator.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, LockMode, invalid};

use crate::find;
use crate::holds::{self, Owner};
use crate::name::{Handle, LOCK_TAG_PREFIX};
use crate::set::Set;
use crate::zfs::{Hold, Zfs};

pub(crate) fn lock_set<H: Host + Command>(zfs: &Zfs<'_, H>, handle: &str, mode: LockMode, until_ms: u64) -> Result<(), Error> {
    if mode == LockMode::Compliance {
        return Err(Error::Unsupported("a lock that binds the administrator: a ZFS hold can be released by hand".to_owned()));
    }
    if until_ms <= zfs.host.now_ms() {
        return Err(invalid("until-ms", "it has passed already"));
    }
    let set = find::by_handle(zfs, &Handle::parse(handle)?)?.filter(Set::is_complete);
    let set = set.ok_or_else(|| Error::NotFound(handle.to_owned()))?;
    let locks = locks(&set);
    for snapshot in set.names() {
        // One that lasts longer is never shortened.
        if locks.iter().any(|(hold, until)| hold.snapshot == snapshot && *until >= until_ms) {
            continue;
        }
        holds::ensure(zfs, &format!("{LOCK_TAG_PREFIX}{until_ms}"), std::slice::from_ref(&snapshot))?;
    }
    // Only now: at no moment is a snapshot without the longer of the two.
    locks.iter().filter(|(_, until)| *until < until_ms).try_for_each(|(hold, _)| holds::release(zfs, hold))
}

pub(crate) fn unlock_set<H: Host + Command>(zfs: &Zfs<'_, H>, handle: &str) -> Result<(), Error> {
    let Some(set) = find::by_handle(zfs, &Handle::parse(handle)?)? else { return Ok(()) };
    locks(&set).iter().try_for_each(|(hold, _)| holds::release(zfs, hold))
}

/// The locks on a set's snapshots, with their moments.
fn locks(set: &Set) -> Vec<(Hold, u64)> {
    let lock = |hold: &Hold| match hold.owner() {
        Owner::Lock(until_ms) => Some((hold.clone(), until_ms)),
        Owner::Set | Owner::Foreign => None,
    };
    set.holds.iter().filter_map(lock).collect()
}
