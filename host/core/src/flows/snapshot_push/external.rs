//! Takes a backup whose WAL another tool keeps: the same as any other, but for where its WAL is looked for.
//!
//! That place is read and never written. What is there is proven as in our own archive: each segment is read, unpacked and compared with
//! position and cluster. A tool whose archive cannot be read here is believed by the word of the server's archiver, and that is recorded.
//! What nothing proves is published only when the operator said so before, and what is proven to be wrong not even then.

use std::pin::pin;

use super::archiver::ArchiverRole;
use super::preflight::{self, Prepared};
use super::standby::must_archive;
use super::{PushError, PushRequest, Server, announced, publish, sentinel, stoppable, wait};
use crate::catalog::{
    ArchiveError, ArchiveSettings, Backup, ExternalArchive, ExternalKind, ExternalProof, Layout, Sentinel, WalArchive,
    external_layout,
};
use crate::error::{Classify as _, ErrorClass, chain};
use crate::flows::Ports;
use crate::store::Store;

/// The archive in which another tool keeps the WAL of the server.
pub struct ExternalWal<'a> {
    /// Which tool.
    pub kind: ExternalKind,
    /// The place, for reading; none of a tool whose layout is not known here.
    pub place: Option<&'a dyn Store>,
    /// Whether a backup is published whose WAL nothing proves.
    pub unproven: Unproven,
}

/// Whether a backup is published whose WAL nothing proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unproven {
    /// It is not.
    #[default]
    Refused,
    /// It is, and says so.
    Accepted,
}

/// Takes a backup whose WAL another tool keeps, and publishes it.
///
/// `interrupted` resolves when the operator wants to stop; it is heeded until the sentinel is about to be written.
pub async fn snapshot_push_external(
    ports: &Ports<'_>,
    mut server: Server<'_>,
    wal: &ExternalWal<'_>,
    request: &PushRequest,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<Backup, PushError> {
    let mut interrupted = pin!(interrupted);
    // A place that cannot be read, or holds no WAL, is found before anything is cut.
    if let (Some(place), Unproven::Refused) = (wal.place, wal.unproven) {
        stoppable(async { Ok(place.prove().await.map_err(ArchiveError::from)?) }, interrupted.as_mut()).await?;
    }
    let prepared = stoppable(preflight::prepare(ports, &mut server, request), interrupted.as_mut()).await?;
    // A standby has no archiver of its own that counts, and its primary may archive nothing.
    let tells = !prepared.facts.in_recovery || prepared.primary.as_ref().is_some_and(must_archive);
    if wal.place.is_none() && !tells && wal.unproven == Unproven::Refused {
        return Err(PushError::NobodyTells);
    }
    let prepared = announced(ports, request, prepared, interrupted.as_mut()).await?;
    let taken = stoppable(take(ports, server, wal, request, &prepared), interrupted).await;
    publish(ports, request, &prepared, taken).await
}

/// Everything from backup mode to a restorable snapshot.
async fn take(
    ports: &Ports<'_>,
    server: Server<'_>,
    wal: &ExternalWal<'_>,
    request: &PushRequest,
    prepared: &Prepared,
) -> Result<Sentinel, PushError> {
    super::flush(ports, server.locator, request, prepared).await?;
    let (mut cut, mut asked, role) = super::cut_and_ask(ports, server, request, prepared).await?;
    // An idle server's newest file would be the history of the backup, which says nothing of the last segment: let another one follow.
    if wal.place.is_none() && role == ArchiverRole::Archives {
        asked.create_restore_point_and_switch(request.name.as_str()).await?;
    }
    let (layout, settings): (Layout, ArchiveSettings) = (external_layout(), ArchiveSettings::default());
    let archive = wal.place.map(|place| WalArchive::new(place, &layout, &settings));
    let evidence = match &archive {
        Some(archive) => wait::Evidence::Foreign(archive),
        None if role == ArchiverRole::Archives => wait::Evidence::Archiver,
        None => wait::Evidence::Nobody,
    };
    let awaited = wait::Awaited::of(&prepared.facts, cut.start_lsn, cut.stop_lsn, role, request.deadlines.archive);
    let waited = wait::until_proven(ports, &evidence, &awaited, Some(&mut *asked)).await;
    let proof = match (waited, &archive) {
        (Ok(()), Some(_)) => ExternalProof::Contents,
        (Ok(()), None) => ExternalProof::Archiver,
        (Err(error), _) if wal.unproven == Unproven::Accepted && is_mere_doubt(&error) => {
            tracing::warn!("published without proof that its WAL is archived: {}", chain(&error));
            ExternalProof::Unproven
        }
        (Err(PushError::Archive(error)), Some(_)) if error.class() == ErrorClass::Corrupt && !is_of_another(&error) => {
            return Err(PushError::ExternalUnreadable(error));
        }
        (Err(error), _) => return Err(error),
    };
    wait::until_ready(ports, &mut cut, request, prepared).await?;
    super::check_time(ports, prepared)?;
    let external = ExternalArchive { kind: wal.kind, place: wal.place.map(Store::url), proof };
    Ok(Sentinel { external_archive: Some(external), ..sentinel(request, prepared, cut) })
}

/// Whether it is only not known that the WAL is there: an archive that is encrypted by its tool looks damaged here. A segment that can
/// be read and is another one is no doubt.
fn is_mere_doubt(error: &PushError) -> bool {
    match error {
        PushError::Archive(error) if is_of_another(error) => false,
        PushError::NotArchived { .. } | PushError::NotArchivedByServer { .. } | PushError::Archive(_) => true,
        _ => false,
    }
}

/// Whether the segment can be read, and is another one.
fn is_of_another(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Header { .. } | ArchiveError::ForeignCluster { .. })
}
