//! Loop devices over files in memory or on a disk.

use std::fs::File;
use std::path::{Path, PathBuf};

use stillframe_tests::ScratchDirectory;

use crate::succeed;

/// A block device over a file; dropped, both are gone, as soon as nothing is mounted from it.
#[derive(Debug)]
pub struct LoopDevice {
    device: PathBuf,
    // While this is open the device stays. The kernel detaches it with its last user, also when the process is killed.
    _handle: File,
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
        let device = PathBuf::from(device.trim());
        let handle = File::open(&device).unwrap_or_else(|error| panic!("cannot open {}: {error}", device.display()));
        // Of a device in use: it goes when it is not used any more, and not before.
        succeed("losetup", &["--detach", &device.display().to_string()]);
        Self { device, _handle: handle, _image: image }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.device
    }
}
