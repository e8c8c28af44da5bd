//! The operator's AWS credentials, for providers whose grant lets the host sign for them.

use async_trait::async_trait;
use aws_credential_types::provider::SharedCredentialsProvider;
use stillframe_core::error::{Classify as _, chain};
use stillframe_runtime::CredentialSource;
use stillframe_runtime::policy::aws::AwsIdentity;

/// The vendor's chain, as the store uses it; looked at when a provider first calls AWS.
pub(super) struct OperatorCredentials;

#[async_trait]
impl CredentialSource for OperatorCredentials {
    async fn open(&self, identity: &AwsIdentity, region: &str) -> Result<SharedCredentialsProvider, String> {
        let AwsIdentity { profile, role_arn, credentials_file } = identity.clone();
        let identity = stillframe_store::AwsIdentity { profile, role_arn, credentials_file };
        stillframe_store::aws_credentials(&identity, region).await.map_err(|error| match error.hint() {
            Some(hint) => format!("{}; {hint}", chain(&error)),
            None => chain(&error),
        })
    }
}
