//! Loop devices over files in memory or on a disk.

use std::fs::File;
use std::path::{Path, PathBuf};

use stillframe_tests::ScratchDirectory;

use crate::succeed;

/// A block device over a file; dropped, both are gone.
#[derive(Debug)]
pub struct LoopDevice {
    device: PathBuf,
    _image: ScratchDirectory,
}

impl LoopDevice {
    /// A device of this size, of which only what is written takes room.
    #[track_caller]
    pub fn of_mib(size_mib: u64) -> Self {
        let image = ScratchDirectory::create();
        let file = image.join("image");
        let made = File::create(&file).and_then(|created| created.set_len(size_mib << 20));
        made.unwrap_or_else(|error| panic!("cannot make {}: {error}", file.display()));
        let device = succeed("losetup", &["--find", "--show", &file.display().to_string()]);
        Self { device: PathBuf::from(device.trim()), _image: image }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.device
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        succeed("losetup", &["--detach", &self.device.display().to_string()]);
    }
}
