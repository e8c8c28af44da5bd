//! `cargo xtask bench`: what archiving and recovery cost, beside programs that everybody knows.
//!
//! A figure and its reference are measured in turns within one run: what else the machine does then falls on both. Each figure with
//! a target says whether it holds.

use std::fs;

use crate::account::Account;
use crate::failure::Failure;
use crate::prerequisites::for_the_benchmark;
use crate::run::succeed;
use crate::sweep::Scratch;
use crate::workspace::{Workspace, cargo, progress};

mod burst;
mod daemon;
mod figure;
mod memory;
mod recording;
mod replay;
mod segment;
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
}

/// Starts are short, and their median needs many.
const STARTS: usize = 10;

/// Long measurements vary less.
const BURSTS: usize = 4;

/// Measures every figure, prints the table and writes `bench.json` into the target directory.
pub(crate) fn bench(runs: usize, only: Option<Part>) -> Result<(), Failure> {
    for_the_benchmark()?;
    let workspace = Workspace::find()?;
    progress("compiling stillframe for release", || {
        succeed(cargo().args(["build", "--quiet", "--release", "--package", "stillframe"]).current_dir(&workspace.root))
    })?;
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
    Ok(figures)
}
