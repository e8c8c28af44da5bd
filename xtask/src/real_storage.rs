//! `cargo xtask test --real-storage`: the tests of `tests/real-storage`, as far as this machine can run them.
//!
//! What can run is decided here, before anything runs: a test either runs or is not begun. Parts that cannot run are counted and
//! named in the closing lines, and where they were expected (`--expect`) they are a failure.

use std::process::Command;
use std::thread;
use std::time::Instant;

use clap::ValueEnum;

use crate::failure::Failure;
use crate::run::{captured, succeed};
use crate::test::{compile, with_binary};
use crate::workspace::{Workspace, cargo};

mod module;
mod packages;
mod part;
mod zfs_kit;

use part::Part;
use zfs_kit::ZfsKit;

/// The package of these tests, which the other stage leaves out.
pub(crate) const PACKAGE: &str = "stillframe-real-storage";

/// What must not be skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Expected {
    /// Every part
    All,
    /// btrfs and XFS on loop devices
    LoopDevices,
    /// LVM in User-mode Linux
    Lvm,
    /// OpenZFS on an emulated machine
    Zfs,
}

impl Expected {
    fn includes(self, part: Part) -> bool {
        match self {
            Self::All => true,
            Self::LoopDevices => part == Part::LoopDevices,
            Self::Lvm => part == Part::Lvm,
            Self::Zfs => part == Part::Zfs,
        }
    }
}

/// What became of a part.
enum Outcome {
    Ran { tests: usize, seconds: f64 },
    Failed(Failure),
    Skipped(String),
}

/// Runs what this machine can run; says what it did not.
pub(crate) fn test_real_storage(filter: Option<&str>, expected: &[Expected]) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    let obstacles = Part::ALL.map(|part| (part, part.obstacle()));
    let can_run = |wanted: Part| obstacles.iter().any(|(part, obstacle)| *part == wanted && obstacle.is_none());
    let outcomes = thread::scope(|scope| {
        // Compiling the module takes minutes, in which the other parts run.
        let kit = can_run(Part::Zfs).then(|| scope.spawn(|| ZfsKit::prepare(&workspace)));
        let built = compile(&workspace);
        let mut outcomes = Vec::new();
        if built.is_ok() {
            for (part, obstacle) in &obstacles {
                outcomes.push((*part, obstacle.clone().map(Outcome::Skipped)));
            }
            for (part, outcome) in outcomes.iter_mut().filter(|(part, outcome)| *part != Part::Zfs && outcome.is_none()) {
                *outcome = Some(run(&workspace, *part, filter, None));
            }
        }
        let kit = kit.map(|kit| kit.join().unwrap_or_else(|_| Err(Failure::new("the preparation of the kit panicked"))));
        built?;
        for (part, outcome) in outcomes.iter_mut().filter(|(_, outcome)| outcome.is_none()) {
            *outcome = Some(match &kit {
                Some(Ok(kit)) => run(&workspace, *part, filter, Some(kit)),
                Some(Err(failure)) => Outcome::Skipped(format!("there is no kit: {failure}")),
                None => Outcome::Skipped("there is no kit".to_owned()),
            });
        }
        Ok(outcomes)
    })?;
    let outcomes = outcomes.into_iter().filter_map(|(part, outcome)| Some((part, outcome?))).collect();
    conclude(outcomes, filter, expected)
}

/// The closing lines, and whether it was a success.
fn conclude(outcomes: Vec<(Part, Outcome)>, filter: Option<&str>, expected: &[Expected]) -> Result<(), Failure> {
    println!("\nReal storage:");
    let (mut tests_run, mut failed, mut skipped, mut missed) = (0, 0, 0, Vec::new());
    for (part, outcome) in outcomes {
        match outcome {
            Outcome::Ran { tests, seconds } => {
                tests_run += tests;
                println!("  {part}: {tests} tests passed in {seconds:.0} s");
            }
            Outcome::Failed(failure) => {
                failed += 1;
                println!("  {part}: FAILED: {failure}");
            }
            Outcome::Skipped(why) => {
                skipped += 1;
                println!("  {part}: SKIPPED, NOTHING OF IT WAS TESTED: {why}");
                if expected.iter().any(|expected| expected.includes(part)) {
                    missed.push(part.to_string());
                }
            }
        }
    }
    println!("  {tests_run} tests passed, {failed} parts failed, {skipped} parts were skipped");
    if failed > 0 {
        return Err(Failure::new("not every test on real storage passed"));
    }
    if !missed.is_empty() {
        return Err(Failure::new(format!("what was expected to run was skipped: {}", missed.join("; "))));
    }
    if tests_run == 0
        && let Some(filter) = filter
    {
        return Err(Failure::new(format!("no test has run: none that this machine can run is named `{filter}`")));
    }
    Ok(())
}

fn run(workspace: &Workspace, part: Part, filter: Option<&str>, kit: Option<&ZfsKit>) -> Outcome {
    let began = Instant::now();
    println!("\n{part}:");
    let outcome = count(workspace, part, filter).and_then(|tests| {
        if tests > 0 {
            succeed(&mut runner(workspace, part, filter, kit))?;
        } else if filter.is_none() {
            return Err(Failure::new("there is no test"));
        }
        Ok(tests)
    });
    match outcome {
        Ok(tests) => Outcome::Ran { tests, seconds: began.elapsed().as_secs_f64() },
        Err(failure) => Outcome::Failed(failure),
    }
}

/// How many tests of a part there are.
fn count(workspace: &Workspace, part: Part, filter: Option<&str>) -> Result<usize, Failure> {
    let listed = captured(runner(workspace, part, filter, None).args(["--list", "--format", "terse"]))?;
    Ok(listed.lines().filter(|line| line.ends_with(": test")).count())
}

fn runner(workspace: &Workspace, part: Part, filter: Option<&str>, kit: Option<&ZfsKit>) -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--test", part.test_executable(), "--"]).args(filter);
    // Ignored tests run as well, so that none can hide.
    command.arg("--include-ignored");
    with_binary(&mut command, workspace);
    if let Some(kit) = kit {
        command.env("STILLFRAME_ZFS_KIT", &kit.directory);
    }
    command
}
