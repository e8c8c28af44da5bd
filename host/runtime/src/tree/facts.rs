//! What a root is: its file system, its room, and whether files can share extents on it.

use std::fs::File;

use rustix::fs::{Mode, OFlags};

use super::{OpenRoot, TreeError};

/// A root as a provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RootFacts {
    /// Its name.
    pub(crate) name: String,
    /// Whether it may be written.
    pub(crate) writable: bool,
    /// Type of its file system.
    pub(crate) fs_type: String,
    /// Whether files can share extents on it.
    pub(crate) reflink: bool,
    /// Size of the file system.
    pub(crate) total_bytes: u64,
    /// Bytes that are free for this process.
    pub(crate) available_bytes: u64,
}

pub(super) fn of(open: &OpenRoot) -> Result<RootFacts, TreeError> {
    let failed = |errno: rustix::io::Errno| TreeError::of("look at the root", &open.root.name, &errno.into());
    let room = rustix::fs::fstatvfs(&open.directory).map_err(failed)?;
    let kind = file_system(&open.directory).map_err(failed)?;
    Ok(RootFacts {
        name: open.root.name.clone(),
        writable: open.root.access.is_writable(),
        fs_type: kind.map_or_else(|| "other".to_owned(), |(name, _)| name.to_owned()),
        reflink: if open.root.access.is_writable() { shares_extents(&open.directory) } else { matches!(kind, Some(("btrfs", _))) },
        total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
        available_bytes: room.f_bavail.saturating_mul(room.f_frsize),
    })
}

/// Whether inode numbers and times of this file system can prove that a file has not changed. A network file system caches them,
/// and takes its times from another clock.
pub(super) fn times_are_proof(directory: &File) -> bool {
    matches!(file_system(directory), Ok(Some((_, Proof::Local))))
}

/// Whether one `syncfs` makes all that was written durable, and tells when it could not. A network file system need not pass it on to
/// its server, nor a stacked one the errors of the file system below.
pub(super) fn is_flushed_as_a_whole(directory: &File) -> bool {
    matches!(file_system(directory), Ok(Some((name, Proof::Local))) if name != "overlay")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    Local,
    Remote,
}

/// Names of the magic numbers in `linux/magic.h` and in the sources of ZFS and bcachefs.
fn file_system(directory: &File) -> Result<Option<(&'static str, Proof)>, rustix::io::Errno> {
    let magic = rustix::fs::fstatfs(directory)?.f_type;
    Ok(Some(match u32::try_from(magic) {
        Ok(0xEF53) => ("ext4", Proof::Local),
        Ok(0x5846_5342) => ("xfs", Proof::Local),
        Ok(0x9123_683E) => ("btrfs", Proof::Local),
        Ok(0x2FC1_2FC1) => ("zfs", Proof::Local),
        Ok(0xCA45_1A4E) => ("bcachefs", Proof::Local),
        Ok(0xF2F5_2010) => ("f2fs", Proof::Local),
        Ok(0x0102_1994) => ("tmpfs", Proof::Local),
        Ok(0x794C_7630) => ("overlay", Proof::Local),
        Ok(0x6969) => ("nfs", Proof::Remote),
        Ok(0xFE53_4D42) => ("smb2", Proof::Remote),
        Ok(0x6573_5546) => ("fuse", Proof::Remote),
        Ok(0x0102_1997) => ("9p", Proof::Remote),
        Ok(0x00C3_6400) => ("ceph", Proof::Remote),
        _ => return Ok(None),
    }))
}

/// Tries it with two files that never get a name.
fn shares_extents(directory: &File) -> bool {
    let nameless = || rustix::fs::openat(directory, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
    match (nameless(), nameless()) {
        (Ok(from), Ok(to)) => rustix::fs::ioctl_ficlone(&to, &from).is_ok(),
        _ => false,
    }
}
