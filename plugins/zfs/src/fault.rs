//! What the messages of `zfs` mean: the one table from its words to the interface's errors.
//!
//! `zfs` exits with 1 whatever the matter is, and with 2 for wrong usage, so its words are all there is. It runs without an
//! environment and therefore speaks English. A message that is not in the table is told as it is, and may be tried again.

use stillframe_sdk::Error;
use stillframe_sdk::command::{CommandError, ExitStatus, Output};

/// What is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The dataset or snapshot does not exist.
    NotFound,
    /// Something has this name already.
    Exists,
    /// It is mounted or held, or something else is going on with it.
    Busy,
    /// A clone depends on the snapshot.
    Cloned,
    /// There is something below the dataset.
    HasChildren,
    /// The hold is there already.
    TagExists,
    /// There is no such hold.
    TagAbsent,
    /// It is mounted already.
    AlreadyMounted,
    /// It is not mounted.
    NotMounted,
    /// Rights are missing.
    Denied,
    /// The key of an encrypted dataset is not loaded.
    KeyAbsent,
    /// The pool or a quota is full.
    Exhausted,
    /// The pool or the dataset is read-only.
    ReadOnly,
    /// The pool does not answer, or answers with errors.
    Suspended,
    /// ZFS is not there, or too old.
    Unsupported,
    /// The program was ended at the deadline, or by a signal: what it was about to do may have happened.
    Interrupted,
    /// The host did not run the program.
    NotRun,
    /// Words that are not in the table.
    Other,
}

/// Words of `zfs`, and of what runs it, with what they mean. The first that a line holds decides, and the first such line.
const TABLE: &[(&str, Fault)] = &[
    ("encryption key not loaded", Fault::KeyAbsent),
    ("Encryption clone error", Fault::KeyAbsent),
    ("has dependent clones", Fault::Cloned),
    ("snapshot is cloned", Fault::Cloned),
    ("has children", Fault::HasChildren),
    ("tag already exists on this dataset", Fault::TagExists),
    ("no such tag on this dataset", Fault::TagAbsent),
    ("filesystem already mounted", Fault::AlreadyMounted),
    ("not currently mounted", Fault::NotMounted),
    ("it's being held", Fault::Busy),
    ("is busy", Fault::Busy),
    ("dataset does not exist", Fault::NotFound),
    ("parent does not exist", Fault::NotFound),
    ("no such parent", Fault::NotFound),
    ("no such pool", Fault::NotFound),
    ("could not find any snapshots to destroy", Fault::NotFound),
    ("dataset already exists", Fault::Exists),
    ("pool or dataset exists", Fault::Exists),
    ("permission denied", Fault::Denied),
    ("Permission denied", Fault::Denied),
    ("Insufficient privileges", Fault::Denied),
    ("Operation not permitted", Fault::Denied),
    ("may only be mounted by root", Fault::Denied),
    ("delegated administration is disabled on pool", Fault::Denied),
    ("a password is required", Fault::Denied),
    ("is not allowed to execute", Fault::Denied),
    ("out of space", Fault::Exhausted),
    ("No space left on device", Fault::Exhausted),
    ("quota exceeded", Fault::Exhausted),
    ("pool is read-only", Fault::ReadOnly),
    ("dataset is read-only", Fault::ReadOnly),
    ("Read-only file system", Fault::ReadOnly),
    ("pool I/O is currently suspended", Fault::Suspended),
    ("pool is unavailable", Fault::Suspended),
    ("I/O error", Fault::Suspended),
    ("The ZFS modules", Fault::Unsupported),
    ("/dev/zfs and /proc/self/mounts are required", Fault::Unsupported),
    ("Failed to initialize the libzfs library", Fault::Unsupported),
    ("not supported by zfs kernel module", Fault::Unsupported),
    ("module does not support this operation", Fault::Unsupported),
    ("pool must be upgraded", Fault::Unsupported),
    ("unsupported version or feature", Fault::Unsupported),
];

/// A `zfs` that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    /// The line that says it.
    pub(crate) text: String,
}

impl Failure {
    /// What an output means; none for a success.
    pub(crate) fn of(output: &Output) -> Option<Self> {
        match output.status {
            ExitStatus::Code(0) => None,
            ExitStatus::Code(_) => Some(Self::read(&output.stderr)),
            ExitStatus::Signal(signal) => {
                Some(Self { fault: Fault::Interrupted, text: format!("zfs was ended by the signal {signal}") })
            }
        }
    }

    /// What a message means.
    fn read(stderr: &str) -> Self {
        let known = |line: &str| TABLE.iter().find(|(words, _)| line.contains(words)).map(|(_, fault)| *fault);
        let found = stderr.lines().find_map(|line| Some(Self { fault: known(line)?, text: line.trim().to_owned() }));
        let first =
            || stderr.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("zfs failed without a word").to_owned();
        found.unwrap_or_else(|| Self { fault: Fault::Other, text: first() })
    }

    /// Whether every line of a message says that something does not exist: then whatever else was asked about was answered.
    pub(crate) fn is_only_absence(output: &Output) -> bool {
        // The second is what `zfs holds` adds when nothing at all was there.
        let says = |line: &&str| !line.trim().is_empty() && *line != "no datasets available";
        let mut lines = output.stderr.lines().filter(says).peekable();
        lines.peek().is_some() && lines.all(|line| Self::read(line).fault == Fault::NotFound)
    }

    /// The error when something that is known to be there is busy (a receive, a rollback), or has just gone: it may be tried again.
    pub(crate) fn about_a_known_one(self) -> Error {
        match self.fault {
            Fault::Busy | Fault::NotFound => Error::Transient(self.text),
            _ => self.into(),
        }
    }

    /// Whether the change may have been made although the program failed.
    pub(crate) fn may_have_happened(&self) -> bool {
        matches!(self.fault, Fault::Interrupted | Fault::Suspended | Fault::Other)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let (fault, text) = match error {
            CommandError::Denied(text) => (Fault::Denied, text),
            CommandError::NotInstalled(text) => (Fault::Unsupported, format!("zfs is not installed: {text}")),
            CommandError::TimedOut => (Fault::Interrupted, "zfs was ended at the deadline".to_owned()),
            CommandError::Failed(text) => (Fault::NotRun, text),
        };
        Self { fault, text }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let text = failure.text;
        match failure.fault {
            Fault::NotFound | Fault::TagAbsent | Fault::NotMounted => Self::NotFound(text),
            Fault::Exists | Fault::TagExists | Fault::AlreadyMounted => Self::Conflict(text),
            Fault::Busy | Fault::Cloned | Fault::HasChildren => Self::InUse(text),
            Fault::Denied | Fault::ReadOnly => Self::Denied(text),
            Fault::KeyAbsent => Self::Denied(format!("{text}; load the key with `zfs load-key`")),
            Fault::Exhausted => Self::Exhausted(text),
            Fault::Unsupported => Self::Unsupported(text),
            Fault::Suspended | Fault::Interrupted | Fault::NotRun | Fault::Other => Self::Transient(text),
        }
    }
}

#[cfg(test)]
mod tests;
