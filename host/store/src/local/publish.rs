//! Writing one object so that nobody ever sees a part of it.
//!
//! The bytes go to a temporary file and are synchronised; then the file gets its name in one step: a rename replaces, a hard link
//! fails when the name is taken, also over NFS and from other hosts. Where the file system has files without a name, whoever creates
//! an object and dies leaves nothing. Else a temporary file stays beside the object, which no key can name because of its dot, and
//! which nobody removes: it may belong to a writer that is only slow.

use std::fs::File;
use std::io::Write as _;

use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use stillframe_core::files::nameless;
use stillframe_core::store::{Key, PutOutcome};

use super::fault::Fault;
use super::lock::Lock;
use super::object::{size_in, split};
use super::tree::{Root, wrong_kind};
use crate::MAX_OBJECT_BYTES;

/// What happens to an object that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publication {
    /// It is replaced.
    Replace,
    /// It stays, and nothing is written.
    IfAbsent,
}

/// Readable by the owner's group, as the directories are.
const FILE_MODE: u32 = 0o640;

/// Attempts to make the parents while a deletion removes them; each lost race needs another deletion at the same moment.
const MAX_PARENT_ATTEMPTS: u32 = 100;

/// Writes an object; it and every name on the way to it are durable when this returns, whoever wrote them.
pub(super) fn publish(root: &Root, key: &Key, body: &[u8], publication: Publication) -> Result<PutOutcome, Fault> {
    let size_bytes = body.len() as u64;
    if size_bytes > MAX_OBJECT_BYTES {
        return Err(Fault::TooLarge { size_bytes });
    }
    let (parents, name) = split(key);
    for _ in 0..MAX_PARENT_ATTEMPTS {
        let Some(branch) = root.find_or_make(&parents)? else { continue };
        let outcome = match publish_in(root, branch.leaf(), name, body, publication) {
            // The directory was removed between opening it and writing the first file into it.
            Err(Fault::ParentVanishes) => continue,
            other => other?,
        };
        // Also when the object was there: its writer may not have come that far, and the caller reports it as safe.
        branch.sync()?;
        return Ok(outcome);
    }
    Err(Fault::ParentVanishes)
}

/// Writes a file into an open directory, which the caller synchronises.
pub(super) fn publish_in(
    root: &Root,
    directory: BorrowedFd<'_>,
    name: &str,
    body: &[u8],
    publication: Publication,
) -> Result<PutOutcome, Fault> {
    // Saves writing a segment that is there; what decides is the link below.
    if publication == Publication::IfAbsent && size_in(directory, name)?.is_some() {
        return Ok(PutOutcome::AlreadyExists);
    }
    let mut temporary = Temporary::create(directory, publication)?;
    temporary.file.write_all(body).map_err(Fault::io("write a temporary file"))?;
    temporary.file.sync_all().map_err(Fault::io("synchronise a temporary file"))?;
    match publication {
        Publication::Replace => {
            let _lock = Lock::for_replacing(root)?;
            temporary.rename_to(name)
        }
        Publication::IfAbsent => temporary.link_to(name),
    }
}

/// A file that is not an object yet; removed when dropped.
struct Temporary<'directory> {
    directory: BorrowedFd<'directory>,
    /// None while it has no name that a crash could leave behind.
    name: Option<String>,
    file: File,
}

impl<'directory> Temporary<'directory> {
    /// What replaces an object needs a name to be renamed; what creates one does not.
    fn create(directory: BorrowedFd<'directory>, publication: Publication) -> Result<Self, Fault> {
        if publication == Publication::IfAbsent
            && let Some(file) = nameless::open(directory, FILE_MODE).map_err(|errno| no_file(directory, errno))?
        {
            return Ok(Self { directory, name: None, file });
        }
        let name = fresh_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name.as_str(), flags, Mode::from_raw_mode(FILE_MODE)) {
            Ok(file) => Ok(Self { directory, name: Some(name), file: file.into() }),
            Err(errno) => Err(no_file(directory, errno)),
        }
    }

    fn rename_to(self, name: &str) -> Result<PutOutcome, Fault> {
        match rustix::fs::renameat(self.directory, self.name.as_deref().unwrap_or_default(), self.directory, name) {
            Ok(()) => Ok(PutOutcome::Created),
            Err(Errno::ISDIR) => Err(wrong_kind(self.directory, name)),
            Err(errno) => Err(Fault::at("rename a temporary file")(errno)),
        }
    }

    fn link_to(self, name: &str) -> Result<PutOutcome, Fault> {
        match self.link(name) {
            Ok(()) => Ok(PutOutcome::Created),
            // An NFS server whose first answer was lost says so about our own link; the second name of the file tells the truth.
            Err(Errno::EXIST) if self.name.is_some() && self.has_second_name()? => Ok(PutOutcome::Created),
            Err(Errno::EXIST) => {
                // Not an object but a directory or a symbolic link is an error, not an answer.
                size_in(self.directory, name)?;
                Ok(PutOutcome::AlreadyExists)
            }
            Err(errno) => Err(self.no_link(errno)),
        }
    }

    /// Gives the file one more name, unless that is taken.
    fn link(&self, name: &str) -> Result<(), Errno> {
        match &self.name {
            Some(own) => rustix::fs::linkat(self.directory, own.as_str(), self.directory, name, AtFlags::empty()),
            None => nameless::link(&self.file, self.directory, name),
        }
    }

    fn no_link(&self, errno: Errno) -> Fault {
        match errno {
            // A file without a name does not keep a deletion from removing its directory.
            Errno::NOENT if self.name.is_none() => Fault::ParentVanishes,
            // What Linux answers when the file system has no hard links.
            Errno::PERM => Fault::at("link a temporary file")(Errno::OPNOTSUPP),
            errno => Fault::at("link a temporary file")(errno),
        }
    }

    fn has_second_name(&self) -> Result<bool, Fault> {
        let stat = rustix::fs::fstat(self.file.as_fd()).map_err(Fault::at("look at a temporary file"))?;
        Ok(stat.st_nlink > 1)
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // After a rename it is gone; otherwise a name that stays hides from every reader, as after a crash.
            let _ = rustix::fs::unlinkat(self.directory, name.as_str(), AtFlags::empty());
        }
    }
}

fn no_file(directory: BorrowedFd<'_>, errno: Errno) -> Fault {
    match errno {
        Errno::NOENT => Fault::ParentVanishes,
        // What ext4 says of a file without a name in a directory that was removed.
        Errno::PERM if rustix::fs::fstat(directory).is_ok_and(|found| found.st_nlink == 0) => Fault::ParentVanishes,
        errno => Fault::at("create a temporary file")(errno),
    }
}

/// A name that no key can have.
fn fresh_name() -> Result<String, Fault> {
    // 16 digits: a WAL-G that shares the store takes 24 of them for a segment.
    let random = getrandom::u64().map_err(|source| Fault::NoRandomness { source })?;
    Ok(format!(".temporary-{random:016x}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_that_a_deletion_removes_meanwhile_is_made_again_and_is_no_missing_right() {
        let directory = tempfile::TempDir::new().unwrap();
        let root = Root::create(directory.path()).unwrap();
        for publication in [Publication::IfAbsent, Publication::Replace] {
            let branch = root.find_or_make(&["parent"]).unwrap().unwrap();
            fs::remove_dir(directory.path().join("parent")).unwrap();
            let met = publish_in(&root, branch.leaf(), "object", b"body", publication);
            assert!(matches!(met, Err(Fault::ParentVanishes)), "{met:?}");
        }
    }
}
