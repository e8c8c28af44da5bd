//! Making a set.
//!
//! The request that cuts also tags, so nothing exists that is not accounted for. EC2 knows no token for it: whether an earlier
//! request did its work, and whether this one did when its answer is lost, is looked up by the tag. What EC2 has begun is cut: its
//! point in time is fixed when the call returns. A failure removes what was cut.

mod plan;

use stillframe_sdk::aws::Aws;
use stillframe_sdk::{CreateRequest, Error, Host, Level, MemberState, SnapshotSet, invalid};

use crate::Config;
use crate::delete::{delete_snapshot, delete_snapshots};
use crate::ec2::{Class, Ec2, Fault, Snapshot, State};
use crate::find;
use crate::handle::Handle;
use crate::placement::Placement;
use crate::set::{Record, Set};
use plan::Plan;

/// First pause, and longest time, in which the work of a request without an answer is looked for.
const LOOKS_MS: (u32, u32) = (1_000, 15_000);

pub(crate) fn create_set<H: Host + Aws>(host: &H, config: &Config, request: &CreateRequest) -> Result<SnapshotSet, Error> {
    let ec2 = Ec2::new(host, config);
    let placement = Placement::of(request)?;
    Handle::check_room(&config.region, &request.token, placement.disks().len())?;
    if let Some(existing) = existing(&ec2, request, &placement)? {
        return Ok(describe(config, &existing));
    }
    let plan = plan::plan(&ec2, &placement)?;
    let record = Record {
        token: request.token.clone(),
        name: request.name.clone(),
        begin_ms: host.now_ms(),
        together: !matches!(plan, Plan::OneByOne),
        placement,
        labels: request.labels.clone(),
    };
    let tags = record.tags(config)?;
    let description = format!("Stillframe backup {}", request.name);
    let mut set = Set::new(record);
    let cut = match &plan {
        Plan::Together { instance, exclude_boot, excluded } => {
            let excluded: Vec<&str> = excluded.iter().map(String::as_str).collect();
            let answer = ec2.create_snapshots(instance, *exclude_boot, &excluded, &description, &tags);
            take(&ec2, &mut set, answer)
        }
        Plan::OneByOne | Plan::Single => one_by_one(&ec2, &mut set, &description, &tags),
    };
    match cut {
        Ok(()) => Ok(describe(config, &set)),
        // Nobody knows what is there: the host asks, and deletes what it finds.
        Err(error @ Error::Indeterminate(_)) => Err(error),
        Err(error) => {
            remove(&ec2, set.all().map(|snapshot| snapshot.id.as_str()));
            Err(error)
        }
    }
}

/// What an earlier request with this token has cut, if it is the whole set. Parts of one are removed: they will not become one.
fn existing<H: Host + Aws>(ec2: &Ec2<'_, H>, request: &CreateRequest, placement: &Placement) -> Result<Option<Set>, Error> {
    let Some(mut set) = find::by_token(ec2, &request.token)? else { return Ok(None) };
    if set.record.name != request.name || set.record.placement.volumes != placement.volumes {
        return Err(Error::Conflict(format!("a set of other volumes with the token `{}`", request.token)));
    }
    if !set.is_complete() {
        let (first, total) = LOOKS_MS;
        let whole = || Ok(find::by_token(ec2, &request.token)?.filter(Set::is_complete));
        set = ec2.wait(first, total, whole)?.unwrap_or(set);
    }
    let unusable = |snapshot: &Snapshot| matches!(snapshot.state, State::Error | State::Recycled);
    if set.is_complete() && !set.all().any(unusable) {
        return Ok(Some(set));
    }
    for snapshot in find::of_token(ec2, &request.token)? {
        delete_snapshot(ec2, &snapshot.id)?;
    }
    Ok(None)
}

/// Takes the answer of `CreateSnapshots`, which must hold the wanted volumes and no others.
fn take<H: Host + Aws>(ec2: &Ec2<'_, H>, set: &mut Set, answer: Result<Vec<Snapshot>, Fault>) -> Result<(), Error> {
    let snapshots = match answer {
        Ok(snapshots) => snapshots,
        Err(fault) if fault.may_have_happened() => return look(ec2, set, &fault, Set::is_complete),
        Err(fault) => return Err(refused(fault)),
    };
    let strays: Vec<Snapshot> = snapshots.into_iter().filter_map(|snapshot| set.add(snapshot)).collect();
    if !strays.is_empty() {
        let volumes: Vec<&str> = strays.iter().map(|stray| stray.volume.as_str()).collect();
        let text = format!("volumes that were excluded were cut as well, and their snapshots are deleted: {}", volumes.join(", "));
        ec2.host.log(Level::Warn, &text);
        remove(ec2, strays.iter().map(|stray| stray.id.as_str()));
    }
    if !set.is_complete() {
        return Err(Error::Transient("`CreateSnapshots` did not cut every volume that it was asked for".to_owned()));
    }
    Ok(())
}

/// Cuts one volume after the other, in the order of the request.
fn one_by_one<H: Host + Aws>(ec2: &Ec2<'_, H>, set: &mut Set, description: &str, tags: &[(String, String)]) -> Result<(), Error> {
    let disks: Vec<String> = set.record.placement.disks().into_iter().map(str::to_owned).collect();
    for (done, disk) in (1..).zip(&disks) {
        match ec2.create_snapshot(disk, description, tags) {
            Ok(snapshot) => drop(set.add(snapshot)),
            Err(fault) if fault.may_have_happened() => look(ec2, set, &fault, |seen| seen.seen() >= done)?,
            Err(fault) => return Err(refused(fault)),
        }
        ec2.host.progress(done as u64, Some(disks.len() as u64), &format!("cut `{disk}`"));
    }
    Ok(())
}

/// Looks for the work of a request whose answer was lost, until it is enough.
fn look<H: Host + Aws>(ec2: &Ec2<'_, H>, set: &mut Set, fault: &Fault, is_enough: impl Fn(&Set) -> bool) -> Result<(), Error> {
    ec2.host.log(Level::Warn, &format!("{}: its work is looked for", fault.text));
    let record = set.record.clone();
    let (first, total) = LOOKS_MS;
    let found = ec2.wait(first, total, || {
        let mut seen = set.clone();
        let known: Vec<String> = seen.all().map(|snapshot| snapshot.id.clone()).collect();
        let ours = |snapshot: &Snapshot| !known.contains(&snapshot.id);
        for snapshot in find::of_token(ec2, &record.token)?.into_iter().filter(ours) {
            if Set::begin_of(&snapshot) == Some(record.begin_ms) {
                seen.add(snapshot);
            }
        }
        Ok(is_enough(&seen).then_some(seen))
    });
    match found {
        Ok(Some(seen)) => *set = seen,
        // Whatever went wrong while it was looked for, the cut may be there.
        Ok(None) | Err(_) => return Err(Error::Indeterminate(record.token)),
    }
    Ok(())
}

/// Removes snapshots as far as it can; those that stay carry the token, by which they will be found.
fn remove<'a, H: Host + Aws>(ec2: &Ec2<'_, H>, ids: impl Iterator<Item = &'a str>) {
    for id in ids {
        // It was only just made.
        match delete_snapshots(ec2, &[id], true) {
            Ok(true) => {}
            Ok(false) => ec2.host.log(Level::Warn, &format!("the snapshot `{id}` could not be found to be deleted")),
            Err(error) => ec2.host.log(Level::Warn, &format!("the snapshot `{id}` could not be deleted: {error:?}")),
        }
    }
}

fn refused(fault: Fault) -> Error {
    match fault.class {
        Class::NotFound => invalid("volumes", fault.text),
        _ => fault.into(),
    }
}

fn describe(config: &Config, set: &Set) -> SnapshotSet {
    set.describe(&set.handle(&config.region), &MemberState::Cutting)
}
