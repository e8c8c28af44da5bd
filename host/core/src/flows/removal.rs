//! Deletes a set, and takes it for gone when its provider does not tell of it any more.
//!
//! Its records go next, and then nobody looks for it: the word of the one that was to delete it is not enough for that.

use std::time::Duration;

use crate::error::chain;
use crate::flows::Ports;
use crate::provider::{Deletion, MemberState, Provider, ProviderError, ProviderFault, SetReference};

/// How often a set that was deleted is looked for, and the pause between: a listing may lag behind.
const LOOKS: (u32, Duration) = (5, Duration::from_secs(1));

/// Deletes a set.
pub(super) async fn delete_set(ports: &Ports<'_>, provider: &dyn Provider, handle: &str) -> Result<Deletion, ProviderError> {
    let outcome = match provider.delete(handle).await {
        // It should have said `absent`. Were it an error for ever, the backup could never be forgotten.
        Err(error @ ProviderError { fault: ProviderFault::NotFound(_), .. }) => {
            let is_there = provider.get(&SetReference::Handle(handle.to_owned())).await?.is_some();
            return if is_there { Err(error) } else { Ok(Deletion::Absent) };
        }
        outcome => outcome?,
    };
    if outcome == Deletion::Pending {
        return Ok(outcome);
    }
    for look in 0..LOOKS.0 {
        if look > 0 {
            ports.clock.sleep(LOOKS.1).await;
        }
        match is_told_of(provider, handle).await {
            Ok(true) => {}
            Ok(false) => return Ok(outcome),
            // Nothing contradicts it.
            Err(error) => {
                tracing::warn!("it was deleted, and cannot be looked for: {}", chain(&error));
                return Ok(outcome);
            }
        }
    }
    let fault = ProviderFault::Transient("it says that the set is deleted, and still tells of it".to_owned());
    Err(ProviderError { provider: provider.name().clone(), operation: "delete the snapshot set", fault })
}

/// Whether there is anything of it that is not going.
async fn is_told_of(provider: &dyn Provider, handle: &str) -> Result<bool, ProviderError> {
    let found = provider.get(&SetReference::Handle(handle.to_owned())).await?;
    let is_going = |state: &MemberState| matches!(state, MemberState::Deleting | MemberState::Absent);
    Ok(found.is_some_and(|found| found.members.iter().any(|member| !is_going(&member.state))))
}
