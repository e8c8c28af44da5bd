//! Restoring a set: a writable clone of each dataset that is needed, mounted below `mount_root`.
//!
//! A clone shares what does not change with the snapshot, and neither the snapshot nor the dataset ever sees what is written to it.

use std::collections::{BTreeMap, BTreeSet};

use stillframe_sdk::command::Command;
use stillframe_sdk::{DataRole, Error, Host, Level, RestoreDirectory, RestoreRequest, Restored, RestoredDirectory, invalid};

use crate::clones::{self, RestoreClone};
use crate::fault::{Failure, Fault};
use crate::find;
use crate::holds;
use crate::name::{self, Handle, MAX_NAME_BYTES, RestoreHandle};
use crate::record::RecordedPath;
use crate::release;
use crate::set::Set;
use crate::zfs::{Snapshot, Zfs};

pub(crate) fn restore_set<H: Host + Command>(zfs: &Zfs<'_, H>, request: &RestoreRequest) -> Result<Restored, Error> {
    let token = &request.token;
    // Before anything else is done with it.
    RestoreHandle::new(token, [])?;
    let set = find::by_handle(zfs, &Handle::parse(&request.handle)?)?.ok_or_else(|| Error::NotFound(request.handle.clone()))?;
    let wanted = wanted(&set, &request.directories)?;
    let mut clones: BTreeMap<usize, Plan> = BTreeMap::new();
    for path in wanted.iter().flatten() {
        clones.insert(path.volume, Plan::of(zfs, &set, path.volume, token)?);
    }
    let parents: BTreeSet<String> = clones.values().map(|plan| plan.parent.clone()).collect();
    let handle = RestoreHandle::new(token, parents)?.text();
    refuse_locked_away(zfs, &clones)?;
    let existing = clones::of(zfs, token)?;
    for (done, plan) in (0..).zip(clones.values()) {
        zfs.host.progress(done, Some(clones.len() as u64), &format!("cloning `{}`", plan.snapshot));
        if let Err(error) = plan.carry_out(zfs, &request.handle, token, &existing) {
            undo(zfs, token, &existing);
            return Err(error);
        }
    }
    let restored = |directory: &RestoreDirectory, path: Option<&RecordedPath>| {
        let there = |path: &RecordedPath| format!("{}{}", clones[&path.volume].mountpoint, path.within.trim_end_matches('/'));
        RestoredDirectory { name: directory.name.clone(), path: path.map_or_else(|| directory.path.clone(), there) }
    };
    let directories = request.directories.iter().zip(wanted).map(|(directory, path)| restored(directory, path)).collect();
    Ok(Restored { handle, directories })
}

/// Removes what this call has made. What was there before may be the restore that an earlier call finished, and in use.
fn undo<H: Host + Command>(zfs: &Zfs<'_, H>, token: &str, existing: &[RestoreClone]) {
    let is_new = |clone: &RestoreClone| !existing.iter().any(|earlier| earlier.name == clone.name);
    let removed = clones::of(zfs, token).and_then(|mut clones| {
        clones.retain(is_new);
        release::remove(zfs, &clones)
    });
    if let Err(left) = removed {
        zfs.host.log(Level::Warn, &format!("the incomplete restore `{token}` could not be removed: {left:?}"));
    }
}

/// One clone to make.
struct Plan {
    snapshot: String,
    /// The dataset below which the clone is made.
    parent: String,
    clone: String,
    mountpoint: String,
}

impl Plan {
    fn of<H: Command>(zfs: &Zfs<'_, H>, set: &Set, volume: usize, token: &str) -> Result<Self, Error> {
        let Some(Snapshot { name: snapshot, .. }) = set.snapshot_of(volume) else {
            let dataset = &set.record.volumes[volume];
            return Err(invalid("handle", format!("the snapshot of `{dataset}` is not there, or was moved to another dataset")));
        };
        let parent = zfs.config.clones_of(name::pool(snapshot))?.to_owned();
        let clone = name::clone(&parent, token, volume);
        if clone.len() > MAX_NAME_BYTES {
            return Err(invalid("clones", format!("`{clone}` is longer than the {MAX_NAME_BYTES} bytes of a name in ZFS")));
        }
        Ok(Self { snapshot: snapshot.clone(), parent, clone, mountpoint: format!("{}/{token}/{volume}", zfs.config.mount_root) })
    }

    /// Makes and mounts the clone, unless it is there from an earlier call with this token.
    fn carry_out<H: Command>(&self, zfs: &Zfs<'_, H>, set: &str, token: &str, existing: &[RestoreClone]) -> Result<(), Error> {
        match existing.iter().find(|clone| clone.name == self.clone) {
            Some(clone) if clone.origin == self.snapshot && clone.is_marked() => {
                if clone.is_mounted {
                    return Ok(());
                }
            }
            Some(clone) if clone.is_marked() => {
                return Err(Error::Conflict(format!("`{}` is a clone of `{}`", clone.name, clone.origin)));
            }
            Some(_) => {
                // The machine stopped before its properties were set.
                zfs.destroy_clone(&self.clone)?;
                zfs.clone(token, set, &self.mountpoint, &self.snapshot, &self.clone)?;
            }
            None => zfs.clone(token, set, &self.mountpoint, &self.snapshot, &self.clone)?,
        }
        holds::ignore(zfs.mount(&self.clone), Fault::AlreadyMounted).map_err(|failure| self.explain(failure))
    }

    /// On Linux, delegation is not enough to mount.
    fn explain(&self, failure: Failure) -> Error {
        if failure.fault != Fault::Denied {
            return failure.into();
        }
        let Self { snapshot, clone, mountpoint, .. } = self;
        Error::Denied(format!(
            "{}; on Linux only root mounts: set `command_prefix = [\"/usr/bin/sudo\", \"-n\"]` for this provider, or as root run \
             `zfs clone -o mountpoint={mountpoint} {snapshot} {clone}` and restore from there",
            failure.text
        ))
    }
}

/// For each directory, the path of the set that it is to hold; none for a WAL directory that the set does not have.
fn wanted<'a>(set: &'a Set, directories: &[RestoreDirectory]) -> Result<Vec<Option<&'a RecordedPath>>, Error> {
    let handle = set.record.handle.text();
    let is_named = |path: &RecordedPath| directories.iter().any(|directory| directory.name == path.name);
    // A cluster without one of its tablespaces is no restore.
    if let Some(path) = set.record.paths.iter().find(|path| path.role != DataRole::Wal && !is_named(path)) {
        return Err(invalid("directories", format!("the set `{handle}` holds `{}`, which has no directory", path.name)));
    }
    let find = |directory: &RestoreDirectory| match set.record.paths.iter().find(|path| path.name == directory.name) {
        None if directory.role != DataRole::Wal => {
            Err(invalid("directories", format!("the set `{handle}` holds no `{}`", directory.name)))
        }
        path => Ok(path),
    };
    directories.iter().map(find).collect()
}

/// A clone of an encrypted dataset uses its key.
fn refuse_locked_away<H: Command>(zfs: &Zfs<'_, H>, plans: &BTreeMap<usize, Plan>) -> Result<(), Error> {
    let datasets: Vec<String> = plans.values().map(|plan| name::dataset(&plan.snapshot).to_owned()).collect();
    let (covered, moved): (Vec<String>, Vec<String>) = datasets.into_iter().partition(|dataset| zfs.config.covers(dataset));
    for names in [covered, moved].iter().filter(|names| !names.is_empty()) {
        if let Some(known) = zfs.file_systems(names)?.iter().find(|known| known.key_status == "unavailable") {
            let text = format!("the encryption key of `{}` is not loaded", known.name);
            return Err(Failure { fault: Fault::KeyAbsent, text }.into());
        }
    }
    Ok(())
}
