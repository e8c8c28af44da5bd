//! Looking whether there is room, before anything is cut.
//!
//! LVM refuses as well, but only the volume that does not fit, after others were cut; and it lets a thin pool fill to the last
//! block, at which the origin's writes fail.

use stillframe_sdk::Error;
use stillframe_sdk::command::Command;

use crate::Config;
use crate::report::{self, LogicalVolume, percent_text};
use crate::set::Inventory;

/// Bytes that a group must have free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need<'a> {
    pub(crate) group: &'a str,
    pub(crate) bytes: u64,
    /// For whom, as an error tells it.
    pub(crate) purpose: String,
}

/// Fails with `exhausted` when a group has not the room for what is needed of it.
pub(crate) fn in_groups<H: Command>(host: &H, config: &Config, needs: &[Need<'_>]) -> Result<(), Error> {
    if needs.is_empty() {
        return Ok(());
    }
    for group in report::groups(host, config)? {
        let mut free = group.free_bytes;
        for need in needs.iter().filter(|need| need.group == group.name) {
            let bytes = need.bytes.div_ceil(group.extent_bytes).saturating_mul(group.extent_bytes);
            free = free.checked_sub(bytes).ok_or_else(|| {
                Error::Exhausted(format!(
                    "the volume group `{}` has {} bytes free, which is too little for {} ({bytes} bytes)",
                    group.name, group.free_bytes, need.purpose
                ))
            })?;
        }
    }
    Ok(())
}

/// Fails with `exhausted` when the pool of a thin volume is not fit for one more.
pub(crate) fn in_pool(config: &Config, inventory: &Inventory, volume: &LogicalVolume) -> Result<(), Error> {
    let Some(pool) = inventory.pool(volume) else { return Ok(()) };
    if !pool.health.is_empty() {
        return Err(Error::Exhausted(format!("the thin pool `{}` is not well: {}", pool.id(), pool.health)));
    }
    for (what, share) in [("data", pool.data_hundredths), ("metadata", pool.metadata_hundredths)] {
        if let Some(share) = share.filter(|share| *share >= config.full_percent.hundredths()) {
            let limit = percent_text(config.full_percent.hundredths());
            return Err(Error::Exhausted(format!(
                "{} % of the {what} of the thin pool `{}` are used up, and `full_percent` is {limit}: extend it",
                percent_text(share),
                pool.id()
            )));
        }
    }
    Ok(())
}
