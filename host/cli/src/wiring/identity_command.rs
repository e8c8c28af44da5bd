//! Runs the command that prints the private key.
//!
//! Without a shell, and with next to no environment. What it prints on standard output is never shown. What it says on standard
//! error is, when it fails, for nobody else could tell the operator why: the first lines, without its arguments, and nothing at
//! all when a private key is among them.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use stillframe_core::catalog::SecretString;

use crate::config::has_private_key;

/// Longest time for the command: it may ask a person or a key service.
const DEADLINE: Duration = Duration::from_mins(1);

/// Longest output of it that makes sense.
const MAX_BYTES: usize = 1 << 20;

/// How much of its complaint is listened to.
const MAX_COMPLAINT_BYTES: u64 = 1 << 10;

/// How many lines of it are shown.
const MAX_COMPLAINT_LINES: usize = 3;

/// Longest wait for the complaint of a command that has ended: what it left in the background may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Shorter arguments are ordinary words, and hide nothing.
const SHORTEST_SECRET: usize = 4;

/// How often it is looked whether the command has ended.
const POLL: Duration = Duration::from_millis(5);

type Failure = Box<dyn Error + Send + Sync>;

/// Runs it; what it prints is the identity file.
pub(super) fn run(program: &Path, arguments: &[String]) -> Result<SecretString, Failure> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_clear();
    command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    let mut child = command.spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err("its output cannot be read".into());
    };
    let (sender, output) = mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(MAX_BYTES as u64 + 1).read_to_string(&mut text);
        let is_too_long = text.len() > MAX_BYTES;
        // Nobody waits any more.
        let _ = sender.send(read.map(|_| (SecretString::from(text), is_too_long)));
    });
    let complaint = listen(stderr);
    let began = Instant::now();
    let failed = match wait(&mut child)? {
        Some(status) if status.success() => {
            // What it left in the background may hold the pipe open for ever.
            let rest = DEADLINE.saturating_sub(began.elapsed());
            let read = output.recv_timeout(rest).map_err(|_| "it left something behind that keeps its output open")?;
            return match read? {
                (_, true) => Err("it prints more than 1 MiB".into()),
                (text, false) => Ok(text),
            };
        }
        Some(status) => format!("it ended with {status}"),
        None => format!("it did not end within {} s", DEADLINE.as_secs()),
    };
    let complaint = complaint.recv_timeout(LAST_WORDS).unwrap_or_default();
    match shown(&complaint, arguments) {
        Some(complaint) => Err(format!("{failed} and said `{complaint}`").into()),
        None => Err(failed.into()),
    }
}

/// Waits for its end; none when that does not come in time, and then it is killed.
fn wait(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

fn listen(mut stderr: ChildStderr) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut complaint = Vec::new();
        let _ = stderr.by_ref().take(MAX_COMPLAINT_BYTES).read_to_end(&mut complaint);
        let _ = sender.send(complaint);
        // Whoever says more must not have to wait for a reader.
        let _ = io::copy(&mut stderr, &mut io::sink());
    });
    receiver
}

/// As much of a complaint as may be shown; none when it says nothing.
fn shown(complaint: &[u8], arguments: &[String]) -> Option<String> {
    // Half an argument would not be known as one.
    let is_cut = complaint.len() as u64 == MAX_COMPLAINT_BYTES;
    let end = if is_cut { complaint.iter().rposition(|byte| *byte == b'\n').unwrap_or(0) } else { complaint.len() };
    let mut text = String::from_utf8_lossy(&complaint[..end]).into_owned();
    if has_private_key(&text) {
        return Some("(not shown, since it holds a private key)".to_owned());
    }
    // The configuration does not show them either. `--token=…` may come back without its name.
    let values = arguments.iter().filter_map(|argument| argument.split_once('=').map(|(_, value)| value));
    for secret in arguments.iter().map(String::as_str).chain(values).filter(|secret| secret.len() >= SHORTEST_SECRET) {
        text = text.replace(secret, "…");
    }
    let lines = text.lines().map(|line| line.replace(char::is_control, " ").trim().to_owned()).filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.take(MAX_COMPLAINT_LINES).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(script: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = ["-c", script, "sh"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        run(Path::new("/bin/sh"), &arguments).unwrap_err().to_string()
    }

    #[test]
    fn a_command_that_fails_says_why() {
        assert_eq!(
            fails("echo; echo the vault is sealed >&2; exit 3", &[]),
            "it ended with exit status: 3 and said `the vault is sealed`"
        );
        assert_eq!(fails("exit 3", &[]), "it ended with exit status: 3");
    }

    #[test]
    fn nothing_of_its_output_and_no_private_key_is_shown() {
        let failure = fails("echo hunter2; echo sealed >&2; exit 1", &[]);
        assert!(failure.contains("sealed") && !failure.contains("hunter2"), "{failure}");
        for key in ["AGE-SECRET-KEY-1HUNTER2", "age-secret-key-1hunter2"] {
            let failure = fails(&format!("echo sealed: {key} >&2; exit 1"), &[]);
            assert!(failure.contains("not shown") && !failure.to_lowercase().contains("hunter2"), "{failure}");
        }
    }

    #[test]
    fn its_arguments_are_not_shown() {
        let failure = fails("echo no such token $1, $2 or ${2#*=} >&2; exit 1", &["hunter2", "--token=hunter3"]);
        assert!(failure.contains("no such token") && !failure.contains("hunter"), "{failure}");
    }

    #[test]
    fn much_is_cut_off_and_keeps_nobody_waiting() {
        let failure = fails("for line in 1 2 3 4; do echo line $line >&2; done; head -c 1000000 /dev/zero >&2; exit 1", &[]);
        assert_eq!(failure, "it ended with exit status: 1 and said `line 1; line 2; line 3`");
        let failure = fails("echo line 1 >&2; yes $1 | tr -d '\\n' | head -c 1000000 >&2; exit 1", &["hunter2"]);
        assert_eq!(failure, "it ended with exit status: 1 and said `line 1`", "half an argument is not shown either");
    }

    #[test]
    fn an_output_that_is_too_long_is_not_read_in_part() {
        assert_eq!(fails("head -c 1048577 /dev/zero", &[]), "it prints more than 1 MiB");
        run(Path::new("/bin/sh"), &["-c".to_owned(), "head -c 1048576 /dev/zero".to_owned()]).unwrap();
    }
}
