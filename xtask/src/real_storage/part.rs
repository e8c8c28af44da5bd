//! The parts of the stage, and what keeps a machine from running one.

use std::env::consts::ARCH;
use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::account::is_root;
use crate::prerequisites::{for_loop_devices, for_lvm, for_zfs};
use crate::run::works;

/// What runs in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    LoopDevices,
    Lvm,
    Zfs,
}

impl Part {
    /// In the order in which they run: the last one waits for its kit.
    pub(super) const ALL: [Self; 3] = [Self::LoopDevices, Self::Lvm, Self::Zfs];

    /// The test executable with its tests.
    pub(super) fn test_executable(self) -> &'static str {
        match self {
            Self::LoopDevices => "loop_devices",
            Self::Lvm => "lvm",
            Self::Zfs => "zfs",
        }
    }

    /// Why this machine cannot run it, after what it lacks has been installed where that is possible.
    pub(super) fn obstacle(self) -> Option<String> {
        if !is_root() {
            return Some("it mounts file systems and starts servers as another user: run it as root".to_owned());
        }
        let kernel = match self {
            Self::LoopDevices => has_no_loop_device(),
            Self::Lvm | Self::Zfs => (ARCH != "x86_64").then(|| format!("its kernel is for x86_64, and this machine is {ARCH}")),
        };
        let installed = || match self {
            Self::LoopDevices => for_loop_devices(),
            Self::Lvm => for_lvm(),
            Self::Zfs => for_zfs(),
        };
        kernel.or_else(|| installed().err().map(|failure| failure.to_string()))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::LoopDevices => "btrfs and XFS on loop devices",
            Self::Lvm => "LVM in User-mode Linux",
            Self::Zfs => "OpenZFS on an emulated machine",
        })
    }
}

fn has_no_loop_device() -> Option<String> {
    let can_make = Path::new("/dev/loop-control").exists() && works(Command::new("losetup").arg("--find"));
    (!can_make).then(|| "there is no free loop device".to_owned())
}
