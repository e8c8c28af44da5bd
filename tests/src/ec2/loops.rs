//! One loop device that passes for an EBS volume on an instance: it has a serial, and the device name that was asked for.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::private_devices::{is_mounted, run};

/// The model that a disk of EBS shows.
const MODEL: &str = "Amazon Elastic Block Store";

/// An image that is attached; dropped, it is detached, by the kernel itself when the process dies.
#[derive(Debug)]
pub(super) struct AttachedImage {
    device: PathBuf,
    link: PathBuf,
    kernel_facts: PathBuf,
    // While this is open the device stays. Nobody else holds it but mounts: the last one to go detaches the image.
    _handle: File,
}

impl AttachedImage {
    /// Attaches an image; `facts` is a new directory for what the kernel shall say about the device.
    pub(super) fn attach(image: &Path, volume: &str, name: &str, facts: &Path) -> Result<Self, String> {
        let link = PathBuf::from(name);
        let device = PathBuf::from(run(Command::new("losetup").args(["--find", "--show"]).arg(image)));
        let handle = File::open(&device).map_err(|error| format!("{}: {error}", device.display()))?;
        // Of a device in use: it goes when it is not used any more, and not before.
        run(Command::new("losetup").arg("--detach").arg(&device));
        symlink(&device, &link).map_err(|error| format!("{name}: {error}"))?;
        let kernel_name = device.file_name().expect("it is a device").to_string_lossy().into_owned();
        let kernel_facts = Path::new("/sys/devices/virtual/block").join(kernel_name);
        fs::create_dir_all(facts.join("device")).expect("the directory is ours");
        // EBS writes its id without the hyphen.
        fs::write(facts.join("device/serial"), format!("{}\n", volume.replace('-', ""))).expect("the directory is ours");
        fs::write(facts.join("device/model"), format!("{MODEL}\n")).expect("the directory is ours");
        let layers = format!("lowerdir={}:{}", facts.display(), kernel_facts.display());
        run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &layers]).arg(&kernel_facts));
        Ok(Self { device, link, kernel_facts, _handle: handle })
    }

    /// Whether the instance uses it.
    pub(super) fn is_mounted(&self) -> bool {
        is_mounted(&self.device)
    }
}

impl Drop for AttachedImage {
    fn drop(&mut self) {
        // Both are seen in the test's own namespace alone, and go with it if not now.
        let _gone = fs::remove_file(&self.link);
        let _unmounted = Command::new("umount").arg(&self.kernel_facts).status();
    }
}
