//! A client with the operator's settings.
//!
//! What `[store]` names goes before what the environment says: somebody who names a profile must not get the keys of a variable
//! that happens to be set. Everything else is the vendor's own chain: variables, profiles, web identity, the container's and the
//! instance's role. No sign-on for people, and no program is started for credentials.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_types::service_config::ServiceConfigKey;

use super::identity::{AwsIdentity, provider_config};
use crate::remote::Fault;
use crate::settings::StoreSettings;
use crate::transport::Transport;

/// What a server that is not the vendor's usually expects, where no region is named.
const REGION_OF_OTHERS: &str = "us-east-1";

/// Reads files and variables. Asks no server but that of the instance, for a region that nothing else names; credentials are asked
/// for when they are first needed. Gives the name of the store too, which depends on the endpoint that is found.
pub(super) async fn client(settings: &StoreSettings) -> Result<(Client, String), Fault> {
    let transport = Transport::new(settings.ca_cert_file.as_deref())?;
    let identity = AwsIdentity {
        profile: settings.profile.clone(),
        role_arn: settings.role_arn.clone(),
        credentials_file: settings.credentials_file.clone(),
    };
    let files = identity.files()?;
    let provider = provider_config(&transport, settings.timeout);
    let region = region(settings, &provider, files.clone()).region().await;
    let config = identity.config(&transport, files, settings.timeout, region).await;
    let endpoint = settings.endpoint.clone().or_else(|| configured_endpoint(&config));
    let settings = &settings.clone().at(endpoint)?;
    Ok((Client::from_conf(of_the_bucket(settings, &config)), settings.name()))
}

/// The endpoint of variables and profile: that of S3 alone, or else that of all services.
fn configured_endpoint(config: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    let of_s3 = config.service_config().and_then(|service| service.load_config(key));
    of_s3.or_else(|| config.endpoint_url().map(str::to_owned))
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
