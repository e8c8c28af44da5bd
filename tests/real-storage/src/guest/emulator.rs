//! The distribution's own kernel on an emulated processor, with the machine's file system over 9p.
//!
//! `cargo xtask test --real-storage` makes the kit: the kernel, an initial file system with the modules, and the tools of ZFS. It
//! names it in `STILLFRAME_ZFS_KIT`.

use std::env;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use stillframe_tests::{ScratchDirectory, bound_command};

use super::script::{self, Setting, quoted};
use super::{Boot, Kind};

/// Names the directory of the kit.
const KIT: &str = "STILLFRAME_ZFS_KIT";

/// One processor of an old kind: of two, each waits for the other with a whole processor of the machine, which more than doubles the
/// time of a test; and protections that it does not have need not be emulated.
const PROCESSOR: [&str; 4] = ["-cpu", "Nehalem", "-smp", "1"];

/// Memory in MiB, which also holds all that is written outside of the disks.
const MEMORY_MIB: &str = "3072";

const SECTOR_BYTES: u64 = 512;
/// Where partitions begin, so that they are aligned to everything.
const FIRST_SECTOR: u32 = 2048;

/// The command that runs the guest.
pub(super) fn command(scripts: &ScratchDirectory, test: &str, boot: Boot, images: &[PathBuf]) -> Command {
    let kit = env::var_os(KIT).map(PathBuf::from);
    let kit = kit.unwrap_or_else(|| panic!("{KIT} is not set: `cargo xtask test --real-storage` makes the kit and sets it"));
    let disks: Vec<PathBuf> = (b'a'..).take(images.len()).map(|letter| format!("/dev/vd{}1", char::from(letter)).into()).collect();
    // The tools go where they belong, also behind the links of a merged `/usr`: a provider runs them by their paths.
    let userland = quoted(&kit.join("userland").display().to_string());
    let inside = format!("tar -C {userland} -c . | tar -C / -x --keep-directory-symlink\nmodprobe zfs");
    let setting = Setting {
        kind: Kind::Emulator,
        boot,
        preamble: "modprobe overlay",
        lower: "/host",
        layers: "/layers",
        modules: "/lib/modules",
        inside: &inside,
        disks: &disks,
    };
    let first_process = script::write(scripts, &setting, test);
    let mut command = bound_command("qemu-system-x86_64", "KILL");
    command.args(["-accel", "tcg"]).args(PROCESSOR).args(["-M", "q35", "-m", MEMORY_MIB, "-nodefaults"]);
    command.args(["-display", "none", "-vga", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]);
    command.arg("-kernel").arg(kit.join("vmlinuz")).arg("-initrd").arg(kit.join("initramfs.gz"));
    let kernel = format!("console=ttyS0 panic=-1 quiet mitigations=off nokaslr guest={}", first_process.display());
    command.arg("-append").arg(kernel);
    command.args(["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]);
    command.args(["-device", "virtio-rng-pci"]);
    for image in images {
        partition(image);
        command.arg("-drive").arg(format!("file={},format=raw,if=virtio,cache=unsafe", image.display()));
    }
    command
}

/// Writes a table with one partition: ZFS partitions a whole disk itself, and waits for udev to name the parts.
fn partition(image: &Path) {
    let size_bytes = image.metadata().expect("it was just made").len();
    let sectors = u32::try_from(size_bytes / SECTOR_BYTES).expect("a small disk") - FIRST_SECTOR;
    let mut table = [0u8; 512];
    // The first entry: no addresses by cylinder, the type of Linux, the first sector and their number.
    table[446 + 4] = 0x83;
    table[446 + 8..446 + 12].copy_from_slice(&FIRST_SECTOR.to_le_bytes());
    table[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    table[510..].copy_from_slice(&[0x55, 0xAA]);
    let written = OpenOptions::new().write(true).open(image).and_then(|file| file.write_all_at(&table, 0));
    written.unwrap_or_else(|error| panic!("cannot partition {}: {error}", image.display()));
}
