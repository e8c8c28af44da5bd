//! A file system of its own for a measurement: an image behind a loop device, mounted where only this process sees it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::stage::Stage;
use crate::failure::Failure;
use crate::run::captured;

/// Size of an image; it occupies what is written into it.
const SIZE: &str = "24G";

/// The file systems that share extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileSystem {
    Btrfs,
    Xfs,
}

/// A mounted image. Dropping it unmounts; the loop device goes with the mount.
pub(super) struct Disk {
    pub(super) path: PathBuf,
    image: PathBuf,
}

impl FileSystem {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
        }
    }
}

impl Disk {
    /// Makes and mounts one; its top belongs to the servers' user.
    pub(super) fn mount(stage: &Stage<'_>, name: &str, file_system: FileSystem) -> Result<Self, Failure> {
        let (path, image) = (stage.home.join(name), stage.home.join(format!("{name}.img")));
        captured(Command::new("mkdir").arg(&path))?;
        captured(Command::new("truncate").args(["--size", SIZE]).arg(&image))?;
        captured(Command::new(format!("mkfs.{}", file_system.name())).arg("-q").arg(&image))?;
        let mut options = "loop".to_owned();
        if file_system == FileSystem::Btrfs {
            options += ",user_subvol_rm_allowed";
        }
        captured(Command::new("mount").args(["-o", &options]).args([&image, &path]))?;
        let disk = Self { path, image };
        stage.account.own(&disk.path)?;
        Ok(disk)
    }

    /// A directory on it that belongs to the servers' user.
    pub(super) fn directory(&self, stage: &Stage<'_>, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        captured(stage.program("mkdir").arg(&path))?;
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What fails here is gone with the name space of the mounts.
        let _ = captured(Command::new("umount").arg(&self.path));
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Whether mounts of this process are its own.
pub(super) fn has_own_mounts() -> bool {
    let of = |process: &str| std::fs::read_link(Path::new("/proc").join(process).join("ns/mnt")).ok();
    of("self").is_some() && of("self") != of("1")
}
