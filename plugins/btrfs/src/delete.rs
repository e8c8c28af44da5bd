//! Deleting a set.

use stillframe_sdk::command::Command;
use stillframe_sdk::tree::Tree;
use stillframe_sdk::{Deletion, Error, SetHandle};

use crate::record::State;
use crate::{Config, find};

pub(crate) fn delete_set<H: Tree + Command>(host: &H, config: &Config, handle: &str) -> Result<Deletion, Error> {
    let Some(mut record) = find::by_handle(host, config, &SetHandle::parse(handle)?)? else { return Ok(Deletion::Absent) };
    if record.state != State::Deleting {
        // From here on nobody takes the set for a backup, even if we are killed.
        record.state = State::Deleting;
        record.write(host)?;
    }
    record.erase(host)?;
    Ok(Deletion::Deleted)
}
