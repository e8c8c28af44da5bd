//! Deletes one backup, or settles one that was interrupted: with every provider, and in an order that a crash cannot break.
//!
//! The condemnation comes first and goes last, so that nobody restores from what is half gone. The storage system may refuse, since
//! the backup is locked, something was made of it, or we may not; then, as long as nothing of it is gone, the condemnation is taken back: a backup
//! that stays for a year must not be one that nobody can restore.

use std::sync::Arc;

use super::{DeleteError, all_restores};
use crate::catalog::{Backup, BackupName, BackupSet, Increment, Increments, Intent, Lease, Permanence};
use crate::flows::Ports;
use crate::flows::known_snapshots::KnownSnapshots;
use crate::flows::removal::delete_set;
use crate::provider::{Deletion, Member, MemberState, Provider, ProviderError, ProviderFault, SetReference, SnapshotSet};
use crate::store::PutOutcome;

/// What became of one backup.
pub(in crate::flows) enum Fate {
    /// With all its records but the mark of its deletion: whoever has nothing else to do for it takes that away with [`forget`].
    Gone,
    Pending,
    Spared,
}

/// Deletes a backup with all its sets. Sets that an earlier run deleted are absent, which is as good.
pub(in crate::flows) async fn delete_backup(ports: &Ports<'_>, lease: &Lease<'_>, backup: &Backup) -> Result<Fate, DeleteError> {
    let sentinel = &backup.sentinel;
    let (catalog, name) = (ports.catalog(), &sentinel.name);
    // Before the catalog changes: a provider that is not even configured must not cost the backup.
    let mut sets: Vec<(Arc<dyn Provider>, &BackupSet)> = Vec::with_capacity(sentinel.sets.len());
    for set in &sentinel.sets {
        sets.push((ports.providers.open(&set.provider).await?, set));
    }
    // Nor one whose storage cannot be reached: its WAL would go, and its snapshot stay.
    let was_whole = is_whole(&sets).await?;
    lease.prove().await?;
    let condemned = catalog.condemn(name, ports.clock.now()).await?;
    // The plan may be hours old. Whoever marks or restores looks for the condemnation afterwards, so that one of the two sees the
    // other. A condemnation that somebody else has made since the plan is not ours to take back.
    let is_ours = condemned == PutOutcome::Created || backup.is_condemned;
    if is_ours && was_whole && is_wanted(ports, name).await? {
        catalog.pardon(name).await?;
        return Ok(Fate::Spared);
    }
    let (mut is_pending, mut has_begun) = (false, false);
    for (provider, set) in &sets {
        lease.prove().await?;
        match delete_set(ports, &**provider, &set.snapshot.handle).await {
            Ok(outcome) => {
                tracing::info!(backup = %name, provider = %set.provider, ?outcome, "snapshot deleted");
                is_pending |= outcome == Deletion::Pending;
                has_begun = true;
            }
            Err(error) => {
                // What a storage system has promised to delete, it may still show as if nothing were.
                let may_stay = is_ours && was_whole && !has_begun && is_refusal(&error);
                if may_stay && is_whole(&sets).await? {
                    lease.prove().await?;
                    catalog.pardon(name).await?;
                }
                return Err(error.into());
            }
        }
    }
    if is_pending {
        return Ok(Fate::Pending);
    }
    lease.prove().await?;
    // Before the record of their parent: without it nothing would say that they cannot be restored any more.
    for increment in &backup.increments {
        Increments::new(ports.store, ports.layout).remove(&increment.name).await?;
    }
    catalog.unpublish(name).await?;
    Ok(Fate::Gone)
}

/// Removes the record of an increment whose parent is not there, once that is certain. Tells whether it did.
pub(in crate::flows) async fn forget_stray(ports: &Ports<'_>, lease: &Lease<'_>, stray: &Increment) -> Result<bool, DeleteError> {
    if ports.catalog().is_published(&stray.parent).await? {
        return Ok(false);
    }
    lease.prove().await?;
    Increments::new(ports.store, ports.layout).remove(&stray.name).await?;
    Ok(true)
}

/// Whether somebody marked it as permanent, or restores it.
async fn is_wanted(ports: &Ports<'_>, name: &BackupName) -> Result<bool, DeleteError> {
    let is_permanent = ports.catalog().marked(name).await? == Some(Permanence::Permanent);
    Ok(is_permanent || all_restores(ports).await?.iter().any(|record| record.backup == *name))
}

/// Whether the storage system keeps the set on purpose, and will as long as its reason lasts: a lock, a clone, a missing right.
fn is_refusal(error: &ProviderError) -> bool {
    matches!(error.fault, ProviderFault::Locked { .. } | ProviderFault::InUse(_) | ProviderFault::Denied(_))
}

/// Whether nothing of any set has been deleted yet. Asks all of them.
async fn is_whole(sets: &[(Arc<dyn Provider>, &BackupSet)]) -> Result<bool, ProviderError> {
    let mut whole = true;
    for (provider, set) in sets {
        let found = provider.get(&SetReference::Handle(set.snapshot.handle.clone())).await?;
        whole &= found.is_some_and(|found| set.members_in(&found).all(is_there));
    }
    Ok(whole)
}

fn is_there(member: Option<&Member>) -> bool {
    member.is_some_and(|member| matches!(member.state, MemberState::Cut | MemberState::Ready))
}

/// Removes all records of a backup of which nothing is left.
pub(in crate::flows) async fn forget(ports: &Ports<'_>, lease: &Lease<'_>, name: &BackupName) -> Result<(), DeleteError> {
    lease.prove().await?;
    Ok(ports.catalog().forget(name).await?)
}

/// Ends a backup that was interrupted: by its tokens the providers know what they cut.
///
/// It is condemned first. Should it live after all, behind a clock that is off, then either this sees its sentinel, or the backup
/// sees that it was given up. An intent beside a sentinel is left: it still accounts for the snapshot if the sentinel goes again.
pub(in crate::flows) async fn settle(ports: &Ports<'_>, lease: &Lease<'_>, intent: &Intent) -> Result<(), DeleteError> {
    let (catalog, name) = (ports.catalog(), &intent.name);
    let mut found: Vec<(Arc<dyn Provider>, SnapshotSet)> = Vec::new();
    for request in &intent.requests {
        let provider = ports.providers.open(&request.provider).await?;
        if let Some(set) = provider.get(&SetReference::Token(request.token.clone())).await? {
            found.push((provider, set));
        }
    }
    if catalog.is_published(name).await? {
        return Ok(());
    }
    lease.prove().await?;
    let condemned = catalog.condemn(name, ports.clock.now()).await?;
    if catalog.is_published(name).await? {
        if condemned == PutOutcome::Created {
            catalog.pardon(name).await?;
        }
        return Ok(());
    }
    if !found.is_empty() {
        // What a published backup is made of does not go, whoever says that it is of this one.
        let known = KnownSnapshots::of(&catalog.contents().await?);
        found.iter().try_for_each(|(provider, set)| known.refuse_other(provider.name(), "tell what it has cut", set))?;
    }
    let mut is_pending = false;
    for (provider, set) in found {
        lease.prove().await?;
        is_pending |= delete_set(ports, &*provider, &set.handle).await? == Deletion::Pending;
    }
    if is_pending {
        return Err(DeleteError::StillDeleting(name.clone()));
    }
    lease.prove().await?;
    catalog.remove_intent(name).await?;
    Ok(catalog.pardon(name).await?)
}
