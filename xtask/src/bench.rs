//! `cargo xtask bench`: what a run of the binary costs beside a program that everybody knows.
//!
//! The server starts `wal-push` and `wal-fetch` once per segment, so their start-up counts as much as their work. A figure and its
//! reference are measured in turns within one run: what else the machine does then falls on both.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::failure::Failure;
use crate::prerequisites::for_a_server;
use crate::run::succeed;
use crate::server::Server;
use crate::sweep::Scratch;
use crate::workspace::{Workspace, cargo, progress};

mod figure;

use figure::{Figure, measure};

/// A segment takes far longer than a start, so fewer runs give a median that is as steady.
const RUNS_PER_SEGMENT: usize = 5;

/// Measures every figure, prints the table and writes `bench.json` into the target directory.
pub(crate) fn bench(runs: usize) -> Result<(), Failure> {
    for_a_server()?;
    let workspace = Workspace::find()?;
    progress("compiling stillframe for release", || {
        succeed(cargo().args(["build", "--quiet", "--release", "--package", "stillframe"]).current_dir(&workspace.root))
    })?;
    let account = Account::of_servers()?;
    let scratch = Scratch::begin("bench", &account)?;
    let figures =
        Subject::prepare(&scratch.path, &workspace.stillframe("release"), &account).and_then(|subject| subject.measure(runs));
    scratch.end()?;
    let figures = figures?;
    print!("{}", figure::table(&figures));
    let file = workspace.target.join("bench.json");
    fs::write(&file, figure::json(&figures)).map_err(Failure::io(format!("write `{}`", file.display())))?;
    println!("written to {}", file.display());
    Ok(())
}

/// A store, a configuration and a real segment.
struct Subject<'bench> {
    directory: &'bench Path,
    binary: &'bench Path,
    segment: String,
}

impl<'bench> Subject<'bench> {
    fn prepare(directory: &'bench Path, binary: &'bench Path, account: &Account) -> Result<Self, Failure> {
        let segment = progress("making a segment that is full of rows", || full_segment(directory, account))?;
        let text = format!(
            "[cluster]\nname = \"bench\"\npgdata = \"{0}/data\"\nconninfo = \"host={0}\"\n\n[store]\nurl = \"file://{0}/store\"\n",
            directory.display()
        );
        fs::write(directory.join("stillframe.toml"), text).map_err(Failure::io("write the configuration"))?;
        let subject = Self { directory, binary, segment };
        subject.prove(&["store", "create"])?;
        Ok(subject)
    }

    fn measure(&self, runs: usize) -> Result<Vec<Figure>, Failure> {
        let per_segment = runs.div_ceil(RUNS_PER_SEGMENT);
        let path = self.segment_path();
        let nothing = || Command::new("/bin/true");
        let copy = || self.copy();
        let quiet = || Ok(());
        println!("… measuring {runs} starts and {per_segment} segments of each kind, beside the reference");
        let mut figures = vec![
            measure("start: stillframe --version", "/bin/true", runs, quiet, || self.stillframe(&["--version"]), nothing)?,
            // Fails at the name, after the configuration is read: all that stands before the work.
            measure(
                "start: wal-push of no segment",
                "/bin/true",
                runs,
                quiet,
                || self.stillframe(&["wal-push", "no-segment"]),
                nothing,
            )?,
            measure("wal-push of 16 MiB", "cp", per_segment, || self.forget(), || self.stillframe(&["wal-push", &path]), copy)?,
        ];
        self.prove(&["wal-push", &path])?;
        let fetched = self.directory.join("fetched").display().to_string();
        let fetch = ["wal-fetch", &self.segment, &fetched];
        figures.push(measure("wal-fetch of 16 MiB", "cp", per_segment, quiet, || self.stillframe(&fetch), copy)?);
        self.prove(&fetch)?;
        Ok(figures)
    }

    fn stillframe(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binary);
        command.env_clear().arg("--config").arg(self.directory.join("stillframe.toml")).args(arguments);
        command
    }

    fn copy(&self) -> Command {
        let mut command = Command::new("cp");
        command.arg(self.segment_path()).arg(self.directory.join("copied"));
        command
    }

    fn segment_path(&self) -> String {
        self.directory.join("data/pg_wal").join(&self.segment).display().to_string()
    }

    /// Empties the archive, so that the segment is written again.
    fn forget(&self) -> Result<(), Failure> {
        let archive = self.directory.join("store/bench");
        if archive.exists() { fs::remove_dir_all(&archive).map_err(Failure::io("empty the archive")) } else { Ok(()) }
    }

    /// A figure of a command that fails would say nothing.
    fn prove(&self, arguments: &[&str]) -> Result<(), Failure> {
        succeed(self.stillframe(arguments).stdout(Stdio::null()))
    }
}

/// Runs a server long enough to fill a segment, and returns the name of the first full one.
fn full_segment(directory: &Path, account: &Account) -> Result<String, Failure> {
    let data = directory.join("data");
    let server = Server::on(directory, &data, 5433, account)?;
    server.initialise("wal_keep_size = 256MB\n")?;
    server.start()?;
    server.query("CREATE TABLE filler AS SELECT n, md5(n::text) AS text FROM generate_series(1, 10000) n")?;
    let segment = server.query("SELECT pg_walfile_name(pg_switch_wal() + 16777216)")?;
    server.query("CREATE TABLE more AS SELECT n, md5(n::text) AS text FROM generate_series(1, 400000) n")?;
    server.query("CHECKPOINT")?;
    Ok(segment)
}
