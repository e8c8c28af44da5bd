//! Credentials as they come from the vendor's chain, refused where no request can carry them.
//!
//! Key and token stand in headers, and the client panics where it is given what no header can hold: a line that was indented by
//! mistake is enough, for the vendor's parser takes it as a part of the value above.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};

/// Gives what another provider gives, if it fits a header.
#[derive(Debug)]
pub(super) struct FitForHeaders(pub(super) SharedCredentialsProvider);

impl ProvideCredentials for FitForHeaders {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let found = self.0.provide_credentials().await?;
            // The value is not shown: what is wrong with it may be that a secret stands in it.
            if fits(&found) {
                Ok(found)
            } else {
                Err(CredentialsError::invalid_configuration("access key or token are no single word"))
            }
        })
    }
}

fn fits(found: &Credentials) -> bool {
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    !found.access_key_id().is_empty() && is_word(found.access_key_id()) && found.session_token().is_none_or(is_word)
}
