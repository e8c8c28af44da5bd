//! Running a program, and what its failures mean.
//!
//! LVM's exit codes say little (5 for nearly everything), so its words decide, in one table. The texts are those of lvm2 2.03 and
//! coreutils without a locale, which is what an empty environment gives.

use stillframe_sdk::command::{Command, ExitStatus, Invocation, Output};
use stillframe_sdk::{Error, invalid};

/// Milliseconds after which a lock on a volume group is worth another try.
const LOCK_RETRY_MS: u64 = 2_000;

/// Most bytes of a program's words in an error.
const MAX_WORDS_BYTES: usize = 2_048;

/// What LVM says of a volume that is not there. No error of its own, for the host takes `not-found` for an absent set.
pub(crate) const GONE: &str = "Failed to find logical volume";

/// What a failure means.
enum Meaning {
    /// The program has not the rights.
    Denied,
    /// A group of the configuration is not there.
    NoGroup,
    /// A group belongs to another machine, or to none: waiting does not help.
    ForeignGroup,
    /// Something with this name is there.
    Exists,
    /// It is mounted or open.
    InUse,
    /// No room in the group or the pool.
    Full,
    /// Another command holds the lock.
    Locked,
    /// LVM cannot do this with this volume; no repetition helps.
    Impossible,
}

/// Words of a failure and what they mean; the first that is found counts. Each was seen, or is in the source of lvm2.
const MEANINGS: &[(&str, Meaning)] = &[
    ("a password is required", Meaning::Denied),
    ("is not allowed to execute", Meaning::Denied),
    ("ermission denied", Meaning::Denied),
    ("Operation not permitted", Meaning::Denied),
    ("Running as a non-root user", Meaning::Denied),
    ("already exists in volume group", Meaning::Exists),
    ("contains a filesystem in use", Meaning::InUse),
    (" in use.", Meaning::InUse),
    ("is used by another device", Meaning::InUse),
    ("insufficient free space", Meaning::Full),
    ("reached threshold", Meaning::Full),
    ("out of data space", Meaning::Full),
    ("No space left on device", Meaning::Full),
    ("Can't get lock for", Meaning::Locked),
    (" with system ID ", Meaning::ForeignGroup),
    (" is exported", Meaning::ForeignGroup),
    ("Cannot access VG", Meaning::Locked),
    ("Volume group \"", Meaning::NoGroup),
    ("Run `lvcreate --help'", Meaning::Impossible),
    ("not supported", Meaning::Impossible),
    ("is read-only", Meaning::Impossible),
];

/// Runs a program that must succeed.
pub(crate) fn run<H: Command>(host: &H, program: &str, args: &[String]) -> Result<Output, Error> {
    let output = host.run(&Invocation { program: program.to_owned(), args: args.to_vec(), stdin: None, timeout_ms: None })?;
    match output.status {
        ExitStatus::Code(0) => Ok(output),
        ExitStatus::Code(code) => Err(failure(program, code, &output.stderr)),
        ExitStatus::Signal(signal) => Err(Error::Transient(format!("`{program}` was ended by signal {signal}"))),
    }
}

fn failure(program: &str, code: i32, stderr: &str) -> Error {
    let text = format!("`{program}` failed with code {code}: {}", words(stderr));
    let meaning = MEANINGS.iter().find(|(words, meaning)| match meaning {
        Meaning::NoGroup => stderr.contains(words) && stderr.contains("\" not found"),
        _ => stderr.contains(words),
    });
    match meaning.map(|(_, meaning)| meaning) {
        Some(Meaning::Denied) => Error::Denied(text),
        Some(Meaning::NoGroup | Meaning::ForeignGroup) => invalid("volume_groups", text),
        Some(Meaning::Exists) => Error::Conflict(text),
        Some(Meaning::InUse) => Error::InUse(text),
        Some(Meaning::Full) => Error::Exhausted(text),
        Some(Meaning::Locked) => Error::Busy(Some(LOCK_RETRY_MS)),
        Some(Meaning::Impossible) => Error::Unsupported(text),
        None => Error::Transient(text),
    }
}

/// What the program said, without the warnings that LVM gives every time, in one line.
fn words(stderr: &str) -> String {
    let noise = |line: &&str| !line.is_empty() && !line.starts_with("WARNING:") && !line.starts_with("File descriptor ");
    let mut text = stderr.lines().map(str::trim).filter(noise).collect::<Vec<_>>().join("; ");
    if text.len() > MAX_WORDS_BYTES {
        let end = (0..=MAX_WORDS_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    if text.is_empty() { "it says nothing".to_owned() } else { text }
}
