//! The executables of the end-to-end tests: builds them, lists what is in them, and runs a part of that with the test runner.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::plan::Test;
use super::tally::Tally;
use super::{PACKAGE, PACKAGE_DIRECTORY};
use crate::failure::Failure;
use crate::run::{captured, line, works};
use crate::test::{at_once, with_binary};
use crate::workspace::{Workspace, cargo, progress};

/// Every executable with tests of the package, and the tests in them.
pub(crate) struct Executables {
    paths: BTreeMap<String, PathBuf>,
    targets: Vec<String>,
    tests: Vec<Test>,
    has_nextest: bool,
}

impl Executables {
    /// Compiles them, and asks each what it has.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self, Failure> {
        let targets = workspace.test_targets_of(PACKAGE)?;
        let mut build = cargo();
        build.args(["test", "--quiet", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
        build.args(targets.iter().flat_map(|target| ["--test", target]));
        let messages = progress("compiling the end-to-end tests", || captured(with_binary(&mut build, workspace)))?;
        let manifest = workspace.root.join(PACKAGE_DIRECTORY).join("Cargo.toml");
        let paths: BTreeMap<String, PathBuf> = messages.lines().filter_map(|message| executable(message, &manifest)).collect();
        let mut tests = Vec::new();
        for (executable, path) in &paths {
            let listed = captured(Command::new(path).args(["--list", "--format", "terse", "--include-ignored"]))?;
            let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
            tests.extend(names.map(|name| Test { executable: executable.clone(), name: name.to_owned() }));
        }
        if paths.len() != targets.len() {
            return Err(Failure::new(format!("{} of {} executables with tests were built", paths.len(), targets.len())));
        }
        Ok(Self { paths, targets, tests, has_nextest: works(cargo().args(["nextest", "--version"])) })
    }

    /// All tests there are.
    pub(crate) fn tests(&self) -> &[Test] {
        &self.tests
    }

    /// Runs these, whatever becomes of some of them.
    pub(crate) fn run(&self, workspace: &Workspace, tests: &[Test], variables: &[(&str, String)]) -> Result<Tally, Failure> {
        let mut commands = if self.has_nextest { vec![self.nextest(workspace, tests)] } else { self.one_by_one(workspace, tests) };
        let mut tally = Tally { is_success: true, ..Tally::default() };
        for command in &mut commands {
            command.envs(variables.iter().map(|(name, value)| (name, value)));
            tally.is_success &= relay(command, &mut tally)?;
        }
        Ok(tally)
    }

    /// One run of all; without `--no-fail-fast` it would end with the first failure.
    fn nextest(&self, workspace: &Workspace, tests: &[Test]) -> Command {
        let mut by_executable: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for test in tests {
            by_executable.entry(&test.executable).or_default().push(&test.name);
        }
        let among = |(executable, names): (&str, Vec<&str>)| {
            let names: Vec<String> = names.into_iter().map(|name| format!("test(={name})")).collect();
            format!("(binary(={executable}) and ({}))", names.join(" or "))
        };
        let chosen = by_executable.into_iter().map(among).collect::<Vec<_>>().join(" or ");
        let mut command = cargo();
        command.args(["nextest", "run", "--workspace", "--no-fail-fast", "--run-ignored", "all", "--color", "never"]);
        command.args(["--test-threads", &at_once()]);
        command.args(self.targets.iter().flat_map(|target| ["--test", target]));
        command.args(["-E", &format!("package(={PACKAGE}) and ({chosen})")]);
        with_binary(&mut command, workspace);
        command
    }

    /// Without nextest, each executable runs its own, in the directory in which Cargo would run it.
    fn one_by_one(&self, workspace: &Workspace, tests: &[Test]) -> Vec<Command> {
        let command = |(executable, path): (&String, &PathBuf)| {
            let names: Vec<&str> =
                tests.iter().filter(|test| test.executable == *executable).map(|test| test.name.as_str()).collect();
            let mut command = Command::new(path);
            with_binary(&mut command, workspace);
            command.current_dir(workspace.root.join(PACKAGE_DIRECTORY)).args(["--quiet", "--include-ignored", "--exact"]);
            (!names.is_empty()).then(|| {
                command.args(names);
                command
            })
        };
        self.paths.iter().filter_map(command).collect()
    }
}

/// Name and path of an executable with tests, of a message of Cargo.
fn executable(message: &str, manifest: &Path) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_of_package = message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true && is_of_package;
    let path = message["executable"].as_str().filter(|_| is_test)?;
    Some((message["target"]["name"].as_str()?.to_owned(), PathBuf::from(path)))
}

/// Runs it with our output, which the tally reads as well; tells whether it ended with code 0.
fn relay(command: &mut Command, tally: &mut Tally) -> Result<bool, Failure> {
    // One stream for both, in the order in which they come: nextest counts on standard error, Cargo's runner on standard output.
    let (reader, writer) = std::io::pipe().map_err(Failure::io("make a pipe"))?;
    let copy = writer.try_clone().map_err(Failure::io("make a pipe"))?;
    let program = line(command).chars().take(120).collect::<String>();
    let spawned = command.stdin(Stdio::null()).stdout(copy).stderr(writer).spawn();
    // The command holds ends of the pipe, which must be gone for it to end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned.map_err(Failure::io(format!("run `{program}`")))?;
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.map_err(Failure::io(format!("read what `{program}` says")))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(&line);
    }
    let status = child.wait().map_err(Failure::io(format!("wait for `{program}`")))?;
    Ok(status.success())
}
