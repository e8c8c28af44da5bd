//! Restores a backup: choose it, prove that it can reach the target, restore or take what is mounted, and prepare the recovery.
//!
//! Every refusal comes before the first change. An empty destination is filled by the provider; one that holds this cluster is
//! taken as what the operator mounted. From then on the copy is sealed: without its `backup_label` no server starts on it.

pub(super) mod choose;
pub(super) mod cold;
mod elsewhere;
mod error;
pub(super) mod increment;
mod places;
mod ready;
mod recovery;
mod restore;
mod salvage;
mod with_old_wal;

use std::path::{Path, PathBuf};

pub use choose::{BackupSelector, MissingWal};
pub use cold::KeptWalError;
pub use error::{FetchError, MissingFiles};
pub use increment::IncrementError;
pub use salvage::{SalvageError, SalvagedWal};

use crate::catalog::{Backup, BackupState, CatalogContents, RestoreRecord, Sentinel};
use crate::data_directory::{
    self, Archiving, KeptWal, LockOut, Occupation, OriginalLocations, Preparation, PreparationReport, RecoverySettings,
    SalvagedFile,
};
use crate::flows::wal_scan::{Reached, WalScan};
use crate::flows::{Isolation, Ports, settle_states};
use crate::postgres::WalSegment;
use crate::provider::Token;
use crate::window::{LineEnd, followed};

use choose::Choice;
use recovery::await_recovery;
use restore::Restore;
use salvage::Salvage;

/// First major version that fails when recovery ends before its target.
const FIRST_THAT_INSISTS: u32 = 13;

/// What to restore, where to, and how to recover.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The new data directory: missing, empty, or with what the operator mounted.
    pub destination: PathBuf,
    /// Which backup.
    pub selector: BackupSelector,
    /// How to recover.
    pub recovery: RecoverySettings,
    /// Pairs of OLD and NEW locations of tablespaces.
    pub tablespace_mapping: Vec<(PathBuf, PathBuf)>,
    /// Where the link `pg_wal` shall point, when the original has it elsewhere.
    pub wal_directory: Option<PathBuf>,
    /// What is done for safety's sake beyond the restore itself.
    pub precautions: Precautions,
    /// Whether a set that changed with the live cluster is refused.
    pub isolation: Isolation,
    /// Whether a target is refused that the archived WAL does not reach.
    pub missing_wal: MissingWal,
    /// Whether the restore is recorded in the store.
    pub announcement: Announcement,
    /// Segments that are read at most, to find the target.
    pub scan: u64,
    /// Token of the request to the provider.
    pub token: Token,
    /// Directories of providers: nobody may start a server inside a snapshot.
    pub snapshot_roots: Vec<PathBuf>,
    /// Host on which it is restored.
    pub hostname: String,
}

/// What is done for safety's sake beyond the restore itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Precautions {
    /// The data directory of the old cluster, or its `pg_wal`, whose WAL that is not archived is replayed as well.
    pub salvage_wal: Option<PathBuf>,
    /// The only role that may connect until the recovery is accepted.
    pub lock_out: Option<LockOut>,
}

/// Whether a restore is recorded in the store, for those who delete there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Announcement {
    /// It is, before anything is made.
    #[default]
    Required,
    /// It is not: the store may only be read. Only copies are made then, and no deletion waits for them.
    Renounced,
}

/// What was restored.
#[derive(Debug)]
pub struct FetchReport {
    /// The backup.
    pub backup: Backup,
    /// Whether the provider restored it; otherwise it was mounted.
    pub restored_by_provider: bool,
    /// What must be released one day, when a provider restored elsewhere.
    pub restore: Option<RestoreRecord>,
    /// What keeps the backup until the copy has recovered, when it lies in its place and that could be recorded.
    pub recovery: Option<RestoreRecord>,
    /// What was taken from the old cluster; none when nothing was asked for.
    pub salvaged: Option<SalvagedWal>,
    /// What the preparation did.
    pub preparation: PreparationReport,
}

/// Restores a backup into the destination and prepares its recovery; starting the server is the operator's act.
pub async fn snapshot_fetch(
    ports: &Ports<'_>,
    request: &FetchRequest,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<FetchReport, FetchError> {
    let mut contents = ports.catalog().contents().await?;
    for error in &contents.unreadable {
        tracing::warn!(%error, "left out");
    }
    // What is not known to be ready may be so by now, or never.
    settle_states(ports, &mut contents).await;
    // An increment stands for its parent and a target.
    let resolved = increment::resolve(ports, &contents, request).await?;
    let request = resolved.as_ref().unwrap_or(request);
    // Before anything is chosen: what the archive lacks may be what reaches the target.
    let salvage = Salvage::look(ports, &contents, request).await?;
    let store = salvage.as_ref().map(|salvage| salvage.shown_in(ports));
    let seen = store.as_ref().map_or_else(|| ports.with_store(ports.store), |store| ports.with_store(store));
    let choice = choose::choose(&seen, &contents, request).await?;
    let backup = choice.backup.clone();
    let sentinel = &backup.sentinel;
    tracing::info!(backup = %sentinel.name, "restoring");
    if !sentinel.is_isolated() && request.isolation == Isolation::Required {
        return Err(FetchError::NotIsolated(sentinel.name.clone()));
    }
    // Nor is a copy of it that somebody has mounted what it seems.
    if let BackupState::Failed(reason) = &backup.state {
        return Err(FetchError::SetFailed { name: sentinel.name.clone(), reason: reason.clone() });
    }
    // Recovery would notice, but only after hours of restoring.
    let kept_wal = cold::read_kept(ports, sentinel).await?;
    check_wal(&seen, request, &choice).await?;
    let recovery = cold::recovery(request, sentinel)?;
    let mut salvaged = salvage.as_ref().map(|salvage| take(salvage, &choice, &contents, request)).transpose()?;
    let occupation = check_destination(request, sentinel)?;
    if let (Some(salvage), Some(taken)) = (&salvage, &mut salvaged)
        && request.announcement == Announcement::Required
        && request.recovery.archiving == Archiving::Keep
    {
        // Before anything else: from here on it can be had by any later restore as well.
        salvage.archive(ports, taken).await;
    }
    let files = salvaged.as_ref().map_or(&[][..], |salvaged| &salvaged.files);
    let copy = Copy { request, sentinel, recovery, kept_wal, salvaged: files };

    let restored_by_provider = matches!(occupation, Occupation::Missing | Occupation::Empty);
    if let (true, Some(copy)) = (restored_by_provider, &sentinel.outside) {
        return Err(FetchError::Outside { name: sentinel.name.clone(), snapshot_ids: copy.snapshot_ids.join("`, `") });
    }
    let (records, preparation) = if restored_by_provider {
        // A snapshot that can never be restored must not cost an attempt.
        ready::check(ports, sentinel).await?;
        fill(ports, &copy, interrupted).await?
    } else {
        let recovery = await_recovery(ports, request, sentinel).await;
        match copy.prepare(OriginalLocations::Foreign).await {
            Ok(prepared) => (Records { restore: None, recovery }, prepared),
            Err(error) => {
                recovery::give_up(ports, recovery).await;
                return Err(error);
            }
        }
    };
    tracing::info!(directory = %request.destination.display(), "ready to recover");
    let Records { restore, recovery } = records;
    Ok(FetchReport { backup, restored_by_provider, restore, recovery, salvaged, preparation })
}

/// What becomes of the directory.
struct Copy<'a> {
    request: &'a FetchRequest,
    sentinel: &'a Sentinel,
    recovery: RecoverySettings,
    kept_wal: Option<KeptWal>,
    salvaged: &'a [SalvagedFile],
}

/// What the store says of a restore that has succeeded.
struct Records {
    restore: Option<RestoreRecord>,
    recovery: Option<RestoreRecord>,
}

/// Lets the providers restore, and prepares what they made.
async fn fill(
    ports: &Ports<'_>,
    copy: &Copy<'_>,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<(Records, PreparationReport), FetchError> {
    let Copy { request, sentinel, .. } = *copy;
    let mut restore = Restore::begin(ports, request, sentinel).await?;
    let restored = tokio::select! {
        biased;
        () = interrupted => Err(FetchError::Interrupted),
        restored = restore.run() => restored,
    };
    if let Err(error) = restored {
        return Err(restore.take_back(error).await);
    }
    if !restore.is_elsewhere() {
        // Nothing is left to release. A copy in its place stays whatever comes: hours of copying are not thrown away for a wrong
        // setting, and a second run prepares it.
        let recovery = await_recovery(ports, request, sentinel).await;
        let restore = restore.finish().await;
        return Ok((Records { restore, recovery }, copy.prepare(OriginalLocations::Ours).await?));
    }
    match copy.prepare(OriginalLocations::Ours).await {
        Ok(prepared) => Ok((Records { restore: restore.finish().await, recovery: None }, prepared)),
        Err(error) => Err(restore.take_back(error).await),
    }
}

/// The first segment of the backup is read: an archive that is encrypted needs a private key here. Then the WAL is asked whether
/// it holds the target, since only its records tell times.
async fn check_wal(ports: &Ports<'_>, request: &FetchRequest, choice: &Choice) -> Result<(), FetchError> {
    let sentinel = &choice.backup.sentinel;
    // Nothing of it is here.
    if sentinel.external_archive.is_some() {
        return Ok(());
    }
    let range = sentinel.wal_range();
    let first = WalSegment { timeline: sentinel.timeline, number: range.first }.file_name(sentinel.segment_size);
    if let Some(object) = ports.archive().find(first).await? {
        object.write_to(std::io::sink()).await?;
    }
    let (Some(route), RecoverySettings { target, inclusive, .. }) = (&choice.route, &request.recovery) else { return Ok(()) };
    let reached = WalScan::new(ports, sentinel.segment_size, request.scan).reaches(route, target, *inclusive).await?;
    let reason = match reached {
        Reached::Yes => return Ok(()),
        Reached::Unknown(reason) => {
            tracing::warn!("whether the archived WAL reaches the target is not known: {reason}");
            return Ok(());
        }
        Reached::No(last) => choose::ends_before(route, last),
    };
    // Before 13 a server takes the end of the archive for the target, which it is when nothing happened since.
    let is_lenient = sentinel.version.major() < FIRST_THAT_INSISTS && route.ends_because == LineEnd::ArchiveEnds;
    if is_lenient || request.missing_wal != MissingWal::Refused {
        tracing::warn!("{reason}");
        return Ok(());
    }
    let missing = MissingFiles::new(&choose::missing_behind(&choice.input, route), sentinel.segment_size);
    Err(FetchError::EndsBefore { name: sentinel.name.clone(), reason, missing })
}

/// What of the old WAL lies on the way that recovery takes.
fn take(salvage: &Salvage, choice: &Choice, contents: &CatalogContents, request: &FetchRequest) -> Result<SalvagedWal, FetchError> {
    let sentinel = &choice.backup.sentinel;
    let history = followed(&choice.input, sentinel.timeline, request.recovery.timeline);
    let history = history.map_err(|refusal| choose::refused(refusal, contents, &choice.input))?;
    Ok(salvage.take(sentinel, history)?)
}

/// Refuses every destination that is neither empty nor what this backup cut.
fn check_destination(request: &FetchRequest, sentinel: &Sentinel) -> Result<Occupation, FetchError> {
    let destination = &request.destination;
    if !destination.is_absolute() {
        return Err(FetchError::RelativeDestination(destination.clone()));
    }
    let places =
        std::iter::once(destination).chain(request.tablespace_mapping.iter().map(|(_, to)| to)).chain(&request.wal_directory);
    for place in places {
        let resolved = resolve_existing(place);
        if let Some(root) = request.snapshot_roots.iter().find(|root| resolved.starts_with(resolve_existing(root))) {
            return Err(FetchError::InsideSnapshots { destination: place.clone(), root: root.clone() });
        }
    }
    let occupation = data_directory::inspect(destination)?;
    match &occupation {
        Occupation::Cluster { running: Some(pid), .. } => Err(FetchError::Running { destination: destination.clone(), pid: *pid }),
        Occupation::Cluster { system_identifier, .. } if *system_identifier != sentinel.system_identifier => {
            Err(FetchError::OtherCluster {
                destination: destination.clone(),
                found: *system_identifier,
                expected: sentinel.system_identifier,
            })
        }
        Occupation::Missing | Occupation::Empty | Occupation::Cluster { .. } => Ok(occupation),
        Occupation::Incomplete { missing } => Err(FetchError::Incomplete { destination: destination.clone(), missing }),
        Occupation::Foreign { example } => Err(FetchError::Foreign { destination: destination.clone(), example: example.clone() }),
    }
}

/// Resolves the links of the part of a path that exists.
fn resolve_existing(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let (Ok(resolved), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return resolved.join(rest);
        }
    }
    path.to_owned()
}

impl Copy<'_> {
    async fn prepare(&self, originals: OriginalLocations) -> Result<PreparationReport, FetchError> {
        let (request, sentinel) = (self.request, self.sentinel);
        let preparation = Preparation {
            // Where the data is, and not a link to it: what is made in it must not depend on the link.
            data_directory: resolve_existing(&request.destination),
            original_data_directory: sentinel.data_directory.clone(),
            system_identifier: sentinel.system_identifier,
            version: sentinel.version,
            stop_lsn: sentinel.stop_lsn,
            label: sentinel.backup_label.clone(),
            tablespace_map: sentinel.tablespace_map.clone(),
            tablespace_mapping: request.tablespace_mapping.clone(),
            original_locations: originals,
            wal_directory: request.wal_directory.clone(),
            kept_wal: self.kept_wal.clone(),
            recovery: self.recovery.clone(),
            backup: sentinel.name.to_string(),
            salvaged: self.salvaged.to_vec(),
            lock_out: request.precautions.lock_out.clone(),
        };
        let prepared = tokio::task::spawn_blocking(move || data_directory::prepare(&preparation)).await;
        Ok(prepared.map_err(FetchError::Lost)??)
    }
}
