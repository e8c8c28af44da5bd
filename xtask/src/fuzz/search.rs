//! One search: the program of a target, what it is given, and what came of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::failure::Failure;
use crate::run::{line, works};
use crate::workspace::Workspace;

/// Seconds that one input may take: all of them together have a minute, and none needs a millisecond.
const HANG_SECS: u32 = 10;

/// Mebibytes that a program may use; an input of a few kilobytes that needs more is a bomb.
const MEMORY_MIB: u32 = 1_024;

/// A target to search with.
pub(super) struct Search<'a> {
    pub(super) target: &'a str,
    pub(super) program: PathBuf,
    pub(super) workspace: &'a Workspace,
    pub(super) seconds: u64,
}

/// What came of a search.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) executions: u64,
    pub(super) per_second: u64,
    /// Inputs that led to new places.
    pub(super) new_inputs: u64,
    pub(super) memory_mib: u64,
    pub(super) find: Option<Find>,
}

/// An input that breaks something.
#[derive(Debug)]
pub(super) struct Find {
    target: String,
    /// None when the program ended without naming one.
    input: Option<String>,
    log: PathBuf,
    again: String,
}

impl Find {
    /// What a person needs to go on.
    pub(super) fn told(&self) -> String {
        let target = &self.target;
        let Some(input) = &self.input else {
            return format!("`{target}` ended before its time: what it said is in `{}`", self.log.display());
        };
        format!(
            "`{target}` fails with `{input}`; what it said is in `{}`\n  again: {}\n  once it is fixed, keep the input below \
             `tests/fuzz/regressions/{target}`, where every `cargo xtask test` replays it",
            self.log.display(),
            self.again
        )
    }
}

impl Search<'_> {
    /// Searches until the time is over, or something is found.
    pub(super) fn run(&self) -> Result<Outcome, Failure> {
        let began = Instant::now();
        let mut all = Outcome::default();
        loop {
            let left = self.seconds.saturating_sub(began.elapsed().as_secs());
            let mut part = self.search(left.max(1))?;
            // libFuzzer goes by the clock on the wall: on a busy machine, an input may only have waited for its turn.
            part.find = part.find.filter(|find| !self.was_only_delayed(find));
            let is_over = part.find.is_some() || began.elapsed().as_secs() >= self.seconds;
            all = all.and(part);
            if is_over {
                all.per_second = all.executions / began.elapsed().as_secs().max(1);
                return Ok(all);
            }
        }
    }

    /// Whether an input that took too long takes its time no more when it is alone.
    fn was_only_delayed(&self, find: &Find) -> bool {
        let input = find.input.as_deref().filter(|input| is_timeout(input));
        input.is_some_and(|input| works(Command::new(&self.program).arg(format!("-timeout={HANG_SECS}")).arg(input)))
    }

    /// One run of the program; what libFuzzer says goes into a file.
    fn search(&self, seconds: u64) -> Result<Outcome, Failure> {
        let place = self.workspace.target.join("fuzz");
        let corpus = place.join("corpus").join(self.target);
        let finds = place.join("finds").join(self.target);
        for directory in [&corpus, &finds] {
            fs::create_dir_all(directory).map_err(Failure::io(format!("make `{}`", directory.display())))?;
        }
        let log = finds.join("log");
        let file = File::create(&log).map_err(Failure::io(format!("write `{}`", log.display())))?;
        let mut command = Command::new(&self.program);
        command.args([format!("-max_total_time={seconds}"), format!("-timeout={HANG_SECS}")]);
        command.args([format!("-rss_limit_mb={MEMORY_MIB}"), "-print_final_stats=1".to_owned()]);
        command.arg(format!("-artifact_prefix={}/", finds.display()));
        let package = self.workspace.root.join("tests/fuzz");
        let dictionary = package.join("dictionaries").join(format!("{}.dict", self.target));
        if dictionary.is_file() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        // What leads to new places is kept in the first directory; the others are only read.
        command.arg(&corpus).args(self.given(&package));
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).status();
        let status = status.map_err(Failure::io(format!("run `{}`", line(&command))))?;
        let said = fs::read(&log).map_err(Failure::io(format!("read `{}`", log.display())))?;
        let said = String::from_utf8_lossy(&said);
        let mut outcome = Outcome::read(&said);
        if !status.success() {
            let input = written(&said).map(str::to_owned);
            let again = format!("{} {}", self.program.display(), input.as_deref().unwrap_or_default());
            outcome.find = Some(Find { target: self.target.to_owned(), input, log, again });
        }
        Ok(outcome)
    }

    /// Seeds, and what was found before.
    fn given(&self, package: &Path) -> Vec<PathBuf> {
        let places = ["seeds", "regressions"].map(|parent| package.join(parent).join(self.target));
        places.into_iter().filter(|directory| directory.is_dir()).collect()
    }
}

impl Outcome {
    /// Both together: one search was the continuation of the other.
    fn and(self, next: Self) -> Self {
        Self {
            executions: self.executions + next.executions,
            per_second: next.per_second,
            new_inputs: self.new_inputs + next.new_inputs,
            memory_mib: self.memory_mib.max(next.memory_mib),
            find: next.find,
        }
    }

    /// Reads the statistics at the end of what libFuzzer says.
    fn read(said: &str) -> Self {
        let number = |name: &str| {
            let found =
                said.lines().filter_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':')).next_back();
            found.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            executions: number("number_of_executed_units"),
            per_second: number("average_exec_per_sec"),
            new_inputs: number("new_units_added"),
            memory_mib: number("peak_rss_mb"),
            find: None,
        }
    }
}

/// Whether libFuzzer has written this input because it took too long.
fn is_timeout(input: &str) -> bool {
    Path::new(input).file_name().is_some_and(|name| name.to_string_lossy().starts_with("timeout-"))
}

/// The input that libFuzzer has written when it stopped.
fn written(said: &str) -> Option<&str> {
    said.lines().find_map(|line| Some(line.split_once("Test unit written to ")?.1.trim()))
}

#[cfg(test)]
mod tests {
    use super::{Outcome, is_timeout, written};

    const SAID: &str = "#2\tINITED cov: 12\nartifact_prefix='./'; Test unit written to ./crash-da39a3ee\nDone 10 runs in 61 second(s)\n\
        stat::number_of_executed_units: 1034567\nstat::average_exec_per_sec:     16960\nstat::new_units_added:          123\n\
        stat::slowest_unit_time_sec:    0\nstat::peak_rss_mb:              88\n";

    #[test]
    fn reads_what_libfuzzer_says_at_its_end() {
        let outcome = Outcome::read(SAID);
        assert_eq!((outcome.executions, outcome.per_second), (1_034_567, 16_960));
        assert_eq!((outcome.new_inputs, outcome.memory_mib), (123, 88));
        assert_eq!(written(SAID), Some("./crash-da39a3ee"));
        assert!(is_timeout("/finds/names/timeout-da39a3ee") && !is_timeout("/timeout-finds/crash-da39a3ee"));
        assert_eq!((Outcome::read("").executions, written("")), (0, None));
    }
}
