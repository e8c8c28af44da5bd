//! Finding sets: one by its token or handle, or all of an owner.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, SetPage, SetReference, SnapshotSet, invalid};

use crate::Config;
use crate::layout::Handle;
use crate::set::Inventory;

/// Most sets on one page, by the interface.
const PAGE_LEN: usize = 100;

pub(crate) fn get_set<H: Host + Command>(
    host: &H,
    config: &Config,
    reference: &SetReference,
) -> Result<Option<SnapshotSet>, Error> {
    let handle = match reference {
        SetReference::Handle(handle) => Some(Handle::parse(handle)?),
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
    let after = cursor.map(parse_cursor).transpose()?;
    let inventory = Inventory::take(host, config)?;
    let of_owner = inventory.all()?.iter().filter(|set| set.plan.owner() == Some(owner));
    let mut left = of_owner.filter(|set| after.as_ref().is_none_or(|after| set.place() > *after));
    let page: Vec<_> = left.by_ref().take(PAGE_LEN).collect();
    let more = left.next().is_some();
    let next = page.last().filter(|_| more).map(|set| set.place()).map(|(ms, handle)| format!("{ms}:{handle}"));
    Ok(SetPage { sets: page.into_iter().map(|set| inventory.describe(host, config, set)).collect(), next })
}

fn parse_cursor(cursor: &str) -> Result<(u64, String), Error> {
    cursor
        .split_once(':')
        .and_then(|(ms, handle)| Some((ms.parse().ok()?, handle.to_owned())))
        .ok_or_else(|| invalid("cursor", format!("`{cursor}` was not given by this provider")))
}
