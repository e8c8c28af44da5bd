//! Mapping data paths to subvolumes.
//!
//! A directory belongs to the subvolume whose number the kernel gives for it. The root of that subvolume is the highest directory
//! with the same number, up to the mount point; there the mount must show the subvolume and not a directory in it, for only a
//! subvolume as a whole can be snapshotted.

use stillframe_sdk::command::Command;
use stillframe_sdk::{DataPath, Error, Host, Level, Located, Volume};

use crate::storage::Mounted;
use crate::{Config, program};

/// The attribute that tells in which root the snapshots of a volume are kept.
pub(crate) const ROOT_ATTRIBUTE: &str = "root";

pub(crate) fn resolve<H: Host + Command>(host: &H, config: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
    let roots = config.roots()?.into_iter().map(|root| Ok((root, Mounted::of(host, root)?))).collect::<Result<Vec<_>, Error>>()?;
    let mut volumes: Vec<Volume> = Vec::new();
    for path in paths {
        let (subvolume, root) = locate(host, &roots, &path)?;
        if let Some(volume) = volumes.iter_mut().find(|volume| volume.id == subvolume) {
            volume.paths.push(path);
        } else {
            let attributes = vec![(ROOT_ATTRIBUTE.to_owned(), root.to_owned())];
            volumes.push(Volume { id: subvolume, paths: vec![path], attributes });
        }
    }
    Ok(volumes)
}

/// The subvolume that holds a path, and the root for its snapshots.
fn locate<'a, H: Host + Command>(host: &H, roots: &[(&'a str, Mounted)], path: &DataPath) -> Result<(String, &'a str), Error> {
    let unmanaged = |reason: String| {
        host.log(Level::Error, &format!("`{}` cannot be covered: {reason}", path.path));
        Error::UnmanagedPath(path.path.clone())
    };
    if path.fs_type != "btrfs" {
        return Err(unmanaged(format!("its file system is {}, not btrfs", path.fs_type)));
    }
    let located = Located::of(path)?;
    let Some((root, _)) = roots.iter().find(|(_, mounted)| mounted.holds(&located)) else {
        return Err(unmanaged(format!("neither `root` nor one of `other_roots` lies on its file system, `{}`", located.source)));
    };
    let subvolume = top_of_subvolume(host, path)?;
    if subvolume == path.mount_point && !Mounted::of(host, &subvolume)?.shows_a_subvolume() {
        return Err(unmanaged(format!("the mount at `{subvolume}` shows a directory in a subvolume")));
    }
    // Each snapshot would hold all earlier ones as empty directories, and deleting the cluster's subvolume would delete the backups.
    if root.strip_prefix(subvolume.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/')) {
        let own = number(host, &subvolume)?;
        if number(host, root)? == own {
            return Err(unmanaged(format!("`{root}`, where its snapshots would lie, is in the same subvolume `{subvolume}`")));
        }
    }
    Ok((subvolume, root))
}

/// The highest directory above a path that is still in the same subvolume, no higher than the mount point.
fn top_of_subvolume(host: &impl Command, path: &DataPath) -> Result<String, Error> {
    let own = number(host, &path.path)?;
    let mut top = path.path.clone();
    while top != path.mount_point {
        let Some((parent, _)) = top.rsplit_once('/') else { break };
        let parent = if parent.is_empty() { "/" } else { parent };
        if number(host, parent)? != own {
            break;
        }
        top = parent.to_owned();
    }
    Ok(top)
}

fn number(host: &impl Command, path: &str) -> Result<u64, Error> {
    program::subvolume_id(host, path)?.ok_or_else(|| Error::Transient(format!("`{path}` is not there any more")))
}
