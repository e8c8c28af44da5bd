//! What the operator of a database on EBS has set up: file systems on volumes, and the right to mount.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use stillframe_tests::{Account, ScratchDirectory, set_mode};

/// Before every program that the provider runs.
pub(crate) const PREFIX: [&str; 2] = ["/usr/bin/sudo", "-n"];
/// What the user of the database may run as root.
const RIGHTS: &str = "/usr/bin/findmnt, /usr/bin/lsblk, /usr/bin/mount, /usr/bin/rmdir, /usr/bin/umount";
const SUDOERS: &str = "/etc/sudoers.d";

/// Lets the user of the database run what the provider needs, in this test's own mounts.
pub(crate) fn allow_sudo(scratch: &ScratchDirectory) {
    assert!(Path::new(PREFIX[0]).is_file() && Path::new(SUDOERS).is_dir(), "install the package sudo");
    let (directory, account) = (scratch.join("sudoers.d"), Account::unprivileged());
    fs::create_dir(&directory).unwrap();
    let rule = directory.join("stillframe");
    fs::write(&rule, format!("{} ALL=(root) NOPASSWD: {RIGHTS}\n", account.name)).unwrap();
    set_mode(&rule, 0o440);
    chown(&directory, Some(0), Some(0)).unwrap();
    run("mount", &["--bind", text(&directory), SUDOERS]);
}

/// A file system that is mounted while the value lives.
#[derive(Debug)]
pub(crate) struct Mounted {
    point: PathBuf,
}

impl Mounted {
    /// Makes a file system on a device and mounts it for the user of the database.
    pub(crate) fn new(device: &str, fs_type: &str, point: PathBuf) -> Self {
        run(&format!("mkfs.{fs_type}"), &["-q", device]);
        fs::create_dir(&point).unwrap();
        run("mount", &[device, text(&point)]);
        Account::unprivileged().own(&point);
        Self { point }
    }

    /// A path on it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.point.join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What still uses it goes with the test's processes, and so does the mount.
        let _unmounted = Command::new("umount").arg(&self.point).status();
    }
}

/// Writes through to the volumes what a new cluster consists of: the harness copies it, and does not flush as `initdb` does.
pub(crate) fn flush(mounted: &[Mounted]) {
    let points: Vec<&str> = mounted.iter().map(|mounted| text(&mounted.point)).collect();
    run("sync", &[&["--file-system"], points.as_slice()].concat());
}

/// Mounts at or below this directory.
pub(crate) fn mounts_below(directory: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| Path::new(point).starts_with(directory)).map(str::to_owned).collect()
}

#[track_caller]
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
