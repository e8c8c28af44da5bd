//! Undoes a backup that failed: what was cut is deleted, and only then its intent.
//!
//! Backup mode has ended before this begins. Each provider that was asked to cut and did not answer is asked by token; when one
//! cannot say or cannot delete, the others are undone all the same, and the intent stays and accounts for the rest.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::PushError;
use super::preflight::{Archive, Part, Prepared};
use crate::catalog::{BackupName, BackupSet};
use crate::error::chain;
use crate::flows::removal::delete_set;
use crate::flows::{Phase, Ports, Step};
use crate::provider::{Deletion, SetReference};

/// How often a deletion that is under way is asked about, and how many times.
const DELETION_POLLS: (Duration, u32) = (Duration::from_secs(2), 60);

/// Deletes what was cut; gives the error that the operator must see.
pub(in crate::flows) async fn undo(ports: &Ports<'_>, prepared: &Prepared, cause: PushError) -> PushError {
    let name = &prepared.intent.name;
    if is_finished(ports, prepared).await {
        tracing::warn!(backup = %name, "it is published, so that nothing of it is undone: {}", chain(&cause));
        return cause;
    }
    tracing::warn!(backup = %name, "undoing: {}", chain(&cause));
    ports.progress.report(&Step::begun(Phase::Undo));
    let mut failed = None;
    for part in prepared.parts.iter().filter(|part| part.create_was_called.load(Ordering::SeqCst)) {
        if let Err(removal) = remove_set(ports, prepared, part).await {
            failed.get_or_insert(removal);
        }
    }
    // Before the intent: nothing else would tell what it is a part of.
    if prepared.archive == Archive::NotNeeded
        && let Err(removal) = ports.catalog().discard_wal(name).await
    {
        failed.get_or_insert(removal.into());
    }
    match failed {
        None => withdraw(ports, name, cause).await,
        Some(removal) => PushError::LeftUnderIntent { name: name.clone(), cause: Box::new(cause), removal: Box::new(removal) },
    }
}

/// Whether somebody took this backup for interrupted and finished it: then its snapshots are a backup.
async fn is_finished(ports: &Ports<'_>, prepared: &Prepared) -> bool {
    let Ok(Some(sentinel)) = ports.catalog().sentinel(&prepared.intent.name).await else { return false };
    let is_ours = |set: &BackupSet| prepared.parts.iter().any(|part| part.create.token == set.snapshot.token);
    sentinel.sets.iter().any(is_ours)
}

/// Removes the intent of a backup of which nothing is left.
pub(in crate::flows) async fn withdraw(ports: &Ports<'_>, name: &BackupName, cause: PushError) -> PushError {
    match ports.catalog().remove_intent(name).await {
        Ok(()) => cause,
        Err(removal) => {
            PushError::LeftUnderIntent { name: name.clone(), cause: Box::new(cause), removal: Box::new(removal.into()) }
        }
    }
}

async fn remove_set(ports: &Ports<'_>, prepared: &Prepared, part: &Part) -> Result<(), PushError> {
    let handle = match part.created.get() {
        // The storage system may not list yet what it has made.
        Some(handle) => handle.clone(),
        None => match part.provider.get(&SetReference::Token(part.create.token.clone())).await? {
            Some(set) => {
                prepared.known.refuse_other(part.provider.name(), "tell what it has cut", &set)?;
                set.handle
            }
            None => return Ok(()),
        },
    };
    let mut outcome = delete_set(ports, &*part.provider, &handle).await?;
    for _ in 0..DELETION_POLLS.1 {
        if outcome != Deletion::Pending {
            return Ok(());
        }
        ports.clock.sleep(DELETION_POLLS.0).await;
        outcome = delete_set(ports, &*part.provider, &handle).await?;
    }
    Err(PushError::NotReady(DELETION_POLLS.0 * DELETION_POLLS.1))
}
