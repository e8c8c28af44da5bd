//! Removing all that belongs to a set, in an order that can be interrupted.

use stillframe_sdk::Error;
use stillframe_sdk::tree::Tree;

use crate::layout;
use crate::record::Record;

/// Removes the trees, and the record with the directory last: as long as anything is left, the record tells of it.
pub(crate) fn erase(host: &impl Tree, record: &Record) -> Result<(), Error> {
    for member in &record.members {
        host.remove_tree(&layout::tree(&record.name, &member.path))?;
    }
    Ok(host.remove_tree(&layout::set(&record.name))?)
}
