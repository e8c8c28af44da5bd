//! What a guest does from its first process to its last words, as a shell script.

use std::env;
use std::path::{Path, PathBuf};

use stillframe_tests::{ScratchDirectory, binary_path, set_mode};

use super::{BOOT, Boot, Kind, LAST_WORDS, VARIABLE};

/// What differs between the kinds of guests.
pub(super) struct Setting<'a> {
    /// Which kind it is.
    pub(super) kind: Kind,
    /// Which start it is.
    pub(super) boot: Boot,
    /// Shell commands that come first: `/proc` and the module for overlays.
    pub(super) preamble: &'a str,
    /// Where the file system of the machine is found.
    pub(super) lower: &'a str,
    /// A directory that memory is mounted on.
    pub(super) layers: &'a str,
    /// Where the modules of the kernel are.
    pub(super) modules: &'a str,
    /// Shell commands within the new root, before the test.
    pub(super) inside: &'a str,
    /// The disks, as the guest names them.
    pub(super) disks: &'a [PathBuf],
}

/// Writes the script; gives its path, which is the same in the guest.
pub(super) fn write(scripts: &ScratchDirectory, setting: &Setting<'_>, test: &str) -> PathBuf {
    let inner = scripts.join("inside.sh");
    let outer = scripts.join("guest.sh");
    std::fs::write(&inner, inside(setting, test)).unwrap();
    std::fs::write(&outer, first_process(setting, &inner)).unwrap();
    set_mode(&outer, 0o755);
    outer
}

/// Whatever fails here ends the first process, and with it the kernel.
fn first_process(setting: &Setting<'_>, inner: &Path) -> String {
    let Setting { preamble, lower, layers, modules, .. } = setting;
    format!(
        "#!/bin/sh
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
{preamble}
mount -t tmpfs -o size=90% layers {layers}
mkdir {layers}/upper {layers}/work {layers}/root
mount -t overlay -o lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work overlay {layers}/root
cd {layers}/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs dev dev
mkdir -p dev/pts dev/shm usr/lib/modules
mount -t devpts devpts dev/pts
# More than there is, so that it is where tests put their files; only what is written counts.
mount -t tmpfs -o size=16g,mode=1777 shm dev/shm
mount -t tmpfs -o mode=755 run run
mount --bind {modules} usr/lib/modules
set +e
chroot . /bin/sh {inner}
sync
/bin/busybox poweroff -f
",
        inner = quoted(&inner.display().to_string()),
    )
}

fn inside(setting: &Setting<'_>, test: &str) -> String {
    let executable = env::current_exe().expect("the test knows its own path");
    let disks: Vec<String> = setting.disks.iter().map(|disk| disk.display().to_string()).collect();
    let mut variables = vec![
        ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
        (VARIABLE.to_owned(), setting.kind.name().to_owned()),
        (BOOT.to_owned(), setting.boot.name().to_owned()),
        ("STILLFRAME_GUEST_DISKS".to_owned(), disks.join(" ")),
        // The one that the unprivileged user can run, made before.
        ("STILLFRAME_BIN".to_owned(), binary_path().display().to_string()),
    ];
    variables.extend(env::vars().filter(|(name, _)| name == "RUST_BACKTRACE" || name == "STILLFRAME_SEED"));
    let exports: Vec<String> = variables.iter().map(|(name, value)| format!("export {name}={}", quoted(value))).collect();
    format!(
        "cd /
{exports}
# Without a name, an archive could not tell this server from a copy.
/bin/busybox hostname stillframe-guest
/bin/busybox ip link set lo up
{setting}
{executable} --exact {test} --nocapture --test-threads 1 2>&1
echo \"{LAST_WORDS} $?\"
",
        exports = exports.join("\n"),
        setting = setting.inside,
        executable = quoted(&executable.display().to_string()),
        test = quoted(test),
    )
}

/// A word for a shell.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
