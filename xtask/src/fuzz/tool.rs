//! cargo-fuzz, which knows the flags by which the compiler makes code that libFuzzer can watch.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::Failure;
use crate::run::{captured, succeed, works};
use crate::workspace::{Workspace, cargo, progress};

/// What is installed where there is none.
const VERSION: &str = "0.13.2";

/// The package, as cargo-fuzz wants to be told.
const DIRECTORY: &str = "tests/fuzz";

/// cargo-fuzz, on the path or in the target directory.
pub(super) struct CargoFuzz {
    program: PathBuf,
}

impl CargoFuzz {
    /// Finds it, or installs it beside what else is built: nothing of it outlasts the target directory.
    pub(super) fn ensure(workspace: &Workspace) -> Result<Self, Failure> {
        let root = workspace.target.join("tools");
        let places = [PathBuf::from("cargo-fuzz"), root.join("bin/cargo-fuzz")];
        let is_there = |program: &PathBuf| works(Command::new(program).args(["fuzz", "--version"]));
        if let Some(program) = places.iter().find(|program| is_there(program)) {
            return Ok(Self { program: program.clone() });
        }
        progress("installing cargo-fuzz", || {
            let package = format!("cargo-fuzz@{VERSION}");
            succeed(cargo().args(["install", "--quiet", "--locked", &package, "--root"]).arg(&root))
        })?;
        Ok(Self { program: root.join("bin/cargo-fuzz") })
    }

    /// Compiles all targets; gives the directory of their programs.
    pub(super) fn build(&self, workspace: &Workspace) -> Result<PathBuf, Failure> {
        let target = workspace.target.join("fuzz");
        let mut command = Command::new(&self.program);
        command.args(["fuzz", "build", "--fuzz-dir", DIRECTORY, "--features", "libfuzzer"]);
        // The toolchain is the stable one that everything else is built with. More units compile faster.
        command.args(["--sanitizer", "none", "--codegen-units", "16", "--target-dir"]).arg(&target);
        // The sandbox's engine is most of what is compiled, and hardly any of what runs: less work on it costs a search little.
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
        succeed(command.current_dir(&workspace.root))?;
        Ok(target.join(host()?).join("release"))
    }
}

/// What the compiler compiles for when nobody says otherwise; cargo-fuzz always says so.
fn host() -> Result<String, Failure> {
    let about = captured(Command::new("rustc").arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::new("`rustc -vV` names no host"))
}
