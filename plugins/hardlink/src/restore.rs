//! Restoring a set: each tree is copied into its target, which must be empty.
//!
//! Never by a hard link: the restored server will write to these files in place. The data path with files that come last comes
//! last, so that an incomplete restore has no `pg_control` and cannot start.

use stillframe_sdk::tree::{CloneMethod, CloneOptions, Tree, location};
use stillframe_sdk::{
    DataRole, Error, Host, Level, RestoreDirectory, RestoreRequest, Restored, RestoredDirectory, SetHandle, invalid,
};

use crate::find;
use crate::layout;
use crate::record::{Record, State};

pub(crate) fn restore_set<H: Host + Tree>(host: &H, request: RestoreRequest) -> Result<Restored, Error> {
    let handle = SetHandle::parse(&request.handle)?;
    let Some(record) = find::by_handle(host, &handle)? else { return Err(Error::NotFound(request.handle)) };
    if record.state != State::Ready {
        return Err(invalid("handle", format!("the set `{}` is not complete", record.name)));
    }
    refuse_omissions(&record, &request.directories)?;
    let targets = request.directories.iter().map(|directory| target(&record, directory)).collect::<Result<Vec<_>, _>>()?;
    let (early, late): (Vec<_>, Vec<_>) = targets.into_iter().flatten().partition(|target| target.directory.last.is_empty());
    let targets = [early, late].concat();
    for done in 0..targets.len() {
        let target = &targets[done];
        host.progress(done as u64, Some(targets.len() as u64), &format!("restoring `{}`", target.directory.name));
        if let Err(error) = fill(host, &record, target) {
            targets[..done].iter().for_each(|filled| empty(host, filled));
            return Err(error);
        }
    }
    let restored = |directory: RestoreDirectory| RestoredDirectory { name: directory.name, path: directory.path };
    Ok(Restored { handle: handle.to_string(), directories: request.directories.into_iter().map(restored).collect() })
}

/// A directory to fill, and the root under which it can be written.
#[derive(Clone, Copy)]
struct Target<'a> {
    directory: &'a RestoreDirectory,
    root: &'a str,
}

/// None for a WAL directory that the set does not have: it stays empty, as it would anyway.
fn target<'a>(record: &Record, directory: &'a RestoreDirectory) -> Result<Option<Target<'a>>, Error> {
    if !record.members.iter().any(|member| member.path == directory.name) {
        if directory.role == DataRole::Wal {
            return Ok(None);
        }
        return Err(invalid("directories", format!("the set `{}` holds no `{}`", record.name, directory.name)));
    }
    match &directory.root {
        Some(root) => Ok(Some(Target { directory, root })),
        None => Err(invalid("directories", format!("the target `{}` is not granted to the capability `tree`", directory.path))),
    }
}

/// A cluster without one of its tablespaces is no restore.
fn refuse_omissions(record: &Record, directories: &[RestoreDirectory]) -> Result<(), Error> {
    let named = |path: &str| directories.iter().any(|directory| directory.name == path);
    match record.members.iter().find(|member| !member.wal && !named(&member.path)) {
        Some(member) => Err(invalid("directories", format!("the set holds `{}`, which has no target", member.path))),
        None => Ok(()),
    }
}

fn fill(host: &impl Tree, record: &Record, target: &Target<'_>) -> Result<(), Error> {
    let options = CloneOptions { method: CloneMethod::Auto, base: None, skip: Vec::new(), last: target.directory.last.clone() };
    host.clone_tree(&layout::tree(&record.name, &target.directory.name), &location(target.root, ""), &options)?;
    Ok(())
}

/// Empties a target that was empty before we filled it.
fn empty<H: Host + Tree>(host: &H, target: &Target<'_>) {
    let emptied = host
        .list_entries(&location(target.root, ""))
        .and_then(|entries| entries.iter().try_for_each(|entry| host.remove_tree(&location(target.root, &entry.name))));
    if let Err(error) = emptied {
        host.log(Level::Warn, &format!("`{}` could not be emptied again: {error:?}", target.directory.path));
    }
}
