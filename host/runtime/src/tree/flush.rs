//! How what is built reaches the disk.
//!
//! To flush each file costs the sum of all, and a server waits for it in backup mode; to flush the file system once, at the end, costs
//! hardly more than one of them. The price: it also waits for what others have just written there. That one call is only as good
//! where the file system passes it on to the disk and the kernel tells of every write that failed. Elsewhere (network and stacked file
//! systems, kernels before 5.8) each file and directory is flushed by itself.
//!
//! A clone is built in a directory that was just made, or is empty, so all of it lies on one file system.

use std::fs::File;
use std::io;

use super::facts;

/// First kernel whose `syncfs` fails when a page could not be written.
const TELLS_OF_FAILED_WRITES: (u32, u32) = (5, 8);

/// How what is built reaches the disk.
#[derive(Clone, Copy)]
pub(super) enum Flush<'a> {
    /// Each file and each directory when it is finished.
    Each,
    /// The whole file system by this call, given a directory on it that was opened before the first write: the kernel tells of
    /// writes that failed since then.
    Whole(&'a (dyn Fn(&File) -> io::Result<()> + Sync)),
}

impl Flush<'_> {
    /// The way of the file system that holds the directory.
    pub(super) fn of(directory: &File) -> Self {
        if facts::is_flushed_as_a_whole(directory) && kernel() >= Some(TELLS_OF_FAILED_WRITES) {
            Self::Whole(&|directory| Ok(rustix::fs::syncfs(directory)?))
        } else {
            Self::Each
        }
    }

    /// Flushes one finished file or directory, when it is done one by one.
    pub(super) fn one(self, file: &File) -> io::Result<()> {
        match self {
            Self::Each => file.sync_all(),
            Self::Whole(_) => Ok(()),
        }
    }

    /// Flushes all that was built, unless that was done one by one.
    pub(super) fn all(self, directory: &File) -> io::Result<()> {
        match self {
            Self::Each => Ok(()),
            Self::Whole(flush) => flush(directory),
        }
    }
}

/// Version of the running kernel; none when it cannot be read, which compares as less than every one.
fn kernel() -> Option<(u32, u32)> {
    version(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_in_doubt_is_not_trusted_with_the_whole() {
        for (release, trusted) in [
            ("5.7.19-generic", false),
            ("5.8.0", true),
            ("5.10.0-33-amd64", true),
            ("6.1", true),
            ("4.18.0-553.el8_10.x86_64", false),
            ("10.0-rc1", true),
            ("linux", false),
            ("6", false),
            ("", false),
        ] {
            assert_eq!(version(release) >= Some(TELLS_OF_FAILED_WRITES), trusted, "{release}");
        }
    }
}
