//! Ends and removes what a demo or a benchmark started, however it ended.
//!
//! The work runs beside a second process that waits for the end of its standard input. The kernel closes that pipe when the first
//! process returns, fails, is interrupted or is killed; then the second one ends every process of the directory and removes it.

use std::env;
use std::fs;
use std::io::{Read as _, stdin};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::failure::Failure;
use crate::run::works;

/// Time that a server has for its immediate shutdown before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(20);

/// A scratch directory that is swept when this value is dropped or its process dies.
#[derive(Debug)]
#[must_use]
pub(crate) struct Scratch {
    /// The directory.
    pub(crate) path: PathBuf,
    sweeper: Option<Child>,
}

impl Scratch {
    /// Makes a directory for a user and starts the process that will sweep it.
    pub(crate) fn begin(name: &str, account: &Account) -> Result<Self, Failure> {
        // A short name, because the path of a socket in it may have 107 bytes at most.
        let path = env::temp_dir().join(format!("stillframe-{name}-{}", process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(Failure::io(format!("create `{}`", path.display())))?;
        let program = env::current_exe().map_err(Failure::io("find this program"))?;
        let mut command = Command::new(program);
        // In a process group of its own, so that Ctrl-C does not reach it.
        command.arg("sweep").arg(&path).stdin(Stdio::piped()).process_group(0);
        let sweeper = command.spawn().map_err(|error| {
            // Nothing is in it yet.
            let _ = fs::remove_dir(&path);
            Failure::new(format!("cannot start the process that cleans up: {error}"))
        })?;
        let scratch = Self { path, sweeper: Some(sweeper) };
        account.own(&scratch.path)?;
        Ok(scratch)
    }

    /// Sweeps now; fails when something could not be removed.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        self.wait()
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let Some(mut sweeper) = self.sweeper.take() else { return Ok(()) };
        // Waiting closes the pipe first, which is the signal.
        let status = sweeper.wait().map_err(Failure::io("wait for the process that cleans up"))?;
        if status.success() { Ok(()) } else { Err(Failure::new("not everything could be removed")) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(failure) = self.wait() {
            eprintln!("error: {failure}");
        }
    }
}

/// The second process: waits for the end of the first, then ends what runs in the directory and removes it.
pub(crate) fn sweep(directory: &Path) -> Result<(), Failure> {
    // Whether reading ends or fails, nobody is at the other end any more.
    let _ = stdin().read_to_end(&mut Vec::new());
    // SIGQUIT is the immediate shutdown of a PostgreSQL server, and ends other programs too.
    end_processes(directory, "QUIT");
    end_processes(directory, "KILL");
    let left = processes(directory);
    if !left.is_empty() {
        return Err(Failure::new(format!("the processes {left:?} of `{}` do not end", directory.display())));
    }
    fs::remove_dir_all(directory).map_err(Failure::io(format!("remove `{}`", directory.display())))?;
    println!("{} is removed, and no process of it runs.", directory.display());
    Ok(())
}

fn end_processes(directory: &Path, signal: &str) {
    let began = Instant::now();
    let mut signalled: Vec<u32> = Vec::new();
    loop {
        let running = processes(directory);
        if running.is_empty() || began.elapsed() > PATIENCE {
            return;
        }
        // Also those that started since: a server begins new children until it knows better.
        for pid in running.iter().filter(|pid| !signalled.contains(pid)) {
            works(Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()));
        }
        signalled.extend(running);
        sleep(POLL);
    }
}

/// The processes that work in the directory or run a program from it: nobody else's do.
fn processes(directory: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != process::id() && belongs(*pid, directory)).collect()
}

fn belongs(pid: u32, directory: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let is_below = |link: &str| fs::read_link(process.join(link)).is_ok_and(|path| path.starts_with(directory));
    is_below("cwd") || is_below("exe")
}
