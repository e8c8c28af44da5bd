//! Making a set.
//!
//! The marker of the root comes before everything: once anything was cut, the root can prove what is there and what is not. The
//! record is written before the first tree, so that nothing exists that `get-set` and `list-sets` do not tell of, and
//! rewritten after the last: only then is the set ready. A failure removes everything again.

use std::collections::BTreeMap;

use stillframe_sdk::tree::{CloneOptions, Location, Tree, TreeError, location};
use stillframe_sdk::{
    CreateRequest, DataPath, DataRole, Error, Host, Level, SetHandle, SnapshotSet, Volume, invalid, is_backup_name,
};

use crate::Config;
use crate::erase::erase;
use crate::find;
use crate::layout;
use crate::marker;
use crate::record::{Record, RecordedMember, State};

pub(crate) fn create_set<H: Host + Tree>(host: &H, config: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
    config.clone_method()?;
    let handle = SetHandle::new(&request.name, &request.token)?;
    let paths = request.volumes.iter().map(data_path).collect::<Result<Vec<_>, _>>()?;
    refuse_doubles(&paths)?;
    ensure_marker(host, request.previous.as_deref())?;
    if let Some(existing) = existing(host, &handle)? {
        return existing.describe(host);
    }
    let previous = previous(host, config, request.previous.as_deref());
    let members = paths.iter().map(|path| recorded(path)).collect();
    let labels = request.labels.into_iter().collect();
    let mut record = Record::begin(&handle, config.isolated(), host.now_ms(), members, labels);
    match cut(host, config, &paths, previous.as_ref(), &mut record) {
        Ok(()) => record.describe(host),
        Err(error) => {
            undo(host, record, &error);
            Err(error)
        }
    }
}

/// Makes the marker in the root of a first backup. Any other root without one is not where the sets are: nothing is cut there.
fn ensure_marker(host: &impl Tree, previous: Option<&str>) -> Result<(), Error> {
    if marker::exists(host)? {
        return Ok(());
    }
    if previous.is_some() || !find::records(host)?.is_empty() {
        return Err(marker::missing());
    }
    marker::write(host)
}

/// Writes the record, makes the trees, and writes the record again.
fn cut<H: Host + Tree>(
    host: &H,
    config: &Config,
    paths: &[&DataPath],
    previous: Option<&Record>,
    record: &mut Record,
) -> Result<(), Error> {
    record.write(host)?;
    let total = paths.len() as u64;
    for (done, index) in (0..).zip(cutting_order(paths)) {
        let path = paths[index];
        host.progress(done, Some(total), &format!("cloning `{}`", path.name));
        let stats = clone_path(host, config, path, previous, &record.name)?;
        record.members[index] = stats;
    }
    host.progress(total, Some(total), "all trees are complete");
    record.cut_end_ms = host.now_ms();
    record.state = State::Ready;
    record.write(host)
}

/// A data path with files that must come last, comes last.
fn cutting_order(paths: &[&DataPath]) -> Vec<usize> {
    let (early, late): (Vec<usize>, Vec<usize>) = (0..paths.len()).partition(|index| paths[*index].last.is_empty());
    [early, late].concat()
}

fn clone_path(
    host: &impl Tree,
    config: &Config,
    path: &DataPath,
    previous: Option<&Record>,
    name: &str,
) -> Result<RecordedMember, Error> {
    let Some(root) = &path.root else { return Err(Error::UnmanagedPath(path.path.clone())) };
    let mut skip = path.skip.clone();
    if path.role == DataRole::Wal {
        skip.push("*".to_owned());
    }
    let base = previous.and_then(|previous| base(previous, path));
    let options = CloneOptions { method: config.clone_method()?, base, skip, last: path.last.clone() };
    let stats = host.clone_tree(&location(root, ""), &layout::tree(name, &path.name), &options).map_err(|error| match error {
        // The cluster's own directory or control file is gone: not a fault of this provider, and not an absent set.
        TreeError::NotFound(text) => Error::Transient(text),
        other => other.into(),
    })?;
    let mut member = recorded(path);
    member.size_bytes = Some(stats.bytes_total);
    for (key, value) in [
        ("files", stats.files),
        ("files-linked", stats.files_linked),
        ("files-reflinked", stats.files_reflinked),
        ("bytes-copied", stats.bytes_copied),
    ] {
        member.attributes.insert(key.to_owned(), value.to_string());
    }
    Ok(member)
}

/// The tree of the same data path in the previous set.
fn base(previous: &Record, path: &DataPath) -> Option<Location> {
    let there = previous.members.iter().any(|member| member.path == path.name);
    there.then(|| layout::tree(&previous.name, &path.name))
}

/// What is there of an earlier request with the same token. What is incomplete of it is removed, to be made anew.
fn existing(host: &impl Tree, handle: &SetHandle) -> Result<Option<Record>, Error> {
    let Some(record) = Record::read(host, &handle.name)? else {
        return refuse_foreign(host, &handle.name).map(|()| None);
    };
    if record.token != handle.token {
        return Err(Error::Conflict(handle.name.clone()));
    }
    if record.state == State::Ready {
        return Ok(Some(record));
    }
    erase(host, &record)?;
    Ok(None)
}

/// An empty directory is what a kill before the first record leaves; anything else without a record is somebody else's.
fn refuse_foreign(host: &impl Tree, name: &str) -> Result<(), Error> {
    match host.list_entries(&layout::set(name)) {
        Ok(entries) if entries.is_empty() => Ok(()),
        Ok(_) => Err(Error::Conflict(name.to_owned())),
        Err(TreeError::NotFound(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The previous set, when files may be linked from it: it must be complete and isolated.
///
/// It only saves room, so whatever is wrong with it is no reason to have no backup.
fn previous<H: Host + Tree>(host: &H, config: &Config, handle: Option<&str>) -> Option<Record> {
    let handle = handle.filter(|_| config.link_unchanged && config.isolated())?;
    let found = SetHandle::parse(handle).and_then(|handle| find::by_handle(host, &handle));
    let fit = |record: &Record| record.state == State::Ready && record.isolated;
    match found {
        Ok(Some(record)) if fit(&record) => Some(record),
        Ok(_) => {
            host.log(Level::Info, &format!("the previous set `{handle}` is incomplete or not isolated: every file is copied"));
            None
        }
        Err(error) => {
            host.log(Level::Warn, &format!("the previous set `{handle}` cannot be used, and every file is copied: {error:?}"));
            None
        }
    }
}

/// Removes what a failed call has made. What cannot be removed stays under a record that says so.
fn undo<H: Host + Tree>(host: &H, mut record: Record, error: &Error) {
    record.state = State::Failed;
    record.failure = Some(format!("{error:?}"));
    // On a full disk this may fail as well; the record then still says `cutting`, which is no less true.
    let marked = record.write(host);
    if let Err(left) = erase(host, &record) {
        host.log(
            Level::Warn,
            &format!("the incomplete set `{}` could not be removed: {left:?} (marked: {})", record.name, marked.is_ok()),
        );
    }
}

fn recorded(path: &DataPath) -> RecordedMember {
    RecordedMember { path: path.name.clone(), wal: path.role == DataRole::Wal, size_bytes: None, attributes: BTreeMap::new() }
}

fn data_path(volume: &Volume) -> Result<&DataPath, Error> {
    match &volume.paths[..] {
        [path] if path.name == volume.id && is_backup_name(&path.name) => Ok(path),
        _ => Err(invalid("volumes", format!("`{}` is not a volume that this provider has resolved", volume.id))),
    }
}

fn refuse_doubles(paths: &[&DataPath]) -> Result<(), Error> {
    if paths.is_empty() {
        return Err(invalid("volumes", "there is nothing to cut"));
    }
    let twice = |index: &usize| paths[..*index].iter().any(|earlier| earlier.name == paths[*index].name);
    match (0..paths.len()).find(twice) {
        Some(index) => Err(invalid("volumes", format!("`{}` is named twice", paths[index].name))),
        None => Ok(()),
    }
}
