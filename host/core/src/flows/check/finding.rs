//! What was found about one part of the set-up, and how bad it is.

use crate::error::{Classify, chain};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The store answers.
    Store,
    /// The store honours what it promises: reads, listings, deletions, conditional writes.
    StorePromises,
    /// The disk below the store.
    StoreSpace,
    /// The server answers.
    Server,
    /// The primary of a standby.
    Primary,
    /// The rights of the role.
    Rights,
    /// The clocks of the server and of this host.
    Clock,
    /// The settings and the state of archiving.
    Archiving,
    /// A segment that was sent through the archive.
    RoundTrip,
    /// The directories of the cluster, and what they are stored on.
    Paths,
    /// The disks below the directories.
    DataSpace,
    /// One provider.
    Provider,
    /// The backups.
    Backups,
    /// The WAL that restoring needs.
    Wal,
    /// What a deletion by the configured rule would leave.
    Retention,
    /// Restores that were not given back.
    Restores,
}

impl Subject {
    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::StorePromises => "store-promises",
            Self::StoreSpace => "store-space",
            Self::Server => "server",
            Self::Primary => "primary",
            Self::Rights => "rights",
            Self::Clock => "clock",
            Self::Archiving => "archiving",
            Self::RoundTrip => "round-trip",
            Self::Paths => "paths",
            Self::DataSpace => "data-space",
            Self::Provider => "provider",
            Self::Backups => "backups",
            Self::Wal => "wal",
            Self::Retention => "retention",
            Self::Restores => "restores",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// Not looked at, and why stands in the message.
    Skipped,
    /// It works, and somebody should see to it.
    Warning,
    /// Backups, archiving or a restore do not work.
    Critical,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// How bad it is.
    pub verdict: Verdict,
    /// What was found, in one line.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
}

impl Finding {
    pub(super) fn new(subject: Subject, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { subject, verdict, message: message.into(), hint: None }
    }

    pub(super) fn ok(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Ok, message)
    }

    pub(super) fn skipped(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Skipped, message)
    }

    pub(super) fn warning(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Warning, message)
    }

    pub(super) fn critical(subject: Subject, message: impl Into<String>) -> Self {
        Self::new(subject, Verdict::Critical, message)
    }

    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What an error means for this part: that it does not work.
    /// What could not be looked at, or is not as it must be.
    pub fn failed(subject: Subject, error: &impl Classify) -> Self {
        Failed::of(error).critical(subject)
    }
}

/// An error, as far as a finding tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What failed, and its causes.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
}

impl Failed {
    /// Takes an error down.
    pub fn of(error: &impl Classify) -> Self {
        Self { message: chain(error), hint: error.hint() }
    }

    pub(super) fn critical(self, subject: Subject) -> Finding {
        Finding { subject, verdict: Verdict::Critical, message: self.message, hint: self.hint }
    }
}
