//! Mounting what a restore has made, for providers whose snapshots are block devices.
//!
//! Works through the capability [`Command`], with the logical programs `mount`, `umount`, `findmnt` and `rmdir`; a provider's policy
//! must allow the arguments that are written here, and needs no others. What is mounted is asked of the kernel before each step,
//! so that every function can be called again after it was killed, and nobody else's mount is touched.

mod device;
#[cfg(feature = "testing")]
mod fake;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use crate::command::{Command, ExitStatus, Invocation, Output};
use crate::{Error, invalid};

pub use device::same_device;
#[cfg(feature = "testing")]
pub use fake::FakeMounts;

/// Options of every mount: the files were a server's, and are data here, no programs of root's and no devices.
///
/// The directory is made by `mount` itself, with those above it.
const OPTIONS: &str = "rw,nosuid,nodev,X-mount.mkdir=0755";

/// Most mounts, one on top of the other, that one point can have before it is no work of ours.
const MAX_STACKED: usize = 8;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is mounted.
    pub point: String,
    /// What is mounted there, as `findmnt` writes it: `/dev/mapper/vg0-pg`, and with the directory in brackets when it is not the
    /// root of the file system.
    pub source: String,
    /// Type of the file system.
    pub fs_type: String,
}

/// Mounts a device, writable, at a point that is made when it is not there.
///
/// Nothing happens when that device is mounted there already; another one is the error `conflict`. A point behind a symbolic link
/// is the error `invalid`: what is mounted there is somewhere else, and would never be found again. A file system that knows
/// itself by its UUID must be told that there are two of it: XFS is. btrfs cannot be told, so never give it the copy of a device
/// that is mounted.
pub fn attach<H: Command>(host: &H, device: &str, fs_type: &str, point: &str) -> Result<(), Error> {
    let options = match fs_type {
        "ext2" | "ext3" | "ext4" | "btrfs" => OPTIONS.to_owned(),
        "xfs" => format!("{OPTIONS},nouuid"),
        other => return Err(Error::Unsupported(format!("mounting a file system of type `{other}`"))),
    };
    let there = all(host)?;
    if let Some(mounted) = there.iter().rev().find(|mounted| mounted.point == point) {
        if same_device(&mounted.source, device) {
            return Ok(());
        }
        return Err(Error::Conflict(format!("`{}` is mounted at `{point}`", mounted.source)));
    }
    let output = run(host, "mount", &[&format!("-t{fs_type}"), &format!("-o{options}"), device, point])?;
    succeeded("mount", point, &output)?;
    if all(host)?.iter().any(|mounted| mounted.point == point) {
        return Ok(());
    }
    // What was just mounted, through the same link.
    succeeded("umount", point, &run(host, "umount", &[point])?)?;
    remove_directory(host, point)?;
    Err(invalid("mount_root", format!("there is a symbolic link in `{point}`: write the path that it leads to")))
}

/// Unmounts a point and removes its directory. Nothing to unmount and nothing to remove are successes; busy is `in-use`.
pub fn detach<H: Command>(host: &H, point: &str) -> Result<(), Error> {
    let stacked = all(host)?.iter().filter(|mounted| mounted.point == point).count();
    if stacked > MAX_STACKED {
        return Err(Error::Conflict(format!("`{point}` has {stacked} mounts on top of each other")));
    }
    for _ in 0..stacked {
        let output = run(host, "umount", &[point])?;
        succeeded("umount", point, &output)?;
    }
    remove_directory(host, point)
}

/// Removes an empty directory, such as the one of a token above its points. One that is absent is a success.
pub fn remove_directory<H: Command>(host: &H, directory: &str) -> Result<(), Error> {
    let output = run(host, "rmdir", &[directory])?;
    if output.stderr.contains("No such file or directory") {
        return Ok(());
    }
    succeeded("rmdir", directory, &output)
}

/// The mounts whose point lies strictly below this directory, in the order in which they were made.
pub fn below<H: Command>(host: &H, mount_root: &str) -> Result<Vec<Mounted>, Error> {
    let prefix = format!("{}/", mount_root.trim_end_matches('/'));
    let mut mounts = all(host)?;
    mounts.retain(|mounted| mounted.point.len() > prefix.len() && mounted.point.starts_with(&prefix));
    Ok(mounts)
}

/// Every mount that this host sees.
pub fn all<H: Command>(host: &H) -> Result<Vec<Mounted>, Error> {
    let output = run(host, "findmnt", &["--json", "--list", "--output=TARGET,SOURCE,FSTYPE"])?;
    succeeded("findmnt", "--list", &output)?;
    let table: Table = serde_json::from_str(&output.stdout)
        .map_err(|error| Error::Internal(format!("the report of `findmnt` cannot be read: {error}")))?;
    let mounted =
        |row: Row| Mounted { point: row.target, source: row.source.unwrap_or_default(), fs_type: row.fstype.unwrap_or_default() };
    Ok(table.filesystems.into_iter().map(mounted).collect())
}

/// What `findmnt --json` prints.
#[derive(Deserialize)]
struct Table {
    filesystems: Vec<Row>,
}

/// One line of it; pseudo file systems may have no source.
#[derive(Deserialize)]
struct Row {
    target: String,
    source: Option<String>,
    fstype: Option<String>,
}

fn run<H: Command>(host: &H, program: &str, args: &[&str]) -> Result<Output, Error> {
    if let Some(arg) = args.iter().find(|arg| arg.is_empty() || arg.contains('\0')) {
        return Err(invalid("path", format!("`{arg}` cannot be given to `{program}`")));
    }
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    let output = host.run(&Invocation { program: program.to_owned(), args, stdin: None, timeout_ms: None })?;
    if output.truncated && program == "findmnt" {
        return Err(Error::Internal("the report of `findmnt` is longer than the policy allows".to_owned()));
    }
    Ok(output)
}

/// What the program did, by its exit code and, where that says too little, by what it wrote.
///
/// The texts are those of util-linux and coreutils without a locale, which is what an empty environment gives.
fn succeeded(program: &str, what: &str, output: &Output) -> Result<(), Error> {
    let says = |words: &[&str]| words.iter().any(|word| output.stderr.contains(word));
    let text = || format!("`{program}` of `{what}`: {}", output.stderr.trim());
    match output.status {
        ExitStatus::Code(0) => Ok(()),
        ExitStatus::Signal(signal) => Err(Error::Transient(format!("`{program}` of `{what}` was ended by signal {signal}"))),
        // Without the right, `mount` and `umount` exit with 1 or 32; `sudo -n` with 1.
        ExitStatus::Code(_) if says(&["ermission denied", "must be superuser", "not permitted", "a password is required"]) => {
            Err(Error::Denied(text()))
        }
        ExitStatus::Code(_) if says(&["target is busy", "resource busy", "mount point busy"]) => Err(Error::InUse(text())),
        ExitStatus::Code(_) if says(&["Directory not empty"]) => Err(Error::Conflict(text())),
        // A damaged file system, or one of another type: no repetition helps.
        ExitStatus::Code(32) if says(&["wrong fs type", "bad superblock", "Structure needs cleaning"]) => {
            Err(Error::Internal(text()))
        }
        ExitStatus::Code(_) => Err(Error::Transient(text())),
    }
}
