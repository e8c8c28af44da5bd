//! Making a set.
//!
//! The cut comes first, and nothing before it: each command that would run earlier would lengthen the time in backup mode. Whether
//! the request is a repetition shows when the names exist already. Each pool is cut by one command, and the pool that holds the
//! last volume comes last. Then the snapshots are held, and looked at. A failure removes what this attempt has cut.

use stillframe_sdk::command::Command;
use stillframe_sdk::{CreateRequest, Error, Host, Level, SnapshotSet, Volume, invalid};

use crate::delete;
use crate::fault::{Failure, Fault};
use crate::find;
use crate::holds;
use crate::name::{self, HOLD_TAG, MAX_NAME_BYTES};
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
            return finish(zfs, &record, &snapshots);
        };
        if has_cut && !undo(zfs, &record, &snapshots) {
            return Err(Error::Indeterminate(failure.text));
        }
        if failure.fault != Fault::Exists {
            return Err(not_an_absent_set(failure));
        }
        if let Some(set) = existing(zfs, &record, failure)? {
            holds::ensure(zfs, HOLD_TAG, &set.names()).map_err(not_an_absent_set)?;
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

/// Holds the snapshots, and proves that they are what was asked for.
fn finish<H: Host + Command>(zfs: &Zfs<'_, H>, record: &Record, snapshots: &[String]) -> Result<SnapshotSet, Error> {
    let end_ms = zfs.host.now_ms().max(record.begin_ms);
    match hold_and_verify(zfs, record, snapshots) {
        Ok(set) => Ok(SnapshotSet { cut_end_ms: end_ms, ..set.describe(zfs.config) }),
        Err(error) => {
            // Whether it succeeds or not, the reason is what the operator must know; what is left has the token of the intent.
            undo(zfs, record, snapshots);
            Err(error)
        }
    }
}

fn hold_and_verify<H: Command>(zfs: &Zfs<'_, H>, record: &Record, snapshots: &[String]) -> Result<Set, Error> {
    holds::ensure(zfs, HOLD_TAG, snapshots).map_err(not_an_absent_set)?;
    let set = Set::whole(record.clone(), zfs.snapshots(snapshots)?);
    if !set.is_complete() {
        return Err(Error::Transient(format!("snapshots named `{}` were destroyed while they were made", record.handle.name)));
    }
    let of_one_pool = |one: &str, other: &str| name::pool(one) == name::pool(other);
    for one in &set.snapshots {
        if set.snapshots.iter().any(|other| of_one_pool(&one.name, &other.name) && one.txg != other.txg) {
            return Err(Error::Internal(format!("`{}` was not cut together with the others of its pool", one.name)));
        }
    }
    Ok(set)
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

/// Something is going on with the dataset (a receive, a rollback), or it has just gone.
fn not_an_absent_set(failure: Failure) -> Error {
    match failure.fault {
        Fault::Busy | Fault::NotFound => Error::Transient(failure.text),
        _ => failure.into(),
    }
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
