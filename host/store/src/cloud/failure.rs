//! The crate's errors, as faults.

use object_store::client::HttpError;

use super::http::Refusal;
use crate::remote::{Fault, Reason, find};

/// What went wrong; what a server said is taken from where it was read and never from the crate's text.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` gives it away")]
pub(super) fn fault(error: object_store::Error) -> Fault {
    let refused = find::<Refusal>(&error).map(|refusal| refusal.0.clone());
    if let Some(answer) = refused {
        return Fault::Refused { answer };
    }
    let source = Reason::of(&error);
    if let Some(rustls::Error::InvalidCertificate(_)) = find::<rustls::Error>(&error) {
        return Fault::Untrusted { source };
    }
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Fault::Credentials { is_transient: false, source }
        }
        // A body that is cut, or is not what it must be: another attempt shows.
        _ if find::<HttpError>(&error).is_some() => Fault::Broken { source },
        object_store::Error::Generic { .. } => Fault::Broken { source },
        _ => Fault::Request { source },
    }
}
