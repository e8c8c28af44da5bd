//! The capability `http`: calls to other HTTPS services.
//!
//! The host loads a component that imports this only if the operator grants it, and denies each call that the policy does not cover.

use crate::Error;
pub use crate::bindings::base::stillframe::provider::http::{HttpError, Request, Response};

/// Calls to other HTTPS services; see `wit/capabilities.wit`.
pub trait Http {
    /// Sends one request.
    fn send(&self, request: &Request) -> Result<Response, HttpError>;
}

/// What the host makes of an error that the provider did not expect.
impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(text) => Self::Denied(text),
            HttpError::TimedOut => Self::Transient("the service did not answer before the deadline".to_owned()),
            HttpError::Failed(text) => Self::Transient(text),
        }
    }
}

#[cfg(target_arch = "wasm32")]
impl Http for crate::Sandbox {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        crate::bindings::base::stillframe::provider::http::send(request)
    }
}
