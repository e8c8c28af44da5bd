//! Finding sets: one by its token or handle, or all of an owner.

use std::collections::BTreeMap;

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, SetPage, SetReference, SnapshotSet, page};

use crate::name::{self, Handle};
use crate::record;
use crate::set::{self, Set};
use crate::zfs::{Property, Zfs, missing};

pub(crate) fn get_set<H: Command>(zfs: &Zfs<'_, H>, reference: &SetReference) -> Result<Option<SnapshotSet>, Error> {
    let set = match reference {
        SetReference::Handle(handle) => by_handle(zfs, &Handle::parse(handle)?)?,
        SetReference::Token(token) => by_token(zfs, token)?,
    };
    Ok(set.map(|set| set.describe(zfs.config)))
}

/// The set of the request with this token.
pub(crate) fn by_token<H: Command>(zfs: &Zfs<'_, H>, token: &str) -> Result<Option<Set>, Error> {
    let marked = all(zfs)?.into_iter().filter(|(_, mark)| mark.token == token).map(|(snapshot, _)| snapshot);
    Ok(set::read(zfs, &marked.collect::<Vec<_>>())?.into_iter().next())
}

/// The set with this handle.
pub(crate) fn by_handle<H: Command>(zfs: &Zfs<'_, H>, handle: &Handle) -> Result<Option<Set>, Error> {
    Ok(by_token(zfs, &handle.token)?.filter(|set| set.record.handle == *handle))
}

pub(crate) fn list_sets<H: Command>(zfs: &Zfs<'_, H>, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let owner = record::encoded_owner(owner);
    // Newest attempt first, so that it decides about the place of its token.
    let mut places: BTreeMap<&str, u64> = BTreeMap::new();
    let marks: Vec<(String, Mark)> = all(zfs)?.into_iter().filter(|(_, mark)| mark.owner.as_ref() == Some(&owner)).collect();
    for (_, mark) in &marks {
        let begin = places.entry(&mark.token).or_default();
        *begin = mark.begin_ms.max(*begin);
    }
    let order: Vec<(u64, &str)> = places.iter().map(|(token, begin_ms)| (*begin_ms, *token)).collect();
    let (order, next) = page(order, cursor, |(begin_ms, token)| (*begin_ms, token))?;
    let snapshots: Vec<String> = marks
        .iter()
        .filter(|(_, mark)| order.iter().any(|(_, token)| *token == mark.token))
        .map(|(snapshot, _)| snapshot.clone())
        .collect();
    let mut sets = set::read(zfs, &snapshots)?;
    sets.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
    Ok(SetPage { sets: sets.iter().map(|set| set.describe(zfs.config)).collect(), next })
}

/// Oldest first; the token decides between two of the same millisecond.
fn place(set: &Set) -> (u64, &str) {
    (set.record.begin_ms, &set.record.handle.token)
}

/// What a snapshot of ours says first.
#[derive(Debug, Default)]
struct Mark {
    token: String,
    owner: Option<String>,
    begin_ms: u64,
}

/// Every snapshot of ours: of `datasets`, and of `clones`, to which `zfs promote` moves them.
fn all<H: Command>(zfs: &Zfs<'_, H>) -> Result<BTreeMap<String, Mark>, Error> {
    let config = zfs.config;
    let mut properties = zfs.marks(&config.datasets).map_err(|failure| missing("datasets", failure))?;
    let elsewhere: Vec<String> = config.clones.iter().filter(|parent| !config.covers(parent)).cloned().collect();
    if !elsewhere.is_empty() {
        properties.extend(zfs.marks(&elsewhere).map_err(|failure| missing("clones", failure))?);
    }
    let mut marks: BTreeMap<String, Mark> = BTreeMap::new();
    for Property { of, name, value, .. } in properties {
        let mark = marks.entry(of).or_default();
        match name.strip_prefix(name::PROPERTY_PREFIX) {
            Some("token") => mark.token = value,
            Some("owner") => mark.owner = Some(value),
            Some("begin") => mark.begin_ms = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    marks.retain(|_, mark| !mark.token.is_empty());
    Ok(marks)
}
