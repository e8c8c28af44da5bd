//! `cargo xtask test`: every test there is, none skipped, but for those on real storage, which are a stage of their own.

use std::fmt::Write as _;
use std::num::NonZero;
use std::process::Command;
use std::thread::available_parallelism;

use crate::account::is_root;
use crate::failure::Failure;
use crate::prerequisites::for_the_tests;
use crate::real_storage::PACKAGE as REAL_STORAGE;
use crate::run::{succeed, works};
use crate::workspace::{Workspace, cargo, progress};

/// Installs what is missing, builds everything and runs all tests; the runner's own lines come last.
pub(crate) fn test(filter: Option<&str>) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    build(&workspace)?;
    if filter.is_none() {
        succeed(with_binary(cargo().args(["test", "--quiet", "--workspace", "--doc"]), &workspace))?;
    }
    succeed(with_binary(&mut runner(filter), &workspace))
}

/// Installs what is missing, and builds everything: all components, and all of the workspace with its tests.
pub(crate) fn build(workspace: &Workspace) -> Result<(), Failure> {
    for_the_tests()?;
    compile(workspace)
}

/// Every stage compiles the same in the same way. Cargo gives dependencies the features that all chosen packages ask for together, and
/// what is chosen differently is compiled once more, with half of the dependencies.
pub(crate) fn compile(workspace: &Workspace) -> Result<(), Failure> {
    // The build of the binary makes the bundled components only; the tests use others too.
    workspace.build_components()?;
    progress("compiling the workspace and its tests", || {
        succeed(with_binary(cargo().args(["test", "--quiet", "--workspace", "--no-run"]), workspace))
    })?;
    let binary = workspace.stillframe("debug");
    if binary.is_file() { Ok(()) } else { Err(Failure::new(format!("the build made no `{}`", binary.display()))) }
}

/// The test runner; ignored tests run as well, so that none can hide.
fn runner(filter: Option<&str>) -> Command {
    let mut command = cargo();
    if works(cargo().args(["nextest", "--version"])) {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--run-ignored", "all", "--test-threads", &at_once()]);
        let mut chosen = format!("not package({REAL_STORAGE})");
        if !is_root() {
            println!("NOT RUN: what mounts disks of a simulated EC2, in `ebs` and `ec2_simulator`; run this as root for it");
            println!("NOT RUN: the torture on btrfs, in `btrfs`; run this as root for it");
            println!("NOT RUN: the pages of the book, in `book`, each on a machine of its own; run this as root for it");
            let mounts = "binary(ebs) or (binary(ec2_simulator) and test(/^disks::/)) or (binary(book) and test(/^chapters::/)) \
                 or (package(stillframe-torture) and binary(btrfs))";
            let _ = write!(chosen, " and not ({mounts})");
        }
        command.args(["-E", &chosen]).args(filter);
    } else {
        command.args(["test", "--workspace", "--exclude", REAL_STORAGE, "--lib", "--bins", "--tests", "--no-fail-fast"]);
        command.args(filter).args(["--", "--include-ignored"]);
    }
    command
}

/// How many tests run at the same time: most wait for a server, a store or a clock for more than half of their time.
pub(crate) fn at_once() -> String {
    let processors = available_parallelism().map_or(1, NonZero::get);
    (2 * processors).to_string()
}

/// Tells the tests which binary and components to use.
pub(crate) fn with_binary<'a>(command: &'a mut Command, workspace: &Workspace) -> &'a mut Command {
    command.env("STILLFRAME_BIN", workspace.stillframe("debug")).env("STILLFRAME_COMPONENTS", workspace.components_directory());
    command.current_dir(&workspace.root)
}
