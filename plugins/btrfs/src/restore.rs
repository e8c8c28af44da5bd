//! Restoring a set: writable snapshots of its snapshots, which share extents with them and depend on nothing.
//!
//! What a restore will make is recorded before it is made, so that its token is enough to remove it.

use serde::{Deserialize, Serialize};
use stillframe_sdk::command::Command;
use stillframe_sdk::tree::Tree;
use stillframe_sdk::{
    DataRole, Error, Host, Level, RestoreDirectory, RestoreRequest, Restored, RestoredDirectory, SetHandle, invalid,
    is_backup_name, read_record, write_record,
};

use crate::layout;
use crate::record::{Record, RecordedMember, State};
use crate::{Config, find, marker, program};

/// What a restore makes.
#[derive(Debug, Serialize, Deserialize)]
struct RestoreRecord {
    set: String,
    copies: Vec<Copied>,
}

/// One writable snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Copied {
    root: String,
    snapshot: String,
    copy: String,
}

pub(crate) fn restore_set<H: Host + Tree + Command>(host: &H, config: &Config, request: RestoreRequest) -> Result<Restored, Error> {
    if !is_backup_name(&request.token) {
        return Err(invalid("token", "it is not made of at most 64 letters, digits, `_` and `-`"));
    }
    let handle = SetHandle::parse(&request.handle)?;
    let Some(record) = find::by_handle(host, config, &handle)? else { return Err(Error::NotFound(request.handle)) };
    if record.state != State::Ready {
        return Err(invalid("handle", format!("the set `{}` is not complete", record.name)));
    }
    refuse_omissions(&record, &request.directories)?;
    let mut copies = Vec::new();
    let mut directories = Vec::new();
    let mut wal_places = Vec::new();
    for directory in request.directories {
        let Some((number, member, within)) = held(&record, &directory)? else {
            directories.push(RestoredDirectory { name: directory.name, path: directory.path });
            continue;
        };
        let copy = layout::restored(&member.root, &request.token, number);
        let path = if within.is_empty() { copy.clone() } else { format!("{copy}/{within}") };
        if directory.role == DataRole::Data {
            wal_places.push(format!("{path}/pg_wal"));
        }
        directories.push(RestoredDirectory { name: directory.name, path });
        if !copies.iter().any(|known: &Copied| known.copy == copy) {
            copies.push(Copied { root: member.root.clone(), snapshot: member.snapshot.clone(), copy });
        }
    }
    // A repetition finds what the first attempt has made; what that one wrote into it since, nobody knows.
    release(host, config, &request.token)?;
    for copied in &copies {
        // The program would make the snapshot inside of it, and a release delete what is not ours.
        if program::subvolume_id(host, &copied.copy)?.is_some() {
            return Err(Error::Conflict(copied.copy.clone()));
        }
    }
    let restore = RestoreRecord { set: record.name, copies };
    write_record(host, &layout::restore_record(&request.token), &restore)?;
    if let Err(error) = make(host, &restore, &wal_places) {
        if let Err(left) = release(host, config, &request.token) {
            host.log(Level::Warn, &format!("the failed restore `{}` could not be removed: {left:?}", request.token));
        }
        return Err(error);
    }
    Ok(Restored { handle: request.token, directories })
}

/// Makes the snapshots, in which a server must be able to write its WAL: a `pg_wal` that was a subvolume is no directory in them.
fn make(host: &impl Command, restore: &RestoreRecord, wal_places: &[String]) -> Result<(), Error> {
    for copied in &restore.copies {
        program::snapshot_writable(host, &copied.snapshot, &copied.copy)?;
    }
    for place in wal_places {
        if program::is_placeholder(host, place)? {
            program::remove_placeholder(host, place)?;
        }
    }
    Ok(())
}

/// Removes what a restore has made. Its handle is its token.
pub(crate) fn release<H: Tree + Command>(host: &H, config: &Config, token: &str) -> Result<(), Error> {
    if !is_backup_name(token) {
        return Ok(());
    }
    let what = format!("the record of the restore `{token}`");
    let Some(restore) = read_record::<RestoreRecord>(host, &layout::restore_record(token), &what)? else {
        return marker::require(host, &config.root);
    };
    for Copied { root, copy, .. } in &restore.copies {
        match program::subvolume_id(host, copy)? {
            Some(_) => program::delete(host, copy)?,
            None => marker::require(host, root)?,
        }
    }
    Ok(host.remove_tree(&layout::restore_record(token))?)
}

/// Where the set holds a directory; none for a WAL directory that it does not hold.
fn held<'a>(record: &'a Record, directory: &RestoreDirectory) -> Result<Option<(usize, &'a RecordedMember, &'a str)>, Error> {
    for (number, member) in record.members.iter().enumerate() {
        if let Some(path) = member.paths.iter().find(|path| path.name == directory.name) {
            return Ok(Some((number, member, &path.within)));
        }
    }
    if directory.role == DataRole::Wal {
        return Ok(None);
    }
    Err(invalid("directories", format!("the set `{}` holds no `{}`", record.name, directory.name)))
}

/// A cluster without one of its tablespaces is no restore.
fn refuse_omissions(record: &Record, directories: &[RestoreDirectory]) -> Result<(), Error> {
    let mut held = record.members.iter().flat_map(|member| &member.paths);
    let is_asked = |name: &str| directories.iter().any(|directory| directory.name == name);
    match held.find(|path| !path.wal && !is_asked(&path.name)) {
        Some(path) => Err(invalid("directories", format!("the set holds `{}`, which has no target", path.name))),
        None => Ok(()),
    }
}
