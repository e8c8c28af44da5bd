//! Takes a backup: preflight, intent, backup mode, cut, stop, WAL archived, snapshot ready, sentinel.
//!
//! The intent is written before anything is cut, so that no snapshot is ever unknown. The sentinel is written last, so that no
//! backup is listed that cannot be restored. Backup mode lasts from just before the cut to just after it, never for an upload.
//! When a step fails or the operator interrupts, backup mode has ended and what was cut is deleted, or stays under its intent. Several
//! providers cut one after the other in one span of backup mode.

pub(super) mod announce;
pub(super) mod archiver;
pub(super) mod assign;
mod backup_mode;
mod cold;
pub(super) mod cover;
pub(super) mod cut;
mod error;
mod external;
mod labels;
pub(super) mod leftovers;
pub(super) mod preflight;
pub(super) mod standby;
pub(super) mod undo;
pub(super) mod wait;

use std::pin::{Pin, pin};
use std::time::Duration;

use crate::catalog::{
    Backup, BackupName, BackupPath, BackupSet, BackupVolume, CatalogError, Consistency, LeaseRequest, Permanence, Sentinel,
};
use crate::flows::{Isolation, Ports};
use crate::paths::Locator;
use crate::postgres::{CheckpointMode, Connection};
use crate::provider::{SnapshotSet, Token};

use archiver::ArchiverRole;
pub use assign::{PathRule, PathSelector, ProviderChoice};
pub use cold::{ColdError, ColdServer, snapshot_push_cold};
use cut::Cut;
pub use error::PushError;
pub use external::{ExternalWal, Unproven, snapshot_push_external};
use preflight::{Part, Prepared};
pub use standby::{Primary, StandbyError};
use wait::Awaited;

/// What to back up, and how.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// Name of the new backup.
    pub name: BackupName,
    /// Token of the request to the provider; with several, each gets one that is made of it.
    pub token: Token,
    /// Who cuts what.
    pub providers: ProviderChoice,
    /// Whether retention may delete it.
    pub permanence: Permanence,
    /// What the operator wants to find in the sentinel.
    pub user_data: Option<serde_json::Value>,
    /// Whether the storage systems are waited for.
    pub readiness: Readiness,
    /// How the first checkpoint is written.
    pub checkpoint: CheckpointMode,
    /// Whether a set that changes with the live cluster is refused.
    pub isolation: Isolation,
    /// Host that takes the backup.
    pub hostname: String,
    /// Who announces the backup to those that delete, and how long it waits for them.
    pub lease: LeaseRequest,
    /// How long to wait.
    pub deadlines: PushDeadlines,
}

/// Whether a backup is published before its snapshots are ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// It is not: what is listed can be restored.
    #[default]
    Awaited,
    /// It is, as cut; whoever lists or restores it asks later what became of it.
    Later,
}

/// How long the steps after the cut may take.
#[derive(Debug, Clone, Copy)]
pub struct PushDeadlines {
    /// From the start of backup mode until the cut.
    pub cut: Duration,
    /// Until the WAL of the backup is in the archive.
    pub archive: Duration,
    /// Until the storage system says that the set is ready.
    pub ready: Duration,
}

/// The server to back up.
pub struct Server<'a> {
    /// The session on the server whose files are cut.
    pub connection: Box<dyn Connection>,
    /// What the primary of a standby does.
    pub primary: Primary,
    /// Finds the server's directories on this machine.
    pub locator: &'a dyn Locator,
}

/// Takes a backup and publishes it.
///
/// `interrupted` resolves when the operator wants to stop; it is heeded until the sentinel is about to be written.
pub async fn snapshot_push(
    ports: &Ports<'_>,
    mut server: Server<'_>,
    request: &PushRequest,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<Backup, PushError> {
    let mut interrupted = pin!(interrupted);
    // Everything that can be wrong is found here, while nothing has happened yet.
    let prepared = stoppable(preflight::prepare(ports, &mut server, request), interrupted.as_mut()).await?;
    let prepared = announced(ports, request, prepared, interrupted.as_mut()).await?;
    let taken = stoppable(take(ports, server, request, &prepared), interrupted).await;
    publish(ports, request, &prepared, taken).await
}

/// Makes the backup known to everybody who deletes.
async fn announced(
    ports: &Ports<'_>,
    request: &PushRequest,
    mut prepared: Prepared,
    mut interrupted: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<Prepared, PushError> {
    // What earlier ones left, as far as it takes no time and no decision.
    let settling = async {
        prepared.left.settle(ports, &request.lease).await;
        Ok(())
    };
    stoppable(settling, interrupted.as_mut()).await?;
    // Whoever deletes has finished, or will see the intent.
    let lease = stoppable(async { Ok(ports.lease(&request.lease).await?) }, interrupted).await?;
    // From here on the catalog knows of the backup; nothing is cut before.
    announce::announce(ports, lease, request, &mut prepared).await?;
    Ok(prepared)
}

/// Publishes what was taken, or undoes it.
async fn publish(
    ports: &Ports<'_>,
    request: &PushRequest,
    prepared: &Prepared,
    taken: Result<Sentinel, PushError>,
) -> Result<Backup, PushError> {
    let sentinel = match taken {
        Ok(sentinel) => sentinel,
        Err(error) => return Err(undo::undo(ports, prepared, error).await),
    };
    // The commit point: before it there is no backup, after it there is one.
    match ports.catalog().publish(&sentinel).await {
        Ok(()) => {}
        // It may be there: then its snapshot must be, too. The intent keeps it accounted for.
        Err(error @ (CatalogError::PublicationUnknown { .. } | CatalogError::NotKept { .. })) => return Err(error.into()),
        Err(error) => return Err(undo::undo(ports, prepared, error.into()).await),
    }
    // The sentinel accounts for the snapshot now. An intent that stays beside it means nothing to any reader.
    if let Err(error) = ports.catalog().remove_intent(&request.name).await {
        tracing::warn!(%error, "the backup is published, and its intent could not be removed; that does no harm");
    }
    tracing::info!(backup = %sentinel.name, "published");
    Ok(Backup::published(sentinel))
}

/// Runs a step until it is done or the operator interrupts. Dropping the step ends backup mode, since it owns the session.
pub(super) async fn stoppable<T>(
    step: impl Future<Output = Result<T, PushError>>,
    interrupted: Pin<&mut (impl Future<Output = ()> + Send)>,
) -> Result<T, PushError> {
    tokio::select! {
        biased;
        () = interrupted => Err(PushError::Interrupted),
        result = step => result,
    }
}

/// Everything from backup mode to a restorable snapshot.
async fn take(ports: &Ports<'_>, server: Server<'_>, request: &PushRequest, prepared: &Prepared) -> Result<Sentinel, PushError> {
    flush(ports, server.locator, request, prepared).await?;
    let (mut cut, mut asked, role) = cut_and_ask(ports, server, request, prepared).await?;
    // Without start…stop in the archive the set cannot be restored: the stop record is written after the cut.
    let awaited = Awaited::of(&prepared.facts, cut.start_lsn, cut.stop_lsn, role, request.deadlines.archive);
    wait::until_archived(ports, &awaited, Some(&mut *asked)).await?;
    wait::until_ready(ports, &mut cut, request, prepared).await?;
    check_time(ports, prepared)?;
    Ok(sentinel(request, prepared, cut))
}

/// Cuts in backup mode, and chooses whose archiver tells of its WAL.
async fn cut_and_ask(
    ports: &Ports<'_>,
    server: Server<'_>,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<(Cut, Box<dyn Connection>, ArchiverRole), PushError> {
    let (in_backup_mode, ends_segment) = match server.primary {
        Primary::Unknown => (None, None),
        Primary::EndsSegment(primary) => (None, Some(primary)),
        Primary::InBackupMode(primary) => (Some(primary), None),
    };
    let cutting = cut::cut(ports, server.connection, in_backup_mode, request, prepared);
    let (ends_segment, cut) = match ends_segment {
        Some(mut primary) => {
            let cut = standby::awake_during(&mut *primary, ports.clock, cutting).await;
            (Some(primary), cut)
        }
        None => (None, cutting.await),
    };
    let (cut, session) = cut?;
    let (asked, role) = archiver::choose(ports, session, ends_segment, request, prepared).await?;
    Ok((cut, asked, role))
}

/// Before backup mode: it may take long, and a disk that is cut holds only what has reached it.
async fn flush(ports: &Ports<'_>, locator: &dyn Locator, request: &PushRequest, prepared: &Prepared) -> Result<(), PushError> {
    let deadline = request.deadlines.cut;
    tokio::select! {
        flushed = locator.flush(&prepared.paths) => Ok(flushed?),
        () = ports.clock.sleep(deadline) => Err(PushError::FlushDeadline(deadline)),
    }
}

/// Everybody who deletes WAL reckons with the intent until it expires, and not one second longer. Who expires it behind another
/// clock gives the backup up before, which the publication finds.
fn check_time(ports: &Ports<'_>, prepared: &Prepared) -> Result<(), PushError> {
    if ports.clock.uptime() >= prepared.ends_at {
        return Err(PushError::Expired { at: prepared.intent.expires_at });
    }
    Ok(())
}

fn sentinel(request: &PushRequest, prepared: &Prepared, cut: Cut) -> Sentinel {
    let facts = &prepared.facts;
    let consistency = consistency(&cut.sets);
    let paths = prepared.paths.iter();
    Sentinel {
        name: request.name.clone(),
        start_lsn: cut.start_lsn,
        stop_lsn: cut.stop_lsn,
        timeline: facts.timeline,
        segment_size: facts.segment_size,
        version: facts.version,
        system_identifier: facts.system_identifier,
        started_at: facts.now,
        finished_at: cut.finished_at,
        hostname: request.hostname.clone(),
        data_directory: facts.data_directory.clone(),
        backup_label: cut.label,
        tablespace_map: cut.tablespace_map,
        permanence: request.permanence,
        user_data: request.user_data.clone(),
        sets: sets(prepared, cut.sets),
        paths: paths.map(|path| BackupPath { name: path.name.clone(), role: path.role, path: path.path.clone() }).collect(),
        consistency,
        from_standby: facts.in_recovery,
        outside: None,
        is_cold: false,
        external_archive: None,
    }
}

/// Two sets are from two instants, whatever each of them says of itself.
pub(in crate::flows) fn consistency(sets: &[SnapshotSet]) -> Consistency {
    match sets {
        sets if sets.iter().any(|set| !set.isolated) => Consistency::NotIsolated,
        [only] if only.atomic => Consistency::Atomic,
        _ => Consistency::CoveredByBackupMode,
    }
}

/// What each provider made, and of what.
fn sets(prepared: &Prepared, snapshots: Vec<SnapshotSet>) -> Vec<BackupSet> {
    let mut order = 0;
    let parts = prepared.parts.iter().zip(snapshots);
    let set = |(part, snapshot): (&Part, SnapshotSet)| {
        let volumes = part.create.volumes.iter().map(|volume| {
            order += 1;
            BackupVolume {
                id: volume.id.clone(),
                paths: volume.paths.iter().map(|path| path.name.clone()).collect(),
                cut_order: order,
                attributes: volume.attributes.clone(),
            }
        });
        BackupSet { provider: part.provider.name().clone(), snapshot, volumes: volumes.collect() }
    };
    parts.map(set).collect()
}
