//! Whether every set of a backup can be restored now: asked before anything is touched.

use super::FetchError;
use crate::catalog::{BackupSet, Sentinel};
use crate::flows::Ports;
use crate::provider::{DataPathName, MemberState, SetReference};

/// Asks every provider for its set, unless that is not needed; a failed or missing one is refused, and one that is not ready may be later.
pub(super) async fn check(ports: &Ports<'_>, sentinel: &Sentinel) -> Result<(), FetchError> {
    let name = || sentinel.name.clone();
    let mut unready = None;
    // The content of `pg_wal` comes from the archive: nothing of a set that holds no more is restored.
    let is_needed = |set: &&BackupSet| sentinel.paths_in(set).any(|path| path.name != DataPathName::Wal);
    for set in sentinel.sets.iter().filter(is_needed) {
        let provider = ports.providers.open(&set.provider).await?;
        let found = provider.get(&SetReference::Handle(set.snapshot.handle.clone())).await?;
        let Some(found) = found else { return Err(FetchError::SetGone { name: name(), provider: set.provider.clone() }) };
        for member in set.members_in(&found) {
            match member.map(|member| (&member.state, member.percent)) {
                Some((MemberState::Ready, _)) => {}
                Some((MemberState::Cutting | MemberState::Cut, percent)) => {
                    let percent = percent.unwrap_or(0);
                    unready = Some(unready.map_or(percent, |least: u8| least.min(percent)));
                }
                Some((MemberState::Failed(reason), _)) => {
                    return Err(FetchError::SetFailed { name: name(), reason: reason.clone() });
                }
                Some((MemberState::Deleting | MemberState::Absent, _)) | None => {
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
