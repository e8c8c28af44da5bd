//! The directory beside the destination in which a clone is built, and its publication.
//!
//! Its name follows from the destination's, so that the next operation on the same destination finds what a dead process left. A
//! lock that dies with its holder tells a dead one from a living one.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode};
use rustix::io::Errno;

use super::beneath::{self, Identity};
use super::{TreeError, location::Place};

/// A locked, empty directory that becomes the destination.
pub(super) struct Staging {
    parent: File,
    name: OsString,
    /// Where to build.
    pub(super) directory: File,
}

impl Staging {
    /// Makes the directory, or takes over and empties what a dead process left.
    pub(super) fn begin(parent: &File, destination: &Place<'_>) -> Result<Self, TreeError> {
        let failed = |cause: io::Error| TreeError::of("stage", &destination.location, &cause);
        let name = staging_name(destination.name());
        loop {
            match rustix::fs::mkdirat(parent, &name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
            if let Some(directory) = take(parent, &name, destination)? {
                beneath::empty(&directory, &|| true).map_err(failed)?;
                return Ok(Self { parent: parent.try_clone().map_err(failed)?, name, directory });
            }
        }
    }

    /// Gives the directory its destination's name, durably.
    pub(super) fn publish(self, destination: &Place<'_>) -> Result<(), TreeError> {
        let name = destination.name();
        if let Err(errno) = beneath::rename(&self.parent, &self.name, name) {
            self.discard();
            return Err(TreeError::of("publish", &destination.location, &errno.into()));
        }
        if let Err(cause) = self.parent.sync_all() {
            // A clone that a power failure may take back is not published: withhold its name again.
            let error = TreeError::of("make durable", &destination.location, &cause);
            if beneath::rename(&self.parent, name, &self.name).is_ok() {
                self.discard();
            }
            return Err(error);
        }
        Ok(())
    }

    /// Removes the directory. What cannot be removed now, the next operation on the destination removes.
    pub(super) fn discard(self) {
        let removed = beneath::empty(&self.directory, &|| true)
            .and_then(|()| Ok(rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR)?));
        if let Err(cause) = removed {
            tracing::warn!(directory = %self.name.display(), %cause, "an incomplete clone could not be removed yet");
        }
    }

    /// Removes what a dead process left of building this destination.
    pub(super) fn remove_leftover(parent: &File, destination: &Place<'_>) -> Result<(), TreeError> {
        let failed = |cause: io::Error| TreeError::of("remove the incomplete clone of", &destination.location, &cause);
        let name = staging_name(destination.name());
        if beneath::exists(parent, &name).map_err(failed)?
            && let Some(directory) = take(parent, &name, destination)?
        {
            beneath::empty(&directory, &|| true).map_err(failed)?;
            rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR).map_err(|errno| failed(errno.into()))?;
        }
        Ok(())
    }
}

/// Locks a directory for as long as it is open; an error when somebody else has.
pub(super) fn lock(directory: &File, destination: &Place<'_>) -> Result<(), TreeError> {
    match rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(TreeError::Failed(format!("`{}` is being built by another operation", destination.location))),
        Err(errno) => Err(TreeError::of("lock", &destination.location, &errno.into())),
    }
}

/// Opens and locks the staging directory; none when it was published or removed before we had the lock.
fn take(parent: &File, name: &OsStr, destination: &Place<'_>) -> Result<Option<File>, TreeError> {
    let failed = |cause: io::Error| TreeError::of("stage", &destination.location, &cause);
    let directory = match beneath::open_directory(parent, Path::new(name)) {
        Ok(directory) => directory,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    lock(&directory, destination)?;
    match Identity::of_name(parent, name) {
        Ok(named) if named == Identity::of(&directory).map_err(failed)? => Ok(Some(directory)),
        Ok(_) => Ok(None),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed(cause)),
    }
}

fn staging_name(name: &OsStr) -> OsString {
    let mut staging = OsString::from(".stillframe-staging-");
    staging.push(name);
    staging
}
