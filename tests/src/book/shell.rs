//! A shell that stays open for a whole page, as one user: what a command sets, the next one finds.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::Account;
use crate::children::{bound_command, spawn};

/// Longest time for one command: a restore with an unoptimised build on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// A shell.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    input: ChildStdin,
    codes: Receiver<String>,
    scratch: PathBuf,
    commands: usize,
}

impl Shell {
    /// Opens one for a user: root, or the unprivileged user; `scratch` is a directory of its own.
    pub fn open(account: Option<&Account>, home: &Path, variables: &[(String, String)], scratch: &Path) -> Self {
        let other = account.filter(|account| account.differs_from_ours());
        let mut command = bound_command(if other.is_some() { "setpriv" } else { "bash" }, "KILL");
        if let Some(account) = other {
            // With all of its groups, as a login has them: one of Debian's may read the server's private key.
            command.args(["--reuid", &account.name, "--regid", &account.gid.to_string(), "--init-groups", "bash"]);
        }
        command.args(["--noprofile", "--norc"]).env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        command.env("HOME", home).current_dir(home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = spawn(command);
        let input = child.stdin.take().expect("it is piped");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, codes) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|length| length > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { child, input, codes, scratch: scratch.to_owned(), commands: 0 }
    }

    /// Types a command; gives its exit code and all that it printed, as a terminal shows it.
    pub fn run(&mut self, command: &str) -> Result<(i32, String), String> {
        self.commands += 1;
        // Files of this command alone: what it leaves running in the background may go on writing.
        let [typed, printed] = ["typed", "printed"].map(|name| self.scratch.join(format!("{name}-{}", self.commands)));
        write_for_all(&typed, command);
        write_for_all(&printed, "");
        // Sourced, so that it may set variables; it reads nothing of what is typed next.
        let line = format!(". '{}' >>'{}' 2>&1 </dev/null; echo $?\n", typed.display(), printed.display());
        self.input
            .write_all(line.as_bytes())
            .and_then(|()| self.input.flush())
            .map_err(|error| format!("the shell is gone: {error}"))?;
        let code = self.codes.recv_timeout(PATIENCE);
        let printed = String::from_utf8_lossy(&fs::read(&printed).unwrap_or_default()).into_owned();
        let code = code.map_err(|_| format!("`{command}` did not end within {} s:\n{printed}", PATIENCE.as_secs()))?;
        let code = code.trim().parse().map_err(|_| format!("the shell said `{}`", code.trim()))?;
        Ok((code, printed))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _exit = self.child.wait();
    }
}

fn write_for_all(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    crate::set_mode(path, 0o666);
}

/// Runs a program that must succeed; gives what it printed.
#[track_caller]
pub(super) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {complaint}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
