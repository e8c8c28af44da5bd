//! Sees to it that a copy keeps its backup until it has recovered: no rule of retention takes the WAL that it has yet to replay.

use super::{Announcement, FetchRequest};
use crate::catalog::{CatalogError, RestoreRecord, Sentinel};
use crate::flows::Ports;

/// Records that the copy at the destination is about to recover. None when that could not be recorded, or was not wanted: a complete
/// copy is worth more than the record of it.
pub(super) async fn await_recovery(ports: &Ports<'_>, request: &FetchRequest, sentinel: &Sentinel) -> Option<RestoreRecord> {
    if request.announcement == Announcement::Renounced {
        return None;
    }
    let record = RestoreRecord {
        token: request.token.clone(),
        backup: sentinel.name.clone(),
        hostname: request.hostname.clone(),
        destination: request.destination.clone(),
        begun_at: ports.clock.now(),
        parts: Vec::new(),
    };
    if let Err(error) = ports.restores().await_recovery(&record).await {
        tracing::warn!(%error, "not recorded: a deletion may take the backup and its WAL before this copy has recovered");
        return None;
    }
    if let Err(error) = forget_earlier(ports, &record).await {
        tracing::warn!(%error, "a copy that was here before still counts as one that recovers");
    }
    Some(record)
}

/// What was mounted there is no copy of ours after all.
pub(super) async fn give_up(ports: &Ports<'_>, record: Option<RestoreRecord>) {
    let Some(record) = record else { return };
    if let Err(error) = ports.restores().forget_recovery(&record).await {
        tracing::warn!(%error, token = record.token.0, "it still counts as a copy that recovers, until `snapshot-release`");
    }
}

/// What was restored to the same place before is there no more.
async fn forget_earlier(ports: &Ports<'_>, record: &RestoreRecord) -> Result<(), CatalogError> {
    let (copies, _) = ports.restores().recoveries().await?;
    let is_earlier = |copy: &&RestoreRecord| {
        copy.token != record.token && copy.hostname == record.hostname && copy.destination == record.destination
    };
    for copy in copies.iter().filter(is_earlier) {
        ports.restores().forget_recovery(copy).await?;
    }
    Ok(())
}
