//! Making a set.
//!
//! The server is in backup mode, so nothing runs here but the cut: one command for each pool, and the pool that holds the last
//! volume comes last. The snapshots carry everything that accounts for them; they are looked at and held by the first `get-set`,
//! which alone says `ready`. Whether the request is a repetition shows when the names exist already. A failure removes what this
//! attempt has cut.

use stillframe_sdk::command::Command;
use stillframe_sdk::{CreateRequest, Error, Host, Level, SnapshotSet, Volume, invalid};

use crate::delete;
use crate::fault::{Failure, Fault};
use crate::find;
use crate::name::{self, MAX_NAME_BYTES};
use crate::record::Record;
use crate::set::{self, Set};
use crate::zfs::Zfs;

/// How often what an earlier attempt has left may be removed and cut anew.
const MAX_ATTEMPTS: usize = 2;

pub(crate) fn create_set<H: Host + Command>(zfs: &Zfs<'_, H>, request: &CreateRequest) -> Result<SnapshotSet, Error> {
    refuse_foreign(zfs, &request.volumes)?;
    let pools = in_cutting_order(&request.volumes, &request.name)?;
    let snapshots = pools.concat();
    for _ in 0..MAX_ATTEMPTS {
        let record = Record::of(request, zfs.host.now_ms())?;
        let properties = record.to_properties()?;
        let Err(Interruption { failure, has_cut }) = cut(zfs, &pools, &properties) else {
            return Ok(set::just_cut(&record, zfs.host.now_ms()));
        };
        if has_cut && !undo(zfs, &record, &snapshots) {
            return Err(Error::Indeterminate(failure.text));
        }
        if failure.fault != Fault::Exists {
            return Err(failure.about_a_known_one());
        }
        if let Some(set) = existing(zfs, &record, failure)? {
            return Ok(set.describe(zfs.config));
        }
    }
    Err(Error::Transient(format!("snapshots named `{}` appear while they are made", request.name)))
}

/// A cut that failed, and whether snapshots of ours may be there now.
struct Interruption {
    failure: Failure,
    has_cut: bool,
}

fn cut<H: Command>(zfs: &Zfs<'_, H>, pools: &[Vec<String>], properties: &[(String, String)]) -> Result<(), Interruption> {
    let mut has_cut = false;
    for snapshots in pools {
        if let Err(failure) = zfs.snapshot(properties, snapshots) {
            let has_cut = has_cut || failure.may_have_happened();
            return Err(Interruption { failure, has_cut });
        }
        has_cut = true;
    }
    Ok(())
}

/// The complete set of this very request, when the names that are taken belong to it. What a killed attempt at it has left is
/// removed: snapshots of two attempts are never mixed.
fn existing<H: Host + Command>(zfs: &Zfs<'_, H>, record: &Record, taken: Failure) -> Result<Option<Set>, Error> {
    let Some(set) = find::by_token(zfs, &record.handle.token)? else { return Err(Error::Conflict(taken.text)) };
    if !set.is_of_request(record) {
        return Err(Error::Conflict(format!("the token `{}` belongs to a set of other volumes or labels", record.handle.token)));
    }
    if set.is_complete() {
        return Ok(Some(set));
    }
    delete::remove(zfs, &set)?;
    Ok(None)
}

/// Removes what this attempt has cut; returns whether that is certain.
fn undo<H: Host + Command>(zfs: &Zfs<'_, H>, record: &Record, snapshots: &[String]) -> bool {
    let removed = set::read(zfs, snapshots).and_then(|sets| {
        let ours = sets.iter().find(|set| set.record.handle == record.handle);
        ours.map_or(Ok(()), |set| delete::remove(zfs, &set.only_attempt(record)))
    });
    if let Err(left) = &removed {
        let name = &record.handle.name;
        zfs.host.log(Level::Warn, &format!("the incomplete set `{name}` could not be removed: {left:?}"));
    }
    removed.is_ok()
}

/// Snapshots to cut, pool by pool. The pool with the last volume, or with files that must come last, comes last.
fn in_cutting_order(volumes: &[Volume], name: &str) -> Result<Vec<Vec<String>>, Error> {
    let mut pools: Vec<(bool, Vec<String>)> = Vec::new();
    // From the end, so that each pool stands where its last volume is.
    for volume in volumes.iter().rev() {
        let snapshot = format!("{}@{name}", volume.id);
        if snapshot.len() > MAX_NAME_BYTES {
            return Err(invalid("name", format!("`{snapshot}` is longer than the {MAX_NAME_BYTES} bytes of a name in ZFS")));
        }
        let is_last = volume.paths.iter().any(|path| !path.last.is_empty());
        match pools.iter_mut().find(|(_, snapshots)| name::pool(&snapshots[0]) == name::pool(&volume.id)) {
            Some((is_last_pool, snapshots)) => {
                *is_last_pool |= is_last;
                snapshots.insert(0, snapshot);
            }
            None => pools.insert(0, (is_last, vec![snapshot])),
        }
    }
    pools.sort_by_key(|(is_last, _)| *is_last);
    Ok(pools.into_iter().map(|(_, snapshots)| snapshots).collect())
}

fn refuse_foreign<H>(zfs: &Zfs<'_, H>, volumes: &[Volume]) -> Result<(), Error> {
    if volumes.is_empty() {
        return Err(invalid("volumes", "there is nothing to cut"));
    }
    for (index, volume) in volumes.iter().enumerate() {
        if !name::is_dataset(&volume.id) || !zfs.config.covers(&volume.id) {
            return Err(invalid("volumes", format!("`{}` is not a dataset that this provider may snapshot", volume.id)));
        }
        if volumes[..index].iter().any(|earlier| earlier.id == volume.id) {
            return Err(invalid("volumes", format!("`{}` is named twice", volume.id)));
        }
    }
    Ok(())
}
