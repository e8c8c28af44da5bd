//! Finding sets: one by its token or handle, or all of an owner.

use stillframe_sdk::command::Command;
use stillframe_sdk::tree::{EntryKind, Tree, TreeError};
use stillframe_sdk::{Error, SetPage, SetReference, SnapshotSet, invalid};

use crate::layout::{self, Handle};
use crate::record::Record;
use crate::{Config, marker};

/// The label that a listing selects by.
const OWNER_LABEL: &str = "stillframe-owner";

/// Most sets on one page, by the interface.
const PAGE_LEN: usize = 100;

pub(crate) fn get_set<H: Tree + Command>(
    host: &H,
    config: &Config,
    reference: &SetReference,
) -> Result<Option<SnapshotSet>, Error> {
    let record = match reference {
        SetReference::Handle(handle) => by_handle(host, config, &Handle::parse(handle)?)?,
        SetReference::Token(token) => all(host, config)?.into_iter().find(|record| record.token == *token),
    };
    record.map(|record| record.describe(host)).transpose()
}

/// The record of the set with this handle; none when its name is free or somebody else's.
pub(crate) fn by_handle<H: Tree + Command>(host: &H, config: &Config, handle: &Handle) -> Result<Option<Record>, Error> {
    let record = Record::read(host, &handle.name)?;
    if record.is_none() {
        marker::require(host, &config.root)?;
    }
    Ok(record.filter(|record| record.token == handle.token))
}

pub(crate) fn list_sets<H: Tree + Command>(host: &H, config: &Config, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let after = cursor.map(parse_cursor).transpose()?;
    let mut records = all(host, config)?;
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
