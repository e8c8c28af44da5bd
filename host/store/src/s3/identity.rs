//! Whose credentials sign: what an operator can say about it, and the vendor's chain behind it.
//!
//! The store uses it for itself, and whoever signs requests to other services of the vendor gets the same: one place decides that
//! a named profile goes before a variable that happens to be set, and that no secret is shown.

use std::path::PathBuf;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::credentials::FitForHeaders;
use crate::remote::{Fault, Reason};
use crate::settings::DEFAULT_TIMEOUT;
use crate::transport::{CONNECT_TIMEOUT, Transport};

/// Where the session of an assumed role shows in the vendor's audit log.
const SESSION_NAME: &str = "stillframe";

/// Whose credentials sign; where nothing is named, the vendor's chain of variables, profiles and roles decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsIdentity {
    /// A section of the credentials file and the configuration file.
    pub profile: Option<String>,
    /// A role to assume with the credentials at hand.
    pub role_arn: Option<String>,
    /// A shared credentials file in place of the user's own.
    pub credentials_file: Option<PathBuf>,
}

/// Credentials cannot be looked for at all.
#[derive(Debug, Error)]
#[error("the AWS credentials cannot be set up")]
pub struct AwsIdentityError {
    #[source]
    source: Fault,
}

impl Classify for AwsIdentityError {
    fn class(&self) -> ErrorClass {
        self.source.class()
    }

    fn hint(&self) -> Option<String> {
        self.source.hint()
    }
}

/// The credentials of an identity. Nothing is asked of a server before they are first needed, and nothing is kept: who uses them
/// keeps them. The token service is asked in this region.
pub async fn aws_credentials(identity: &AwsIdentity, region: &str) -> Result<SharedCredentialsProvider, AwsIdentityError> {
    // The vendor's log of what it reads in files and variables quotes them.
    let opened = open(identity, region).with_subscriber(NoSubscriber::default()).await;
    opened.map_err(|source| AwsIdentityError { source })
}

async fn open(identity: &AwsIdentity, region: &str) -> Result<SharedCredentialsProvider, Fault> {
    let transport = Transport::new(None)?;
    let region = Some(Region::new(region.to_owned()));
    let config = identity.config(&transport, identity.files()?, DEFAULT_TIMEOUT, region).await;
    config.credentials_provider().ok_or_else(|| Fault::Settings { source: Reason::new("there is no source of credentials") })
}

impl AwsIdentity {
    /// The files to read.
    pub(super) fn files(&self) -> Result<EnvConfigFiles, Fault> {
        let Some(path) = &self.credentials_file else { return Ok(EnvConfigFiles::default()) };
        // The vendor's chain goes on to the next source where a file is missing, and that would be somebody else's credentials.
        if let Err(error) = std::fs::File::open(path) {
            return Err(Fault::File { key: "credentials_file", path: path.clone(), source: Reason::of(&error) });
        }
        Ok(EnvConfigFiles::builder().include_default_config_file(true).with_file(EnvConfigFileKind::Credentials, path).build())
    }

    /// All that the vendor's clients share, with these credentials.
    pub(super) async fn config(
        &self,
        transport: &Transport,
        files: EnvConfigFiles,
        timeout: Duration,
        region: Option<Region>,
    ) -> SdkConfig {
        let mut loader = shared(transport, timeout).profile_files(files.clone()).region(region.clone());
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if self.profile.is_some() || self.credentials_file.is_some() {
            // A profile may assume a role, for which the token service is asked.
            let provider = provider_config(transport, timeout).with_region(region);
            loader = loader.credentials_provider(self.of_the_profile(files, &provider));
        }
        let mut config = loader.load().await;
        if let Some(role) = &self.role_arn {
            let provider = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(&config).build().await;
            config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build();
        }
        if let Some(provider) = config.credentials_provider() {
            let fit = SharedCredentialsProvider::new(FitForHeaders(provider));
            config = config.into_builder().credentials_provider(fit).build();
        }
        config
    }

    fn of_the_profile(&self, files: EnvConfigFiles, config: &ProviderConfig) -> ProfileFileCredentialsProvider {
        let mut provider = ProfileFileCredentialsProvider::builder().profile_files(files).configure(config);
        if let Some(profile) = &self.profile {
            provider = provider.profile_name(profile);
        }
        provider.build()
    }
}

/// What the vendor's providers of credentials and regions need.
pub(super) fn provider_config(transport: &Transport, timeout: Duration) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_http_client(transport.client())
        .with_retry_config(RetryConfig::disabled())
        .with_timeout_config(timeouts(timeout))
}

fn shared(transport: &Transport, timeout: Duration) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(transport.client())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(timeout))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Ok(name) = AppName::new("stillframe") {
        loader = loader.app_name(name);
    }
    loader
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}
