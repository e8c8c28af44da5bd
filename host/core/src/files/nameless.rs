//! Files that have no name yet: whoever writes one and dies leaves nothing behind.
//!
//! Most file systems of Linux have them, network file systems do not.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// Opens a file without a name, to get one in this directory; none where that is not possible.
pub fn open(directory: BorrowedFd<'_>, mode: u32) -> Result<Option<File>, Errno> {
    const HERE: &CStr = c".";
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, HERE, flags, Mode::from_raw_mode(mode)) {
        Ok(file) => {
            let file = File::from(file);
            // Without `/proc` it could never get its name.
            let can_be_named = rustix::fs::access(own_descriptor(&file), rustix::fs::Access::EXISTS).is_ok();
            Ok(can_be_named.then_some(file))
        }
        // File systems that do not have them answer in one of these ways.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Gives it a name, unless that is taken: then `EXIST`.
pub fn link(file: &File, directory: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<(), Errno> {
    rustix::fs::linkat(CWD, own_descriptor(file), directory, name, AtFlags::SYMLINK_FOLLOW)
}

/// The path by which the kernel finds a file without a name.
fn own_descriptor(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
