//! What a plan of retention costs for ten thousand backups and a million segments.

use super::figure::{Comparison, Figure, Target};
use super::sandbox::executable;
use super::stage::Stage;
use crate::failure::Failure;
use crate::run::{captured, succeed};
use crate::workspace::{Workspace, cargo};

const BACKUPS: &str = "10000";
const SEGMENTS: &str = "1000000";

/// The promise, in MiB: catalog, listing and plan, and the whole process around them.
const PROMISED_MIB: f64 = 200.0;

/// Measures processor time and peak memory of the plan.
pub(super) fn measure_retention(stage: &Stage<'_>, runs: usize) -> Result<Vec<Figure>, Failure> {
    let workspace = Workspace::find()?;
    let mut build = cargo();
    build.args(["bench", "--quiet", "--package", "stillframe-core", "--bench", "retention", "--no-run"]);
    succeed(build.current_dir(&workspace.root))?;
    let said = captured(build.arg("--message-format=json"))?;
    let program = said.lines().filter(|line| line.contains("\"kind\":[\"bench\"]")).filter_map(executable).next_back();
    let program = program.ok_or_else(|| Failure::new("cargo does not tell where it put the measurement of retention"))?;
    // Where the servers' user can read it.
    let here = stage.home.join("retention");
    std::fs::copy(&program, &here).map_err(Failure::io(format!("copy `{}`", program.display())))?;
    let (mut planned, mut sorted, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let text = captured(stage.program(&here.display().to_string()).args(["plan", BACKUPS, SEGMENTS]))?;
        let values: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let [plan_ns, sort_ns, peak_kib, backups, files] = values[..] else {
            return Err(Failure::new(format!("the measurement of retention said `{}`", text.trim())));
        };
        if backups == 0.0 || files == 0.0 {
            return Err(Failure::new("the plan takes nothing, so that its time says nothing"));
        }
        planned.push(plan_ns / 1e6);
        sorted.push(sort_ns / 1e6);
        peaks.push(peak_kib / 1024.0);
    }
    let what = "of `delete policy` for 10,000 backups and 1,000,000 segments";
    let time = |reference: &str, target| Comparison::new(format!("plan {what}, processor time"), reference, target);
    let memory = Comparison::new(format!("peak memory {what}"), "the promise", Target::Ratio(1.0));
    Ok(vec![
        Figure::new(time("–", Target::AtMost(2_000.0)), "ms", planned.clone(), Vec::new()),
        Figure::new(time("a sort of the segments' names", Target::Untargeted), "ms", planned, sorted),
        Figure::new(memory, "MiB", peaks.clone(), vec![PROMISED_MIB; peaks.len()]),
    ])
}
