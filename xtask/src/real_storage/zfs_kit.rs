//! What an emulated machine with OpenZFS is started from: a kernel, an initial file system with the modules, and ZFS's tools.
//!
//! It is made once for each kernel and version, and kept outside of the repository: the module is under another licence, and takes
//! minutes to compile.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::module;
use super::packages::Packages;
use crate::failure::Failure;
use crate::prerequisites::for_the_zfs_kit;
use crate::run::{captured, succeed};
use crate::workspace::{Workspace, progress};

/// Changes whenever what is in a kit does.
const LAYOUT: u32 = 1;

/// What the file of a kit is called behind its name.
const ARCHIVE: &str = ".tar.xz";

/// The kernel with every driver; that for clouds cannot mount the file system of the machine.
const KERNEL: &str = "linux-image-amd64";

/// The tools of ZFS, and libraries that only they need.
const USERLAND: [&str; 7] =
    ["zfsutils-linux", "libzfs4linux", "libzpool5linux", "libnvpair3linux", "libuutil3linux", "libtirpc3", "libtirpc-common"];

/// What the initial file system has to load before there is another one.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_blk", "virtio_rng", "9pnet_virtio", "9p", "overlay"];

/// The first process: mounts the file system of the machine, and goes on with the script that the kernel's command line names.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /host /layers /sbin /usr/bin /usr/sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# It stays: ZFS opens its disks in threads of the kernel, for which this is the root.
mount -t devtmpfs dev /dev
modprobe -a virtio_pci virtio_blk virtio_rng 9pnet_virtio 9p
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host
for word in $(cat /proc/cmdline); do
    case $word in guest=*) exec /bin/sh "/host${word#guest=}" ;; esac
done
"#;

/// A kit, unpacked.
#[derive(Debug)]
pub(super) struct ZfsKit {
    /// Where it lies.
    pub(super) directory: PathBuf,
}

impl ZfsKit {
    /// Finds the kit for the newest kernel and ZFS of the distribution, or makes it.
    pub(super) fn prepare(workspace: &Workspace) -> Result<Self, Failure> {
        let cache = cache()?;
        let parent = workspace.target.join("zfs-kit");
        let name = match newest(&cache, &parent) {
            Ok(name) => name,
            Err(failure) => {
                let name = newest_cached(&cache).ok_or_else(|| Failure::new(failure.to_string()))?;
                println!("… the newest OpenZFS cannot be had, and so an earlier kit is taken, `{name}`: {failure}");
                name
            }
        };
        let archive = cache.join(format!("{name}{ARCHIVE}"));
        let directory = parent.join(&name);
        if !directory.is_dir() {
            let unfinished = parent.join("unpacking");
            remove(&unfinished)?;
            create(&unfinished)?;
            succeed(Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&unfinished))?;
            rename(&unfinished, &directory)?;
        }
        Ok(Self { directory })
    }
}

/// The name of the kit for the newest kernel and ZFS, which is made if it is not there.
fn newest(cache: &Path, parent: &Path) -> Result<String, Failure> {
    let packages = Packages::read(&cache.join("packages"))?;
    let kernel_package = packages.first_dependency(KERNEL)?;
    let kernel = kernel_package.trim_start_matches("linux-image-");
    let name = format!("zfs-{kernel}-{}-{LAYOUT}", packages.version("zfs-dkms")?);
    let archive = cache.join(format!("{name}{ARCHIVE}"));
    if !archive.is_file() {
        let scratch = parent.join("making");
        remove(&scratch)?;
        progress("compiling OpenZFS for the emulated machine (some minutes the first time)", || {
            make(&packages, kernel, &scratch, &archive)
        })?;
        remove(&scratch)?;
    }
    Ok(name)
}

/// The name of the kit that was made last; none when there is none of this layout.
fn newest_cached(cache: &Path) -> Option<String> {
    let ending = format!("-{LAYOUT}{ARCHIVE}");
    let kits = fs::read_dir(cache).ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let file = entry.file_name().into_string().ok()?;
        let is_kit = file.starts_with("zfs-") && file.ends_with(&ending);
        let name = file.strip_suffix(ARCHIVE).filter(|_| is_kit)?.to_owned();
        Some((entry.metadata().ok()?.modified().ok()?, name))
    });
    kits.max().map(|(_, name)| name)
}

fn make(packages: &Packages, kernel: &str, scratch: &Path, archive: &Path) -> Result<(), Failure> {
    for_the_zfs_kit(&format!("linux-headers-{kernel}"))?;
    let (kit, unpacked, source) = (scratch.join("kit"), scratch.join("kernel"), scratch.join("source"));
    for directory in [&kit, &unpacked, &source] {
        create(directory)?;
    }
    packages.unpack(&[&format!("linux-image-{kernel}")], &unpacked)?;
    packages.unpack(&["zfs-dkms"], &source)?;
    packages.unpack(&USERLAND, &kit.join("userland"))?;
    let modules = unpacked.join("lib/modules").join(kernel);
    module::compile(&source, kernel, &modules.join("extra"))?;
    rename(&unpacked.join("boot").join(format!("vmlinuz-{kernel}")), &kit.join("vmlinuz"))?;
    make_initial_file_system(kernel, &unpacked, &scratch.join("initramfs"), &kit.join("initramfs.gz"))?;
    // Complete or absent, so that a killed run leaves no half of it.
    let unfinished = archive.with_extension("unfinished");
    succeed(Command::new("tar").args(["--create", "--xz", "--file"]).arg(&unfinished).arg("--directory").arg(&kit).arg("."))?;
    rename(&unfinished, archive)
}

/// Busybox, the modules with all that they need, and the first process.
fn make_initial_file_system(kernel: &str, unpacked: &Path, root: &Path, file: &Path) -> Result<(), Failure> {
    succeed(Command::new("depmod").arg("--basedir").arg(unpacked).arg(kernel))?;
    for module in MODULES.iter().chain(&["zfs"]) {
        let needed = captured(Command::new("modprobe").arg("--dirname").arg(unpacked).args([
            "--set-version",
            kernel,
            "--show-depends",
            module,
        ]))?;
        for path in needed.lines().filter_map(|line| line.strip_prefix("insmod ")).map(|path| PathBuf::from(path.trim())) {
            let below =
                path.strip_prefix(unpacked).map_err(|_| Failure::new(format!("`{}` is not the kernel's", path.display())))?;
            copy(&path, &root.join(below))?;
        }
    }
    for list in ["modules.order", "modules.builtin"] {
        let below = Path::new("lib/modules").join(kernel).join(list);
        copy(&unpacked.join(&below), &root.join(&below))?;
    }
    succeed(Command::new("depmod").arg("--basedir").arg(root).arg(kernel))?;
    copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
    let init = root.join("init");
    fs::write(&init, INIT).map_err(Failure::io(format!("write `{}`", init.display())))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&init, executable).map_err(Failure::io(format!("change `{}`", init.display())))?;
    let pack = "find . | cpio --create --format=newc --quiet | gzip > \"$1\"";
    succeed(Command::new("sh").args(["-c", pack, "sh"]).arg(file).current_dir(root))
}

/// Where a user's programs keep what they can make again.
fn cache() -> Result<PathBuf, Failure> {
    let named = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let base = named.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let cache = base.ok_or_else(|| Failure::new("neither HOME nor XDG_CACHE_HOME is set"))?.join("stillframe");
    create(&cache)?;
    Ok(cache)
}

fn create(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(Failure::io(format!("create `{}`", directory.display())))
}

fn remove(directory: &Path) -> Result<(), Failure> {
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(directory).map_err(Failure::io(format!("remove `{}`", directory.display())))
}

fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(Failure::io(format!("rename `{}` to `{}`", from.display(), to.display())))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    if let Some(parent) = to.parent() {
        create(parent)?;
    }
    fs::copy(from, to).map(drop).map_err(Failure::io(format!("copy `{}` to `{}`", from.display(), to.display())))
}
