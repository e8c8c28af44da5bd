//! `/sys`: the stack of block devices below a mount, from the one that is mounted down to the disks.
//!
//! Facts for providers, which decide what they mean: an EBS volume shows its id as a serial number, a logical volume its kind. What
//! the kernel does not tell is left out, and a file system without a block device has no stack.

use std::path::{Path, PathBuf};

use crate::provider::BlockDevice;

/// Layers that are followed; real stacks have four or five.
const MAX_DEVICES: usize = 64;

/// The devices below a mount, topmost first.
pub(super) fn stack(sys: &Path, device: (u32, u32), source: &str) -> Vec<BlockDevice> {
    let mut devices: Vec<BlockDevice> = Vec::new();
    let mut waiting: Vec<PathBuf> = top(sys, device, source).into_iter().collect();
    while let Some(directory) = waiting.pop() {
        let name = name_of(&directory);
        if devices.iter().any(|known| known.name == name) || devices.len() == MAX_DEVICES {
            continue;
        }
        devices.push(describe(&directory, name));
        let mut below = below(&directory);
        below.sort();
        waiting.extend(below.into_iter().rev());
    }
    devices
}

/// The directory of the mounted device.
fn top(sys: &Path, (major, minor): (u32, u32), source: &str) -> Option<PathBuf> {
    if let Ok(directory) = sys.join(format!("dev/block/{major}:{minor}")).canonicalize() {
        return Some(directory);
    }
    // Btrfs shows a number of its own; its source names one of its devices.
    let source = Path::new(source);
    let node = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let name = node.strip_prefix("/dev").ok()?.file_name()?;
    sys.join("class/block").join(name).canonicalize().ok()
}

fn describe(directory: &Path, name: String) -> BlockDevice {
    let kind = kind(directory);
    // A partition's own directory has none, and its parent, the disk, comes next.
    let model = read(&directory.join("device/model"));
    let serial = read(&directory.join("device/serial"))
        .or_else(|| read(&directory.join("serial")))
        .or_else(|| read_vital_product_page(&directory.join("device/vpd_pg80")));
    BlockDevice { name, kind: kind.to_owned(), serial, model }
}

fn kind(directory: &Path) -> &'static str {
    if directory.join("partition").exists() {
        return "part";
    }
    if let Some(uuid) = read(&directory.join("dm/uuid")) {
        return match uuid.split('-').next().unwrap_or_default() {
            "LVM" => "lvm",
            "CRYPT" => "crypt",
            "mpath" => "mpath",
            part if part.starts_with("part") => "part",
            _ => "dm",
        };
    }
    match () {
        () if directory.join("dm").exists() => "dm",
        () if directory.join("md").exists() => "md",
        () if directory.join("loop").exists() => "loop",
        () => "disk",
    }
}

/// The devices that this one consists of.
fn below(directory: &Path) -> Vec<PathBuf> {
    if directory.join("partition").exists() {
        return directory.parent().map(Path::to_owned).into_iter().collect();
    }
    let entries = std::fs::read_dir(directory.join("slaves")).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.path().canonicalize().ok()).collect()
}

fn name_of(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    // The kernel writes the slash of a name like `cciss/c0d0` so.
    name.replace('!', "/")
}

/// An attribute as text; none when it is missing or empty.
fn read(path: &Path) -> Option<String> {
    clean(&std::fs::read(path).ok()?)
}

/// Page 0x80 of a SCSI disk: four bytes of header, then the serial number.
fn read_vital_product_page(path: &Path) -> Option<String> {
    clean(std::fs::read(path).ok()?.get(4..)?)
}

fn clean(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A made-up `/sys`.
    struct Sys(tempfile::TempDir);

    impl Sys {
        fn new() -> Self {
            let sys = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(sys.path("dev/block")).unwrap();
            std::fs::create_dir_all(sys.path("class/block")).unwrap();
            sys
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn attribute(&self, name: &str, value: impl AsRef<[u8]>) {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value).unwrap();
        }

        fn number(&self, number: &str, device: &str) {
            symlink(self.path(device), self.path("dev/block").join(number)).unwrap();
        }

        fn slave(&self, upper: &str, lower: &str) {
            let slaves = self.path(upper).join("slaves");
            std::fs::create_dir_all(&slaves).unwrap();
            symlink(self.path(lower), slaves.join(Path::new(lower).file_name().unwrap())).unwrap();
        }

        fn stack(&self, device: (u32, u32), source: &str) -> Vec<String> {
            let show = |device: BlockDevice| {
                let detail = [device.serial, device.model].into_iter().flatten().collect::<Vec<_>>().join(",");
                format!("{} {} {detail}", device.name, device.kind).trim_end().to_owned()
            };
            stack(&self.0.path().canonicalize().unwrap(), device, source).into_iter().map(show).collect()
        }
    }

    #[test]
    fn follows_lvm_on_crypt_on_md_on_partitions_to_the_disks() {
        let sys = Sys::new();
        sys.attribute("devices/virtual/block/dm-3/dm/uuid", "LVM-abc\n");
        sys.attribute("devices/virtual/block/dm-1/dm/uuid", "CRYPT-LUKS2-abc\n");
        sys.attribute("devices/virtual/block/md0/md/level", "raid1\n");
        for (disk, serial) in [("nvme0n1", "vol0123456789abcdef0"), ("nvme1n1", "vol0fedcba9876543210")] {
            sys.attribute(&format!("devices/pci/{disk}/{disk}p2/partition"), "2\n");
            sys.attribute(&format!("devices/pci/{disk}/device/serial"), format!("{serial}   \n"));
            sys.attribute(&format!("devices/pci/{disk}/device/model"), "Amazon Elastic Block Store   \n");
            sys.slave("devices/virtual/block/md0", &format!("devices/pci/{disk}/{disk}p2"));
        }
        sys.slave("devices/virtual/block/dm-3", "devices/virtual/block/dm-1");
        sys.slave("devices/virtual/block/dm-1", "devices/virtual/block/md0");
        sys.number("253:3", "devices/virtual/block/dm-3");
        let expected = [
            "dm-3 lvm",
            "dm-1 crypt",
            "md0 md",
            "nvme0n1p2 part",
            "nvme0n1 disk vol0123456789abcdef0,Amazon Elastic Block Store",
            "nvme1n1p2 part",
            "nvme1n1 disk vol0fedcba9876543210,Amazon Elastic Block Store",
        ];
        assert_eq!(sys.stack((253, 3), "/dev/mapper/vg0-pg"), expected);
    }

    #[test]
    fn reads_the_serial_number_of_a_scsi_and_of_a_virtual_disk() {
        let sys = Sys::new();
        sys.attribute("devices/pci/sda/device/vpd_pg80", b"\x00\x80\x00\x0820S3CR3T");
        sys.attribute("devices/pci/vda/serial", "disk-of-a-guest");
        sys.number("8:0", "devices/pci/sda");
        sys.number("254:0", "devices/pci/vda");
        assert_eq!(sys.stack((8, 0), "/dev/sda"), ["sda disk 20S3CR3T"]);
        assert_eq!(sys.stack((254, 0), "/dev/vda"), ["vda disk disk-of-a-guest"]);
    }

    #[test]
    fn finds_the_device_of_btrfs_by_its_source_and_none_for_zfs() {
        let sys = Sys::new();
        sys.attribute("devices/virtual/block/loop999/loop/backing_file", "/image\n");
        symlink(sys.path("devices/virtual/block/loop999"), sys.path("class/block/loop999")).unwrap();
        assert_eq!(sys.stack((0, 45), "/dev/loop999"), ["loop999 loop"]);
        assert_eq!(sys.stack((0, 46), "tank/pg"), [""; 0]);
        assert_eq!(sys.stack((0, 47), "tmpfs"), [""; 0]);
    }

    #[test]
    fn a_stack_that_runs_in_circles_ends() {
        let sys = Sys::new();
        for name in ["dm-1", "dm-2"] {
            sys.attribute(&format!("devices/virtual/block/{name}/dm/uuid"), "mpath-1\n");
        }
        sys.slave("devices/virtual/block/dm-1", "devices/virtual/block/dm-2");
        sys.slave("devices/virtual/block/dm-2", "devices/virtual/block/dm-1");
        sys.number("253:1", "devices/virtual/block/dm-1");
        assert_eq!(sys.stack((253, 1), "/dev/dm-1"), ["dm-1 mpath", "dm-2 mpath"]);
    }
}
