//! `cargo xtask mutants`: makes each known mistake in a copy of the tree, and shows that the test that is named for it fails.
//!
//! A mistake is a patch below the crash harness, with a line about what is wrong and one that names the test. Each costs a build of the
//! core and of one test binary, so that this is a chore of its own; that every patch still applies is an ordinary test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::run::{captured, line, succeed};
use crate::workspace::{Workspace, cargo, progress};

/// Where the patches are.
const DIRECTORY: &str = "host/core/tests/crash/mutations";

/// The package that they change, with the tests that are to see it.
const PACKAGE: &str = "stillframe-core";

/// Stands before the test.
const KILLER: &str = "Killed-By: ";

/// One mistake.
#[derive(Debug)]
struct Mutation {
    /// Name of the file, without its end.
    name: String,
    patch: PathBuf,
    /// Name of the test binary, and the test in it.
    binary: String,
    test: String,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Killed,
    Survived,
    /// It does not compile, which says nothing.
    Broken,
}

/// Tries those whose names contain the text, or all.
pub(crate) fn mutants(only: Option<&str>) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    let mut mutations = mutations(&workspace.root)?;
    mutations.retain(|mutation| only.is_none_or(|text| mutation.name.contains(text)));
    if mutations.is_empty() {
        return Err(Failure::new("no mutation has such a name"));
    }
    let tree = workspace.target.join("mutants");
    copy_tree(&workspace.root, &tree)?;
    progress("running the tests without any mistake", || prove_tests(&workspace, &tree, &mutations))?;
    let mut fates = Vec::new();
    for mutation in &mutations {
        apply(&tree, &mutation.patch, &[])?;
        let fate = try_out(&workspace, &tree, mutation);
        apply(&tree, &mutation.patch, &["--reverse"])?;
        let fate = fate?;
        println!("{:<10} {:<44} {} {}", fate.word(), mutation.name, mutation.binary, mutation.test);
        fates.push(fate);
    }
    let killed = fates.iter().filter(|fate| **fate == Fate::Killed).count();
    println!("{killed} of {} mutations killed", fates.len());
    if killed == fates.len() { Ok(()) } else { Err(Failure::new("a mistake was made that no test has seen")) }
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Survived => "SURVIVED",
            Self::Broken => "BROKEN",
        }
    }
}

/// Reads all patches, in order.
fn mutations(root: &Path) -> Result<Vec<Mutation>, Failure> {
    let directory = root.join(DIRECTORY);
    let entries = fs::read_dir(&directory).map_err(Failure::io(format!("list `{}`", directory.display())))?;
    let mut patches: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    patches.sort();
    patches.into_iter().map(read).collect()
}

fn read(patch: PathBuf) -> Result<Mutation, Failure> {
    let content = fs::read_to_string(&patch).map_err(Failure::io(format!("read `{}`", patch.display())))?;
    let killer = content.lines().find_map(|line| line.strip_prefix(KILLER)?.split_once(' '));
    let (binary, test) = killer.ok_or_else(|| Failure::new(format!("`{}` names no test", patch.display())))?;
    let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Mutation { name, binary: binary.to_owned(), test: test.to_owned(), patch })
}

/// Makes the copy like the tree, as it lies there; what is the same is not written, so that it is not compiled again.
fn copy_tree(root: &Path, tree: &Path) -> Result<(), Failure> {
    let listed =
        captured(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root))?;
    let mut known = BTreeSet::new();
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), tree.join(name));
        // Removed, and not committed yet.
        let Ok(content) = fs::read(&from) else { continue };
        known.insert(to.clone());
        if fs::read(&to).is_ok_and(|found| found == content) {
            continue;
        }
        let failed = || Failure::io(format!("write `{}`", to.display()));
        fs::create_dir_all(to.parent().unwrap_or(tree)).map_err(failed())?;
        fs::write(&to, content).map_err(failed())?;
    }
    remove_all_but(&known, tree)
}

/// What was there for an earlier run is no part of the tree any more.
fn remove_all_but(known: &BTreeSet<PathBuf>, directory: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(directory).map_err(Failure::io(format!("list `{}`", directory.display())))?.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_all_but(known, &path)?;
        } else if !known.contains(&path) {
            fs::remove_file(&path).map_err(Failure::io(format!("remove `{}`", path.display())))?;
        }
    }
    Ok(())
}

/// Applies a patch, or takes it back. The copy may lie in the tree, and is no part of it.
fn apply(tree: &Path, patch: &Path, how: &[&str]) -> Result<(), Failure> {
    let above = tree.parent().unwrap_or(tree);
    succeed(Command::new("git").arg("apply").args(how).arg(patch).current_dir(tree).env("GIT_CEILING_DIRECTORIES", above))
}

/// All tests that are named exist and pass.
fn prove_tests(workspace: &Workspace, tree: &Path, mutations: &[Mutation]) -> Result<(), Failure> {
    let mut tests: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for mutation in mutations {
        let known = tests.entry(&mutation.binary).or_default();
        if !known.contains(&mutation.test.as_str()) {
            known.push(&mutation.test);
        }
    }
    for (binary, tests) in tests {
        build(workspace, tree, binary)?;
        let (said, is_success) = run(workspace, tree, binary, &tests)?;
        if !is_success || !said.contains(&format!("test result: ok. {} passed", tests.len())) {
            return Err(Failure::new(format!("these must pass before any mistake is made: {}\n{said}", tests.join(" "))));
        }
    }
    Ok(())
}

fn try_out(workspace: &Workspace, tree: &Path, mutation: &Mutation) -> Result<Fate, Failure> {
    if let Err(failure) = build(workspace, tree, &mutation.binary) {
        println!("{failure}");
        return Ok(Fate::Broken);
    }
    let (said, is_success) = run(workspace, tree, &mutation.binary, &[&mutation.test])?;
    let has_failed = !is_success && said.contains("test result: FAILED. 0 passed; 1 failed");
    Ok(if has_failed { Fate::Killed } else { Fate::Survived })
}

fn build(workspace: &Workspace, tree: &Path, binary: &str) -> Result<(), Failure> {
    captured(test_command(workspace, tree, binary).arg("--no-run")).map(drop)
}

/// Runs just these tests; gives what they say, and whether all passed.
fn run(workspace: &Workspace, tree: &Path, binary: &str, tests: &[&str]) -> Result<(String, bool), Failure> {
    let mut command = test_command(workspace, tree, binary);
    command.args(["--", "--exact"]).args(tests).stdin(Stdio::null());
    let output = command.output().map_err(Failure::io(format!("run `{}`", line(&command))))?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success()))
}

fn test_command(workspace: &Workspace, tree: &Path, binary: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", PACKAGE, "--test", binary]).current_dir(tree);
    // Of each mistake, only a few lines are compiled that are not known.
    command.env("CARGO_TARGET_DIR", &workspace.target).env("CARGO_INCREMENTAL", "1");
    // One fault in a run is enough to see them.
    command.env("STILLFRAME_CRASH_PAIRS", "0").env("RUST_BACKTRACE", "0");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    #[test]
    fn every_mutation_applies_and_names_a_test_that_exists() {
        let (root, mutations) = (root(), mutations(&root()).unwrap());
        assert!(mutations.len() >= 30, "{} of them", mutations.len());
        for mutation in mutations {
            apply(&root, &mutation.patch, &["--check"]).unwrap_or_else(|failure| panic!("{}: {failure}", mutation.name));
            let tests = root.join("host/core/tests").join(&mutation.binary);
            let mut path: Vec<&str> = mutation.test.split("::").collect();
            let function = path.pop().unwrap();
            let file = path.iter().fold(tests, |file, part| file.join(part)).with_extension("rs");
            let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {}: {error}", mutation.name, file.display()));
            assert!(source.contains(&format!("fn {function}()")), "{}: {}", mutation.name, mutation.test);
        }
    }
}
