//! `cargo xtask test`: every test there is, none skipped.

use std::process::Command;

use crate::failure::Failure;
use crate::prerequisites::for_the_tests;
use crate::run::{succeed, works};
use crate::workspace::{Workspace, cargo, progress};

/// Installs what is missing, builds everything and runs all tests; the runner's own lines come last.
pub(crate) fn test(filter: Option<&str>) -> Result<(), Failure> {
    for_the_tests()?;
    let workspace = Workspace::find()?;
    // The build of the binary makes the bundled components only; the tests use others too.
    workspace.build_components()?;
    progress("compiling the workspace", || {
        succeed(cargo().args(["build", "--quiet", "--workspace"]).current_dir(&workspace.root))
    })?;
    let binary = workspace.stillframe("debug");
    if !binary.is_file() {
        return Err(Failure::new(format!("the build made no `{}`", binary.display())));
    }
    if filter.is_none() {
        succeed(with_binary(cargo().args(["test", "--quiet", "--workspace", "--doc"]), &workspace))?;
    }
    succeed(with_binary(&mut runner(filter), &workspace))
}

/// The test runner; ignored tests run as well, so that none can hide.
fn runner(filter: Option<&str>) -> Command {
    let mut command = cargo();
    if works(cargo().args(["nextest", "--version"])) {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--run-ignored", "all"]).args(filter);
    } else {
        command.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]).args(filter);
        command.args(["--", "--include-ignored"]);
    }
    command
}

fn with_binary<'a>(command: &'a mut Command, workspace: &Workspace) -> &'a mut Command {
    command.env("STILLFRAME_BIN", workspace.stillframe("debug")).env("STILLFRAME_COMPONENTS", workspace.components_directory());
    command.current_dir(&workspace.root)
}
