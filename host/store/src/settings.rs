//! What an operator can say about a store: the keys of `[store]`, parsed.
//!
//! A key that has no meaning for the store at hand is refused by its name, since somebody who wrote `sse` believes that what is
//! stored is encrypted.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

use crate::url::{StoreUrl, without_secrets};

/// Attempts of one operation, the first included, where the operator names no other number.
pub const DEFAULT_MAX_ATTEMPTS: NonZeroU32 = NonZeroU32::new(5).expect("5 is not 0");

/// Longest time of one attempt where the operator names no other: 16 MiB at 280 kB/s.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// Where a store is and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// `url`: which store.
    pub url: StoreUrl,
    /// `endpoint`: base URL of a service other than the vendor's own, such as `https://minio.example:9000`.
    pub endpoint: Option<String>,
    /// `region` (S3); else from the profile, the environment or the instance.
    pub region: Option<String>,
    /// `path_style` (S3): the bucket in the path and not in the host name; where unset, with an endpoint and not without.
    pub path_style: Option<bool>,
    /// `profile` (S3): a section of the credentials file and the configuration file.
    pub profile: Option<String>,
    /// `role_arn` (S3): a role to assume with the credentials at hand.
    pub role_arn: Option<String>,
    /// `credentials_file`: for S3 a shared credentials file, for GCS a key file in JSON.
    pub credentials_file: Option<PathBuf>,
    /// `account` (Azure): the storage account; else `AZURE_STORAGE_ACCOUNT_NAME`.
    pub account: Option<String>,
    /// `sse` and `sse_kms_key` (S3): encryption by the server.
    pub encryption: Option<Encryption>,
    /// `storage_class` (S3), such as `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// `ca_cert_file`: certificates in PEM that are trusted besides those of the system.
    pub ca_cert_file: Option<PathBuf>,
    /// `max_attempts`: attempts of one operation, the first included.
    pub max_attempts: NonZeroU32,
    /// `timeout_secs`: longest time of one attempt, with its body.
    pub timeout: Duration,
}

impl StoreSettings {
    /// The store at this URL, everything else as it is by default.
    #[must_use]
    pub const fn new(url: StoreUrl) -> Self {
        Self {
            url,
            endpoint: None,
            region: None,
            path_style: None,
            profile: None,
            role_arn: None,
            credentials_file: None,
            account: None,
            encryption: None,
            storage_class: None,
            ca_cert_file: None,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Names the store for messages, and tells it apart from one with the same URL elsewhere; never with a secret.
    ///
    /// Two servers may both have a bucket of that name, and two accounts a container. What is known of the archive is kept under this
    /// name, so a wire gives it only when endpoint and account are resolved, wherever they come from.
    pub(crate) fn name(&self) -> String {
        let endpoint = self.endpoint.as_deref().map(|endpoint| format!("at {}", without_secrets(endpoint.trim_end_matches('/'))));
        let account = self.account.as_deref().map(|account| format!("account {account}"));
        let region = self.region.as_deref().map(|region| format!("region {region}"));
        let facts: Vec<String> = [endpoint, account, region].into_iter().flatten().collect();
        if facts.is_empty() { self.url.to_string() } else { format!("{} ({})", self.url, facts.join(", ")) }
    }

    /// The same store at the endpoint that was resolved, which may come from the environment and must be one that could be named.
    pub(crate) fn at(self, endpoint: Option<String>) -> Result<Self, SettingsError> {
        let resolved = Self { endpoint, ..self };
        resolved.check().map(|()| resolved)
    }

    /// Refuses the first key that has no meaning for this store.
    pub fn check(&self) -> Result<(), SettingsError> {
        let is_s3 = matches!(self.url, StoreUrl::S3(_));
        let is_google = matches!(self.url, StoreUrl::Google(_));
        let is_azure = matches!(self.url, StoreUrl::Azure(_));
        let is_remote = is_s3 || is_google || is_azure;
        let keys = [
            ("endpoint", self.endpoint.is_some(), is_remote),
            ("region", self.region.is_some(), is_s3),
            ("path_style", self.path_style.is_some(), is_s3),
            ("profile", self.profile.is_some(), is_s3),
            ("role_arn", self.role_arn.is_some(), is_s3),
            ("credentials_file", self.credentials_file.is_some(), is_s3 || is_google),
            ("account", self.account.is_some(), is_azure),
            ("sse", self.encryption.is_some(), is_s3),
            ("storage_class", self.storage_class.is_some(), is_s3),
            ("ca_cert_file", self.ca_cert_file.is_some(), is_remote),
        ];
        if let Some((key, ..)) = keys.into_iter().find(|(_, is_set, has_meaning)| *is_set && !has_meaning) {
            return Err(SettingsError::NotOfThisStore { key, scheme: self.url.scheme() });
        }
        if let Some(endpoint) = self.endpoint.as_ref().filter(|endpoint| !is_base_url(endpoint)) {
            return Err(SettingsError::Endpoint { endpoint: without_secrets(endpoint) });
        }
        if self.timeout.is_zero() {
            return Err(SettingsError::NoTime);
        }
        Ok(())
    }
}

/// Encryption by the server that stores the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// `sse = "AES256"`: keys of S3.
    Aes256,
    /// `sse = "aws:kms"`: a key of the key management service.
    Kms {
        /// `sse_kms_key`: its identifier or ARN; else S3 chooses.
        key: Option<String>,
    },
}

impl Encryption {
    /// Reads the keys `sse` and `sse_kms_key`.
    pub fn parse(sse: Option<&str>, kms_key: Option<&str>) -> Result<Option<Self>, SettingsError> {
        match (sse, kms_key) {
            (None, None) => Ok(None),
            (Some("AES256"), None) => Ok(Some(Self::Aes256)),
            (Some("aws:kms"), key) => Ok(Some(Self::Kms { key: key.map(str::to_owned) })),
            (Some("AES256") | None, Some(_)) => Err(SettingsError::KmsKeyWithoutKms),
            (Some(other), _) => Err(SettingsError::UnknownEncryption { sse: other.to_owned() }),
        }
    }
}

/// Settings that contradict each other or that mean nothing.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SettingsError {
    /// The key belongs to another kind of store.
    #[error("`{key}` has no meaning for a store whose URL begins with `{scheme}://`")]
    NotOfThisStore {
        /// The key.
        key: &'static str,
        /// The scheme of the URL.
        scheme: &'static str,
    },
    /// The endpoint is no URL of a server.
    #[error("the endpoint `{endpoint}` is no URL that begins with `https://` or `http://` and names a host")]
    Endpoint {
        /// The endpoint, without a user and a password.
        endpoint: String,
    },
    /// `sse` is neither of the two words.
    #[error("`sse` is `{sse}`, which is neither `AES256` nor `aws:kms`")]
    UnknownEncryption {
        /// What it is.
        sse: String,
    },
    /// A key that would not be used.
    #[error("`sse_kms_key` needs `sse = \"aws:kms\"`")]
    KmsKeyWithoutKms,
    /// No attempt could ever succeed.
    #[error("`timeout_secs` is 0")]
    NoTime,
}

impl Classify for SettingsError {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotOfThisStore { key, .. } => format!("remove `{key}` from `[store]`, or correct `url`"),
            Self::Endpoint { .. } => "write it without user, password, bucket and prefix; they have keys of their own".to_owned(),
            Self::UnknownEncryption { .. } | Self::KmsKeyWithoutKms => "correct `sse` in `[store]`, or remove it".to_owned(),
            Self::NoTime => "give every attempt a minute, as it is by default".to_owned(),
        })
    }
}

/// Scheme and host, and at most a path: a password in it would end in every message.
fn is_base_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        !host.is_empty() && !rest.contains(['@', '?', '#']) && rest.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::{Encryption, SettingsError, StoreSettings};

    fn settings(url: &str) -> StoreSettings {
        StoreSettings::new(url.parse().unwrap())
    }

    #[test]
    fn refuses_a_key_that_the_store_would_silently_ignore() {
        let with_sse = StoreSettings { encryption: Some(Encryption::Aes256), ..settings("gs://bucket/prefix") };
        assert_eq!(with_sse.check(), Err(SettingsError::NotOfThisStore { key: "sse", scheme: "gs" }));
        let with_account = StoreSettings { account: Some("a".to_owned()), ..settings("s3://bucket/prefix") };
        assert_eq!(with_account.check(), Err(SettingsError::NotOfThisStore { key: "account", scheme: "s3" }));
        let with_endpoint = StoreSettings { endpoint: Some("https://h".to_owned()), ..settings("file:///store") };
        assert_eq!(with_endpoint.check(), Err(SettingsError::NotOfThisStore { key: "endpoint", scheme: "file" }));
        assert_eq!(settings("az://container").check(), Ok(()));
    }

    #[test]
    fn never_repeats_a_password_that_somebody_wrote_into_an_endpoint() {
        for endpoint in [
            "https://me:hunter2@host:9000",
            "me:hunter2@host",
            "https://host/?token=hunter2",
            "ftp://x:hunter2@host",
            "https://me:hunter2?@host",
            "me:hunter2@h://a@b",
        ] {
            let error = StoreSettings { endpoint: Some(endpoint.to_owned()), ..settings("s3://b/p") }.check().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        for endpoint in ["http://127.0.0.1:5000", "https://s3.example/base/"] {
            assert_eq!(StoreSettings { endpoint: Some(endpoint.to_owned()), ..settings("s3://b/p") }.check(), Ok(()));
        }
    }

    #[test]
    fn the_name_tells_stores_of_one_url_apart() {
        let plain = settings("s3://bucket/prefix");
        assert_eq!(plain.name(), "s3://bucket/prefix");
        let text = |text: &str| Some(text.to_owned());
        let at = |endpoint: &str| StoreSettings { endpoint: text(endpoint), ..plain.clone() }.name();
        assert_eq!(at("http://127.0.0.1:5555"), "s3://bucket/prefix (at http://127.0.0.1:5555)");
        assert_ne!(at("http://127.0.0.1:5555"), at("http://127.0.0.1:5556"));
        assert_ne!(at("http://127.0.0.1:5555"), at("http://127.0.0.2:5555"));
        assert_eq!(at("https://host"), at("https://host/"));
        let region = StoreSettings { region: text("eu-west-1"), ..plain.clone() };
        assert_eq!(region.name(), "s3://bucket/prefix (region eu-west-1)");
        let google = StoreSettings { endpoint: text("http://h:1"), ..settings("gs://bucket/prefix") };
        assert_eq!(google.name(), "gs://bucket/prefix (at http://h:1)");
        let account = |account: &str| StoreSettings { account: text(account), ..settings("az://container/prefix") }.name();
        assert_eq!(account("one"), "az://container/prefix (account one)");
        assert_ne!(account("one"), account("other"));
        // The name may be asked for before the settings are checked.
        assert!(!at("https://me:hunter2@host/?token=hunter2").contains("hunter2"));
        assert!(!at("https://me:hun?ter2@host").contains("hun"));
    }

    #[test]
    fn reads_encryption_or_says_what_is_wrong_with_it() {
        assert_eq!(Encryption::parse(None, None), Ok(None));
        assert_eq!(Encryption::parse(Some("AES256"), None), Ok(Some(Encryption::Aes256)));
        assert_eq!(Encryption::parse(Some("aws:kms"), Some("k")), Ok(Some(Encryption::Kms { key: Some("k".to_owned()) })));
        assert_eq!(Encryption::parse(Some("AES256"), Some("k")), Err(SettingsError::KmsKeyWithoutKms));
        assert_eq!(Encryption::parse(None, Some("k")), Err(SettingsError::KmsKeyWithoutKms));
        assert!(Encryption::parse(Some("aes256"), None).is_err());
    }
}
