//! Google Cloud Storage: the credentials file of the settings, or what the `GOOGLE_*` variables name, or the instance's.

use std::path::Path;

use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::http::Bridge;
use super::{CloudWire, PrefixItself, no_retries};
use crate::remote::{Fault, Reason};
use crate::settings::StoreSettings;
use crate::transport::Transport;
use crate::url::Location;

/// Where Google itself is.
const ENDPOINT_OF_GOOGLE: &str = "https://storage.googleapis.com";

impl CloudWire {
    /// A client for a bucket of Google, or of an emulator at `endpoint`; nothing is asked of the server yet.
    pub(crate) fn google(settings: &StoreSettings, location: &Location) -> Result<Self, Fault> {
        Self::google_from(GoogleCloudStorageBuilder::from_env(), settings, location)
    }

    /// The same with variables that were read before.
    pub(super) fn google_from(
        variables: GoogleCloudStorageBuilder,
        settings: &StoreSettings,
        location: &Location,
    ) -> Result<Self, Fault> {
        let transport = Transport::new(settings.ca_cert_file.as_deref())?;
        let file = |path: &Path, source| Fault::File { key: "credentials_file", path: path.to_owned(), source };
        let named = settings.endpoint.clone().or_else(|| variables.get_config_value(&GoogleConfigKey::BaseUrl));
        let settings = settings.clone().at(named)?;
        let builder = match &settings.credentials_file {
            None => variables,
            // What `[store]` names goes before what the environment says.
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| file(path, Reason::of(&error)))?;
                GoogleCloudStorageBuilder::new().with_service_account_key(text)
            }
        };
        // Always named: the crate would believe a key file that says where the store is.
        let endpoint = settings.endpoint.as_deref().unwrap_or(ENDPOINT_OF_GOOGLE);
        let source = what_names_credentials(&builder);
        let builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        let builder = builder.with_bucket_name(location.bucket()).with_retry(no_retries());
        let client = builder.with_http_connector(Bridge(transport.connector())).build();
        // The crate's message may show a piece of what it read, and that is a private key.
        let client = client.map_err(|_| match &settings.credentials_file {
            None => Fault::Settings { source: Reason::new(&format!("no key of a service account can be read from {source}")) },
            Some(path) => file(path, Reason::new("it is no key file of a service account")),
        })?;
        Ok(Self::new(client, &settings, location, PrefixItself::Listed))
    }
}

/// Where the crate looks for credentials; named by the variable and not by its value, which may be a key in the wrong place.
fn what_names_credentials(builder: &GoogleCloudStorageBuilder) -> &'static str {
    let is_set = |key| builder.get_config_value(&key).is_some();
    match (is_set(GoogleConfigKey::ServiceAccount), is_set(GoogleConfigKey::ServiceAccountKey)) {
        (true, true) => "both of `GOOGLE_SERVICE_ACCOUNT` and `GOOGLE_SERVICE_ACCOUNT_KEY`: remove one",
        (true, false) => "the file that `GOOGLE_SERVICE_ACCOUNT` names",
        (false, true) => "`GOOGLE_SERVICE_ACCOUNT_KEY`",
        (false, false) if is_set(GoogleConfigKey::ApplicationCredentials) => "the file that `GOOGLE_APPLICATION_CREDENTIALS` names",
        (false, false) => "the default credentials of `gcloud`",
    }
}
