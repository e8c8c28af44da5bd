//! The capability `aws`: signed calls to AWS.
//!
//! The host loads a component that imports this only if the operator grants it, and denies each call that the policy does not cover.

use crate::Error;
pub use crate::bindings::base::stillframe::provider::aws::{AwsError, JsonPayload, Payload, QueryPayload, Request, Response};

/// Signed calls to AWS; see `wit/capabilities.wit`.
pub trait Aws {
    /// Calls one action.
    fn call(&self, request: &Request) -> Result<Response, AwsError>;
}

/// What the host makes of an error that the provider did not expect.
impl From<AwsError> for Error {
    fn from(error: AwsError) -> Self {
        match error {
            AwsError::Denied(text) => Self::Denied(text),
            AwsError::NoCredentials(text) => Self::Unauthenticated(text),
            AwsError::TimedOut => Self::Transient("AWS did not answer before the deadline".to_owned()),
            AwsError::Failed(text) => Self::Transient(text),
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl Aws for crate::Sandbox {
    fn call(&self, request: &Request) -> Result<Response, AwsError> {
        crate::bindings::base::stillframe::provider::aws::call(request)
    }
}
