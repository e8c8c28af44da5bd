//! Google Cloud Storage: the credentials file of the settings, or what the `GOOGLE_*` variables name, or the instance's.

use std::path::Path;

use object_store::gcp::GoogleCloudStorageBuilder;

use super::http::Bridge;
use super::{CloudWire, PrefixItself, no_retries};
use crate::remote::{Fault, Reason};
use crate::settings::StoreSettings;
use crate::transport::Transport;
use crate::url::Location;

impl CloudWire {
    /// A client for a bucket of Google, or of an emulator at `endpoint`; nothing is asked of the server yet.
    pub(crate) fn google(settings: &StoreSettings, location: &Location) -> Result<Self, Fault> {
        let transport = Transport::new(settings.ca_cert_file.as_deref())?;
        let file = |path: &Path, source| Fault::File { key: "credentials_file", path: path.to_owned(), source };
        let mut builder = match &settings.credentials_file {
            None => GoogleCloudStorageBuilder::from_env(),
            // What `[store]` names goes before what the environment says.
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| file(path, Reason::of(&error)))?;
                GoogleCloudStorageBuilder::new().with_service_account_key(text)
            }
        };
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        let builder = builder.with_bucket_name(location.bucket()).with_retry(no_retries());
        let client = builder.with_http_connector(Bridge(transport.connector())).build();
        let client = client.map_err(|error| match &settings.credentials_file {
            None => Fault::Settings { source: Reason::of(&error) },
            // The crate's message may show a piece of the file, and the file holds a private key.
            Some(path) => file(path, Reason::new("it is no key file of a service account")),
        })?;
        Ok(Self::new(client, location, settings.timeout, PrefixItself::Listed))
    }
}
