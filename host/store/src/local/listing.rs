//! Listing objects in the order of their keys.
//!
//! The order is that of the whole key: `a-b`, `a.b`, `a/b`. Within a directory it is the order of the names when each name of a
//! directory ends with its `/`. What a key cannot name (temporary files, `lost+found`) is no object; what it can name and is no file
//! is an error: a link to another disk must not hide backups from retention.

use std::collections::BTreeSet;

use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;
use stillframe_core::store::{Key, MAX_KEY_BYTES, ObjectEntry};

use super::fault::Fault;
use super::lock::Lock;
use super::object::size_in;
use super::tree::Root;

/// Lists at most `limit` objects whose key begins with `prefix` and follows `after`.
pub(super) fn page(root: &Root, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, Fault> {
    let mut page = Page { root, prefix, after: after.map(Key::as_str), limit, entries: Vec::new() };
    let directory = prefix.rfind('/').map_or("", |slash| &prefix[..slash]);
    let parents: Vec<&str> = if directory.is_empty() { Vec::new() } else { directory.split('/').collect() };
    // No object has a key that begins with what is no key.
    if prefix.starts_with('/') || (!parents.is_empty() && Key::parse(directory).is_err()) {
        return Ok(page.entries);
    }
    let _lock = Lock::for_listing(root)?;
    if let Some(branch) = root.find(&parents)? {
        let path = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        page.visit(branch.leaf(), &path)?;
    }
    Ok(page.entries)
}

struct Page<'request> {
    root: &'request Root,
    prefix: &'request str,
    after: Option<&'request str>,
    limit: usize,
    entries: Vec<ObjectEntry>,
}

impl Page<'_> {
    /// Adds what lies in and below a directory; `path` is empty or ends with `/`.
    fn visit(&mut self, directory: BorrowedFd<'_>, path: &str) -> Result<(), Fault> {
        for name in self.names(directory, path)? {
            if self.entries.len() >= self.limit {
                return Ok(());
            }
            // Whatever vanishes between the reading and the look at it was deleted, and is not listed.
            if let Some(child) = name.strip_suffix('/') {
                if let Some(below) = self.root.open_directory(directory, child)? {
                    self.visit(below.as_fd(), &format!("{path}{name}"))?;
                }
            } else if let Ok(key) = Key::parse(&format!("{path}{name}"))
                && let Some(size_bytes) = size_in(directory, &name)?
            {
                self.entries.push(ObjectEntry { key, size_bytes });
            }
        }
        Ok(())
    }

    /// Reads the names that can lead to objects of this page, directories with a `/` at their end.
    fn names(&self, directory: BorrowedFd<'_>, path: &str) -> Result<BTreeSet<String>, Fault> {
        let failed = Fault::at("read a directory of the store");
        let mut names = BTreeSet::new();
        for entry in Dir::read_from(directory).map_err(&failed)? {
            let entry = entry.map_err(&failed)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if Key::parse(name).is_err() {
                continue;
            }
            let Some(kind) = kind(directory, name, entry.file_type())? else { continue };
            let name = if kind == FileType::Directory { format!("{name}/") } else { name.to_owned() };
            if self.leads_to_this_page(&format!("{path}{name}")) {
                names.insert(name);
            }
        }
        Ok(names)
    }

    fn leads_to_this_page(&self, path: &str) -> bool {
        let is_directory = path.ends_with('/');
        let has_prefix = path.starts_with(self.prefix) || (is_directory && self.prefix.starts_with(path));
        let follows = self.after.is_none_or(|after| path > after || (is_directory && after.starts_with(path)));
        has_prefix && follows && path.len() <= MAX_KEY_BYTES
    }
}

/// The kind of what has a name in a directory; none when it has vanished.
fn kind(directory: BorrowedFd<'_>, name: &str, told: FileType) -> Result<Option<FileType>, Fault> {
    if told != FileType::Unknown {
        return Ok(Some(told));
    }
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Fault::at("look at a name in the store")(errno)),
    }
}
