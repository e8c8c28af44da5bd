//! What the sandbox costs, and a clone of a directory tree through it beside the tools that people use.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::disk::{Disk, FileSystem};
use super::figure::{Comparison, Figure, Target, milliseconds};
use super::stage::{Stage, quiet};
use crate::failure::Failure;
use crate::run::{captured, succeed};
use crate::workspace::{Workspace, cargo};

/// The tree: 20,000 files in 100 directories, 5 GB.
const DIRECTORIES: usize = 100;
const FILES: usize = 200;
const FILE_BYTES: usize = 256 << 10;

/// Files of each hundred that change between two clones.
const CHANGED: usize = 1;

/// A file is only taken for unchanged when it is older than the margin of the clone.
const MARGIN: Duration = Duration::from_secs(3);

/// The program that measures from within.
struct Measure {
    program: PathBuf,
    component: PathBuf,
    cache: PathBuf,
}

impl Measure {
    fn build(stage: &Stage<'_>) -> Result<Self, Failure> {
        let workspace = Workspace::find()?;
        let mut build = cargo();
        build.args(["bench", "--quiet", "--package", "stillframe-runtime", "--bench", "measure", "--no-run"]);
        succeed(build.current_dir(&workspace.root))?;
        let said = captured(build.arg("--message-format=json"))?;
        let program = said.lines().filter(|line| line.contains("\"name\":\"measure\"")).filter_map(executable).next_back();
        let program = program.ok_or_else(|| Failure::new("cargo does not tell where it put `measure`"))?;
        let components = workspace.build_components()?;
        let hardlink = components.into_iter().find(|file| file.ends_with("stillframe_plugin_hardlink.wasm"));
        let hardlink = hardlink.ok_or_else(|| Failure::new("there is no component of `hardlink`"))?;
        // Where the servers' user can read them.
        let (here, component) = (stage.home.join("measure"), stage.home.join("hardlink.wasm"));
        for (from, to) in [(&program, &here), (&hardlink, &component)] {
            fs::copy(from, to).map_err(Failure::io(format!("copy `{}`", from.display())))?;
        }
        Ok(Self { program: here, component, cache: stage.home.join("compiled") })
    }

    fn run(&self, stage: &Stage<'_>, mode: &str, arguments: &[&str]) -> Result<Vec<String>, Failure> {
        let mut command = stage.program(&self.program.display().to_string());
        let text = captured(command.arg(mode).arg(&self.component).arg(&self.cache).args(arguments))?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

/// Measures the start of a provider and a call of it.
pub(super) fn measure_sandbox(stage: &Stage<'_>, runs: usize) -> Result<Vec<Figure>, Failure> {
    let measure = Measure::build(stage)?;
    let values = |mode: &str, runs: usize, unit_ns: f64| {
        let lines = measure.run(stage, mode, &[&runs.to_string()])?;
        Ok::<Vec<f64>, Failure>(lines.iter().filter_map(|line| line.parse::<f64>().ok()).map(|ns| ns / unit_ns).collect())
    };
    let alone = |name: &str, most: f64| Comparison::new(name, "–", Target::AtMost(most));
    Ok(vec![
        Figure::new(alone("start of a provider that was compiled before", 5.0), "ms", values("load", runs, 1e6)?, Vec::new()),
        Figure::new(
            alone("one call of a provider, a fresh instance included", 20.0),
            "µs",
            values("call", runs * 100, 1e3)?,
            Vec::new(),
        ),
    ])
}

/// Measures clones of a tree, with links to the previous clone and with shared extents.
pub(super) fn measure_trees(stage: &Stage<'_>, runs: usize) -> Result<Vec<Figure>, Failure> {
    let measure = Measure::build(stage)?;
    let linked = linked(stage, &measure, runs)?;
    let disk = Disk::mount(stage, "trees", FileSystem::Xfs)?;
    Ok(vec![linked, reflinked(stage, &measure, &disk, runs)?])
}

/// One in a hundred files has changed since the previous clone.
fn linked(stage: &Stage<'_>, measure: &Measure, runs: usize) -> Result<Figure, Failure> {
    let (source, root, copies) = (stage.home.join("tree"), stage.home.join("tree-sets"), stage.home.join("tree-copies"));
    for directory in [&source, &root, &copies] {
        captured(stage.program("mkdir").arg(directory))?;
    }
    fill(stage, &source)?;
    sleep(MARGIN);
    let from = format!("{}/", source.display());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut previous, mut last_copy): (Option<String>, Option<PathBuf>) = (None, None);
    for run in 0..=runs {
        if run > 0 {
            change(&source)?;
            // What changed is the server's to flush, and would otherwise be flushed with the first of the two clones.
            captured(stage.program("sync").arg("-f").arg(&source))?;
            sleep(MARGIN);
        }
        let (ours_ms, handle) = clone(stage, measure, &source, &root, "copy", run, previous.as_deref())?;
        let copy = copies.join(run.to_string());
        let mut rsync = stage.program("rsync");
        rsync.arg("-a").args(last_copy.iter().map(|last| format!("--link-dest={}", last.display()))).arg(&from).arg(&copy);
        let theirs_ms = milliseconds(&mut || quiet(&mut rsync).and_then(|()| quiet(stage.program("sync").arg("-f").arg(&copy))))?;
        // The first of each copies everything.
        if run > 0 {
            ours.push(ours_ms);
            theirs.push(theirs_ms);
        }
        (previous, last_copy) = (Some(handle), Some(copy));
    }
    for directory in [&source, &root, &copies] {
        captured(stage.program("rm").arg("-rf").arg(directory))?;
    }
    let comparison = Comparison::new(
        "clone of 20,000 files, 5 GB, 1 % changed, linked to the last",
        "rsync -a --link-dest, sync",
        Target::Ratio(0.5),
    );
    Ok(Figure::new(comparison, "ms", ours, theirs))
}

fn reflinked(stage: &Stage<'_>, measure: &Measure, disk: &Disk, runs: usize) -> Result<Figure, Failure> {
    let (source, root) = (disk.directory(stage, "tree")?, disk.directory(stage, "sets")?);
    fill(stage, &source)?;
    captured(stage.program("sync").arg("-f").arg(&source))?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        let (ours_ms, handle) = clone(stage, measure, &source, &root, "reflink", run, None)?;
        let copy = disk.path.join("copy");
        let mut cp = stage.program("cp");
        cp.args(["-a", "--reflink=always"]).arg(&source).arg(&copy);
        let theirs_ms = milliseconds(&mut || quiet(&mut cp).and_then(|()| quiet(stage.program("sync").arg("-f").arg(&copy))))?;
        if run > 0 {
            ours.push(ours_ms);
            theirs.push(theirs_ms);
        }
        let set = root.join(handle.split(':').next().unwrap_or_default());
        captured(stage.program("rm").arg("-rf").args([&copy, &set]))?;
    }
    let comparison =
        Comparison::new("clone of 20,000 files, 5 GB, extents shared", "cp -a --reflink=always, sync", Target::Ratio(0.8));
    Ok(Figure::new(comparison, "ms", ours, theirs))
}

/// Clones once; gives the milliseconds and the handle of the set.
fn clone(
    stage: &Stage<'_>,
    measure: &Measure,
    source: &Path,
    root: &Path,
    method: &str,
    run: usize,
    previous: Option<&str>,
) -> Result<(f64, String), Failure> {
    // A name of the form that backups have.
    let name = format!("sf-20261121T0000{run:02}Z-benchaaa");
    let (source, root) = (source.display().to_string(), root.display().to_string());
    let mut arguments = vec![source.as_str(), &root, method, &name];
    arguments.extend(previous);
    match &measure.run(stage, "clone", &arguments)?[..] {
        [ns, handle] => Ok((ns.parse::<f64>().unwrap_or(f64::NAN) / 1e6, handle.clone())),
        other => Err(Failure::new(format!("`measure clone` said {other:?}"))),
    }
}

fn fill(stage: &Stage<'_>, source: &Path) -> Result<(), Failure> {
    let mut content: Vec<u8> = (0..FILE_BYTES).map(|byte| u8::try_from(byte % 251).unwrap_or_default()).collect();
    for directory in 0..DIRECTORIES {
        let directory = source.join(directory.to_string());
        fs::create_dir(&directory).map_err(Failure::io(format!("create `{}`", directory.display())))?;
        for file in 0..FILES {
            content[file] = content[file].wrapping_add(1);
            fs::write(directory.join(file.to_string()), &content).map_err(Failure::io("write a file of the tree"))?;
        }
    }
    let owner = format!("{}:", stage.account.name);
    captured(std::process::Command::new("chown").args(["-R", &owner]).arg(source)).map(|_| ())
}

/// Changes some files of every directory.
fn change(source: &Path) -> Result<(), Failure> {
    for directory in 0..DIRECTORIES {
        for file in 0..FILES * CHANGED / 100 {
            let path = source.join(directory.to_string()).join(file.to_string());
            let changed = fs::read(&path).and_then(|mut bytes| {
                for byte in &mut bytes {
                    *byte = byte.wrapping_add(1);
                }
                fs::write(&path, bytes)
            });
            changed.map_err(Failure::io("change a file of the tree"))?;
        }
    }
    Ok(())
}

/// The path of a program in a line that cargo says.
pub(super) fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    message.get("executable")?.as_str().map(PathBuf::from)
}
