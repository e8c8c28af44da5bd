//! `cargo xtask torture`: `kill -9` of everything under load for as long as somebody wants, and the proof that nothing was lost.
//!
//! The short form of it is among the tests. Both are the package `stillframe-torture`.

use std::path::Path;
use std::process::Command;

use clap::Args;

use crate::account::is_root;
use crate::failure::Failure;
use crate::prerequisites::{for_loop_devices, for_the_tests};
use crate::run::succeed;
use crate::test::{compile, with_binary};
use crate::workspace::Workspace;

/// The program.
const PROGRAM: &str = "stillframe-torture";

/// How long, and what.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// For so long; what is under way then is finished and proven
    #[arg(long, value_name = "N")]
    minutes: u64,
    /// Draws as the run with this seed did, which printed it; moments in time differ all the same
    #[arg(long)]
    seed: Option<u64>,
    /// Tortures this one only: `hardlink-local`, `hardlink-s3`, `btrfs-local` or `btrfs-s3`
    #[arg(long)]
    only: Option<String>,
    /// Stays when something is wrong, with all files and servers, until it is interrupted
    #[arg(long)]
    stay: bool,
}

/// Builds everything, and tortures it.
pub(crate) fn torture(options: &Options) -> Result<(), Failure> {
    for_the_tests()?;
    if is_root() {
        for_loop_devices()?;
    }
    let workspace = Workspace::find()?;
    compile(&workspace)?;
    let mut command = of_its_own(&workspace.target.join("debug").join(PROGRAM));
    command.arg("--minutes").arg(options.minutes.to_string());
    if let Some(seed) = options.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    if let Some(only) = &options.only {
        command.arg("--only").arg(only);
    }
    command.args(options.stay.then_some("--stay"));
    succeed(with_binary(&mut command, &workspace))
}

/// With mounts of its own where it may mount: they are gone with it, in whatever way it ends.
fn of_its_own(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]).arg(program);
    command
}
