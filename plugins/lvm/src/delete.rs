//! Deleting a set.
//!
//! A volume is removed by its name and only if it still has the UUID that was seen with our tags: LVM selects and removes under one
//! lock. Clones of a restore are volumes of their own; they stay, and stay readable.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Deletion, Error, Host, SetHandle, invalid};

use crate::Config;
use crate::program::{GONE, run};
use crate::report::LogicalVolume;
use crate::set::{Inventory, Set};

pub(crate) fn delete_set<H: Host + Command>(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
    let handle = SetHandle::parse(handle)?;
    let inventory = Inventory::take(host, config)?;
    let Some(set) = inventory.by_handle(&handle)? else { return Ok(Deletion::Absent) };
    // Once the others are gone, nobody would ever look for its snapshot again.
    if let Some(group) = set.unseen_group(config) {
        let text = format!("the set `{handle}` has a snapshot in `{group}`, which it does not name any more: add it");
        return Err(invalid("volume_groups", text));
    }
    // Before the first is removed: all, or nothing.
    if let Some(open) = set.snapshots.iter().find(|snapshot| snapshot.volume.is_open) {
        return Err(Error::InUse(format!("`{}` is open or mounted", open.volume.id())));
    }
    remove(host, set)?;
    Ok(Deletion::Deleted)
}

/// Removes every snapshot of a set. The one with the mark goes last: until then what is left is known to have been whole.
pub(crate) fn remove<H: Host + Command>(host: &H, set: &Set) -> Result<(), Error> {
    let (marked, others): (Vec<_>, Vec<_>) = set.snapshots.iter().partition(|snapshot| snapshot.is_marked);
    others.into_iter().chain(marked).try_for_each(|snapshot| remove_volume(host, &snapshot.volume))
}

/// Removes one volume of ours.
pub(crate) fn remove_volume<H: Command>(host: &H, volume: &LogicalVolume) -> Result<(), Error> {
    let args = ["--yes".to_owned(), format!("--select=lv_uuid={}", volume.uuid), volume.id()];
    match run(host, "lvremove", &args) {
        // Somebody was faster.
        Err(Error::Transient(text)) if text.contains(GONE) => Ok(()),
        other => other.map(|_| ()),
    }
}
