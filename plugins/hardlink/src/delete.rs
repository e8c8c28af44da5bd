//! Deleting a set.

use stillframe_sdk::tree::Tree;
use stillframe_sdk::{Deletion, Error, SetHandle};

use crate::erase::erase;
use crate::find;
use crate::record::State;

pub(crate) fn delete_set(host: &impl Tree, handle: &str) -> Result<Deletion, Error> {
    let Some(mut record) = find::by_handle(host, &SetHandle::parse(handle)?)? else { return Ok(Deletion::Absent) };
    if record.state != State::Deleting {
        // From here on nobody takes the set for a backup or links from it, even if we are killed.
        record.state = State::Deleting;
        record.write(host)?;
    }
    erase(host, &record)?;
    Ok(Deletion::Deleted)
}
