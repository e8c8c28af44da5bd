//! The index of a clone: what each file of the source was like just before it was read.
//!
//! It lies beside the clone, and a later clone decides by it which files have provably not changed. It is bound to one clone by
//! the clone's inode and protected by a checksum: an index in any doubt is as good as none, and everything is copied. That it is
//! there, readable or not, marks the tree as a clone, whose files no provider can read.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use super::beneath::{self, Identity};
use super::files;
use super::flush::Flush;

/// First words of an index of this version.
const MAGIC: &str = "stillframe-index 1";

/// Nanoseconds in a second.
const NANOS: i128 = 1_000_000_000;

/// What tells whether a file has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size_bytes: u64,
    /// Since 1970.
    pub(super) modified_nanos: i128,
    /// Since 1970. No process can set it.
    pub(super) changed_nanos: i128,
}

impl Fingerprint {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified_nanos: i128::from(metadata.mtime()) * NANOS + i128::from(metadata.mtime_nsec()),
            changed_nanos: i128::from(metadata.ctime()) * NANOS + i128::from(metadata.ctime_nsec()),
        }
    }

    /// Of whatever has this name now, a symbolic link itself included; none unless it is a regular file.
    pub(super) fn of_name(directory: &File, name: &OsStr) -> Result<Option<Self>, Errno> {
        let found = rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)?;
        let nanos = |time: StatxTimestamp| i128::from(time.tv_sec) * NANOS + i128::from(time.tv_nsec);
        let is_regular = FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile;
        Ok(is_regular.then(|| Self {
            device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            size_bytes: found.stx_size,
            modified_nanos: nanos(found.stx_mtime),
            changed_nanos: nanos(found.stx_ctime),
        }))
    }
}

/// The index of one clone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// Whether the clone shares nothing that the source can still change.
    pub(super) isolated: bool,
    /// When the clone was begun: nanoseconds since 1970.
    pub(super) begin_nanos: i128,
    /// Which run of the kernel made the clone.
    pub(super) boot: String,
    /// The clone's own directory.
    pub(super) clone: Identity,
    /// By path in the clone.
    pub(super) files: HashMap<PathBuf, Fingerprint>,
}

impl Index {
    /// Writes the index beside the clone of this name, in place of an older one.
    pub(super) fn write(&self, parent: &File, name: &OsStr, flush: Flush<'_>) -> io::Result<()> {
        files::write_whole(parent, &file_name(name), &self.encode(), flush)
    }

    /// Reads the index beside the clone of this name; none when it is absent or in any doubt.
    pub(super) fn read(parent: &File, name: &OsStr) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut file = beneath::open(parent, Path::new(&file_name(name)), flags, Mode::empty()).ok()?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).ok()?;
        Self::decode(&content)
    }

    /// Whether an index, damaged or not, lies beside the entry of this name.
    pub(super) fn lies_beside(parent: &File, name: &OsStr) -> io::Result<bool> {
        match beneath::exists(parent, &file_name(name)) {
            // A clone with so long a name could not have been built.
            Err(cause) if Errno::from_io_error(&cause) == Some(Errno::NAMETOOLONG) => Ok(false),
            found => found,
        }
    }

    /// Removes the index beside the clone of this name. Absent is fine.
    pub(super) fn remove(parent: &File, name: &OsStr) -> io::Result<()> {
        match rustix::fs::unlinkat(parent, file_name(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Records end with NUL, the one byte that no path holds.
    fn encode(&self) -> Vec<u8> {
        let mut head = String::new();
        let Identity { device, inode } = self.clone;
        let isolated = if self.isolated { "isolated" } else { "shared" };
        // Writing to a string cannot fail.
        let _ = write!(head, "{MAGIC}\0{isolated} {} {} {device} {inode}\0", self.begin_nanos, self.boot);
        let mut content = head.into_bytes();
        for (path, file) in &self.files {
            let Fingerprint { device, inode, size_bytes, modified_nanos, changed_nanos } = file;
            content.extend_from_slice(format!("{device} {inode} {size_bytes} {modified_nanos} {changed_nanos} ").as_bytes());
            content.extend_from_slice(path.as_os_str().as_bytes());
            content.push(0);
        }
        let end = format!("end {} {}\0", self.files.len(), crc32c::crc32c(&content));
        content.extend_from_slice(end.as_bytes());
        content
    }

    fn decode(content: &[u8]) -> Option<Self> {
        let records = content.strip_suffix(b"\0")?;
        let end_at = records.iter().rposition(|byte| *byte == 0)? + 1;
        let (body, end) = (&content[..end_at], str::from_utf8(&records[end_at..]).ok()?);
        let mut end = end.strip_prefix("end ")?.split(' ');
        let (count, checksum): (usize, u32) = (end.next()?.parse().ok()?, end.next()?.parse().ok()?);
        if checksum != crc32c::crc32c(body) {
            return None;
        }
        let mut records = body.strip_suffix(b"\0")?.split(|byte| *byte == 0);
        if records.next()? != MAGIC.as_bytes() {
            return None;
        }
        let head: Vec<&str> = str::from_utf8(records.next()?).ok()?.split(' ').collect();
        let [isolated, begin, boot, device, inode] = head[..] else { return None };
        let files = records.map(decode_file).collect::<Option<HashMap<_, _>>>()?;
        (files.len() == count).then_some(Self {
            isolated: isolated == "isolated",
            begin_nanos: begin.parse().ok()?,
            boot: boot.to_owned(),
            clone: Identity { device: device.parse().ok()?, inode: inode.parse().ok()? },
            files,
        })
    }
}

fn decode_file(record: &[u8]) -> Option<(PathBuf, Fingerprint)> {
    let mut fields = record.splitn(6, |byte| *byte == b' ');
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse::<i128>().ok();
    let (device, inode, size_bytes) = (number()?, number()?, number()?);
    let (modified_nanos, changed_nanos) = (number()?, number()?);
    let path = PathBuf::from(OsStr::from_bytes(fields.next()?));
    let fingerprint = Fingerprint {
        device: device.try_into().ok()?,
        inode: inode.try_into().ok()?,
        size_bytes: size_bytes.try_into().ok()?,
        modified_nanos,
        changed_nanos,
    };
    Some((path, fingerprint))
}

/// Identifies this run of the kernel; empty where it cannot be read.
pub(super) fn this_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

fn file_name(name: &OsStr) -> OsString {
    let mut file = OsString::from(".stillframe-index-");
    file.push(name);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let file = Fingerprint { device: 1, inode: 2, size_bytes: 3, modified_nanos: -4, changed_nanos: 5 };
        let paths = ["base/1/2", "a name with spaces", "line\nfeed"];
        Index {
            isolated: true,
            begin_nanos: 1_795_250_000_000_000_007,
            boot: this_boot(),
            clone: Identity { device: 8, inode: 9 },
            files: paths.into_iter().map(|path| (PathBuf::from(path), file)).collect(),
        }
    }

    #[test]
    fn an_index_is_read_as_it_was_written() {
        assert_eq!(Index::decode(&index().encode()), Some(index()));
        let empty = Index { files: HashMap::new(), isolated: false, ..index() };
        assert_eq!(Index::decode(&empty.encode()), Some(empty));
    }

    #[test]
    fn a_damaged_index_is_no_index() {
        let good = index().encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(Index::decode(&bad), None, "byte {at}");
            assert_eq!(Index::decode(&good[..at]), None, "cut at {at}");
        }
    }
}
