//! What an answer of a provider goes through, for tests that give any answer at all without a component to give it.
//!
//! The types are the interface's. Each function reads an answer as [`WasmProvider`](crate::WasmProvider) does.

use std::path::PathBuf;

use stillframe_core::provider::{
    CreateRequest, DataPath, ProviderDescription, ProviderFault, RestoreRequest, Restored as Restoration,
};
use stillframe_core::provider::{SetReference, SnapshotSet as Set, Volume as Mapped};

pub use crate::bindings::exports::stillframe::provider::provider::{CapabilityNeed, Features, ProviderInfo, SetPage};
pub use crate::bindings::exports::stillframe::provider::restore::{Restored, RestoredDirectory};
pub use crate::bindings::stillframe::provider::types::{
    DataPath as GivenPath, DataRole, Error, InvalidArgument, Member, MemberState, SnapshotSet, Volume,
};
use crate::{answer, convert};

/// What `describe` answered.
pub fn described(info: ProviderInfo) -> Result<ProviderDescription, ProviderFault> {
    convert::description(info)
}

/// What `check` answered.
pub fn warned(warnings: Vec<String>) -> Result<Vec<String>, ProviderFault> {
    convert::warnings(warnings)
}

/// What `resolve` answered when it was asked about these paths.
pub fn resolved(volumes: Vec<Volume>, asked: &[DataPath]) -> Result<Vec<Mapped>, ProviderFault> {
    answer::resolved(convert::resolved(volumes)?, asked)
}

/// What `create-set` answered to this request.
pub fn created(set: SnapshotSet, request: &CreateRequest) -> Result<Set, ProviderFault> {
    answer::created(convert::snapshot_set(set)?, request)
}

/// What `get-set` answered to this question.
pub fn found(set: Option<SnapshotSet>, reference: &SetReference) -> Result<Option<Set>, ProviderFault> {
    answer::found(set.map(convert::snapshot_set).transpose()?, reference)
}

/// What `list-sets` answered, page after page; none when it would be asked for another page.
pub fn listed(pages: Vec<SetPage>, owner: &str) -> Result<Option<Vec<Set>>, ProviderFault> {
    let mut listing = answer::Listing::new(owner);
    for page in pages {
        if listing.add(convert::page(page)?)?.is_none() {
            return Ok(Some(listing.end()));
        }
    }
    Ok(None)
}

/// What `restore-set` answered to this request, where restores may lie below these directories.
pub fn restored(answer: Restored, request: &RestoreRequest, below: &[PathBuf]) -> Result<Restoration, ProviderFault> {
    answer::restored(convert::restored(answer)?, request, below)
}

/// The error that an operation answered.
#[must_use]
pub fn failed(error: Error) -> ProviderFault {
    convert::fault(error)
}
