//! Layers of block devices in a guest: partitions, loops, RAID by md and encryption by LUKS, as their own tools make them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{is_guest, succeed};

/// `cbc` before the encryption, whose modules want it when they are loaded.
const MODULES: [&str; 6] = ["loop", "raid1", "cbc", "dm-crypt", "xts", "algif_skcipher"];

/// The key of every encrypted device: nobody shall be kept out.
const KEY: &str = "/run/key";

/// Makes one partition of a disk.
#[track_caller]
pub fn partition(disk: &Path) -> PathBuf {
    prepare();
    succeed("sh", &["-c", "echo ',,L' | sfdisk --quiet --label dos \"$1\"", "sh", text(disk)]);
    PathBuf::from(format!("{}1", disk.display()))
}

/// Puts a loop device over a block device.
#[track_caller]
pub fn loop_over(device: &Path) -> PathBuf {
    prepare();
    PathBuf::from(succeed("losetup", &["--find", "--show", text(device)]).trim())
}

/// Mirrors two devices.
#[track_caller]
pub fn mirror(number: u32, devices: [&Path; 2]) -> PathBuf {
    prepare();
    let name = format!("/dev/md{number}");
    let [first, second] = devices.map(text);
    // New disks hold the same nothing.
    let options = ["--run", "--assume-clean", "--level=1", "--metadata=1.2", "--raid-devices=2"];
    succeed("mdadm", &[&["--create", &name], options.as_slice(), &[first, second]].concat());
    PathBuf::from(name)
}

/// Encrypts a device, and opens it.
#[track_caller]
pub fn encrypt(device: &Path, name: &str) -> PathBuf {
    prepare();
    fs::write(KEY, "a key of a test").unwrap();
    // A guest has no udev to wait for; and the key need not withstand anybody.
    let cryptsetup = ["DM_DISABLE_UDEV=1", "cryptsetup", "--batch-mode", "--key-file", KEY];
    let weak = ["--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    succeed("env", &[&cryptsetup, ["luksFormat"].as_slice(), &weak, &[text(device)]].concat());
    succeed("env", &[cryptsetup.as_slice(), &["open", text(device), name]].concat());
    Path::new("/dev/mapper").join(name)
}

fn prepare() {
    assert!(is_guest(), "this machine's own devices stay as they are");
    for module in MODULES {
        succeed("modprobe", &[module]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of a device")
}
