//! A file system of its own, which a test fills up, makes read-only and makes larger.
//!
//! It is mounted where nobody else sees it and where it is gone with the test's processes: the test runs once more, in a mount
//! namespace; under another user than root also in a user namespace, in which it may mount.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, mount, mount_remount};

use crate::Account;

/// Tells the second run of the test that it is the one.
const VARIABLE: &str = "STILLFRAME_OWN_MOUNTS";

/// Runs the test where it may mount. The name is that of the calling test, and must be right: this is checked.
#[track_caller]
pub fn with_own_mounts(test: &str, body: impl FnOnce()) {
    if has_own_mounts() {
        body();
        return;
    }
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--map-current-user", "--keep-caps"]);
    }
    command.arg("--").arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    let output = command.env(VARIABLE, "1").output();
    let output = output.unwrap_or_else(|error| panic!("cannot run unshare: {error}: it comes with the package util-linux"));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // No test of that name would be a success as well.
    let has_run = said.contains("1 passed");
    assert!(output.status.success() && has_run, "`{test}` with mounts of its own: {}\n{said}\n{complained}", output.status);
}

/// Whether this is the run of the test in which it may mount.
pub(crate) fn has_own_mounts() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// A file system in memory with a limit.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it at a new directory; only within [`with_own_mounts`].
    #[track_caller]
    pub fn mount(path: &Path, size_kib: u64) -> Self {
        assert!(has_own_mounts(), "everybody would see this mount");
        Account::unprivileged().create_directory(path);
        let mounted = mount("none", path, "tmpfs", MountFlags::empty(), options(size_kib).as_c_str());
        mounted.unwrap_or_else(|error| panic!("cannot mount a tmpfs on {}: {error}; user namespaces are needed", path.display()));
        Account::unprivileged().own(path);
        Self { path: path.to_owned() }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are left.
    pub fn free_bytes(&self) -> u64 {
        let space = rustix::fs::statvfs(&self.path).expect("it is mounted");
        space.f_bavail * space.f_frsize
    }

    /// Changes its size.
    #[track_caller]
    pub fn resize(&self, size_kib: u64) {
        self.remount(MountFlags::empty(), &options(size_kib));
    }

    /// Files and directories that may still be made.
    pub fn free_inodes(&self) -> u64 {
        rustix::fs::statvfs(&self.path).expect("it is mounted").f_favail
    }

    /// Leaves room for so many bytes, in whole pages, and so many files.
    #[track_caller]
    pub fn leave(&self, free_kib: u64, free_inodes: u64) {
        let space = rustix::fs::statvfs(&self.path).expect("it is mounted");
        let used_kib = (space.f_blocks - space.f_bfree) * space.f_frsize / 1024;
        let inodes = space.f_files - space.f_ffree + free_inodes;
        let data = CString::new(format!("size={}k,nr_inodes={inodes}", used_kib + free_kib)).expect("no zero byte");
        self.remount(MountFlags::empty(), &data);
    }

    /// Makes it read-only, as the kernel does after an error of the device.
    #[track_caller]
    pub fn make_read_only(&self) {
        self.remount(MountFlags::RDONLY, c"");
    }

    /// Makes it writable again.
    #[track_caller]
    pub fn make_writable(&self) {
        self.remount(MountFlags::empty(), c"");
    }

    fn remount(&self, flags: MountFlags, data: &std::ffi::CStr) {
        mount_remount(&self.path, flags, data).unwrap_or_else(|error| panic!("cannot remount {}: {error}", self.path.display()));
    }
}

fn options(size_kib: u64) -> CString {
    CString::new(format!("size={size_kib}k,nr_inodes=100000,mode=700")).expect("no zero byte")
}
