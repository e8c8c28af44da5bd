//! The root of the store and the directories below it, held open.
//!
//! Every step goes from an open directory to a name in it, so no symbolic link and no rename by somebody else leads out of the
//! store, and an unmount in the middle cannot turn into an absence.

use std::fs::{DirBuilder, File};
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use stillframe_core::store::Space;

use super::fault::Fault;
use super::publish::{Publication, publish_in};

/// The file that makes a directory a store; no key can name it, because of its dot.
pub(super) const MARKER: &str = ".stillframe-store";

const MARKER_TEXT: &str = "stillframe-store 1\n";

/// Readable by the owner's group, for monitoring and file-level copies; WAL holds everybody's rows, so not by others.
const DIRECTORY_MODE: u32 = 0o750;

const OPEN_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The root directory of a store, proven to be one.
#[derive(Debug)]
pub(super) struct Root {
    directory: OwnedFd,
    device: u64,
}

impl Root {
    /// Opens the root and proves that it is a store.
    pub(super) fn enter(path: &Path) -> Result<Self, Fault> {
        let root = Self::open(path)?;
        match root.marker()?.as_deref() {
            Some(MARKER_TEXT) => Ok(root),
            Some(other) => Err(Fault::MarkerUnknown { found: other.trim_end().to_owned() }),
            None => Err(Fault::MarkerMissing { path: path.to_owned() }),
        }
    }

    /// Makes the root where it is missing, durably, and marks it.
    pub(super) fn create(path: &Path) -> Result<Self, Fault> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(path)
            .map_err(Fault::io("create the directory of the store"))?;
        // Which of the parents are new is not known after a crash in the middle, so all of them are synchronised.
        for parent in path.ancestors().skip(1) {
            sync_if_allowed(parent)?;
        }
        let root = Self::open(path)?;
        if root.marker()?.is_none() {
            // Of several creators one writes the marker; they all write the same.
            let _ = publish_in(&root, root.directory.as_fd(), MARKER, MARKER_TEXT.as_bytes(), Publication::IfAbsent)?;
            sync_directory(root.directory.as_fd())?;
        }
        Self::enter(path)
    }

    /// Opens the directory of an object, or none when it, and with it the object, is certainly absent.
    pub(super) fn find(&self, parents: &[&str]) -> Result<Option<Branch<'_>>, Fault> {
        let mut branch = Branch { root: self, directories: Vec::new() };
        for name in parents {
            match self.open_directory(branch.leaf(), name)? {
                Some(directory) => branch.directories.push(directory),
                None => return Ok(None),
            }
        }
        Ok(Some(branch))
    }

    /// Opens the directory of an object and makes what is missing of it.
    ///
    /// None when somebody removed a directory at the same moment, as deleting the last object in it does.
    pub(super) fn find_or_make(&self, parents: &[&str]) -> Result<Option<Branch<'_>>, Fault> {
        let mut branch = Branch { root: self, directories: Vec::new() };
        for name in parents {
            match rustix::fs::mkdirat(branch.leaf(), *name, Mode::from_raw_mode(DIRECTORY_MODE)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(Fault::at("create a directory in the store")(errno)),
            }
            match self.open_directory(branch.leaf(), name)? {
                Some(directory) => branch.directories.push(directory),
                None => return Ok(None),
            }
        }
        Ok(Some(branch))
    }

    /// Opens a directory by its name in another one; none when it is certainly absent.
    pub(super) fn open_directory(&self, parent: BorrowedFd<'_>, name: &str) -> Result<Option<OwnedFd>, Fault> {
        let directory = match rustix::fs::openat(parent, name, OPEN_DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(wrong_kind(parent, name)),
            Err(errno) => return Err(Fault::at("open a directory of the store")(errno)),
        };
        if device_of(directory.as_fd())? == self.device {
            Ok(Some(directory))
        } else {
            Err(Fault::OtherFileSystem { name: name.to_owned() })
        }
    }

    /// The root directory itself.
    pub(super) fn top(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Room on its file system, as far as it is left to us.
    pub(super) fn space(&self) -> Result<Space, Fault> {
        let found = rustix::fs::fstatvfs(&self.directory).map_err(Fault::at("look at the file system of the store"))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { free_bytes: bytes(found.f_bavail), total_bytes: bytes(found.f_blocks) })
    }

    fn open(path: &Path) -> Result<Self, Fault> {
        // The root itself may be a symbolic link: the operator named it.
        let directory =
            rustix::fs::open(path, OPEN_DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()).map_err(|errno| match errno {
                Errno::NOENT | Errno::NOTDIR => Fault::RootMissing { path: path.to_owned() },
                other => Fault::at("open the directory of the store")(other),
            })?;
        let device = device_of(directory.as_fd())?;
        Ok(Self { directory, device })
    }

    /// Opens the marker; none when it is absent.
    pub(super) fn open_marker(&self, access: OFlags) -> Result<Option<OwnedFd>, Fault> {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, MARKER, flags, Mode::empty()) {
            Ok(marker) => Ok(Some(marker)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Fault::at("open the marker of the store")(errno)),
        }
    }

    fn marker(&self) -> Result<Option<String>, Fault> {
        let Some(marker) = self.open_marker(OFlags::RDONLY)? else { return Ok(None) };
        // One byte more than ours shows that it is not ours, however long it is.
        let mut bytes = Vec::with_capacity(MARKER_TEXT.len() + 1);
        let read = File::from(marker).take(MARKER_TEXT.len() as u64 + 1).read_to_end(&mut bytes);
        read.map_err(Fault::io("read the marker of the store"))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// The directories from the root down to the one that holds an object.
#[derive(Debug)]
pub(super) struct Branch<'root> {
    root: &'root Root,
    directories: Vec<OwnedFd>,
}

impl Branch<'_> {
    /// The directory that holds the object.
    pub(super) fn leaf(&self) -> BorrowedFd<'_> {
        self.directories.last().unwrap_or(&self.root.directory).as_fd()
    }

    /// Makes every name on the way to the object durable.
    ///
    /// All of them, not only those that this process made: another may have made one and not come to synchronise it yet.
    pub(super) fn sync(&self) -> Result<(), Fault> {
        self.directories.iter().rev().chain([&self.root.directory]).try_for_each(|directory| sync_directory(directory.as_fd()))
    }

    /// Removes the directories that are empty now, lowest first, so that deleted backups do not slow listings down for ever.
    pub(super) fn prune(mut self, parents: &[&str]) {
        for name in parents.iter().rev() {
            self.directories.pop();
            // Not empty, or not ours to remove: it stays, which harms nobody.
            if rustix::fs::unlinkat(self.leaf(), *name, AtFlags::REMOVEDIR).is_err() {
                return;
            }
        }
    }
}

/// Says what is at a name where a file or a directory was expected.
pub(super) fn wrong_kind(parent: BorrowedFd<'_>, name: &str) -> Fault {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Fault::Symlink { name: name.to_owned() },
        Ok(_) => Fault::WrongKind { name: name.to_owned() },
        Err(errno) => Fault::at("look at a name in the store")(errno),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: BorrowedFd<'_>) -> Result<(), Fault> {
    match rustix::fs::fsync(directory) {
        // A file system that cannot synchronise a directory keeps names durable by other means; PostgreSQL takes it for success too.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(errno) => Err(Fault::at("synchronise a directory of the store")(errno)),
    }
}

/// Synchronises a directory above the store; one that this user may not read was not made by this user.
fn sync_if_allowed(path: &Path) -> Result<(), Fault> {
    match rustix::fs::open(path, OPEN_DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty()) {
        Ok(directory) => sync_directory(directory.as_fd()),
        Err(Errno::ACCESS) => Ok(()),
        Err(errno) => Err(Fault::at("open a directory above the store")(errno)),
    }
}

fn device_of(directory: BorrowedFd<'_>) -> Result<u64, Fault> {
    Ok(rustix::fs::fstat(directory).map_err(Fault::at("look at a directory of the store"))?.st_dev)
}
