//! A `/dev` of the test's own, in which device names can be given out without anybody else seeing them.

use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::ScratchDirectory;

/// Loop devices that the private `/dev` has names for: enough for all tests that may run at once. The machine's own has eight.
const LOOP_NODES: u32 = 256;
const LOOP_MAJOR: u32 = 7;
/// Mounts below `/dev` that processes need as they are.
const SHARED: [&str; 2] = ["shm", "pts"];

/// Covers `/dev` with a copy of it, in this mount namespace; gone with the namespace.
pub(crate) fn cover_dev(scratch: &ScratchDirectory) {
    let cover = scratch.join("dev");
    std::fs::create_dir(&cover).expect("the scratch directory is ours");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=755", "none"]).arg(&cover));
    for entry in std::fs::read_dir("/dev").expect("there is a /dev").flatten() {
        let (name, copy) = (entry.file_name(), cover.join(entry.file_name()));
        if SHARED.iter().any(|shared| name == *shared) {
            std::fs::create_dir(&copy).expect("the cover is empty");
            run(Command::new("mount").arg("--rbind").arg(entry.path()).arg(&copy));
        } else {
            run(Command::new("cp").arg("-a").arg(entry.path()).arg(&copy));
        }
    }
    for number in 0..LOOP_NODES {
        let node = cover.join(format!("loop{number}"));
        let made = mknodat(CWD, &node, FileType::BlockDevice, Mode::RUSR | Mode::WUSR, makedev(LOOP_MAJOR, number));
        assert!(made.is_ok() || node.exists(), "cannot make {}: {made:?}", node.display());
    }
    run(Command::new("mount").arg("--move").arg(&cover).arg("/dev"));
}

/// Runs a program that must succeed; gives what it said.
#[track_caller]
pub(super) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {complaint}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether something is mounted from this device.
pub(super) fn is_mounted(device: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let source = |line: &str| line.split_once(" - ")?.1.split(' ').nth(1).map(str::to_owned);
    mounts.lines().filter_map(source).any(|source| Path::new(&source) == device)
}
