//! Finding sets: one by its token or handle, or all of an owner.

use stillframe_sdk::command::Command;
use stillframe_sdk::tree::{EntryKind, Tree, TreeError};
use stillframe_sdk::{Error, OWNER_LABEL, SetHandle, SetPage, SetReference, SnapshotSet, page};

use crate::layout;
use crate::record::Record;
use crate::{Config, marker};

pub(crate) fn get_set<H: Tree + Command>(
    host: &H,
    config: &Config,
    reference: &SetReference,
) -> Result<Option<SnapshotSet>, Error> {
    let record = match reference {
        SetReference::Handle(handle) => by_handle(host, config, &SetHandle::parse(handle)?)?,
        SetReference::Token(token) => all(host, config)?.into_iter().find(|record| record.token == *token),
    };
    record.map(|record| record.describe(host)).transpose()
}

/// The record of the set with this handle; none when its name is free or somebody else's.
pub(crate) fn by_handle<H: Tree + Command>(host: &H, config: &Config, handle: &SetHandle) -> Result<Option<Record>, Error> {
    let record = Record::read(host, &handle.name)?;
    if record.is_none() {
        marker::require(host, &config.root)?;
    }
    Ok(record.filter(|record| record.token == handle.token))
}

pub(crate) fn list_sets<H: Tree + Command>(host: &H, config: &Config, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let mut records = all(host, config)?;
    records.retain(|record| record.labels.get(OWNER_LABEL).is_some_and(|label| label == owner));
    let (records, next) = page(records, cursor, |record| (record.cut_begin_ms, &record.name))?;
    let sets = records.iter().map(|record| record.describe(host)).collect::<Result<_, _>>()?;
    Ok(SetPage { sets, next })
}

/// Every record under a root that is known to be ours.
fn all<H: Tree + Command>(host: &H, config: &Config) -> Result<Vec<Record>, Error> {
    marker::require(host, &config.root)?;
    records(host)
}

/// Every record under the root, which may be the wrong one.
pub(crate) fn records(host: &impl Tree) -> Result<Vec<Record>, Error> {
    let entries = match host.list_entries(&layout::records()) {
        Ok(entries) => entries,
        Err(TreeError::NotFound(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    let names = files.filter_map(|entry| layout::name_of_record(&entry.name));
    names.filter_map(|name| Record::read(host, name).transpose()).collect()
}
