//! The program `btrfs`: the only place that spells its arguments and reads what it says.
//!
//! It says why it failed in words only, with the same exit code for everything; the words that are understood stand in one table.

use stillframe_sdk::command::{Command, ExitStatus, Invocation, Output};
use stillframe_sdk::{Error, invalid};

/// What words of the program mean.
const MEANINGS: [(&str, Meaning); 12] = [
    ("No such file or directory", Meaning::Absent),
    ("Operation not permitted", Meaning::Denied),
    ("Permission denied", Meaning::Denied),
    ("No space left on device", Meaning::Exhausted),
    ("Disk quota exceeded", Meaning::Exhausted),
    ("Device or resource busy", Meaning::Busy),
    ("Text file busy", Meaning::Busy),
    // Somebody has made a subvolume within.
    ("Directory not empty", Meaning::Busy),
    ("Inappropriate ioctl for device", Meaning::Placeholder),
    ("Read-only file system", Meaning::ReadOnly),
    ("Not a Btrfs subvolume", Meaning::NotASubvolume),
    ("not a btrfs filesystem", Meaning::NotBtrfs),
];

/// Longest quotation of the program's words, in characters.
const MAX_QUOTED_CHARS: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Absent,
    Denied,
    Exhausted,
    Busy,
    ReadOnly,
    NotASubvolume,
    NotBtrfs,
    /// It is the empty directory that a snapshot has in place of a subvolume within the original.
    Placeholder,
}

/// The number of the subvolume that holds a path; none when there is no such path.
pub(crate) fn subvolume_id(host: &impl Command, path: &str) -> Result<Option<u64>, Error> {
    let output = run(host, &["inspect-internal", "rootid", path])?;
    if succeeded(&output) {
        let text = output.stdout.trim();
        return text.parse().map(Some).map_err(|_| Error::Internal(format!("`btrfs` calls `{text}` the number of a subvolume")));
    }
    match meaning(&output) {
        Some(Meaning::Absent) => Ok(None),
        _ => Err(failure("look at", path, &output)),
    }
}

/// Whether a path is the empty directory that a snapshot has in place of a subvolume. Nothing can be made in it, not even by root.
pub(crate) fn is_placeholder(host: &impl Command, path: &str) -> Result<bool, Error> {
    Ok(meaning(&run(host, &["inspect-internal", "rootid", path])?) == Some(Meaning::Placeholder))
}

/// Removes such a directory.
pub(crate) fn remove_placeholder(host: &impl Command, path: &str) -> Result<(), Error> {
    let output = run_program(host, "rmdir", &[path])?;
    if succeeded(&output) { Ok(()) } else { Err(failure("remove", path, &output)) }
}

/// Makes a subvolume.
pub(crate) fn create(host: &impl Command, path: &str) -> Result<(), Error> {
    let output = run(host, &["subvolume", "create", path])?;
    if succeeded(&output) { Ok(()) } else { Err(failure("make", path, &output)) }
}

/// Makes a read-only snapshot. It is durable when this returns.
pub(crate) fn snapshot_read_only(host: &impl Command, subvolume: &str, snapshot: &str) -> Result<(), Error> {
    let output = run(host, &["subvolume", "snapshot", "-r", subvolume, snapshot])?;
    if succeeded(&output) { Ok(()) } else { Err(failure("snapshot", subvolume, &output)) }
}

/// Makes a writable snapshot.
pub(crate) fn snapshot_writable(host: &impl Command, snapshot: &str, copy: &str) -> Result<(), Error> {
    let output = run(host, &["subvolume", "snapshot", snapshot, copy])?;
    if succeeded(&output) { Ok(()) } else { Err(failure("snapshot", snapshot, &output)) }
}

/// Deletes a subvolume, durably; one that is absent is a success.
pub(crate) fn delete(host: &impl Command, path: &str) -> Result<(), Error> {
    let mut output = run(host, &["subvolume", "delete", "--commit-after", path])?;
    if meaning(&output) == Some(Meaning::ReadOnly) {
        // Only root may delete a snapshot that is read-only; its owner may make it writable, and then delete it.
        let opened = run(host, &["property", "set", "-ts", path, "ro", "false"])?;
        if !succeeded(&opened) {
            return Err(failure("delete", path, &opened));
        }
        output = run(host, &["subvolume", "delete", "--commit-after", path])?;
    }
    if succeeded(&output) || meaning(&output) == Some(Meaning::Absent) { Ok(()) } else { Err(failure("delete", path, &output)) }
}

fn run(host: &impl Command, args: &[&str]) -> Result<Output, Error> {
    run_program(host, "btrfs", args)
}

fn run_program(host: &impl Command, program: &str, args: &[&str]) -> Result<Output, Error> {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Ok(host.run(&Invocation { program: program.to_owned(), args, stdin: None, timeout_ms: None })?)
}

fn succeeded(output: &Output) -> bool {
    output.status == ExitStatus::Code(0)
}

/// The program adds warnings of other things before and after, so the last words that are known count.
fn meaning(output: &Output) -> Option<Meaning> {
    if succeeded(output) {
        return None;
    }
    let errors = output.stderr.lines().filter(|line| line.starts_with("ERROR"));
    errors.filter_map(|line| MEANINGS.iter().find(|(words, _)| line.contains(words))).map(|(_, meaning)| *meaning).next_back()
}

fn failure(verb: &str, path: &str, output: &Output) -> Error {
    let words: String = match output.status {
        ExitStatus::Signal(signal) => format!("its program was ended by signal {signal}"),
        ExitStatus::Code(_) => output.stderr.trim().chars().take(MAX_QUOTED_CHARS).collect(),
    };
    let text = format!("cannot {verb} `{path}`: {words}");
    match meaning(output) {
        Some(Meaning::Absent) => Error::NotFound(text),
        Some(Meaning::Denied) => Error::Denied(format!(
            "{text}: its user must own the subvolume, and to delete one the file system must be mounted with `user_subvol_rm_allowed`, or \
             `command_prefix` must give root's rights"
        )),
        Some(Meaning::Exhausted) => Error::Exhausted(text),
        Some(Meaning::Busy) => Error::InUse(text),
        Some(Meaning::ReadOnly) => Error::Internal(format!("{text}: the file system is mounted read-only")),
        Some(Meaning::NotASubvolume | Meaning::NotBtrfs | Meaning::Placeholder) => invalid("volumes", text),
        None => Error::Transient(text),
    }
}
