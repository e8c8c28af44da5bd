//! A table of mounts in memory, to test a provider natively.

use std::collections::BTreeSet;

use super::{Mounted, OPTIONS};
use crate::command::{CommandError, ExitStatus, Invocation, Output};

/// A table of mounts, with the directories below it, that answers `mount`, `umount`, `findmnt` and `rmdir` as the real programs do.
///
/// Ask [`FakeMounts::answer`] from the function given to `FakeHost::on_command`.
#[derive(Debug, Clone, Default)]
pub struct FakeMounts {
    /// What is mounted, the last on top.
    pub mounts: Vec<Mounted>,
    /// Directories that exist. `mount` makes them, as it is told to.
    pub directories: BTreeSet<String>,
    /// Points that a process has open.
    pub busy: BTreeSet<String>,
    /// Devices that cannot be mounted, because there is no file system on them.
    pub unreadable: BTreeSet<String>,
}

impl FakeMounts {
    /// Answers a program of the four; none for any other.
    pub fn answer(&mut self, invocation: &Invocation) -> Option<Result<Output, CommandError>> {
        let args: Vec<&str> = invocation.args.iter().map(String::as_str).collect();
        let answer = match (invocation.program.as_str(), &args[..]) {
            ("findmnt", ["--json", "--list", "--output=TARGET,SOURCE,FSTYPE"]) => self.list(),
            ("mount", [fs_type, options, device, point]) => self.mount(fs_type, options, device, point),
            ("umount", [point]) => self.unmount(point),
            ("rmdir", [directory]) => self.remove(directory),
            ("findmnt" | "mount" | "umount" | "rmdir", _) => {
                return Some(Err(CommandError::Denied(format!("no rule allows `{} {}`", invocation.program, args.join(" ")))));
            }
            _ => return None,
        };
        Some(Ok(answer))
    }

    /// Whether anything is mounted from this device, by either of its names.
    #[must_use]
    pub fn has_device(&self, device: &str) -> bool {
        self.mounts.iter().any(|mounted| super::same_device(&mounted.source, device))
    }

    fn list(&self) -> Output {
        let root = serde_json::json!({"target": "/", "source": "/dev/vda1", "fstype": "ext4"});
        let proc = serde_json::json!({"target": "/proc", "source": null, "fstype": "proc"});
        let rows = self
            .mounts
            .iter()
            .map(|mounted| serde_json::json!({"target": mounted.point, "source": mounted.source, "fstype": mounted.fs_type}));
        let all: Vec<_> = [root, proc].into_iter().chain(rows).collect();
        ended(0, &serde_json::json!({ "filesystems": all }).to_string(), "")
    }

    fn mount(&mut self, fs_type: &str, options: &str, device: &str, point: &str) -> Output {
        let fs_type = fs_type.strip_prefix("-t").unwrap_or_default();
        let expected = if fs_type == "xfs" { format!("-o{OPTIONS},nouuid") } else { format!("-o{OPTIONS}") };
        if options != expected || self.unreadable.contains(device) {
            return ended(32, "", &format!("mount: {point}: wrong fs type, bad option, bad superblock on {device}."));
        }
        let mut parts = String::new();
        for part in point.trim_start_matches('/').split('/') {
            parts = format!("{parts}/{part}");
            self.directories.insert(parts.clone());
        }
        let source = super::device::mapped(device);
        self.mounts.push(Mounted { point: point.to_owned(), source, fs_type: fs_type.to_owned() });
        ended(0, "", "")
    }

    fn unmount(&mut self, point: &str) -> Output {
        if self.busy.contains(point) {
            return ended(32, "", &format!("umount: {point}: target is busy."));
        }
        match self.mounts.iter().rposition(|mounted| mounted.point == point) {
            Some(index) => {
                self.mounts.remove(index);
                ended(0, "", "")
            }
            None => ended(32, "", &format!("umount: {point}: not mounted.")),
        }
    }

    fn remove(&mut self, directory: &str) -> Output {
        let below = format!("{directory}/");
        let fails = |reason: &str| ended(1, "", &format!("rmdir: failed to remove '{directory}': {reason}"));
        if !self.directories.contains(directory) {
            return fails("No such file or directory");
        }
        if self.mounts.iter().any(|mounted| mounted.point == directory) {
            return fails("Device or resource busy");
        }
        if self.directories.iter().any(|other| other.starts_with(&below)) {
            return fails("Directory not empty");
        }
        self.directories.remove(directory);
        ended(0, "", "")
    }
}

fn ended(code: i32, stdout: &str, stderr: &str) -> Output {
    Output { status: ExitStatus::Code(code), stdout: stdout.to_owned(), stderr: stderr.to_owned(), truncated: false }
}
