//! `/proc/self/mountinfo`: which mount holds a path.
//!
//! The longest mount point that fits is not the answer where one mount hides another. Mounts form a tree, so the path is walked
//! down from its root as the kernel does.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::files::FileError;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    id: u32,
    parent: u32,
    /// Kernel numbers of its device, `major:minor`.
    pub(super) device: (u32, u32),
    /// Directory of the file system that it shows: `/` unless it is a bind mount or a subvolume.
    root: PathBuf,
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// `ext4`, `zfs`, ...
    pub(super) fs_type: String,
    /// `/dev/mapper/vg0-pg`, `tank/pg`, ...
    pub(super) source: String,
}

impl Mount {
    /// Its source as `findmnt` writes it: with the directory in brackets when that is not the root of the file system.
    pub(super) fn full_source(&self) -> String {
        if self.root == Path::new("/") { self.source.clone() } else { format!("{}[{}]", self.source, self.root.display()) }
    }
}

/// All mounts that this process sees.
#[derive(Debug)]
pub(super) struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads them from the kernel's files.
    pub(super) fn read(proc: &Path) -> Result<Self, FileError> {
        let path = proc.join("self/mountinfo");
        let contents = std::fs::read(&path).map_err(|source| FileError::new("read", &path, source))?;
        Ok(Self::parse(&contents))
    }

    fn parse(contents: &[u8]) -> Self {
        // A line of a form that no kernel writes today is of no mount that could be walked to.
        Self(contents.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// The mount that holds an absolute path without symbolic links.
    pub(super) fn holding(&self, path: &Path) -> Option<&Mount> {
        let is_top = |mount: &&Mount| self.0.iter().all(|other| other.id != mount.parent || other.id == mount.id);
        let mut found = nearest(self.0.iter().filter(is_top), path)?;
        // Each step goes to a mount not seen before, so there are no more steps than mounts.
        for _ in 0..self.0.len() {
            let below = self.0.iter().filter(|mount| mount.parent == found.id && mount.id != found.id);
            match nearest(below, path) {
                Some(next) => found = next,
                None => break,
            }
        }
        Some(found)
    }

    /// The mount whose mount point this is.
    pub(super) fn at(&self, point: &Path) -> Option<&Mount> {
        self.holding(point).filter(|mount| mount.point == point)
    }

    /// The mounts that are seen below a path.
    pub(super) fn below(&self, path: &Path) -> impl Iterator<Item = &Mount> {
        let is_inside = move |mount: &&Mount| mount.point != path && mount.point.starts_with(path);
        self.0.iter().filter(is_inside).filter(|mount| self.at(&mount.point) == Some(mount))
    }
}

/// The first of these mounts that a walk to the path meets.
fn nearest<'mount>(mounts: impl Iterator<Item = &'mount Mount>, path: &Path) -> Option<&'mount Mount> {
    mounts.filter(|mount| path.starts_with(&mount.point)).min_by_key(|mount| mount.point.as_os_str().len())
}

/// `36 35 98:0 /root /mount/point options optional... - type source options`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = text(fields.next()?).parse().ok()?;
    let parent = text(fields.next()?).parse().ok()?;
    let numbers = text(fields.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    let point = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
    let (fs_type, source) = (text(&unescape(tail.next()?)), text(&unescape(tail.next()?)));
    Some(Mount { id, parent, device, root, point, fs_type, source })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Space, tab, line break and backslash stand as three octal digits after a backslash.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = escaped;
    while let Some((first, after)) = rest.split_first() {
        let octal = || after.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let escaped = octal().filter(|_| *first == b'\\');
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNTINFO: &[u8] = b"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
        30 27 8:1 / /srv/pg rw - ext4 /dev/hidden rw\n\
        31 27 253:3 /sub /srv rw,noatime shared:5 master:2 - xfs /dev/mapper/vg0-pg rw\n\
        32 31 0:45 / /srv/fast\\040disk rw - zfs tank/fast\\134disk rw\n\
        33 32 0:46 / /srv/fast\\040disk rw - btrfs /dev/sdz rw\n";

    fn source(path: &str) -> String {
        Mounts::parse(MOUNTINFO).holding(Path::new(path)).unwrap().source.clone()
    }

    #[test]
    fn finds_the_mount_that_is_seen_and_not_one_that_is_hidden() {
        assert_eq!(source("/var/lib/postgresql"), "/dev/vda1");
        assert_eq!(source("/srv/pg/data"), "/dev/mapper/vg0-pg", "the mount at /srv came later and hides /srv/pg");
        assert_eq!(source("/srv/fast disk/16384"), "/dev/sdz", "a mount upon a mount");
        assert_eq!(source("/srv/fast disks"), "/dev/mapper/vg0-pg", "whole names count");
    }

    #[test]
    fn reads_numbers_type_and_escaped_names() {
        let mounts = Mounts::parse(MOUNTINFO);
        let mount = &mounts.0[3];
        assert_eq!((mount.fs_type.as_str(), mount.source.as_str(), mount.device), ("zfs", "tank/fast\\disk", (0, 45)));
        assert_eq!(mount.point, Path::new("/srv/fast disk"));
        assert_eq!(mounts.0.len(), 5);
    }

    #[test]
    fn tells_the_directory_that_a_bind_mount_or_a_subvolume_shows() {
        let full = |path: &str| Mounts::parse(MOUNTINFO).holding(Path::new(path)).unwrap().full_source();
        assert_eq!(full("/var/lib"), "/dev/vda1");
        assert_eq!(full("/srv/pg"), "/dev/mapper/vg0-pg[/sub]");
    }

    #[test]
    fn a_list_that_runs_in_circles_ends() {
        let mounts = Mounts::parse(b"1 1 0:1 / / rw - a a rw\n2 3 0:1 / / rw - b b rw\n3 2 0:1 / / rw - c c rw\n");
        assert_eq!(mounts.holding(Path::new("/x")).unwrap().source, "a");
    }

    proptest! {
        #[test]
        fn never_panics(contents: Vec<u8>, field in "[0-9: /\\\\a-z-]{0,60}", path: String) {
            let _ = Mounts::parse(&contents).holding(Path::new(&path));
            let line = format!("1 0 8:1 {field} - ext4 {field}");
            let _ = Mounts::parse(line.as_bytes()).holding(Path::new(&path));
        }
    }
}
