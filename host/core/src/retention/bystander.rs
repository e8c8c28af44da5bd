//! What a plan finds and no rule takes: it is told of, so that nothing that is there is passed over in silence.

use std::fmt;

use jiff::Timestamp;

use crate::catalog::{BackupName, CatalogError, Increment, Intent, RestorePointName, WalGContents, WalGName};
use crate::error::chain;

/// What is there and stays, whatever the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bystander {
    /// A backup that was announced, is not published, and may run until then.
    Running(Intent),
    /// A backup that was announced and never published, whose deadlines have all passed.
    Interrupted(Intent),
    /// An increment whose parent, which is named, is not there.
    StrayIncrement(RestorePointName, BackupName),
    /// A base backup of WAL-G, with its bytes in the store where its records say them.
    WalG(WalGName, Option<u64>),
    /// A record of WAL-G's that cannot be read, by its key or what is wrong with it.
    UnreadableWalG(String),
}

/// All of it but the intents and increments that the plan settles.
pub(super) fn bystanders(
    intents: &[Intent],
    strays: &[Increment],
    walg: &WalGContents,
    settles: bool,
    now: Timestamp,
) -> Vec<Bystander> {
    let unpublished = intents.iter().filter_map(|intent| {
        if intent.expires_at >= now {
            return Some(Bystander::Running(intent.clone()));
        }
        (!settles).then(|| Bystander::Interrupted(intent.clone()))
    });
    let finished = walg.backups.iter().map(|backup| Bystander::WalG(backup.name.clone(), backup.compressed_bytes));
    let unfinished = walg.unfinished.iter().map(|name| Bystander::WalG(name.clone(), None));
    let named = |error: &CatalogError| error.key().map_or_else(|| chain(error), ToString::to_string);
    let unreadable = walg.unreadable.iter().map(|error| Bystander::UnreadableWalG(named(error)));
    let strays = strays.iter().map(|stray| Bystander::StrayIncrement(stray.name.clone(), stray.parent.clone()));
    unpublished.chain(strays).chain(finished).chain(unfinished).chain(unreadable).collect()
}

impl Bystander {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Running(intent) | Self::Interrupted(intent) => intent.name.to_string(),
            Self::StrayIncrement(name, _) => name.to_string(),
            Self::WalG(name, _) => name.to_string(),
            Self::UnreadableWalG(record) => record.clone(),
        }
    }

    /// Bytes in the store, where they are known.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        match self {
            Self::Running(_) | Self::Interrupted(_) | Self::StrayIncrement(..) | Self::UnreadableWalG(_) => None,
            Self::WalG(_, size_bytes) => *size_bytes,
        }
    }
}

/// Why it stays.
impl fmt::Display for Bystander {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running(intent) => write!(formatter, "not published yet; it may run until {:.0}", intent.expires_at),
            Self::Interrupted(_) => formatter.write_str("interrupted; `stillframe reconcile` finishes or undoes it"),
            Self::StrayIncrement(_, parent) => {
                write!(formatter, "its backup {parent} is not there; `stillframe delete garbage` removes the record")
            }
            Self::WalG(..) => formatter.write_str("WAL-G deletes its own backups"),
            Self::UnreadableWalG(_) => formatter.write_str("cannot be read, and so no WAL that it may need goes"),
        }
    }
}
