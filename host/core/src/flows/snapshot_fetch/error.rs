//! Why a backup was not restored.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use thiserror::Error;

use super::{IncrementError, KeptWalError, SalvageError};
use crate::catalog::{ArchiveError, BackupName, CatalogError, WalGName};
use crate::data_directory::{InspectError, PrepareError};
use crate::error::{Classify, ErrorClass, chain};
use crate::files::FileError;
use crate::flows::archive_map::MapError;
use crate::flows::release::ReleaseFault;
use crate::postgres::{InvalidTablespaceMap, Lsn, SystemIdentifier, TimelineId, WalFileName, WalRange, WalSegment, WalSegmentSize};
use crate::provider::{ProviderError, ProviderName, Token};
use crate::window::ranges;

/// Why a backup was not restored.
#[derive(Debug, Error)]
pub enum FetchError {
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The WAL of a cold backup cannot be had.
    #[error(transparent)]
    KeptWal(#[from] KeptWalError),
    /// Its WAL is not in this archive.
    #[error("the WAL of the backup `{name}` is kept by {place}")]
    ExternalWal {
        /// The backup.
        name: BackupName,
        /// Who keeps it, and where.
        place: String,
    },
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A directory cannot be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A directory cannot be made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The copy cannot be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The increment that is named cannot be restored.
    #[error(transparent)]
    Increment(#[from] IncrementError),
    /// The stored tablespace map is damaged.
    #[error(transparent)]
    Map(#[from] InvalidTablespaceMap),
    /// What an old cluster has not archived cannot be taken.
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    /// A background task died.
    #[error("the preparation died")]
    Lost(#[source] tokio::task::JoinError),
    /// An outside tool made the copy, and nobody else can restore it.
    #[error("the copy of the backup `{name}` was made by an outside tool, which has to restore it (`{snapshot_ids}`)")]
    Outside {
        /// The backup.
        name: BackupName,
        /// What the operator said of the copy.
        snapshot_ids: String,
    },
    /// The operator interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The store does not let it be recorded.
    #[error("the restore cannot be recorded in the store")]
    NotAnnounced(#[source] CatalogError),
    /// What must be released one day has to be recorded, and the operator wants no record.
    #[error("the provider `{0}` mounts or clones what it restores, which must be recorded until it is released")]
    NeedsRecord(ProviderName),
    /// The destination belongs to a restore that has not been released.
    #[error("`{}` is in use by a restore of the backup `{backup}`", destination.display())]
    AlreadyRestored {
        /// The backup.
        backup: BackupName,
        /// The data directory of that restore.
        destination: PathBuf,
    },
    /// It failed, and what the provider had restored could not be released.
    #[error("the restore failed, and what it made could not be released: it stays recorded as the restore `{}`", token.0)]
    NotReleased {
        /// The restore.
        token: Token,
        /// Why the restore failed.
        #[source]
        cause: Box<FetchError>,
        /// Why the release failed.
        removal: Box<ReleaseFault>,
    },
    /// A snapshot can never be restored.
    #[error("the snapshot of the backup `{name}` failed in the storage system: {reason}")]
    SetFailed {
        /// The backup.
        name: BackupName,
        /// The storage system's words.
        reason: String,
    },
    /// A snapshot is not there any more.
    #[error("the provider `{provider}` has no snapshot of the backup `{name}` any more")]
    SetGone {
        /// The backup.
        name: BackupName,
        /// Who should have it.
        provider: ProviderName,
    },
    /// The storage system still writes the snapshot.
    #[error("the snapshot of the backup `{name}` is not ready: {percent} %")]
    NotReady {
        /// The backup.
        name: BackupName,
        /// How far it is.
        percent: u8,
    },
    /// The catalog is empty.
    #[error("the catalog holds no backup that can be restored")]
    NoBackups,
    /// There is none of that name.
    #[error("there is no backup `{0}`")]
    NoSuchBackup(BackupName),
    /// It is a base backup of WAL-G.
    #[error("`{0}` is a base backup of WAL-G, and no snapshot")]
    OfWalG(WalGName),
    /// Its record is damaged.
    #[error("the backup `{name}` cannot be read: {reason}")]
    Unreadable {
        /// The backup.
        name: BackupName,
        /// Why.
        reason: String,
    },
    /// It is being deleted.
    #[error("the deletion of the backup `{0}` has begun")]
    Condemned(BackupName),
    /// The target cannot be reached from it.
    #[error("the target cannot be reached from the backup `{name}`: {reason}")]
    Unreachable {
        /// The backup.
        name: BackupName,
        /// Why.
        reason: String,
    },
    /// The timeline that is followed does not go through the backup.
    #[error("timeline {followed} left timeline {own}, on which the backup `{name}` lies, before its end at {stop}")]
    OtherTimeline {
        /// The backup.
        name: BackupName,
        /// Its timeline.
        own: TimelineId,
        /// The timeline that recovery would follow.
        followed: TimelineId,
        /// Where the backup stopped.
        stop: Lsn,
    },
    /// The target is still to come.
    #[error("the target {target} lies in the future: it is {now}")]
    Future {
        /// The target.
        target: Timestamp,
        /// Now.
        now: Timestamp,
    },
    /// It is not known which backup lies before the target.
    #[error("{backups} backups exist, and it is not known which of them lie before the target")]
    Ambiguous {
        /// How many.
        backups: usize,
    },
    /// No history of that timeline is archived.
    #[error("the archive holds no history of timeline {0}")]
    NoSuchTimeline(TimelineId),
    /// Segments that recovery needs are not archived.
    #[error("recovery from the backup `{name}` needs WAL that is not in the archive: {missing}")]
    WalMissing {
        /// The backup.
        name: BackupName,
        /// What is missing.
        missing: MissingFiles,
    },
    /// The archived WAL does not reach the target.
    #[error("the target cannot be reached from the backup `{name}`: {reason}")]
    EndsBefore {
        /// The backup.
        name: BackupName,
        /// Where it ends, and why.
        reason: String,
        /// The segments without which replay goes no further.
        missing: MissingFiles,
    },
    /// The archived WAL does not hold the restore point or the transaction.
    #[error(
        "the target is not in the archived WAL that can be replayed from {}",
        name.as_ref().map_or_else(|| "any backup".to_owned(), |name| format!("the backup `{name}`"))
    )]
    NotInWal {
        /// The backup that the operator named; none when any would do.
        name: Option<BackupName>,
        /// The segments without which replay goes no further.
        missing: MissingFiles,
    },
    /// It is restored to its own end and no further.
    #[error("the backup `{0}` stands alone: the WAL behind its end was given up")]
    Standalone(BackupName),
    /// The history of the timeline that is followed is damaged.
    #[error("the history of timeline {timeline} is damaged: {reason}")]
    HistoryDamaged {
        /// The timeline.
        timeline: TimelineId,
        /// What is wrong with it.
        reason: String,
    },
    /// The history of the timeline that is followed cannot be read here.
    #[error("the history of timeline {timeline} cannot be read here: {reason}")]
    HistoryUnreadable {
        /// The timeline.
        timeline: TimelineId,
        /// Why.
        reason: String,
    },
    /// The set changed with the live cluster.
    #[error("the backup `{0}` is not isolated: it holds data from after its end")]
    NotIsolated(BackupName),
    /// A path that depends on the working directory.
    #[error("the destination `{}` is not an absolute path", .0.display())]
    RelativeDestination(PathBuf),
    /// A server started there would write into a snapshot.
    #[error("`{}` lies in `{}`, where a provider keeps its snapshots", destination.display(), root.display())]
    InsideSnapshots {
        /// The destination, or that of a tablespace or of the WAL.
        destination: PathBuf,
        /// The provider's root.
        root: PathBuf,
    },
    /// A server runs there.
    #[error("a server runs on `{}` (process {pid})", destination.display())]
    Running {
        /// The destination.
        destination: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// It is another cluster.
    #[error("`{}` holds the cluster {found}, and the backup is of the cluster {expected}", destination.display())]
    OtherCluster {
        /// The destination.
        destination: PathBuf,
        /// In its `pg_control`.
        found: SystemIdentifier,
        /// In the backup.
        expected: SystemIdentifier,
    },
    /// A restore was interrupted there.
    #[error("`{}` holds an incomplete cluster: it lacks `{missing}`", destination.display())]
    Incomplete {
        /// The destination.
        destination: PathBuf,
        /// The file that it lacks.
        missing: &'static str,
    },
    /// Something else is there.
    #[error("`{}` is neither empty nor a data directory: it holds `{example}`", destination.display())]
    Foreign {
        /// The destination.
        destination: PathBuf,
        /// One entry.
        example: String,
    },
    /// Two directories would be restored one into the other.
    #[error("`{}` lies in `{}`, which is restored as well", inner.display(), outer.display())]
    Nested {
        /// The inner directory.
        inner: PathBuf,
        /// The outer one.
        outer: PathBuf,
    },
    /// A tablespace would be restored over something.
    #[error("`{}`, where tablespace {oid} would be restored, is not empty: it holds `{example}`", location.display())]
    TablespaceInUse {
        /// Its object identifier.
        oid: u32,
        /// Where it would go.
        location: PathBuf,
        /// One entry.
        example: String,
    },
}

impl From<MapError> for FetchError {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Catalog(error) => Self::Catalog(error),
            MapError::Archive(error) => Self::Archive(error),
        }
    }
}

/// Segments that are missing, for people: the first ones by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFiles {
    /// First and last file of each stretch.
    pub stretches: Vec<(WalFileName, WalFileName)>,
    /// All of them together.
    pub count: u64,
}

impl MissingFiles {
    /// Names them.
    #[must_use]
    pub fn new(ranges: &[WalRange], size: WalSegmentSize) -> Self {
        let name = |timeline, number| WalSegment { timeline, number }.file_name(size);
        let stretch = |range: &WalRange| (name(range.timeline, range.first), name(range.timeline, range.last));
        Self { stretches: ranges.iter().map(stretch).collect(), count: ranges::count(ranges) }
    }
}

impl fmt::Display for MissingFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.stretches.iter().take(STRETCHES_IN_A_MESSAGE).enumerate() {
            formatter.write_str(if place > 0 { ", " } else { "" })?;
            if first == last { write!(formatter, "`{first}`") } else { write!(formatter, "`{first}` to `{last}`") }?;
        }
        if self.stretches.len() > STRETCHES_IN_A_MESSAGE {
            write!(formatter, " and more, {} in all", self.count)?;
        }
        Ok(())
    }
}

/// More would bury what the message says.
const STRETCHES_IN_A_MESSAGE: usize = 5;

impl Classify for FetchError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Catalog(error) | Self::NotAnnounced(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::KeptWal(error) => error.class(),
            Self::Provider(error) => error.class(),
            Self::Inspect(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Prepare(error) => error.class(),
            Self::Salvage(error) => error.class(),
            Self::Increment(error) => error.class(),
            Self::Map(error) => error.class(),
            Self::Lost(_) => ErrorClass::Internal,
            Self::Interrupted | Self::NotReady { .. } => ErrorClass::Transient,
            Self::NotReleased { cause, .. } => cause.class(),
            Self::Unreadable { .. } | Self::HistoryDamaged { .. } => ErrorClass::Corrupt,
            Self::HistoryUnreadable { .. } => ErrorClass::Config,
            Self::RelativeDestination(_) => ErrorClass::Usage,
            _ => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::Catalog(error) => return error.hint(),
            Self::Archive(error) => return error.hint(),
            Self::KeptWal(error) => return error.hint(),
            Self::Provider(error) => return error.hint(),
            Self::Inspect(error) => return error.hint(),
            Self::File(error) => return error.hint(),
            Self::Prepare(error) => return error.hint(),
            Self::Salvage(error) => return error.hint(),
            Self::Increment(error) => return error.hint(),
            Self::Map(error) => return error.hint(),
            Self::Lost(_) | Self::Interrupted => {
                "the destination and the directories of the tablespaces may be incomplete; empty them and run again"
            }
            Self::NotAnnounced(error) => {
                let advice = "a store that may only be read needs --unannounced, with which no deletion waits for the restore";
                return Some(error.hint().map_or_else(|| advice.to_owned(), |hint| format!("{hint}; {advice}")));
            }
            Self::NeedsRecord(_) => "restore with rights to write to the store, and without --unannounced",
            Self::AlreadyRestored { destination, .. } => {
                return Some(format!("release it first: `stillframe snapshot-release {}`", destination.display()));
            }
            Self::NotReleased { token, removal, .. } => {
                return Some(format!(
                    "releasing it failed because {}; try again with `stillframe snapshot-release {}`",
                    chain(removal.as_ref()),
                    token.0
                ));
            }
            Self::ExternalWal { .. } => {
                "name the backup, and the command by which that tool fetches WAL: --restore-command 'wal-g wal-fetch \"%f\" \"%p\"'"
            }
            Self::SetFailed { .. } | Self::SetGone { .. } => "use another backup: see `stillframe backup-list`",
            Self::NotReady { .. } => "wait until the storage system has completed it, or name an older backup",
            Self::NoBackups => "take one with `stillframe snapshot-push`",
            Self::NoSuchBackup(_) | Self::Condemned(_) => "see the names with `stillframe backup-list`",
            Self::OfWalG(name) => {
                return Some(format!(
                    "WAL-G restores it: `wal-g backup-fetch DIRECTORY {name}`; `stillframe wal-fetch` may be its restore_command"
                ));
            }
            Self::Unreadable { .. } => "restore its record from a copy of the store, or use another backup",
            Self::Unreachable { .. } => "see with `stillframe backup-list` which backup had finished before the target",
            Self::Future { .. } => "leave the target out to recover as far as the archive goes",
            Self::Ambiguous { .. } => {
                "the WAL that tells could not be read: name the newest backup that had finished before it, or let more be read with --scan"
            }
            Self::OtherTimeline { .. } => {
                "a failover, or a copy of this cluster that archives here, made the newer timeline: add `--target-timeline current` to \
                 stay on the backup's own, or the number of the one that you mean"
            }
            Self::NoSuchTimeline(_) => "use `--target-timeline current` to stay on the backup's own timeline",
            Self::WalMissing { .. } => {
                "archive it from the server's pg_wal if it is still there, or use an earlier target: see `stillframe window`; if it will \
                 lie in the copy's pg_wal before the server starts, add --allow-missing-wal"
            }
            Self::EndsBefore { missing, .. } => {
                return Some(format!(
                    "leave the target out to recover as far as the archive goes; or archive what follows from the server's pg_wal (next: \
                     {missing}), or, if it will lie in the copy's pg_wal before the server starts, add --allow-missing-wal"
                ));
            }
            Self::NotInWal { name: Some(_), .. } => {
                "it may lie before the end of that backup: leave the name out, and the newest backup from which it is reached is taken"
            }
            Self::NotInWal { name: None, missing } => {
                return Some(format!(
                    "compare the name with what was typed when it was made; if it lies further on, archive what follows from the \
                     server's pg_wal (next: {missing}), or, if it will lie in the copy's pg_wal before the server starts, name a backup \
                     and add --allow-missing-wal"
                ));
            }
            Self::Standalone(_) => "restore it with --target-immediate, or use another backup: see `stillframe window`",
            Self::HistoryDamaged { .. } => "restore the file from a copy of the archive, or use `--target-timeline current`",
            Self::HistoryUnreadable { .. } => {
                "restore where the private key is: set `identity_file` or `identity_command` in [archive]"
            }
            Self::NotIsolated(_) => "use an isolated backup; for a test, add --allow-not-isolated",
            Self::Outside { .. } => {
                "let that tool put its copy into this directory, then run this again: what lies there is prepared in its place"
            }
            Self::RelativeDestination(_) => "give it with a leading `/`",
            Self::InsideSnapshots { .. } => "choose a directory elsewhere: starting a server there would change the snapshot",
            Self::Running { .. } => "never restore over a running server; stop it, or choose another directory",
            Self::OtherCluster { .. } | Self::Foreign { .. } => "choose an empty directory, or check the configuration",
            Self::Incomplete { .. } => "a restore was interrupted there; empty the directory and run again",
            Self::Nested { .. } => "restore the tablespace to a directory of its own with `--tablespace-mapping OLD=NEW`",
            Self::TablespaceInUse { .. } => {
                "it may be the live cluster's; restore it elsewhere with `--tablespace-mapping OLD=NEW`"
            }
        };
        Some(advice.to_owned())
    }
}
