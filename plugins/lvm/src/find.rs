//! Finding sets: one by its token or handle, or all of an owner.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, SetHandle, SetPage, SetReference, SnapshotSet, page};

use crate::Config;
use crate::set::Inventory;

pub(crate) fn get_set<H: Host + Command>(
    host: &H,
    config: &Config,
    reference: &SetReference,
) -> Result<Option<SnapshotSet>, Error> {
    let handle = match reference {
        SetReference::Handle(handle) => Some(SetHandle::parse(handle)?),
        SetReference::Token(_) => None,
    };
    let inventory = Inventory::take(host, config)?;
    let found = match (&handle, reference) {
        (None, SetReference::Token(token)) => inventory.by_token(token)?,
        (handle, _) => handle.as_ref().map_or(Ok(None), |handle| inventory.by_handle(handle))?,
    };
    Ok(found.map(|set| inventory.describe(host, config, set)))
}

pub(crate) fn list_sets<H: Host + Command>(host: &H, config: &Config, owner: &str, cursor: Option<&str>) -> Result<SetPage, Error> {
    let inventory = Inventory::take(host, config)?;
    let of_owner = inventory.all()?.iter().filter(|set| set.plan.owner() == Some(owner)).collect();
    let (sets, next) = page(of_owner, cursor, |set| (set.plan.cut_begin_ms, &set.plan.handle.name))?;
    Ok(SetPage { sets: sets.into_iter().map(|set| inventory.describe(host, config, set)).collect(), next })
}
