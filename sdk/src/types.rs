//! The plain data of the interface, under one roof.

pub use crate::bindings::base::exports::stillframe::provider::provider::{
    CapabilityNeed, CreateRequest, Deletion, Features, ProviderInfo, SetPage,
};
pub use crate::bindings::base::stillframe::provider::types::{
    BlockDevice, DataPath, DataRole, Error, InvalidArgument, Labels, Member, MemberState, SetReference, SnapshotSet, Volume,
};
pub use crate::bindings::lock::exports::stillframe::provider::lock::LockMode;
pub use crate::bindings::restore::exports::stillframe::provider::restore::{
    RestoreDirectory, RestoreRequest, Restored, RestoredDirectory,
};

/// The error for a wrong configuration key or field of a request.
#[must_use]
pub fn invalid(field: &str, message: impl Into<String>) -> Error {
    Error::Invalid(InvalidArgument { field: field.to_owned(), message: message.into() })
}
