//! Making a set: one `lvcreate` for each volume in cutting order, then the mark that the set is whole.
//!
//! LVM suspends the origin around each cut, which freezes its file system. It may write a new thin snapshot into its metadata and
//! be killed before the pool has heard of it; the next command on that pool then cuts, long after the backup. So a snapshot
//! without the mark is never taken for a backup, and a repeated request cuts anew.

use stillframe_sdk::command::Command;
use stillframe_sdk::{CreateRequest, Error, Host, Level, Located, SetHandle, SnapshotSet, Volume, invalid};

use crate::Config;
use crate::delete;
use crate::layout;
use crate::program::run;
use crate::record::{self, Part, Plan};
use crate::report::LogicalVolume;
use crate::resolve::{self, Kind};
use crate::room::{self, Need};
use crate::set::{Inventory, Set};

/// Most volumes of a set: every snapshot names them all, and LVM keeps all tags in the metadata of the group (1 MiB by default).
const MAX_VOLUMES: usize = 32;

pub(crate) fn create_set<H: Host + Command>(host: &H, config: &Config, request: &CreateRequest) -> Result<SnapshotSet, Error> {
    let handle = SetHandle::new(&request.name, &request.token)?;
    let mut inventory = Inventory::take(host, config)?;
    if let Some(set) = inventory.by_token(&handle.token)? {
        refuse_another(set, &handle, request)?;
        if set.is_whole() {
            return Ok(inventory.describe(host, config, set));
        }
        delete::remove(host, set)?;
        inventory = Inventory::take(host, config)?;
    }
    let cuts = plan(config, &inventory, &handle, &request.volumes)?;
    refuse_when_short(host, config, &inventory, &cuts)?;
    let plan = Plan {
        handle,
        volumes: request.volumes.iter().map(|volume| volume.id.clone()).collect(),
        labels: request.labels.clone(),
        cut_begin_ms: host.now_ms(),
    };
    match cut(host, &plan, &cuts) {
        Ok(()) => made(host, config, &plan.handle),
        Err(error) => {
            undo(host, config, &plan.handle);
            Err(error)
        }
    }
}

/// One snapshot to be made.
struct Cut<'a> {
    origin: &'a LogicalVolume,
    part: Part,
    name: String,
    kind: Kind,
    /// Room for changes of a classic snapshot.
    room_bytes: u64,
    is_late: bool,
}

/// Cuts, in order, and marks the set.
fn cut<H: Host + Command>(host: &H, plan: &Plan, cuts: &[Cut<'_>]) -> Result<(), Error> {
    let total = cuts.len() as u64;
    for (done, cut) in (0..).zip(cuts) {
        host.progress(done, Some(total), &format!("cutting `{}`", cut.origin.id()));
        run(host, "lvcreate", &create_args(plan, cut)?)?;
    }
    let Some(last) = cuts.last() else { return Err(invalid("volumes", "there is nothing to cut")) };
    let mut args: Vec<String> =
        record::whole(host.now_ms().max(plan.cut_begin_ms)).iter().map(|tag| format!("--addtag={tag}")).collect();
    args.push(format!("{}/{}", last.origin.group, last.name));
    run(host, "lvchange", &args)?;
    host.progress(total, Some(total), "all snapshots are cut");
    Ok(())
}

/// A thin snapshot stays inactive: nothing finds its file system, whose UUID is the origin's. A classic one has no choice.
fn create_args(plan: &Plan, cut: &Cut<'_>) -> Result<Vec<String>, Error> {
    let mut args: Vec<String> = match cut.kind {
        Kind::Thin => ["--snapshot", "--setactivationskip=y", "--activate=n", "--permission=r"].map(str::to_owned).to_vec(),
        Kind::Classic => {
            let mut args = ["--yes", "--snapshot", "--permission=r"].map(str::to_owned).to_vec();
            args.push(format!("--size={}b", cut.room_bytes));
            args
        }
    };
    args.push(format!("--name={}", cut.name));
    args.extend(plan.tags(&cut.part)?.into_iter().map(|tag| format!("--addtag={tag}")));
    args.push(cut.origin.id());
    Ok(args)
}

/// What is to be cut, in cutting order. A volume with files that must come last, comes last.
fn plan<'a>(config: &Config, inventory: &'a Inventory, handle: &SetHandle, volumes: &[Volume]) -> Result<Vec<Cut<'a>>, Error> {
    if volumes.is_empty() || volumes.len() > MAX_VOLUMES {
        return Err(invalid("volumes", format!("there are {}; it can be from 1 to {MAX_VOLUMES}", volumes.len())));
    }
    let mut cuts = Vec::new();
    for (index, volume) in volumes.iter().enumerate() {
        if volumes[..index].iter().any(|earlier| earlier.id == volume.id) {
            return Err(invalid("volumes", format!("`{}` is named twice", volume.id)));
        }
        cuts.push(plan_one(config, inventory, handle, index, volume)?);
    }
    let (early, late): (Vec<_>, Vec<_>) = cuts.into_iter().partition(|cut| !cut.is_late);
    Ok(early.into_iter().chain(late).collect())
}

fn plan_one<'a>(
    config: &Config,
    inventory: &'a Inventory,
    handle: &SetHandle,
    index: usize,
    volume: &Volume,
) -> Result<Cut<'a>, Error> {
    let refuse = |reason: String| invalid("volumes", reason);
    let origin = inventory.volume(&volume.id).ok_or_else(|| refuse(format!("there is no logical volume `{}`", volume.id)))?;
    let resolved = volume.attributes.iter().find(|(key, _)| key == "uuid");
    if let Some((_, uuid)) = resolved.filter(|(_, uuid)| *uuid != origin.uuid) {
        return Err(Error::Conflict(format!("`{}` was the volume {uuid}, and is {} now", volume.id, origin.uuid)));
    }
    let kind = resolve::kind(config, origin).map_err(refuse)?;
    let name = layout::snapshot_name(handle, &origin.group, index)?;
    if inventory.volume(&format!("{}/{name}", origin.group)).is_some() {
        return Err(Error::Conflict(format!("{}/{name}", origin.group)));
    }
    let first = volume.paths.first().ok_or_else(|| invalid("volumes", format!("`{}` holds no data path", volume.id)))?;
    let paths = volume.paths.iter().map(|path| Ok((path.name.clone(), Located::of(path)?.within)));
    let part = Part {
        index,
        origin_uuid: origin.uuid.clone(),
        fs_type: first.fs_type.clone(),
        paths: paths.collect::<Result<_, Error>>()?,
    };
    let room_bytes = config.classic_size.bytes(origin.size_bytes);
    let is_late = volume.paths.iter().any(|path| !path.last.is_empty());
    Ok(Cut { origin, part, name, kind, room_bytes, is_late })
}

fn refuse_when_short<H: Command>(host: &H, config: &Config, inventory: &Inventory, cuts: &[Cut<'_>]) -> Result<(), Error> {
    for cut in cuts {
        room::in_pool(config, inventory, cut.origin)?;
    }
    let classic = cuts.iter().filter(|cut| cut.kind == Kind::Classic);
    let needs: Vec<Need<'_>> = classic
        .map(|cut| Need {
            group: &cut.origin.group,
            bytes: cut.room_bytes,
            purpose: format!("a classic snapshot of `{}`", cut.origin.id()),
        })
        .collect();
    room::in_groups(host, config, &needs)
}

/// A token belongs to one request.
fn refuse_another(set: &Set, handle: &SetHandle, request: &CreateRequest) -> Result<(), Error> {
    let same = set.plan.handle == *handle && set.plan.volumes.iter().eq(request.volumes.iter().map(|volume| &volume.id));
    if same { Ok(()) } else { Err(Error::Conflict(set.plan.handle.to_string())) }
}

/// The set as it is now: what was just made is read back, and not remembered.
fn made<H: Host + Command>(host: &H, config: &Config, handle: &SetHandle) -> Result<SnapshotSet, Error> {
    let inventory = Inventory::take(host, config)?;
    match inventory.by_handle(handle)? {
        Some(set) if set.is_whole() => Ok(inventory.describe(host, config, set)),
        _ => Err(Error::Indeterminate(format!("the set `{handle}` was cut, and is not there any more"))),
    }
}

/// Removes what a failed call has cut, as far as that is possible; the host does the rest.
fn undo<H: Host + Command>(host: &H, config: &Config, handle: &SetHandle) {
    let undone = Inventory::take(host, config)
        .and_then(|inventory| inventory.by_handle(handle)?.map_or(Ok(()), |set| delete::remove(host, set)));
    if let Err(left) = undone {
        host.log(Level::Warn, &format!("the incomplete set `{handle}` could not be removed: {left:?}"));
    }
}
