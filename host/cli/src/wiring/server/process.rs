//! One process of a program of PostgreSQL: started without a shell, and without the variables that lead to another server.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use stillframe_core::postgres::ServerError;

use super::failed;

/// How often it is looked whether a process has ended.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// What to run.
pub(super) struct Order {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: Vec<(String, String)>,
}

impl Order {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir("/").stdin(Stdio::null());
        // A terminal's signals are for us, who stop it in order.
        command.process_group(0);
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A process that this one has started.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    program: PathBuf,
}

impl Process {
    /// Starts it; what it says goes into the file.
    pub(super) fn start(order: &Order, output: File) -> Result<Self, ServerError> {
        let start = || order.command().stdout(output.try_clone()?).stderr(output).spawn();
        let child = start().map_err(|source| failed("start", &order.program, source))?;
        Ok(Self { child, program: order.program.clone() })
    }

    /// How it ended; none while it runs.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, ServerError> {
        self.child.try_wait().map_err(|source| failed("wait for", &self.program, source))
    }

    /// Sends the signal and waits for its end; false when that does not come in time.
    pub(super) async fn end(&mut self, signal: Signal, deadline: Duration) -> Result<bool, ServerError> {
        let begun = Instant::now();
        // The number is not given to anybody else before its end has been asked for.
        if self.ended()?.is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, signal).map_err(|errno| failed("stop", &self.program, errno.into()))?;
        }
        while self.ended()?.is_none() {
            if begun.elapsed() > deadline {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(true)
    }
}

/// A process that must not outlive whoever waits for it.
struct Bound(Process);

impl Drop for Bound {
    fn drop(&mut self) {
        if self.0.ended().is_ok_and(|ended| ended.is_none()) {
            // It only reads, so that it may end anywhere.
            let _gone = self.0.child.kill();
            let _reaped = self.0.child.wait();
        }
    }
}

/// Runs a program to its end: whether it ended with 0, and the first of what it said. None when it did not end in time.
pub(super) async fn run(order: Order, deadline: Duration, max_bytes: usize) -> Result<Option<(bool, Vec<u8>)>, ServerError> {
    let start = || {
        let (reader, writer) = std::io::pipe()?;
        let child = order.command().stdout(writer.try_clone()?).stderr(writer).spawn()?;
        Ok((reader, child))
    };
    let (reader, child) = start().map_err(|source| failed("start", &order.program, source))?;
    let words = tokio::task::spawn_blocking(move || read(reader, max_bytes));
    let mut process = Bound(Process { child, program: order.program.clone() });
    let begun = Instant::now();
    loop {
        if let Some(status) = process.0.ended()? {
            return Ok(Some((status.success(), words.await.unwrap_or_default())));
        }
        if begun.elapsed() > deadline {
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Reads to the end, so that nobody is stopped by a full pipe, and keeps the beginning.
fn read(mut reader: impl Read, max_bytes: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        let room = max_bytes.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(&buffer[..room]);
    }
    kept
}
