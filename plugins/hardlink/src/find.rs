//! Finding sets: one by its token or handle, or all of an owner.

use stillframe_sdk::tree::{EntryKind, Tree, TreeError};
use stillframe_sdk::{Error, OWNER_LABEL, SetHandle, SetPage, SetReference, SnapshotSet, invalid, is_backup_name, page};

use crate::layout;
use crate::marker;
use crate::record::Record;

pub(crate) fn get_set(host: &impl Tree, reference: &SetReference) -> Result<Option<SnapshotSet>, Error> {
    let record = match reference {
        SetReference::Handle(handle) => by_handle(host, &SetHandle::parse(handle)?)?,
        SetReference::Token(token) => all(host)?.into_iter().find(|record| record.token == *token),
    };
    record.map(|record| record.describe(host)).transpose()
}

/// The record of the set with this handle; none when its name is free or somebody else's.
pub(crate) fn by_handle(host: &impl Tree, handle: &SetHandle) -> Result<Option<Record>, Error> {
    marker::require(host)?;
    Ok(Record::read(host, &handle.name)?.filter(|record| record.token == handle.token))
}

pub(crate) fn list_sets(host: &impl Tree, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let mut records = all(host)?;
    records.retain(|record| record.labels.get(OWNER_LABEL).is_some_and(|label| label == owner));
    let (records, next) = page(records, cursor, |record| (record.cut_begin_ms, &record.name))?;
    let sets = records.iter().map(|record| record.describe(host)).collect::<Result<_, _>>()?;
    Ok(SetPage { sets, next })
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
    let directories = entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory && is_backup_name(&entry.name));
    directories.filter_map(|directory| Record::read(host, &directory.name).transpose()).collect()
}
