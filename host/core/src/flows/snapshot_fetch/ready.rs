//! Whether every set of a backup can be restored now: asked before anything is touched.

use super::FetchError;
use crate::catalog::{Backup, BackupState};
use crate::flows::Ports;
use crate::provider::{MemberState, SetReference};

/// Asks every provider for its set; a failed or missing one is refused, and one that is not ready may be later.
pub(super) async fn check(ports: &Ports<'_>, backup: &Backup) -> Result<(), FetchError> {
    let sentinel = &backup.sentinel;
    let name = || sentinel.name.clone();
    if let BackupState::Failed(reason) = &backup.state {
        return Err(FetchError::SetFailed { name: name(), reason: reason.clone() });
    }
    let mut unready = None;
    for set in &sentinel.sets {
        let provider = ports.providers.open(&set.provider).await?;
        let found = provider.get(&SetReference::Handle(set.snapshot.handle.clone())).await?;
        let Some(found) = found else { return Err(FetchError::SetGone { name: name(), provider: set.provider.clone() }) };
        for member in &found.members {
            match &member.state {
                MemberState::Ready => {}
                MemberState::Cutting | MemberState::Cut => {
                    let percent = member.percent.unwrap_or(0);
                    unready = Some(unready.map_or(percent, |least: u8| least.min(percent)));
                }
                MemberState::Failed(reason) => return Err(FetchError::SetFailed { name: name(), reason: reason.clone() }),
                MemberState::Deleting | MemberState::Absent => {
                    return Err(FetchError::SetGone { name: name(), provider: set.provider.clone() });
                }
            }
        }
    }
    match unready {
        None => Ok(()),
        Some(percent) => Err(FetchError::NotReady { name: name(), percent }),
    }
}
