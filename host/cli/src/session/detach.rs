//! Leaves the owner of a session behind: this very program, in a session of its own, with nothing of its caller's open.
//!
//! Whoever runs `session begin` waits for the end of its output as well: a pipe that the owner kept would keep a backup program, a
//! shell or `ssh` waiting for the whole session. So the owner writes to a log of its own, and only we read its standard output,
//! which says how it began.

use std::fs::OpenOptions;
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::order::Order;

/// The first descriptor behind standard input, output and error.
const FIRST: i32 = 3;

/// Starts it; gives the first thing that it says, which is that it holds backup mode, or why not. None when it ended before.
pub fn start(config: &Path, log: &Path, order: &Order) -> std::io::Result<Option<Value>> {
    // What our caller had open, say a lock of its own, must not stay open for hours. Ours may be marked with it: we start nothing
    // after this.
    close_fds::set_fds_cloexec_threadsafe(FIRST, &[]);
    let log = OpenOptions::new().append(true).create(true).mode(0o600).open(log)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--config")
        .arg(config)
        .args(["--json", "session", "own"])
        // A working directory on a disk that shall be frozen or unmounted would be in the way.
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    // It may have ended: then it says why, or nothing.
    let _ended = child.stdin.take().map(|mut input| input.write_all(&super::protocol::to_line(order)));
    let said = first_words(&mut child);
    if said.as_ref().is_none_or(|said| said.get("error").is_some()) {
        child.wait()?;
    }
    Ok(said)
}

/// A whole document, or none: the owner goes on after it, so that the end of its output is not waited for.
fn first_words(child: &mut Child) -> Option<Value> {
    let output = BufReader::new(child.stdout.take()?);
    serde_json::Deserializer::from_reader(output).into_iter::<Value>().next()?.ok()
}
