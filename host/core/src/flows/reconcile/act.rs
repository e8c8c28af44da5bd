//! One action, under the lease: each proves the lease and looks once more before it does what cannot be taken back.
//!
//! Every order is one in which a crash leaves what the next run finds: an intent before a sentinel, snapshots before their records.

use std::time::Duration;

use super::{Action, Outcome, ReconcileError};
use crate::catalog::{Backup, BackupName, CatalogContents, IntendedSet, Intent, IntentProcess, Lease, LeaseRequest, Sentinel};
use crate::flows::Ports;
use crate::flows::delete::DeleteError;
use crate::flows::delete::backup::{Fate, delete_backup, forget, settle};
use crate::flows::readiness::settle_states;
use crate::flows::removal::delete_set;
use crate::provider::{Deletion, MemberState, ProviderName, SetReference, SnapshotSet};

/// How long an adoption may take from its intent to its sentinel: a few requests.
const ADOPTION: Duration = Duration::from_mins(10);

/// Does it.
pub(super) async fn act(
    ports: &Ports<'_>,
    asked: &LeaseRequest,
    lease: &Lease<'_>,
    action: &Action,
) -> Result<Outcome, ReconcileError> {
    match action {
        Action::Undo(intent) => match settle(ports, lease, intent).await {
            Err(DeleteError::StillDeleting(_)) => Ok(Outcome::Pending),
            settled => Ok(settled.map(|()| Outcome::Done)?),
        },
        Action::Finish(sentinel) => publish(ports, lease, sentinel).await,
        Action::Adopt(sentinel) => adopt(ports, asked, lease, sentinel).await,
        Action::Delete(sets) => delete(ports, lease, sets).await,
        Action::FinishDeletion(backup) => match delete_backup(ports, lease, backup).await? {
            Fate::Gone => Ok(forget(ports, lease, &backup.sentinel.name).await.map(|()| Outcome::Done)?),
            Fate::Pending => Ok(Outcome::Pending),
            Fate::Spared => Ok(Outcome::Changed),
        },
        Action::Forget(name) => Ok(forget(ports, lease, name).await.map(|()| Outcome::Done)?),
        Action::RemoveIntent(intent) => remove_intent(ports, lease, &intent.name).await,
        Action::RecordState(backup) => record_state(ports, backup).await,
    }
}

/// Publishes a backup that has an intent. Should its own process live after all, behind a clock that is off, one of the two finds
/// the sentinel of the other.
async fn publish(ports: &Ports<'_>, lease: &Lease<'_>, sentinel: &Sentinel) -> Result<Outcome, ReconcileError> {
    // As a push does just before: a snapshot can have failed, or gone, since it was listed.
    for set in &sentinel.sets {
        let provider = ports.providers.open(&set.provider).await?;
        let found = provider.get(&SetReference::Handle(set.snapshot.handle.clone())).await?;
        let is_ready = |found: &SnapshotSet| {
            found.token == set.snapshot.token
                && set.members_in(found).all(|member| member.is_some_and(|member| member.state == MemberState::Ready))
        };
        if !found.is_some_and(|found| is_ready(&found)) {
            return Err(ReconcileError::NotReady { name: sentinel.name.clone(), provider: set.provider.clone() });
        }
    }
    lease.prove().await?;
    ports.catalog().publish(sentinel).await?;
    ports.catalog().remove_intent(&sentinel.name).await?;
    tracing::info!(backup = %sentinel.name, "published");
    Ok(Outcome::Done)
}

/// Enters a backup again: announced first, so that its snapshots and its WAL are accounted for from here on.
async fn adopt(ports: &Ports<'_>, asked: &LeaseRequest, lease: &Lease<'_>, sentinel: &Sentinel) -> Result<Outcome, ReconcileError> {
    let (catalog, name) = (ports.catalog(), &sentinel.name);
    if is_recorded(ports, name).await? {
        return Ok(Outcome::Changed);
    }
    lease.prove().await?;
    let now = ports.clock.now();
    let requests =
        sentinel.sets.iter().map(|set| IntendedSet { provider: set.provider.clone(), token: set.snapshot.token.clone() });
    let intent = Intent {
        name: name.clone(),
        requests: requests.collect(),
        system_identifier: sentinel.system_identifier,
        timeline: sentinel.timeline,
        wal_position: sentinel.start_lsn,
        segment_size: sentinel.segment_size,
        begun_at: now,
        expires_at: now.saturating_add(ADOPTION).unwrap_or(now),
        hostname: asked.host.clone(),
        process: asked.process_space.clone().map(|space| IntentProcess { id: asked.process_id, space }),
        is_outside: false,
    };
    catalog.begin(&intent).await?;
    match publish(ports, lease, sentinel).await {
        // Then it is in no record, as before.
        Err(error @ ReconcileError::NotReady { .. }) => {
            catalog.remove_intent(name).await?;
            Err(error)
        }
        other => other,
    }
}

/// Whether the catalog holds anything of it now. In this order: a push writes its sentinel before it removes its intent.
async fn is_recorded(ports: &Ports<'_>, name: &BackupName) -> Result<bool, ReconcileError> {
    let catalog = ports.catalog();
    Ok(catalog.is_announced(name).await? || catalog.is_published(name).await? || catalog.is_condemned(name).await?)
}

/// Deletes snapshots that are in no record.
async fn delete(ports: &Ports<'_>, lease: &Lease<'_>, sets: &[(ProviderName, SnapshotSet)]) -> Result<Outcome, ReconcileError> {
    let mut outcome = Outcome::Done;
    for (provider, set) in sets {
        // No name, no record to look for: such a set is never planned to go.
        let Ok(name) = set.name.parse::<BackupName>() else { return Ok(Outcome::Changed) };
        lease.prove().await?;
        if is_recorded(ports, &name).await? {
            return Ok(Outcome::Changed);
        }
        if delete_one(ports, provider, set).await? == Deletion::Pending {
            outcome = Outcome::Pending;
        }
        tracing::info!(%provider, set = set.handle, "deleted a snapshot that was in no record");
    }
    Ok(outcome)
}

/// Deletes one set. What may have happened is asked for before it counts as a failure.
async fn delete_one(ports: &Ports<'_>, name: &ProviderName, set: &SnapshotSet) -> Result<Deletion, ReconcileError> {
    let provider = ports.providers.open(name).await?;
    let error = match delete_set(ports, &*provider, &set.handle).await {
        Ok(deletion) => return Ok(deletion),
        Err(error) => error,
    };
    if !error.may_have_happened() {
        return Err(error.into());
    }
    let is_going = |found: &SnapshotSet| found.members.iter().all(|member| member.state == MemberState::Deleting);
    match provider.get(&SetReference::Token(set.token.clone())).await {
        Ok(None) => Ok(Deletion::Absent),
        Ok(Some(found)) if is_going(&found) => Ok(Deletion::Pending),
        Ok(Some(_)) | Err(_) => Err(error.into()),
    }
}

async fn remove_intent(ports: &Ports<'_>, lease: &Lease<'_>, name: &BackupName) -> Result<Outcome, ReconcileError> {
    lease.prove().await?;
    // Without the sentinel it accounts for the snapshot.
    if !ports.catalog().is_published(name).await? {
        return Ok(Outcome::Changed);
    }
    ports.catalog().remove_intent(name).await?;
    Ok(Outcome::Done)
}

async fn record_state(ports: &Ports<'_>, backup: &Backup) -> Result<Outcome, ReconcileError> {
    let mut contents = CatalogContents { backups: vec![backup.clone()], ..CatalogContents::default() };
    settle_states(ports, &mut contents).await;
    let is_settled = contents.backups.iter().all(|settled| settled.state != backup.state);
    Ok(if is_settled { Outcome::Done } else { Outcome::Changed })
}
