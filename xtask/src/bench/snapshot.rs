//! A whole `snapshot-push` beside a script: the same SQL in `psql`, and between its two statements the native command.
//!
//! Both archive with our `wal-push`. How long backup mode lasted is read from the server's log, for us and for the script alike.

use std::path::Path;
use std::process::Command;

use super::disk::{Disk, FileSystem};
use super::figure::{Comparison, Figure, Target, measure, milliseconds};
use super::stage::{Cluster, Codec, Stage, quiet};
use crate::failure::Failure;
use crate::run::{captured, quoted};
use crate::server::Server;

/// Longest backup mode above the native command alone, in milliseconds.
const WINDOW: Target = Target::Difference(10.0);

/// Rows of the database: some 700 MB.
const ROWS: u32 = 10_000_000;

/// What is compared on one file system.
struct Contest<'a> {
    stage: &'a Stage<'a>,
    cluster: Cluster,
    server: Server,
    provider: &'static str,
    /// The native command, as a person would type it.
    native: String,
    /// Where its result lies.
    native_copy: std::path::PathBuf,
    file_system: FileSystem,
}

/// Measures both file systems.
pub(super) fn measure_snapshots(stage: &Stage<'_>, runs: usize) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for file_system in [FileSystem::Btrfs, FileSystem::Xfs] {
        let disk = Disk::mount(stage, file_system.name(), file_system)?;
        let contest = Contest::prepare(stage, &disk, file_system)?;
        let measured = contest.measure(runs);
        contest.server.stop()?;
        figures.extend(measured?);
    }
    Ok(figures)
}

impl<'a> Contest<'a> {
    fn prepare(stage: &'a Stage<'a>, disk: &Disk, file_system: FileSystem) -> Result<Self, Failure> {
        let name = format!("snap{}", file_system.name());
        let source = disk.path.join("pg");
        match file_system {
            FileSystem::Btrfs => captured(stage.program("btrfs").args(["-q", "subvolume", "create"]).arg(&source))?,
            FileSystem::Xfs => captured(stage.program("mkdir").arg(&source))?,
        };
        let data = source.join("data");
        let server = stage.server(&data)?;
        let config = stage.home.join(format!("{name}.toml"));
        let archive = format!(
            "{} --config {} wal-push %p",
            quoted(&stage.binary.display().to_string()),
            quoted(&config.display().to_string())
        );
        server.initialise(&format!(
            "archive_mode = on\narchive_command = '{}'\nlog_min_duration_statement = 0\nlog_line_prefix = '%n '\n",
            archive.replace('\'', "''")
        ))?;
        server.start()?;
        let cluster = stage.cluster(&name, &data)?;
        let snapshots = disk.directory(stage, "snapshots")?;
        let (provider, section) = match file_system {
            FileSystem::Btrfs => ("btrfs", String::new()),
            FileSystem::Xfs => ("hardlink", "method = \"reflink\"\nlink_unchanged = false\n".to_owned()),
        };
        let text = std::fs::read_to_string(&config).map_err(Failure::io("read the configuration"))?;
        let text = text.replace("[store]", &format!("conninfo = \"{}\"\n\n[store]", server.conninfo()));
        let runtime = format!("\n[runtime]\ncache = \"{}\"\n", stage.home.join("compiled").display());
        let section = format!("\n[provider.{provider}]\nroot = \"{}\"\n{section}{runtime}", snapshots.display());
        stage.write(&format!("{name}.toml"), &format!("{text}{section}"))?;
        server.query(&format!("CREATE TABLE filler AS SELECT n, md5(n::text) FROM generate_series(1, {ROWS}) n"))?;
        server.query("CHECKPOINT")?;
        let native_copy = disk.path.join("native");
        let (from, to) = (quoted(&source.display().to_string()), quoted(&native_copy.display().to_string()));
        let native = match file_system {
            FileSystem::Btrfs => format!("btrfs -q subvolume snapshot -r {from} {to}"),
            FileSystem::Xfs => format!("cp -a --reflink=always {from} {to}"),
        };
        Ok(Self { stage, cluster, server, provider, native, native_copy, file_system })
    }

    fn measure(&self, runs: usize) -> Result<Vec<Figure>, Failure> {
        let what = self.file_system.name();
        let (mut ours, mut scripts, mut natives) = (Vec::new(), Vec::new(), Vec::new());
        let script = self.script()?;
        let whole = measure(
            Comparison::new(format!("snapshot-push, {what}"), "psql and the native command", Target::Ratio(1.0)),
            runs,
            || self.forget(),
            || {
                self.push()?;
                ours.push(self.window()?);
                Ok(())
            },
            || {
                quiet(self.stage.program("bash").arg(&script))?;
                scripts.push(self.window()?);
                Ok(())
            },
        )?;
        for _ in 0..=runs {
            self.forget()?;
            natives.push(milliseconds(&mut || quiet(self.stage.program("bash").args(["-c", &self.native])))?);
        }
        // The first of each fills caches.
        let counted = |values: &[f64]| values.get(1..).unwrap_or_default().to_vec();
        let window = |beside: &str, target, values: &[f64]| {
            let comparison = Comparison::new(format!("backup mode of snapshot-push, {what}"), beside, target);
            Figure::new(comparison, "ms", counted(&ours), counted(values))
        };
        Ok(vec![
            whole,
            window("the native command alone", WINDOW, &natives),
            window("backup mode of the script", Target::Untargeted, &scripts),
        ])
    }

    fn push(&self) -> Result<(), Failure> {
        quiet(&mut self.stage.stillframe(&self.cluster, Codec::Zstd, &["snapshot-push", "--provider", self.provider]))
    }

    /// What an operator without a tool would run.
    fn script(&self) -> Result<String, Failure> {
        let name = format!("{}.sh", self.cluster.name);
        let text = format!(
            "set -e\npsql -X -q -v ON_ERROR_STOP=1 -d {} <<'SQL'\nSELECT pg_backup_start('bench', true);\n\\! {}\nSELECT * FROM \
             pg_backup_stop(true);\nSQL\n",
            quoted(&self.server.conninfo()),
            self.native
        );
        self.stage.write(&name, &text)?;
        Ok(self.stage.home.join(name).display().to_string())
    }

    /// Removes what the run before has made, so that each has the same to do.
    fn forget(&self) -> Result<(), Failure> {
        let mut delete = self.stage.stillframe(&self.cluster, Codec::Zstd, &["delete", "everything", "--confirm"]);
        quiet(&mut delete)?;
        remove_copy(self.stage, self.file_system, &self.native_copy)?;
        // Something to archive and to flush, as a server that works has it.
        self.server.query("UPDATE filler SET n = n WHERE n <= 1000").map(|_| ())
    }

    /// How long backup mode lasted the last time, in milliseconds.
    fn window(&self) -> Result<f64, Failure> {
        let log = self.server.log_text();
        let ends = |words: &'static str| log.lines().rev().filter(move |line| line.contains(words)).filter_map(statement);
        let began = ends("pg_backup_start").next().map(|(ended_ms, _)| ended_ms);
        let began = began.ok_or_else(|| Failure::new("the server's log tells of no backup"))?;
        // Parsing it counts as a statement of its own.
        let first_stop =
            ends("pg_backup_stop").map(|(ended_ms, duration_ms)| ended_ms - duration_ms).take_while(|at| *at >= began - 1.0);
        first_stop.last().map(|stop| stop - began).ok_or_else(|| Failure::new("the server's log tells of no end of the backup"))
    }
}

/// When a statement of the server's log ended, and how long it took, in milliseconds.
fn statement(line: &str) -> Option<(f64, f64)> {
    let (at, rest) = line.split_once(' ')?;
    let (_, rest) = rest.split_once("duration: ")?;
    let (duration, _) = rest.split_once(" ms")?;
    Some((at.parse::<f64>().ok()? * 1_000.0, duration.parse().ok()?))
}

fn remove_copy(stage: &Stage<'_>, file_system: FileSystem, copy: &Path) -> Result<(), Failure> {
    if !copy.exists() {
        return Ok(());
    }
    let mut command = match file_system {
        FileSystem::Btrfs => Command::new("btrfs"),
        FileSystem::Xfs => stage.program("rm"),
    };
    match file_system {
        FileSystem::Btrfs => command.args(["-q", "subvolume", "delete"]),
        FileSystem::Xfs => command.arg("-rf"),
    };
    captured(command.arg(copy)).map(|_| ())
}
