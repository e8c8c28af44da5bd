//! The only place that spells names: of snapshots, clones, devices, mount points and handles.
//!
//! Snapshots and clones have prefixes of their own. The default policy allows to remove and to write what has them and nothing
//! else, so that no fault in here can cost an origin.

use std::fmt;
use std::iter::{once, repeat};

use stillframe_sdk::{Error, SetHandle, invalid, is_backup_name};

use crate::Config;

/// What the name of every snapshot begins with.
pub(crate) const SNAPSHOT_PREFIX: &str = "stillframe_backup.";

/// What the name of every clone begins with.
pub(crate) const CLONE_PREFIX: &str = "stillframe_restore.";

/// Longest name of a kernel's device, and the longest layer that LVM adds to it (`-real`).
const MAX_DEVICE_BYTES: usize = 127;
const LAYER_BYTES: usize = 5;

/// Longest handle that the interface allows, in bytes.
const MAX_HANDLE_BYTES: usize = 1_024;

/// Name of the snapshot of this volume of the set. The token is in it because two providers may share a backup's name.
pub(crate) fn snapshot_name(handle: &SetHandle, group: &str, index: usize) -> Result<String, Error> {
    let name = format!("{SNAPSHOT_PREFIX}{}.{:08x}.{index}", handle.name, digest(&handle.token));
    if device_bytes(group, &name) > MAX_DEVICE_BYTES {
        return Err(invalid("name", format!("`{group}/{name}` is too long for the name of a device")));
    }
    Ok(name)
}

/// The handle of a restore: its token, and the groups that it has volumes in. Nobody could say of a group that is not named any more
/// that nothing is left there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoreHandle {
    pub(crate) token: RestoreToken,
    pub(crate) groups: Vec<String>,
}

impl RestoreHandle {
    /// Reads `<token>/<group>,<group>`, or a token alone; none for what no restore of ours can have.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (token, groups) = text.split_once('/').unwrap_or((text, ""));
        let groups = groups.split(',').filter(|group| !group.is_empty()).map(str::to_owned).collect();
        Some(Self { token: RestoreToken::new(token)?, groups })
    }
}

impl fmt::Display for RestoreHandle {
    /// Groups that do not fit are left out: the volumes tell of each other as well.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.token.0.clone();
        for (separator, group) in once('/').chain(repeat(',')).zip(&self.groups) {
            if text.len() + 1 + group.len() <= MAX_HANDLE_BYTES {
                text.push(separator);
                text.push_str(group);
            }
        }
        formatter.write_str(&text)
    }
}

/// The token of a restore, of which all its names are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoreToken(String);

impl RestoreToken {
    /// None for a text that no restore of ours can have: a path is made of it.
    pub(crate) fn new(text: &str) -> Option<Self> {
        is_backup_name(text).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the clone of this volume of the set.
    pub(crate) fn clone_name(&self, index: usize) -> String {
        format!("{CLONE_PREFIX}{}.{index}", self.0)
    }

    /// Whether a device is named like a clone of this restore, in whatever group.
    pub(crate) fn names(&self, device: &str) -> bool {
        let name = format!("{CLONE_PREFIX}{}.", self.0);
        device.contains(&format!("/{name}")) || device.contains(&format!("-{}", name.replace('-', "--")))
    }

    /// The directory that holds the points of this restore.
    pub(crate) fn directory(&self, config: &Config) -> String {
        format!("{}/{}", config.mount_root.as_str(), self.0)
    }

    /// Where the clone of this volume of the set is mounted.
    pub(crate) fn point(&self, config: &Config, index: usize) -> String {
        format!("{}/{index}", self.directory(config))
    }
}

/// The device of a logical volume.
pub(crate) fn device(group: &str, name: &str) -> String {
    format!("/dev/{group}/{name}")
}

/// Bytes of `vg-lv`, in which hyphens of the names are doubled, with the longest layer.
fn device_bytes(group: &str, name: &str) -> usize {
    let escaped = |text: &str| text.len() + text.matches('-').count();
    escaped(group) + 1 + escaped(name) + LAYER_BYTES
}

/// FNV-1a, 32 bits: it only has to tell a few tokens apart, and whoever meets is refused by the name that exists.
fn digest(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
