//! User-mode Linux: the kernel as a process of the machine. Needs no image and no virtualisation.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use stillframe_tests::{ScratchDirectory, bound_command};

use super::script::{self, Setting};
use super::{Boot, Kind};

/// Memory, which also holds all that is written outside of the disks. Only what is used is taken.
const MEMORY: &str = "mem=3G";

/// Where Debian's package puts the modules.
const MODULES: &str = "/usr/lib/uml/modules";

/// What stands between it and the registers of a processor that is newer than it.
const REGISTERS: &str = include_str!("registers.c");

/// The command that runs the guest.
pub(super) fn command(scripts: &ScratchDirectory, test: &str, boot: Boot, images: &[PathBuf]) -> Command {
    let disks: Vec<PathBuf> = (b'a'..).take(images.len()).map(|letter| format!("/dev/ubd{}", char::from(letter)).into()).collect();
    let preamble = format!(
        "mount -t proc proc /proc
insmod {MODULES}/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
    );
    let setting = Setting {
        kind: Kind::UserModeLinux,
        boot,
        preamble: &preamble,
        lower: "/",
        layers: "/mnt",
        modules: MODULES,
        inside: "",
        disks: &disks,
    };
    let first_process = script::write(scripts, &setting, test);
    // It has a process for each of the guest's. In a namespace of their own they all end with the first, which must be another
    // one: a kernel that panics ends itself by a signal, and the first process of a namespace gets none.
    let mut command = bound_command("unshare", "KILL");
    command.args(["--fork", "--pid", "--kill-child=KILL", "--", "sh", "-c", "\"$@\"; exit $?", "sh", "env"]);
    command.arg(format!("LD_PRELOAD={}", registers(scripts).display())).args(["linux.uml", MEMORY]);
    command.args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=null,fd:1", "quiet"]);
    command.arg(format!("uml_dir={}", scripts.path().display()));
    for (number, image) in images.iter().enumerate() {
        command.arg(format!("ubd{number}={}", image.display()));
    }
    command.arg(format!("init={}", first_process.display()));
    command
}

/// Compiles what its calls for registers pass through.
fn registers(scripts: &ScratchDirectory) -> PathBuf {
    let [source, library] = ["registers.c", "registers.so"].map(|name| scripts.join(name));
    fs::write(&source, REGISTERS).unwrap_or_else(|error| panic!("cannot write {}: {error}", source.display()));
    let arguments = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o"];
    let compiled = Command::new("cc").args(arguments).arg(&library).arg(&source).arg("-ldl").status();
    assert!(compiled.is_ok_and(|status| status.success()), "cc has not compiled {}", source.display());
    library
}
