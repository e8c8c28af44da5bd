//! Finding sets: one by its token or handle, or all of an owner.

use stillframe_sdk::tree::{EntryKind, Tree, TreeError};
use stillframe_sdk::{Error, SetPage, SetReference, SnapshotSet, invalid};

use crate::layout::{self, Handle};
use crate::marker;
use crate::record::Record;

/// The label that a listing selects by.
const OWNER_LABEL: &str = "stillframe-owner";

/// Most sets on one page, by the interface.
const PAGE_LEN: usize = 100;

pub(crate) fn get_set(host: &impl Tree, reference: &SetReference) -> Result<Option<SnapshotSet>, Error> {
    let record = match reference {
        SetReference::Handle(handle) => by_handle(host, &Handle::parse(handle)?)?,
        SetReference::Token(token) => all(host)?.into_iter().find(|record| record.token == *token),
    };
    record.map(|record| record.describe(host)).transpose()
}

/// The record of the set with this handle; none when its name is free or somebody else's.
pub(crate) fn by_handle(host: &impl Tree, handle: &Handle) -> Result<Option<Record>, Error> {
    marker::require(host)?;
    Ok(Record::read(host, &handle.name)?.filter(|record| record.token == handle.token))
}

pub(crate) fn list_sets(host: &impl Tree, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let after = cursor.map(parse_cursor).transpose()?;
    let mut records = all(host)?;
    records.retain(|record| record.labels.get(OWNER_LABEL).is_some_and(|label| label == owner));
    records.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
    if let Some((ms, name)) = &after {
        records.retain(|record| place(record) > (*ms, name));
    }
    let more = records.len() > PAGE_LEN;
    records.truncate(PAGE_LEN);
    let next = records.last().filter(|_| more).map(|record| format!("{}:{}", record.cut_begin_ms, record.name));
    let sets = records.iter().map(|record| record.describe(host)).collect::<Result<_, _>>()?;
    Ok(SetPage { sets, next })
}

/// Oldest first; the name decides between two of the same millisecond.
fn place(record: &Record) -> (u64, &str) {
    (record.cut_begin_ms, &record.name)
}

fn parse_cursor(cursor: &str) -> Result<(u64, &str), Error> {
    cursor
        .split_once(':')
        .and_then(|(ms, name)| Some((ms.parse().ok()?, name)))
        .ok_or_else(|| invalid("cursor", format!("`{cursor}` was not given by this provider")))
}

/// Every record under a root that is known to be ours.
fn all(host: &impl Tree) -> Result<Vec<Record>, Error> {
    marker::require(host)?;
    records(host)
}

/// Every record under the root, which may be the wrong one. A directory without a record is not ours.
pub(crate) fn records(host: &impl Tree) -> Result<Vec<Record>, Error> {
    let entries = host.list_entries(&layout::all()).map_err(|error| match error {
        TreeError::NotFound(text) => invalid("root", text),
        other => other.into(),
    })?;
    let directories = entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory && layout::is_name(&entry.name));
    directories.filter_map(|directory| Record::read(host, &directory.name).transpose()).collect()
}
