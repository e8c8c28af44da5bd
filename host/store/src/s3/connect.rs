//! A client with the operator's settings.
//!
//! What `[store]` names goes before what the environment says: somebody who names a profile must not get the keys of a variable
//! that happens to be set. Everything else is the vendor's own chain: variables, profiles, web identity, the container's and the
//! instance's role. No sign-on for people, and no program is started for credentials.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig};
use aws_types::service_config::ServiceConfigKey;

use super::credentials::FitForHeaders;
use crate::remote::{Fault, Reason};
use crate::settings::StoreSettings;
use crate::transport::{CONNECT_TIMEOUT, Transport};

/// What a server that is not the vendor's usually expects, where no region is named.
const REGION_OF_OTHERS: &str = "us-east-1";

/// Where the session of an assumed role shows in the vendor's audit log.
const SESSION_NAME: &str = "stillframe";

/// Reads files and variables. Asks no server but that of the instance, for a region that nothing else names; credentials are asked
/// for when they are first needed. Gives the name of the store too, which depends on the endpoint that is found.
pub(super) async fn client(settings: &StoreSettings) -> Result<(Client, String), Fault> {
    let transport = Transport::new(settings.ca_cert_file.as_deref())?;
    let files = profile_files(settings)?;
    let provider = ProviderConfig::without_region()
        .with_http_client(transport.client())
        .with_retry_config(RetryConfig::disabled())
        .with_timeout_config(timeouts(settings.timeout));
    let region = region(settings, &provider, files.clone()).region().await;
    let mut loader = shared(settings, &transport).profile_files(files.clone()).region(region.clone());
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if settings.profile.is_some() || settings.credentials_file.is_some() {
        // A profile may assume a role, for which the token service is asked.
        loader = loader.credentials_provider(profile_credentials(settings, files, &provider.with_region(region)));
    }
    let mut config = loader.load().await;
    let endpoint = settings.endpoint.clone().or_else(|| configured_endpoint(&config));
    let settings = &settings.clone().at(endpoint)?;
    if let Some(role) = &settings.role_arn {
        let provider = AssumeRoleProvider::builder(role).session_name(SESSION_NAME).configure(&config).build().await;
        config = config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build();
    }
    if let Some(provider) = config.credentials_provider() {
        let fit = SharedCredentialsProvider::new(FitForHeaders(provider));
        config = config.into_builder().credentials_provider(fit).build();
    }
    Ok((Client::from_conf(of_the_bucket(settings, &config)), settings.name()))
}

/// The endpoint of variables and profile: that of S3 alone, or else that of all services.
fn configured_endpoint(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    let of_s3 = config.service_config().and_then(|service| service.load_config(key));
    of_s3.or_else(|| config.endpoint_url().map(str::to_owned))
}

fn shared(settings: &StoreSettings, transport: &Transport) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(transport.client())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts(settings.timeout))
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Ok(name) = AppName::new("stillframe") {
        loader = loader.app_name(name);
    }
    loader
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(attempt).build()
}

fn of_the_bucket(settings: &StoreSettings, config: &SdkConfig) -> aws_sdk_s3::Config {
    let mut builder = aws_sdk_s3::config::Builder::from(config)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(settings.path_style.unwrap_or(settings.endpoint.is_some()));
    // Only here: the token service is not at the endpoint of the objects.
    builder.set_endpoint_url(settings.endpoint.clone());
    if settings.endpoint.is_some() && config.region().is_none() {
        builder.set_region(Some(Region::new(REGION_OF_OTHERS)));
    }
    builder.build()
}

/// The operator's region, or that of variables and profile, or the instance's; an endpoint of somebody else needs none.
fn region(settings: &StoreSettings, provider: &ProviderConfig, files: EnvConfigFiles) -> RegionProviderChain {
    let mut profile = ProfileFileRegionProvider::builder().profile_files(files);
    if let Some(name) = &settings.profile {
        profile = profile.profile_name(name);
    }
    let named = RegionProviderChain::first_try(settings.region.clone().map(Region::new));
    let local = named.or_else(EnvironmentVariableRegionProvider::new()).or_else(profile.build());
    if settings.endpoint.is_some() {
        return local.or_else(Region::new(REGION_OF_OTHERS));
    }
    local.or_else(ImdsRegionProvider::builder().configure(provider).build())
}

fn profile_files(settings: &StoreSettings) -> Result<EnvConfigFiles, Fault> {
    let Some(path) = &settings.credentials_file else { return Ok(EnvConfigFiles::default()) };
    // The vendor's chain goes on to the next source where a file is missing, and that would be somebody else's credentials.
    if let Err(error) = std::fs::File::open(path) {
        return Err(Fault::File { key: "credentials_file", path: path.clone(), source: Reason::of(&error) });
    }
    Ok(EnvConfigFiles::builder().include_default_config_file(true).with_file(EnvConfigFileKind::Credentials, path).build())
}

fn profile_credentials(settings: &StoreSettings, files: EnvConfigFiles, config: &ProviderConfig) -> ProfileFileCredentialsProvider {
    let mut provider = ProfileFileCredentialsProvider::builder().profile_files(files).configure(config);
    if let Some(profile) = &settings.profile {
        provider = provider.profile_name(profile);
    }
    provider.build()
}
