//! A file system of its own in a loop-mounted image.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system that can share extents, unmounted on drop.
pub(super) struct Mount {
    image: PathBuf,
    point: PathBuf,
}

impl Mount {
    /// The first of these types that can be made; none, with the reason printed, where loop mounting is impossible.
    pub(super) fn new(home: &Path, types: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return skipped("mounting an image takes root");
        }
        let mount = Self { image: home.join("image"), point: home.join("mount") };
        fs::File::create(&mount.image).unwrap().set_len(512 * 1024 * 1024).unwrap();
        fs::create_dir(&mount.point).unwrap();
        if !types.iter().any(|name| run(&format!("mkfs.{name}"), &["-q".as_ref(), mount.image.as_ref()])) {
            return skipped(&format!("no file system of {types:?} can be made here"));
        }
        if mount.mount() { Some(mount) } else { skipped("the image cannot be loop-mounted here") }
    }

    pub(super) fn point(&self) -> &Path {
        &self.point
    }

    /// Takes everything away that has not reached the disk, as a power failure does; false where that is impossible.
    pub(super) fn fail_power(&self) -> bool {
        // Without a word, it writes nothing more, not even its log.
        if !run("xfs_io", &["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), self.point.as_ref()]) {
            return skipped::<()>("`xfs_io` cannot shut the file system down").is_some();
        }
        assert!(run("umount", &[self.point.as_ref()]), "nothing uses it any more");
        assert!(self.mount(), "its log is whole");
        true
    }

    fn mount(&self) -> bool {
        run("mount", &["-o".as_ref(), "loop".as_ref(), self.image.as_ref(), self.point.as_ref()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &[self.point.as_ref()]);
    }
}

fn skipped<T>(why: &str) -> Option<T> {
    println!("skipped: {why}");
    None
}

pub(super) fn run(program: &str, arguments: &[&OsStr]) -> bool {
    // Administrators' programs are not in everyone's search path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new(program).args(arguments).env("PATH", path).output().is_ok_and(|output| output.status.success())
}
