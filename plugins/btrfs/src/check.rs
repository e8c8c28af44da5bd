//! Checking the configuration and the roots, without a trace.

use stillframe_sdk::Error;
use stillframe_sdk::command::Command;
use stillframe_sdk::invalid;
use stillframe_sdk::tree::Tree;

use crate::storage::Mounted;
use crate::{Config, find, layout, marker};

/// Share of the file system below which a warning is due.
const LOW_ROOM_PERCENT: u64 = 10;

/// The mount option with which the owner of a subvolume may delete it.
const OWNERS_DELETE: &str = "user_subvol_rm_allowed";

pub(crate) fn check<H: Tree + Command>(host: &H, config: &Config) -> Result<Vec<String>, Error> {
    let mut warnings = Vec::new();
    for root in config.roots()? {
        let key = if root == config.root { "root" } else { "other_roots" };
        let mounted = Mounted::of(host, root)?;
        if mounted.fstype != "btrfs" {
            return Err(invalid(key, format!("`{root}` lies on {}, not on btrfs", mounted.fstype)));
        }
        if !mounted.options.split(',').any(|option| option == OWNERS_DELETE) {
            warnings.push(format!(
                "the file system of `{root}` is mounted without `{OWNERS_DELETE}`: only root can delete snapshots, so `command_prefix` \
                 must give root's rights"
            ));
        }
        if !marker::exists(host, root)? {
            if !find::records(host)?.is_empty() && root == config.root {
                return Err(marker::missing(root));
            }
            warnings.push(format!(
                "`{root}` has no marker `{}`: it will be made by the first backup. If there are backups already, its file system is not \
                 mounted",
                layout::marker(root)
            ));
        }
    }
    let room = host.roots()?.into_iter().find(|root| root.name == layout::ROOT);
    let room = room.ok_or_else(|| invalid("root", "it must name a directory that holds the snapshots"))?;
    if !room.writable {
        return Err(invalid("root", "it cannot be written"));
    }
    if room.available_bytes < room.total_bytes / 100 * LOW_ROOM_PERCENT {
        warnings.push(format!("less than {LOW_ROOM_PERCENT} % of the file system of `root` is free"));
    }
    Ok(warnings)
}
