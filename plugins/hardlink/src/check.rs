//! Checking the configuration and the root, without a trace.

use stillframe_sdk::tree::{RootInfo, Tree};
use stillframe_sdk::{Error, invalid};

use crate::find;
use crate::layout;
use crate::marker;
use crate::{Config, Method};

/// Share of the file system below which a warning is due.
const LOW_ROOM_PERCENT: u64 = 10;

pub(crate) fn check(host: &impl Tree, config: &Config) -> Result<Vec<String>, Error> {
    config.clone_method()?;
    let roots = host.roots()?;
    let root = roots
        .into_iter()
        .find(|root| root.name == layout::ROOT)
        .ok_or_else(|| invalid("root", "it must name a directory that holds the snapshots"))?;
    if !root.writable {
        return Err(invalid("root", "it cannot be written"));
    }
    if config.method == Method::Reflink && !root.reflink {
        return Err(invalid(
            "method",
            format!("the file system of `root` ({}) cannot share extents: use `auto` or `copy`", root.fs_type),
        ));
    }
    let marked = marker::exists(host)?;
    if !marked && !find::records(host)?.is_empty() {
        return Err(marker::missing());
    }
    let mut warnings = warnings(config, &root);
    if !marked {
        warnings.push(format!(
            "`root` has no marker `{}`: it will be made by the first backup. If there are backups already, the file system of `root` is \
             not mounted",
            layout::MARKER
        ));
    }
    Ok(warnings)
}

fn warnings(config: &Config, root: &RootInfo) -> Vec<String> {
    let mut warnings = Vec::new();
    if !config.isolated() {
        warnings.push("`method = \"cp-al\"` makes no real snapshot: later changes of the cluster appear in the backup".to_owned());
    } else if config.method == Method::Auto && !root.reflink {
        warnings.push(format!(
            "the file system of `root` ({}) cannot share extents: files that changed are copied while the cluster is in backup mode",
            root.fs_type
        ));
    }
    if root.available_bytes < root.total_bytes / 100 * LOW_ROOM_PERCENT {
        warnings.push(format!("less than {LOW_ROOM_PERCENT} % of the file system of `root` is free"));
    }
    warnings
}
