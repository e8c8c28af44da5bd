//! What became of the backups that were published before their snapshots were ready.
//!
//! Whoever lists or chooses backups asks the providers of those that are still `cut`, and records the outcome for everybody. A
//! provider that cannot be asked leaves a backup as it is: nothing is concluded from silence.

use std::sync::Arc;

use crate::catalog::{Backup, BackupState, CatalogContents};
use crate::error::chain;
use crate::flows::Ports;
use crate::provider::{MemberState, Provider, ProviderError, SetReference};

/// Asks about every backup that is still `cut`, and writes what is known by now into the contents and into the catalog.
pub async fn settle_states(ports: &Ports<'_>, contents: &mut CatalogContents) {
    let is_open = |backup: &&mut Backup| backup.state == BackupState::Cut && !backup.is_condemned;
    for backup in contents.backups.iter_mut().filter(is_open) {
        let name = &backup.sentinel.name;
        let state = match ask(ports, backup).await {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(backup = %name, "whether its snapshots are ready is not known: {}", chain(&error));
                continue;
            }
        };
        match ports.catalog().settle_state(name, &state, ports.clock.now()).await {
            Ok(settled) => backup.state = settled,
            // It is true all the same, and asked again by the next one.
            Err(error) => {
                tracing::warn!(backup = %name, "cannot record that it is {}: {}", state.as_str(), chain(&error));
                backup.state = state;
            }
        }
    }
}

/// What all providers of a backup say together. What one does not know may be known elsewhere, from another host or account, or a
/// moment later: only a snapshot that is there can have failed.
async fn ask(ports: &Ports<'_>, backup: &Backup) -> Result<BackupState, ProviderError> {
    let mut state = BackupState::Ready;
    for set in &backup.sentinel.sets {
        let provider: Arc<dyn Provider> = ports.providers.open(&set.provider).await?;
        let found = provider.get(&SetReference::Handle(set.snapshot.handle.clone())).await?;
        let Some(found) = found else {
            tracing::warn!(backup = %backup.sentinel.name, provider = %set.provider, "the provider has no trace of its snapshots");
            state = BackupState::Cut;
            continue;
        };
        for member in set.members_in(&found) {
            match member.map(|member| &member.state) {
                Some(MemberState::Ready) => {}
                Some(MemberState::Failed(reason)) => return Ok(BackupState::Failed(reason.clone())),
                Some(MemberState::Cut | MemberState::Cutting | MemberState::Deleting | MemberState::Absent) | None => {
                    state = BackupState::Cut;
                }
            }
        }
    }
    Ok(state)
}
