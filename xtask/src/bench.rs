//! `cargo xtask bench`: what archiving and recovery cost, beside programs that everybody knows.
//!
//! A figure and its reference are measured in turns within one run: what else the machine does then falls on both. Each figure with
//! a target says whether it holds.

use std::env;
use std::fs;
use std::process::Command;

use crate::account::{Account, is_root};
use crate::failure::Failure;
use crate::prerequisites::for_the_benchmark;
use crate::run::succeed;
use crate::sweep::Scratch;
use crate::workspace::{Workspace, cargo, progress};

mod burst;
mod daemon;
mod disk;
mod ebs;
mod figure;
mod memory;
mod recording;
mod replay;
mod retention;
mod sandbox;
mod segment;
mod snapshot;
mod stage;
mod start;

use figure::Figure;
use recording::Recording;
use stage::Stage;

/// A part of the benchmark, for whoever works on what it measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Starts of the program
    Start,
    /// One segment at a time
    Segment,
    /// 200 segments: a burst, a replay, and the peak of memory
    Burst,
    /// Start and call of a provider in its sandbox
    Sandbox,
    /// Clones of a large directory tree beside rsync and cp; only as root
    Tree,
    /// Whole snapshot backups on btrfs and XFS beside a script; only as root
    Snapshot,
    /// A plan of `delete policy` for 10,000 backups and 1,000,000 segments
    Retention,
    /// A whole EBS backup beside Barman's, on an imitation of EC2
    Ebs,
}

impl Part {
    /// Whether it mounts file systems.
    fn mounts(self) -> bool {
        matches!(self, Self::Tree | Self::Snapshot)
    }

    /// Whether it runs the program, and not only a part of it in a program of its own.
    fn runs_stillframe(self) -> bool {
        !matches!(self, Self::Sandbox | Self::Tree | Self::Retention)
    }
}

/// Starts are short, and their median needs many.
const STARTS: usize = 10;

/// Long measurements vary less.
const BURSTS: usize = 4;

/// Measures every figure, prints the table and writes `bench.json` into the target directory.
pub(crate) fn bench(runs: usize, only: Option<Part>) -> Result<(), Failure> {
    if only.is_none_or(Part::mounts) {
        if !is_root() {
            return Err(Failure::new(
                "the parts `tree` and `snapshot` mount file systems, which only root may: run the others with `--only`",
            ));
        }
        if !disk::has_own_mounts() {
            return again_with_own_mounts();
        }
    }
    for_the_benchmark()?;
    let workspace = Workspace::find()?;
    if only.is_none_or(Part::runs_stillframe) {
        progress("compiling stillframe for release", || {
            succeed(cargo().args(["build", "--quiet", "--release", "--package", "stillframe"]).current_dir(&workspace.root))
        })?;
    }
    let account = Account::of_servers()?;
    let scratch = Scratch::begin("bench", &account)?;
    let binary = workspace.stillframe("release");
    let stage = Stage { home: &scratch.path, binary: &binary, account: &account };
    let figures = measure(&stage, runs, only);
    scratch.end()?;
    let figures = figures?;
    print!("{}", figure::table(&figures));
    let file = workspace.target.join("bench.json");
    fs::write(&file, figure::json(&figures)).map_err(Failure::io(format!("write `{}`", file.display())))?;
    println!("written to {}", file.display());
    Ok(())
}

/// Runs this program once more where nobody else sees what it mounts, and where that is gone when it ends.
fn again_with_own_mounts() -> Result<(), Failure> {
    let program = env::current_exe().map_err(Failure::io("find this program"))?;
    succeed(Command::new("unshare").args(["--mount", "--"]).arg(program).args(env::args_os().skip(1)))
}

fn measure(stage: &Stage<'_>, runs: usize, only: Option<Part>) -> Result<Vec<Figure>, Failure> {
    let wants = |part| only.is_none_or(|only| only == part);
    let mut figures = Vec::new();
    if wants(Part::Start) {
        figures.extend(progress("starts", || start::measure_starts(stage, runs * STARTS))?);
    }
    if wants(Part::Segment) {
        for mebibytes in [16, 64] {
            let what = format!("single segments of {mebibytes} MiB");
            figures.extend(progress(&what, || segment::measure_segments(stage, mebibytes, runs))?);
        }
    }
    if wants(Part::Burst) {
        let recording = progress("recording 200 segments of a server's work", || Recording::make(stage))?;
        let few = runs.div_ceil(BURSTS);
        figures.extend(progress("bursts", || burst::measure_bursts(stage, &recording, few))?);
        figures.push(progress("replays", || replay::measure_replay(stage, &recording, few))?);
        figures.extend(progress("memory", || memory::measure_memory(stage, &recording))?);
    }
    if wants(Part::Sandbox) {
        figures.extend(progress("the sandbox", || sandbox::measure_sandbox(stage, runs))?);
    }
    if wants(Part::Tree) {
        figures.extend(progress("clones of 20,000 files", || sandbox::measure_trees(stage, runs.div_ceil(2)))?);
    }
    if wants(Part::Snapshot) {
        figures.extend(progress("snapshot backups", || snapshot::measure_snapshots(stage, runs))?);
    }
    if wants(Part::Retention) {
        figures.extend(progress("plans of retention", || retention::measure_retention(stage, runs))?);
    }
    if wants(Part::Ebs) {
        figures.push(progress("EBS backups", || ebs::measure_ebs(stage, runs))?);
    }
    Ok(figures)
}
