//! The operator's keys, asked for when a provider first calls AWS and kept for a while.
//!
//! The vendor's chain keeps nothing by itself: every call would ask the instance or the token service anew, and be throttled.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_types::error::ErrorMetadata;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use crate::policy::aws::AwsIdentity;
use crate::text::clean;

/// How long keys are used that do not say when they expire: a file may get new ones.
const KEPT_FOR: Duration = Duration::from_mins(15);

/// How long before their end keys are exchanged: clocks differ, and a request takes time.
const SPARED: Duration = Duration::from_mins(5);

/// Bytes of a service's code that are quoted.
const MAX_CODE_BYTES: usize = 100;

/// Where credentials come from; the program that embeds the runtime knows the vendor's chain.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// Opens the chain of an identity. The text of a failure is shown to the operator and must hold no secret. `region` is where
    /// the token service is asked.
    async fn open(&self, identity: &AwsIdentity, region: &str) -> Result<SharedCredentialsProvider, String>;
}

/// The keys of one provider's grant.
pub(super) struct Keys {
    source: Option<Arc<dyn CredentialSource>>,
    identity: AwsIdentity,
    region: String,
    state: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    chain: Option<SharedCredentialsProvider>,
    keys: Option<(Credentials, Instant)>,
}

impl Keys {
    /// Asks for nothing yet.
    pub(super) fn new(source: Option<Arc<dyn CredentialSource>>, identity: AwsIdentity, region: String) -> Self {
        Self { source, identity, region, state: Mutex::default() }
    }

    /// Keys that are good for a while. One call asks, and the others wait for it.
    pub(super) async fn current(&self) -> Result<Credentials, String> {
        let mut kept = self.state.lock().await;
        if let Some((keys, until)) = &kept.keys
            && Instant::now() < *until
        {
            return Ok(keys.clone());
        }
        let chain = match &kept.chain {
            Some(chain) => chain.clone(),
            None => kept.chain.insert(self.open().await?).clone(),
        };
        // The vendor's log of what it reads in files and variables quotes them.
        let keys = chain.provide_credentials().with_subscriber(NoSubscriber::default()).await.map_err(|error| reason(&error))?;
        let until = Instant::now() + good_for(&keys);
        kept.keys = Some((keys.clone(), until));
        Ok(keys)
    }

    /// Asks anew next time.
    pub(super) async fn forget(&self) {
        self.state.lock().await.keys = None;
    }

    async fn open(&self) -> Result<SharedCredentialsProvider, String> {
        let Some(source) = &self.source else { return Err("this program has no source of AWS credentials".to_owned()) };
        source.open(&self.identity, &self.region).with_subscriber(NoSubscriber::default()).await
    }
}

fn good_for(keys: &Credentials) -> Duration {
    let left = keys.expiry().map(|end| end.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(SPARED));
    left.unwrap_or(KEPT_FOR).min(KEPT_FOR)
}

/// The kind of a failure, and the code of the service that was asked; what else an error holds may quote a file.
fn reason(error: &CredentialsError) -> String {
    let kind = match error {
        CredentialsError::CredentialsNotLoaded(_) => "the host finds none",
        CredentialsError::ProviderTimedOut(_) => "what the host asks for them does not answer",
        CredentialsError::InvalidConfiguration(_) => "the host's configuration for them is invalid",
        CredentialsError::ProviderError(_) => "the host was not given any",
        _ => "the host could not get any",
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<ErrorMetadata>().and_then(ErrorMetadata::code) {
            return format!("{kind}: `{}`", clean(code, MAX_CODE_BYTES));
        }
        cause = error.source();
    }
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_credential_types::Credentials;

    use super::{KEPT_FOR, good_for};

    #[test]
    fn keys_are_exchanged_before_they_expire_and_from_time_to_time() {
        let until = |minutes: u64| Some(SystemTime::now() + Duration::from_mins(minutes));
        let good_for = |expiry| good_for(&Credentials::new("A", "B", None, expiry, "test"));
        assert_eq!(good_for(until(4)), Duration::ZERO);
        assert_eq!(good_for(Some(SystemTime::UNIX_EPOCH)), Duration::ZERO);
        let for_a_while = good_for(until(10));
        assert!(for_a_while > Duration::from_mins(4) && for_a_while <= Duration::from_mins(5), "{for_a_while:?}");
        assert_eq!(good_for(until(60)), KEPT_FOR);
        assert_eq!(good_for(None), KEPT_FOR);
    }
}
