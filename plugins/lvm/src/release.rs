//! Undoing a restore, by its token: unmount, remove the volumes, remove the directory.
//!
//! Found by what is there and not by what the restore meant to make, so that one that was killed anywhere is undone as well.

use stillframe_sdk::command::Command;
use stillframe_sdk::mount::{self, Mounted};
use stillframe_sdk::{Error, Host, Level, invalid};

use crate::Config;
use crate::delete;
use crate::layout::{self, CLONE_PREFIX, RestoreHandle, RestoreToken};
use crate::report::{self, LogicalVolume};
use crate::restore::{GROUPS, RESTORE, VOLUME};
use crate::tags::Facts;

pub(crate) fn release<H: Host + Command>(host: &H, config: &Config, handle: &str) -> Result<(), Error> {
    let Some(RestoreHandle { token, groups }) = RestoreHandle::parse(handle) else { return Ok(()) };
    let volumes = report::volumes(host, config)?;
    let clones: Vec<(&LogicalVolume, usize)> =
        volumes.iter().filter_map(|volume| Some((volume, clone_of(volume, &token)?))).collect();
    refuse_unseen(config, &token, groups, &clones)?;
    let mounts = mounts(host, config, &token, &clones)?;
    for (_, index) in &clones {
        if let Err(error) = mount::detach(host, &token.point(config, *index)) {
            mount_again(host, config, &token, &clones, &mounts);
            return Err(error);
        }
    }
    for (volume, _) in &clones {
        delete::remove_volume(host, volume)?;
    }
    let directory = token.directory(config);
    if let Err(error) = mount::remove_directory(host, &directory) {
        // The volumes are gone. An empty directory more, or somebody's file in it, is no reason to do that again.
        host.log(Level::Warn, &format!("`{directory}` is left behind: {error:?}"));
    }
    Ok(())
}

/// The place in the set of what this volume is a clone of, if it is one of this restore.
fn clone_of(volume: &LogicalVolume, token: &RestoreToken) -> Option<usize> {
    let facts = Facts::of(&volume.tags);
    let ours = volume.name.starts_with(CLONE_PREFIX) && facts.text(RESTORE).as_deref() == Some(token.as_str());
    facts.number(VOLUME).filter(|_| ours)
}

/// Fails when the restore has volumes in a group that is not looked at: it would be told as released, and what is left there would be
/// nobody's. Before anything is unmounted: all, or nothing.
fn refuse_unseen(
    config: &Config,
    token: &RestoreToken,
    mut groups: Vec<String>,
    clones: &[(&LogicalVolume, usize)],
) -> Result<(), Error> {
    for (volume, _) in clones {
        let told = Facts::of(&volume.tags).pairs(GROUPS).unwrap_or_default();
        groups.extend(told.into_iter().map(|(group, _)| group));
    }
    match groups.iter().find(|group| !config.volume_groups.names().contains(group)) {
        Some(group) => Err(unseen(token, &format!("has volumes in `{group}`, a group"))),
        None => Ok(()),
    }
}

fn unseen(token: &RestoreToken, what: &str) -> Error {
    let message = format!("the restore `{}` {what} that it does not name any more: add it, and release again", token.as_str());
    invalid("volume_groups", message)
}

/// What is mounted of the restore. What somebody else has mounted in its directory is not unmounted, and keeps everything there;
/// so does a clone that somebody has mounted elsewhere.
fn mounts<H: Command>(
    host: &H,
    config: &Config,
    token: &RestoreToken,
    clones: &[(&LogicalVolume, usize)],
) -> Result<Vec<Mounted>, Error> {
    let directory = format!("{}/", token.directory(config));
    let is_clone =
        |source: &str| clones.iter().any(|(volume, _)| mount::same_device(source, &layout::device(&volume.group, &volume.name)));
    let mut mounts = mount::all(host)?;
    mounts.retain(|mounted| mounted.point.starts_with(&directory) || is_clone(&mounted.source));
    match mounts.iter().find(|mounted| !mounted.point.starts_with(&directory) || !is_clone(&mounted.source)) {
        Some(mounted) if !is_clone(&mounted.source) && token.names(&mounted.source) => {
            Err(unseen(token, &format!("has `{}` mounted at `{}`, of a group", mounted.source, mounted.point)))
        }
        Some(mounted) => Err(Error::InUse(format!("`{}` is mounted at `{}`", mounted.source, mounted.point))),
        None => Ok(mounts),
    }
}

/// A server that runs on a restore need not have a file of each volume open: it would lose those that could be unmounted.
fn mount_again<H: Host + Command>(
    host: &H,
    config: &Config,
    token: &RestoreToken,
    clones: &[(&LogicalVolume, usize)],
    mounts: &[Mounted],
) {
    for (volume, index) in clones {
        let point = token.point(config, *index);
        let Some(earlier) = mounts.iter().find(|mounted| mounted.point == point) else { continue };
        if let Err(left) = mount::attach(host, &layout::device(&volume.group, &volume.name), &earlier.fs_type, &point) {
            let id = volume.id();
            host.log(Level::Warn, &format!("`{id}` was unmounted from `{point}`, and could not be mounted again: {left:?}"));
        }
    }
}
