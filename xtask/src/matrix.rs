//! `cargo xtask test --pg`: the end-to-end tests on one version of PostgreSQL after the other.
//!
//! What shall run on a version is decided before it runs, by name. A version passes when the runner says that as many tests passed, and
//! when servers of this version, and of none that nobody asked for, have been started: a run of nothing, or of another version, is a
//! failure. Server binaries that cannot be had are a failure as well.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::failure::Failure;
use crate::workspace::Workspace;

mod exceptions;
mod executables;
mod plan;
mod short;
mod tally;
mod versions;

use executables::Executables;
use plan::Plan;
use tally::Tally;
pub(crate) use versions::Versions;

/// The package of the end-to-end tests.
const PACKAGE: &str = "stillframe-tests";

/// Its directory.
const PACKAGE_DIRECTORY: &str = "tests";

/// Chooses the version in the harness.
const VERSION_VARIABLE: &str = "STILLFRAME_PG";

/// Names the file in which the harness notes each server that starts.
const STARTS_VARIABLE: &str = "STILLFRAME_PG_STARTS";

/// Which tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All there are.
    All,
    /// Those of the list in `short`.
    Short,
}

/// What became of one version.
struct Row {
    version: u32,
    plan: Plan,
    tally: Tally,
    /// How many servers of each version have been started.
    starts: BTreeMap<u32, usize>,
    seconds: f64,
}

/// Builds everything, runs the tests on each version, and says of each what became of it.
pub(crate) fn test_on(versions: &Versions, extent: Extent, filter: Option<&str>) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    crate::test::build(&workspace)?;
    let executables = Executables::build(&workspace)?;
    // All of them before the first one runs: a name that nothing bears must not be found out after half an hour.
    let plans: Vec<(u32, Plan)> = versions
        .majors()
        .map(|version| Ok((version, Plan::of(version, extent, filter, executables.tests())?)))
        .collect::<Result<_, Failure>>()?;
    let began = Instant::now();
    let rows = plans.into_iter().map(|(version, plan)| run(&workspace, &executables, version, plan));
    let rows: Vec<Row> = rows.collect::<Result<_, Failure>>()?;
    conclude(&rows, began.elapsed().as_secs_f64())
}

fn run(workspace: &Workspace, executables: &Executables, version: u32, plan: Plan) -> Result<Row, Failure> {
    println!("\nPostgreSQL {version}: {}", counted(plan.tests.len(), "test"));
    for (test, why) in &plan.not_here {
        println!("  not on this version: {test}: {why}");
    }
    let noted = workspace.target.join(format!("pg-starts-{version}"));
    remove(&noted)?;
    let variables = [(VERSION_VARIABLE, version.to_string()), (STARTS_VARIABLE, noted.display().to_string())];
    let began = Instant::now();
    let tally = executables.run(workspace, &plan.tests, &variables)?;
    let seconds = began.elapsed().as_secs_f64();
    let starts = count(&fs::read_to_string(&noted).unwrap_or_default());
    remove(&noted)?;
    Ok(Row { version, plan, tally, starts, seconds })
}

fn remove(path: &PathBuf) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::io(format!("remove `{}`", path.display()))(error))
        }
        _ => Ok(()),
    }
}

fn count(noted: &str) -> BTreeMap<u32, usize> {
    let mut starts = BTreeMap::new();
    for version in noted.lines().filter_map(|line| line.parse().ok()) {
        *starts.entry(version).or_default() += 1;
    }
    starts
}

impl Row {
    /// Planned tests that did not pass, whether they failed or never ran.
    fn failed(&self) -> usize {
        self.plan.tests.len().saturating_sub(self.tally.passed)
    }

    /// What is wrong with this run, if anything is.
    fn complaint(&self) -> Option<String> {
        let (planned, tally, version) = (self.plan.tests.len(), &self.tally, self.version);
        let others: Vec<String> = self
            .starts
            .iter()
            .filter(|(started, _)| **started != version)
            .map(|(started, count)| format!("{count} of {started}"))
            .collect();
        if planned == 0 {
            Some("no test was to run".to_owned())
        } else if tally.run != planned {
            Some(format!("{} tests have run instead of {planned}", tally.run))
        } else if self.failed() > 0 || !tally.is_success {
            Some(format!("{} failed", counted(self.failed(), "test")))
        } else if !self.starts.contains_key(&version) {
            Some("no server of this version was started".to_owned())
        } else if !others.is_empty() {
            Some(format!("servers of another version were started: {}", others.join(", ")))
        } else {
            None
        }
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The closing lines, and whether it was a success.
fn conclude(rows: &[Row], seconds: f64) -> Result<(), Failure> {
    println!("\n{:>10} {:>7} {:>7} {:>8} {:>8} {:>8}", "PostgreSQL", "passed", "failed", "skipped", "servers", "seconds");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut wrong = Vec::new();
    for row in rows {
        let complaint = row.complaint();
        let words = complaint.as_ref().map(|complaint| format!("  FAILED: {complaint}")).unwrap_or_default();
        let (version, servers) = (row.version, row.starts.get(&row.version).unwrap_or(&0));
        let (row_failed, row_skipped) = (row.failed(), row.plan.not_here.len());
        println!("{version:>10} {:>7} {row_failed:>7} {row_skipped:>8} {servers:>8} {:>8.0}{words}", row.tally.passed, row.seconds);
        passed += row.tally.passed;
        failed += row_failed;
        skipped += row_skipped;
        wrong.extend(complaint.map(|complaint| format!("PostgreSQL {version}: {complaint}")));
    }
    println!("skipped: what cannot mean anything on a version, as said above for each");
    let (run, versions) = (counted(passed + failed, "test"), counted(rows.len(), "version"));
    println!("     Summary [{seconds:>8.1}s] {run} on {versions}: {passed} passed, {failed} failed, {skipped} skipped");
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(wrong.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Plan, Row, Tally, conclude, count};

    fn row(planned: usize, run: usize, passed: usize, starts: &[(u32, usize)]) -> Row {
        let tests = (0..planned).map(|number| plan::test("wal", &format!("t{number}"))).collect();
        let plan = Plan { tests, not_here: Vec::new() };
        let tally = Tally { run, passed, is_success: run == passed };
        Row { version: 10, plan, tally, starts: starts.iter().copied().collect(), seconds: 1.0 }
    }

    mod plan {
        use crate::matrix::plan::Test;

        pub(super) fn test(executable: &str, name: &str) -> Test {
            Test { executable: executable.to_owned(), name: name.to_owned() }
        }
    }

    #[test]
    fn a_version_on_which_everything_that_was_planned_has_passed_is_a_success() {
        assert!(conclude(&[row(20, 20, 20, &[(10, 7)])], 1.0).is_ok());
    }

    #[test]
    fn a_run_of_nothing_is_a_failure() {
        for nothing in [row(0, 0, 0, &[(10, 1)]), row(20, 0, 0, &[(10, 1)]), row(20, 19, 19, &[(10, 1)])] {
            assert!(conclude(&[row(20, 20, 20, &[(10, 7)]), nothing], 1.0).is_err());
        }
    }

    #[test]
    fn a_run_that_started_no_server_of_its_version_or_one_of_another_is_a_failure() {
        for starts in [&[][..], &[(15, 7)], &[(10, 7), (15, 1)]] {
            assert!(conclude(&[row(20, 20, 20, starts)], 1.0).is_err(), "{starts:?}");
        }
    }

    #[test]
    fn a_failed_test_and_a_runner_that_failed_are_failures() {
        assert!(conclude(&[row(20, 20, 19, &[(10, 7)])], 1.0).is_err());
        let mut runner_failed = row(20, 20, 20, &[(10, 7)]);
        runner_failed.tally.is_success = false;
        assert!(conclude(&[runner_failed], 1.0).is_err());
    }

    #[test]
    fn starts_are_counted_by_version() {
        assert_eq!(count("10\n10\n18\n"), BTreeMap::from([(10, 2), (18, 1)]));
        assert_eq!(count(""), BTreeMap::new());
    }
}
