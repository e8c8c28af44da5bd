//! Making a set.
//!
//! The markers come before everything: once anything was cut, a root can prove what is there and what is not. The record is written
//! before the first snapshot, so that nothing exists that `get-set` and `list-sets` do not tell of, and rewritten after the last. A
//! failure removes everything again.

use stillframe_sdk::command::Command;
use stillframe_sdk::tree::Tree;
use stillframe_sdk::{CreateRequest, DataRole, Error, Host, Level, Located, SetHandle, SnapshotSet, Volume, invalid};

use crate::layout;
use crate::record::{Record, RecordedMember, RecordedPath, State};
use crate::resolve::ROOT_ATTRIBUTE;
use crate::{Config, find, marker, program};

pub(crate) fn create_set<H: Host + Tree + Command>(
    host: &H,
    config: &Config,
    request: CreateRequest,
) -> Result<SnapshotSet, Error> {
    let handle = SetHandle::new(&request.name, &request.token)?;
    let members = members(config, &request)?;
    ensure_markers(host, config, &members, request.previous.is_some())?;
    if let Some(existing) = existing(host, &handle)? {
        return existing.describe(host);
    }
    for member in &members {
        // The program would make the snapshot inside of a directory that is there already.
        if program::subvolume_id(host, &member.snapshot)?.is_some() {
            return Err(Error::Conflict(member.snapshot.clone()));
        }
    }
    let mut record = Record::begin(&handle, host.now_ms(), members, request.labels.into_iter().collect());
    match cut(host, &mut record) {
        Ok(()) => record.describe(host),
        Err(error) => {
            if let Err(left) = record.erase(host) {
                host.log(Level::Warn, &format!("the incomplete set `{}` could not be removed: {left:?}", record.name));
            }
            Err(error)
        }
    }
}

/// Writes the record, makes the snapshots in their order, and writes the record again.
fn cut<H: Host + Tree + Command>(host: &H, record: &mut Record) -> Result<(), Error> {
    record.write(host)?;
    record.cut_begin_ms = host.now_ms();
    for member in &record.members {
        program::snapshot_read_only(host, &member.subvolume, &member.snapshot)?;
    }
    record.cut_end_ms = host.now_ms();
    record.state = State::Ready;
    record.write(host)
}

/// What will be made of the request.
fn members(config: &Config, request: &CreateRequest) -> Result<Vec<RecordedMember>, Error> {
    if request.volumes.is_empty() {
        return Err(invalid("volumes", "there is nothing to cut"));
    }
    let roots = config.roots()?;
    let member = |(number, volume): (usize, &Volume)| {
        let root = volume.attributes.iter().find(|(key, _)| key == ROOT_ATTRIBUTE).map(|(_, root)| root.as_str());
        let root = root.filter(|root| roots.contains(root));
        let root = root.ok_or_else(|| invalid("volumes", format!("`{}` is not a volume that was resolved", volume.id)))?;
        Ok(RecordedMember {
            subvolume: volume.id.clone(),
            root: root.to_owned(),
            snapshot: layout::snapshot(root, &request.name, number),
            paths: recorded_paths(volume)?,
        })
    };
    request.volumes.iter().enumerate().map(member).collect()
}

fn recorded_paths(volume: &Volume) -> Result<Vec<RecordedPath>, Error> {
    let recorded = |path: &stillframe_sdk::DataPath| {
        Located::of(path)?;
        let within =
            path.path.strip_prefix(volume.id.trim_end_matches('/')).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let within = within.ok_or_else(|| invalid("volumes", format!("`{}` does not lie in `{}`", path.path, volume.id)))?;
        Ok(RecordedPath {
            name: path.name.clone(),
            wal: path.role == DataRole::Wal,
            within: within.trim_start_matches('/').to_owned(),
        })
    };
    volume.paths.iter().map(recorded).collect()
}

/// Makes the markers of the roots of a first backup. Any other root without one is not where the sets are: nothing is cut there.
fn ensure_markers<H: Tree + Command>(
    host: &H,
    config: &Config,
    members: &[RecordedMember],
    has_previous: bool,
) -> Result<(), Error> {
    let mut roots = vec![config.root.as_str()];
    roots.extend(members.iter().map(|member| member.root.as_str()).filter(|root| *root != config.root));
    roots.dedup();
    for root in roots {
        if marker::exists(host, root)? {
            continue;
        }
        let is_used = find::records(host)?.iter().flat_map(|record| &record.members).any(|member| member.root == root);
        if is_used || (root == config.root && (has_previous || !find::records(host)?.is_empty())) {
            return Err(marker::missing(root));
        }
        marker::make(host, root)?;
    }
    Ok(())
}

/// What is there of an earlier request with the same token. What is incomplete of it is removed, to be made anew.
fn existing<H: Host + Tree + Command>(host: &H, handle: &SetHandle) -> Result<Option<Record>, Error> {
    let Some(record) = Record::read(host, &handle.name)? else { return Ok(None) };
    if record.token != handle.token {
        return Err(Error::Conflict(handle.name.clone()));
    }
    if record.state == State::Ready {
        return Ok(Some(record));
    }
    record.erase(host)?;
    Ok(None)
}
