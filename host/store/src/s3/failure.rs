//! The vendor's errors, as faults.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};
use stillframe_core::error::ErrorClass;

use crate::remote::{Answer, Fault, Reason, find};

/// What went wrong, judged by codes and kinds and never by a message.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
pub(super) fn fault<E>(error: SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(context) => {
            let (meta, answer) = (context.err().meta(), context.raw());
            let id = meta.extra("aws_request_id").or_else(|| answer.headers().get("x-amz-request-id"));
            Fault::Refused { answer: Answer::new(answer.status().as_u16(), meta.code(), meta.message(), id) }
        }
        // No XML where there must be some: a page that was cut, or of somebody in between.
        SdkError::ResponseError(context) => {
            let answer = context.raw();
            let reason = Reason::of(&error).to_string();
            Fault::Refused {
                answer: Answer::new(answer.status().as_u16(), None, Some(&reason), answer.headers().get("x-amz-request-id")),
            }
        }
        SdkError::TimeoutError(_) => Fault::Broken { source: Reason::of(&error) },
        SdkError::DispatchFailure(_) => unsent(&error, |source| Fault::Broken { source }),
        _ => unsent(&error, |source| Fault::Request { source }),
    }
}

/// The vendor's code, where a server answered with one.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(|error| error.meta().code())
}

/// A success that does not say what it must say.
pub(super) fn malformed(what: &str) -> Fault {
    Fault::Refused { answer: Answer::new(200, None, Some(what), None) }
}

/// There was no answer, perhaps because there was no request.
fn unsent(error: &(dyn Error + 'static), otherwise: impl FnOnce(Reason) -> Fault) -> Fault {
    let source = Reason::of(error);
    if let Some(cause) = find::<CredentialsError>(error) {
        return Fault::Credentials { is_transient: is_transient(cause), source };
    }
    match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_)) => Fault::Untrusted { source },
        _ => otherwise(source),
    }
}

/// Whether credentials may be had in a moment: their server was away, and it did not refuse.
fn is_transient(error: &CredentialsError) -> bool {
    match error {
        CredentialsError::ProviderTimedOut(_) => true,
        CredentialsError::ProviderError(_) => find::<ErrorMetadata>(error)
            .is_none_or(|meta| Answer::new(400, meta.code(), None, None).class() == ErrorClass::Transient),
        _ => false,
    }
}
