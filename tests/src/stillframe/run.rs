//! One run of the binary, to its end or up to a signal.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::binary_path;
use crate::Account;
use crate::children::{bound_command, spawn};

/// Exit codes of `wal-push` that say why it was not archived.
pub const PUSH_ERRORS: RangeInclusive<i32> = 2..=7;
/// The same of `wal-fetch`: none is below 126, which PostgreSQL would take for the end of the archive.
pub const FETCH_ERRORS: RangeInclusive<i32> = 202..=207;

/// Longest silence of a process that a test waits for.
const SILENCE: Duration = Duration::from_mins(1);

/// The binary with a configuration file and an environment of nothing but `PATH` and what the test sets.
#[derive(Debug, Clone)]
pub struct Stillframe {
    config: Option<PathBuf>,
    variables: Vec<(OsString, OsString)>,
}

impl Stillframe {
    /// The binary with a configuration file.
    pub fn new(config: impl Into<PathBuf>) -> Self {
        Self { config: Some(config.into()), variables: Vec::new() }
    }

    /// The binary without one.
    pub fn without_config() -> Self {
        Self { config: None, variables: Vec::new() }
    }

    /// The binary with another configuration file and the same environment.
    #[must_use]
    pub fn with_config(&self, config: impl Into<PathBuf>) -> Self {
        Self { config: Some(config.into()), variables: self.variables.clone() }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run<Argument: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = Argument>) -> Finished {
        self.spawn(arguments).wait()
    }

    /// Runs it to its end, which must be a success.
    #[track_caller]
    pub fn succeed<Argument: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = Argument>) -> Finished {
        let finished = self.run(arguments);
        assert!(finished.is_success(), "{finished}");
        finished
    }

    /// Starts it, for a test that kills or interrupts it.
    #[track_caller]
    pub fn spawn<Argument: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = Argument>) -> Running {
        let mut command = bound_command(binary_path(), "KILL");
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Account::unprivileged().run_as(&mut command).envs(self.variables.iter().map(|(name, value)| (name, value)));
        Running::of(spawn(command))
    }

    /// A shell command line that runs it, for `archive_command` and `restore_command`.
    pub fn command_line(&self, arguments: &str) -> String {
        // PostgreSQL replaces `%` first, and the shell sees what comes of it.
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('%', "%%").replace('\'', "'\\''"));
        let config = self.config.as_deref().map(|config| format!(" --config {}", quoted(config))).unwrap_or_default();
        format!("{}{config} {arguments}", quoted(binary_path()))
    }
}

/// A run that has not ended; dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr_lines: Receiver<String>,
    stderr: String,
}

impl Running {
    fn of(mut child: Child) -> Self {
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        Self { stdout: Some(collect(stdout)), stderr_lines: lines(stderr), stderr: String::new(), child }
    }

    /// Waits for a line on standard error that contains the text.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) {
        while let Ok(line) = self.stderr_lines.recv_timeout(SILENCE) {
            self.stderr.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
        panic!("`{text}` did not appear on standard error:\n{}", self.stderr);
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Interrupts it, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it where it is, until it is resumed.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it without any warning.
    pub fn kill9(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        // Its end closes the pipe; reading first keeps a full pipe from blocking it.
        for line in &self.stderr_lines {
            self.stderr.push_str(&line);
        }
        let status = self.child.wait().expect("it is our child");
        let stdout = self.stdout.take().expect("it is taken once").join().expect("the reader does not panic");
        Finished { status, stdout, stderr: std::mem::take(&mut self.stderr) }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a process id");
        // It may have ended by itself.
        let _ended = kill_process(pid, signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.kill9();
            let _exit = self.child.wait();
        }
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Finished {
    status: ExitStatus,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
}

impl Finished {
    /// Whether it ended with code 0.
    pub fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Its exit code; none after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Whether it said this, to whomever.
    pub fn says(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

fn collect(mut stdout: ChildStdout) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _closed = stdout.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    lines
}
