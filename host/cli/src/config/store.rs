//! The section `[store]`: where catalog and archive lie, and how the store is reached.

use std::time::Duration;

use stillframe_core::error::Classify;
use stillframe_store::{DEFAULT_MAX_ATTEMPTS, DEFAULT_TIMEOUT, Encryption, SettingsError, StoreSettings, StoreUrl};

use super::reader::Reader;
use super::{ConfigError, kind};

/// Reads the section.
pub(super) fn read(read: &Reader<'_>) -> Result<StoreSettings, ConfigError> {
    let url: StoreUrl = read
        .parsed("store.url", |text| text.parse().map_err(|error| kind::store_url(&error)))?
        .ok_or(ConfigError::Missing { key: "store.url" })?;
    let (sse, kms_key) = (read.text("store.sse"), read.text("store.sse_kms_key"));
    let settings = StoreSettings {
        endpoint: read.text("store.endpoint"),
        region: read.text("store.region"),
        path_style: read.flag("store.path_style"),
        profile: read.text("store.profile"),
        role_arn: read.text("store.role_arn"),
        credentials_file: read.path("store.credentials_file"),
        account: read.text("store.account"),
        encryption: Encryption::parse(sse.as_deref(), kms_key.as_deref()).map_err(|error| clash(read, &error))?,
        storage_class: read.text("store.storage_class"),
        ca_cert_file: read.path("store.ca_cert_file"),
        max_attempts: read.number("store.max_attempts").unwrap_or(DEFAULT_MAX_ATTEMPTS),
        timeout: read.number("store.timeout_secs").map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        url,
    };
    settings.check().map_err(|error| clash(read, &error))?;
    match settings.storage_class.as_deref() {
        // A restore cannot wait for hours, and a segment that exists has to be read before it is taken for the same.
        Some(class @ ("GLACIER" | "DEEP_ARCHIVE")) => Err(read.clash(
            "store.storage_class",
            format!("objects of the class `{class}` cannot be read at once, which recovery must"),
            "choose a class without a retrieval time, such as `STANDARD_IA` or `GLACIER_IR`".to_owned(),
        )),
        _ => Ok(settings),
    }
}

/// The store's own words, with the place of the key that it is about.
fn clash(read: &Reader<'_>, error: &SettingsError) -> ConfigError {
    let key = match error {
        SettingsError::NotOfThisStore { key, .. } => {
            super::keys::KEYS.iter().find(|known| known.name.strip_prefix("store.") == Some(key))
        }
        SettingsError::KmsKeyWithoutKms => super::keys::find("store.sse_kms_key"),
        _ => None,
    };
    read.clash(key.map_or("store.url", |key| key.name), error.to_string(), error.hint().unwrap_or_default())
}
