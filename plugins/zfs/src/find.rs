//! Finding sets: one by its token or handle, or all of an owner.

use std::collections::BTreeMap;

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, SetPage, SetReference, SnapshotSet, page};

use crate::holds;
use crate::name::{self, Handle};
use crate::record;
use crate::set::{self, Set};
use crate::zfs::{Property, Zfs, missing};

pub(crate) fn get_set<H: Command>(zfs: &Zfs<'_, H>, reference: &SetReference) -> Result<Option<SnapshotSet>, Error> {
    let set = match reference {
        SetReference::Handle(handle) => by_handle(zfs, &Handle::parse(handle)?)?,
        SetReference::Token(token) => by_token(zfs, token)?,
    };
    let Some(mut set) = set else { return Ok(None) };
    // Not at the cut: the server would be in backup mode meanwhile.
    holds::finish(zfs, &mut set)?;
    Ok(Some(set.describe(zfs.config)))
}

/// The set of the request with this token.
pub(crate) fn by_token<H: Command>(zfs: &Zfs<'_, H>, token: &str) -> Result<Option<Set>, Error> {
    Ok(of_token(zfs, token)?.into_iter().find(|set| !set.has_rival()))
}

/// The set with this handle.
pub(crate) fn by_handle<H: Command>(zfs: &Zfs<'_, H>, handle: &Handle) -> Result<Option<Set>, Error> {
    Ok(of_token(zfs, &handle.token)?.into_iter().find(|set| set.record.handle == *handle))
}

/// The sets with this token: one, unless somebody has used it for two names.
fn of_token<H: Command>(zfs: &Zfs<'_, H>, token: &str) -> Result<Vec<Set>, Error> {
    let marked = all(zfs)?.into_iter().filter(|(_, mark)| mark.token == token).map(|(snapshot, _)| snapshot);
    let sets = set::read(zfs, &marked.collect::<Vec<_>>())?;
    match sets.iter().find(|set| set.record.handle.token != token) {
        Some(set) => Err(said_two_things(set, "token")),
        None => Ok(sets),
    }
}

/// Asked twice, the snapshots of a set were different ones.
fn said_two_things(set: &Set, property: &str) -> Error {
    let name = &set.record.handle.name;
    Error::Internal(format!("the properties `stillframe:...` of `{name}` were changed: they name another {property}"))
}

pub(crate) fn list_sets<H: Command>(zfs: &Zfs<'_, H>, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let owner = record::encoded_owner(owner);
    // The newest attempt decides about the place of its set.
    let mut places: BTreeMap<String, u64> = BTreeMap::new();
    let marks: Vec<(String, Mark)> = all(zfs)?.into_iter().filter(|(_, mark)| mark.owner.as_ref() == Some(&owner)).collect();
    for (_, mark) in &marks {
        let begin = places.entry(key(&mark.token, &mark.name)).or_default();
        *begin = mark.begin_ms.max(*begin);
    }
    let order: Vec<(u64, String)> = places.into_iter().map(|(key, begin_ms)| (begin_ms, key)).collect();
    let (order, next) = page(order, cursor, |(begin_ms, key)| (*begin_ms, key))?;
    // Everything with their tokens: only then it shows which of two names came first.
    let is_meant = |mark: &Mark| order.iter().any(|(_, key)| key.split(' ').next() == Some(&mark.token));
    let snapshots: Vec<String> = marks.iter().filter(|(_, mark)| is_meant(mark)).map(|(snapshot, _)| snapshot.clone()).collect();
    let mut sets = set::read(zfs, &snapshots)?;
    sets.retain(|set| order.iter().any(|(_, key)| *key == place(set).1));
    if let Some(set) = sets.iter().find(|set| set.record.encoded_owner().as_ref() != Some(&owner)) {
        return Err(said_two_things(set, "owner"));
    }
    sets.sort_unstable_by_key(place);
    Ok(SetPage { sets: sets.iter().map(|set| set.describe(zfs.config)).collect(), next })
}

/// The clones of all snapshots of ours, wherever they are.
pub(crate) fn clones<H: Command>(zfs: &Zfs<'_, H>) -> Result<Vec<String>, Error> {
    let snapshots: Vec<String> = all(zfs)?.into_keys().collect();
    if snapshots.is_empty() {
        return Ok(Vec::new());
    }
    Ok(zfs.snapshots(&snapshots)?.into_iter().flat_map(|snapshot| snapshot.clones).collect())
}

/// Oldest first; the token decides between two of the same millisecond.
fn place(set: &Set) -> (u64, String) {
    (set.record.begin_ms, key(&set.record.handle.token, &set.record.handle.name))
}

/// Of a set in a listing. Neither part holds a space.
fn key(token: &str, name: &str) -> String {
    format!("{token} {name}")
}

/// What a snapshot of ours says first.
#[derive(Debug, Default)]
struct Mark {
    token: String,
    name: String,
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
            Some("name") => mark.name = value,
            Some("owner") => mark.owner = Some(value),
            Some("begin") => mark.begin_ms = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    marks.retain(|_, mark| !mark.token.is_empty());
    Ok(marks)
}
