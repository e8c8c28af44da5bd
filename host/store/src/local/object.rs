//! Reading, measuring and removing one object.

use std::fs::File;
use std::io::Read as _;

use bytes::Bytes;
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use stillframe_core::store::Key;

use super::fault::Fault;
use super::tree::{Root, wrong_kind};
use crate::MAX_OBJECT_BYTES;

/// Reads an object; none when it is certainly absent.
pub(super) fn read(root: &Root, key: &Key) -> Result<Option<Bytes>, Fault> {
    let (parents, name) = split(key);
    let Some(branch) = root.find(&parents)? else { return Ok(None) };
    let Some((file, expected_bytes)) = open(branch.leaf(), name)? else { return Ok(None) };
    if expected_bytes > MAX_OBJECT_BYTES {
        return Err(Fault::TooLarge { size_bytes: expected_bytes });
    }
    let mut body = Vec::with_capacity(usize::try_from(expected_bytes).unwrap_or(0));
    let read = File::from(file).take(MAX_OBJECT_BYTES).read_to_end(&mut body);
    let read_bytes = read.map_err(Fault::io("read the file of the object"))? as u64;
    if read_bytes == expected_bytes { Ok(Some(body.into())) } else { Err(Fault::ChangedWhileRead { expected_bytes, read_bytes }) }
}

/// Size of an object; none when it is certainly absent.
pub(super) fn size(root: &Root, key: &Key) -> Result<Option<u64>, Fault> {
    let (parents, name) = split(key);
    let Some(branch) = root.find(&parents)? else { return Ok(None) };
    size_in(branch.leaf(), name)
}

/// Size of the file with a name in a directory; none when it is certainly absent.
pub(super) fn size_in(directory: BorrowedFd<'_>, name: &str) -> Result<Option<u64>, Fault> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Ok(Some(stat.st_size.cast_unsigned())),
        Ok(_) => Err(wrong_kind(directory, name)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Fault::at("look at the file of the object")(errno)),
    }
}

/// Removes an object, durably; absent is a success.
pub(super) fn remove(root: &Root, key: &Key) -> Result<(), Fault> {
    let (parents, name) = split(key);
    let Some(branch) = root.find(&parents)? else { return Ok(()) };
    match rustix::fs::unlinkat(branch.leaf(), name, AtFlags::empty()) {
        // Absent: whoever removed it may not have synchronised the directory yet, and the caller relies on it being gone.
        Ok(()) | Err(Errno::NOENT) => {}
        Err(Errno::ISDIR) => return Err(wrong_kind(branch.leaf(), name)),
        Err(errno) => return Err(Fault::at("remove the file of the object")(errno)),
    }
    branch.sync()?;
    branch.prune(&parents);
    Ok(())
}

/// Splits a key into the directories on the way and the name of the file.
pub(super) fn split(key: &Key) -> (Vec<&str>, &str) {
    let mut parents: Vec<&str> = key.as_str().split('/').collect();
    let name = parents.pop().unwrap_or_default();
    (parents, name)
}

fn open(directory: BorrowedFd<'_>, name: &str) -> Result<Option<(OwnedFd, u64)>, Fault> {
    // Non-blocking, because opening a named pipe would wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(wrong_kind(directory, name)),
        Err(errno) => return Err(Fault::at("open the file of the object")(errno)),
    };
    let stat = rustix::fs::fstat(file.as_fd()).map_err(Fault::at("look at the file of the object"))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok(Some((file, stat.st_size.cast_unsigned())))
    } else {
        Err(Fault::WrongKind { name: name.to_owned() })
    }
}
