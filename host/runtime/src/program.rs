//! Running one program to its end: the work behind the capability `command`.
//!
//! No shell, nothing in the environment but `LC_ALL=C`, `/` as its directory, a process group of its own. A program that must end
//! gets SIGTERM and time to tidy up before it is killed: a killed `lvcreate` leaves devices suspended, and with them every process
//! that writes. Whoever dropped the call does not wait for that, but the provider's next call does. Runs on a thread that may block.

mod find;
mod pipes;
mod process;
#[cfg(test)]
mod tests;

use std::fmt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use find::{Refusal, installed};
pub(crate) use pipes::Kept;

use crate::tree::StopFlag;
use pipes::Pipes;
use process::Process;

/// What a program gets to tidy up between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// How soon it is noticed that a call was dropped. The end of the program, and its output, are noticed at once.
const TICK: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Debug)]
pub(crate) struct Run {
    /// The program's path and its arguments.
    pub(crate) words: Vec<String>,
    /// What it reads.
    pub(crate) stdin: Option<String>,
    /// Of standard output and of standard error, each.
    pub(crate) max_output_bytes: usize,
    /// When it must end.
    pub(crate) deadline: Instant,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The program has ended by itself.
    Finished(Finished),
    /// It was ended, at the deadline or because the call was dropped.
    TimedOut,
    /// It could not be started, or not be watched.
    Failed(String),
}

/// What a program has left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: Status,
    pub(crate) stdout: Kept,
    pub(crate) stderr: Kept,
}

/// How a program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Run {
    /// Starts the program and returns when it has ended, however long that takes: after SIGKILL it is waited for as well.
    pub(crate) fn complete(self, stop: &StopFlag) -> Ended {
        if self.deadline <= Instant::now() || stop.is_stopped() {
            return Ended::TimedOut;
        }
        self.try_complete(stop).unwrap_or_else(|error| Ended::Failed(error.to_string()))
    }

    fn try_complete(mut self, stop: &StopFlag) -> std::io::Result<Ended> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Ok(Ended::Failed("there is nothing to run".to_owned()));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .env_clear()
            // What it says is read by providers, and must not depend on where the host was started.
            .env("LC_ALL", "C")
            .current_dir("/")
            .process_group(0)
            .stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pipes = Pipes::new(&mut child, self.stdin.take(), self.max_output_bytes);
        let process = Process::new(child);
        let mut pipes = match pipes {
            Ok(pipes) => pipes,
            Err(error) => return process.end(GRACE, |_| thread::sleep(TICK)).and(Err(error)),
        };
        match self.watch(&process, &mut pipes, stop) {
            Ok(true) => {
                let (stdout, stderr) = pipes.end();
                Ok(Ended::Finished(Finished { status: process.reap()?.into(), stdout, stderr }))
            }
            // Whatever happened: nobody leaves while the program runs. Its output is read on, or a word that it says as it ends
            // would kill it before it has tidied up.
            watched => {
                process.end(GRACE, |process| pipes.pass_on(process, TICK).unwrap_or_else(|_| thread::sleep(TICK)))?;
                watched.map(|_| Ended::TimedOut)
            }
        }
    }

    /// Passes on what comes and goes, until the program has ended (true) or must end.
    fn watch(&self, process: &Process, pipes: &mut Pipes, stop: &StopFlag) -> std::io::Result<bool> {
        while !process.has_ended()? {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if stop.is_stopped() || left.is_zero() {
                return Ok(false);
            }
            pipes.pass_on(Some(process), TICK.min(left))?;
        }
        Ok(true)
    }
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl fmt::Display for Ended {
    /// Without what the program has printed.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(Finished { status: Status::Code(code), .. }) => write!(formatter, "exit code {code}"),
            Self::Finished(Finished { status: Status::Signal(signal), .. }) => write!(formatter, "ended by signal {signal}"),
            Self::TimedOut => formatter.write_str("ended at the deadline"),
            Self::Failed(reason) => write!(formatter, "failed: {reason}"),
        }
    }
}
