//! Removes what other servers, and this one before its machine was started, left in the spool.
//!
//! A process that tends prefetched segments empties its directory when it ends; one that was killed cannot. Markers stay where
//! nobody asks for their files any more. The next process that works ahead, for whatever server, removes both.

use std::fs::File;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::prefetched::{LIFETIME, LOCK};
use super::{FETCHED, PUSHED, Place, age};
use crate::files;

/// Removes the directories of other servers that nobody tends and nobody has touched for long.
pub(crate) fn sweep(place: &Place, now: Timestamp) -> io::Result<()> {
    for cluster in std::fs::read_dir(&place.root)? {
        let Ok(servers) = std::fs::read_dir(cluster?.path()) else { continue };
        for server in servers.flatten() {
            let path = server.path();
            let is_a_servers =
                server.file_name().to_str().is_some_and(|name| name.starts_with(PUSHED) || name.starts_with(FETCHED));
            if is_a_servers && path != place.fetched() && path != place.pushed() && is_abandoned(&path, now) {
                remove(&path);
            }
        }
    }
    Ok(())
}

fn is_abandoned(directory: &Path, now: Timestamp) -> bool {
    directory.symlink_metadata().is_ok_and(|found| found.is_dir() && age(&found, now).is_some_and(|age| age > LIFETIME))
}

fn remove(directory: &Path) {
    // Without a lock nobody tends it; a lock that is held is somebody's who does.
    let lock = File::open(directory.join(LOCK));
    if lock.as_ref().is_ok_and(|lock| lock.try_lock().is_err()) {
        return;
    }
    if let Err(error) = files::remove_tree_contents(directory) {
        tracing::debug!(directory = %directory.display(), %error, "cannot be swept");
    }
    let _ = std::fs::remove_dir(directory);
}
