//! Mapping data paths to logical volumes.
//!
//! Two facts must agree: the kernel's device on top of the stack, and the source of the mount. What does not lie directly on a
//! logical volume is refused: a snapshot below another layer would need that layer again to be read.

use stillframe_sdk::command::Command;
use stillframe_sdk::mount::same_device;
use stillframe_sdk::{BlockDevice, DataPath, Error, Labels, Located, Volume};

use crate::config::{Mode, is_lvm_name};
use crate::layout;
use crate::report::LogicalVolume;
use crate::set::Inventory;
use crate::{Config, report};

/// Which kind of snapshot a volume gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Thin,
    Classic,
}

pub(crate) fn resolve<H: Command>(host: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
    let inventory = Inventory::without_sets(report::volumes(host, config)?);
    let mut volumes: Vec<Volume> = Vec::new();
    for path in paths {
        let found = find(config, &inventory, &path)?;
        match volumes.iter_mut().find(|volume| volume.id == found.id()) {
            Some(volume) => volume.paths.push(path),
            None => volumes.push(Volume { id: found.id(), paths: vec![path], attributes: attributes(found) }),
        }
    }
    Ok(volumes)
}

/// The kind of snapshot for this volume, or why it can have none.
pub(crate) fn kind(config: &Config, volume: &LogicalVolume) -> Result<Kind, String> {
    if volume.is_classic_snapshot() {
        return Err(format!("`{}` is itself a classic snapshot, of which LVM takes no other", volume.id()));
    }
    match (config.mode, volume.is_thin()) {
        (Mode::Auto | Mode::Thin, true) => Ok(Kind::Thin),
        (Mode::Auto, false) | (Mode::Classic, _) => Ok(Kind::Classic),
        (Mode::Thin, false) => {
            Err(format!("`{}` is not a thin volume, and `mode = \"thin\"` allows no classic snapshot", volume.id()))
        }
    }
}

fn find<'a>(config: &Config, inventory: &'a Inventory, path: &DataPath) -> Result<&'a LogicalVolume, Error> {
    let refuse = |reason: String| Error::UnmanagedPath(format!("{}: {reason}", path.path));
    let top = path.devices.first().ok_or_else(|| refuse(format!("`{}` is no block device", path.mount_source)))?;
    let minor = minor(top, &path.devices).map_err(refuse)?;
    let volume = inventory.volumes.iter().find(|volume| volume.minor == Some(minor)).ok_or_else(|| {
        refuse(format!("`{}` is not a logical volume of {}", path.mount_source, config.volume_groups.names().join(", ")))
    })?;
    let source = Located::of(path)?.source;
    if disagrees(&source, top, volume) {
        return Err(refuse(format!("it is mounted from `{source}`, but its device `{}` is `{}`", top.name, volume.id())));
    }
    match path.fs_type.as_str() {
        "ext2" | "ext3" | "ext4" | "xfs" => {}
        // Two devices with one UUID are one file system to btrfs.
        "btrfs" => return Err(refuse("a snapshot of its device cannot be mounted beside it; use the provider btrfs".to_owned())),
        other => return Err(refuse(format!("file systems of type `{other}` are not known to be restored"))),
    }
    kind(config, volume).map_err(refuse)?;
    if !is_given(&volume.name) {
        return Err(refuse(format!("the name of `{}` begins with a sign that the policy does not allow", volume.id())));
    }
    Ok(volume)
}

/// The number of the kernel's device, when it is a logical volume.
fn minor(top: &BlockDevice, devices: &[BlockDevice]) -> Result<u32, String> {
    let below = devices[1..].iter().any(|device| device.kind == "lvm");
    match (top.kind.as_str(), top.name.strip_prefix("dm-").and_then(|number| number.parse().ok())) {
        ("lvm", Some(minor)) => Ok(minor),
        ("crypt", _) if below => Err(format!(
            "`{}` is encrypted within a logical volume, so that a snapshot of that could not be mounted; put the encryption \
             below LVM",
            top.name
        )),
        (kind, _) if below => Err(format!("`{}` ({kind}) lies between the file system and the logical volume", top.name)),
        (kind, _) => Err(format!("`{}` ({kind}) is not a logical volume", top.name)),
    }
}

/// Whether the source of the mount names another device. Other links to a device (`/dev/root`) say nothing.
fn disagrees(source: &str, top: &BlockDevice, volume: &LogicalVolume) -> bool {
    if let Some(name) = source.strip_prefix("/dev/dm-") {
        return top.name.strip_prefix("dm-") != Some(name);
    }
    let named = source.starts_with("/dev/mapper/") || source.starts_with(&format!("/dev/{}/", volume.group));
    named && !same_device(source, &layout::device(&volume.group, &volume.name))
}

/// Whether the default policy lets this name be given to a program.
fn is_given(name: &str) -> bool {
    is_lvm_name(name) && !name.starts_with(['.', '+'])
}

fn attributes(volume: &LogicalVolume) -> Labels {
    let mut attributes = vec![
        ("group".to_owned(), volume.group.clone()),
        ("uuid".to_owned(), volume.uuid.clone()),
        ("layout".to_owned(), volume.layout.clone()),
        ("size".to_owned(), volume.size_bytes.to_string()),
    ];
    attributes.extend(volume.pool.iter().map(|pool| ("pool".to_owned(), pool.clone())));
    attributes
}
