//! The clones that restores have made.

use std::collections::BTreeMap;

use stillframe_sdk::Error;
use stillframe_sdk::command::Command;

use crate::name::{self, RESTORE_PROPERTY};
use crate::zfs::{Zfs, missing};

/// A clone of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RestoreClone {
    pub(crate) name: String,
    /// The snapshot that it was made of; `-` after `zfs promote`.
    pub(crate) origin: String,
    pub(crate) is_mounted: bool,
    /// A dataset or snapshot that somebody has made below it or of it.
    pub(crate) below: Option<String>,
    /// Token of the restore, if the property is there.
    token: Option<String>,
}

impl RestoreClone {
    /// Whether its properties were set: it is as it should be.
    pub(crate) fn is_marked(&self) -> bool {
        self.token.is_some()
    }

    /// Whether it has become a dataset of its own.
    pub(crate) fn is_promoted(&self) -> bool {
        self.origin == "-"
    }
}

/// The clones of the restore with this token.
///
/// ZFS makes a clone and then sets its properties, so a machine that stops in between leaves one that is ours by its name alone.
pub(crate) fn of<H: Command>(zfs: &Zfs<'_, H>, token: &str) -> Result<Vec<RestoreClone>, Error> {
    let mut clones: BTreeMap<String, RestoreClone> = BTreeMap::new();
    for property in zfs.clones().map_err(|failure| missing("clones", failure))? {
        let clone = clones.entry(property.of.clone()).or_default();
        clone.name = property.of;
        match property.name.as_str() {
            "origin" => clone.origin = property.value,
            "mounted" => clone.is_mounted = property.value == "yes",
            RESTORE_PROPERTY if property.source == "local" => clone.token = Some(property.value),
            _ => {}
        }
    }
    let is_ours = |clone: &RestoreClone| match &clone.token {
        Some(marked) => marked == token,
        None => !clone.is_promoted() && name::is_clone_of(&clone.name, token),
    };
    let names: Vec<String> = clones.keys().cloned().collect();
    let is_below = |other: &&String, name: &str| other.strip_prefix(name).is_some_and(|rest| rest.starts_with(['/', '@']));
    let is_parent = |clone: &RestoreClone| zfs.config.clones.contains(&clone.name);
    let is_clone = |clone: &RestoreClone| !clone.name.contains('@') && !is_parent(clone) && is_ours(clone);
    let mut clones: Vec<RestoreClone> = clones.into_values().filter(is_clone).collect();
    for clone in &mut clones {
        clone.below = names.iter().find(|other| is_below(other, &clone.name)).cloned();
    }
    Ok(clones)
}
