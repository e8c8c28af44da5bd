//! Google Cloud Storage: the credentials file of the settings, or that of `GOOGLE_APPLICATION_CREDENTIALS`, or the instance's.

use object_store::gcp::GoogleCloudStorageBuilder;

use super::http::Bridge;
use super::{CloudWire, PrefixItself, failure, no_retries};
use crate::remote::{Fault, Reason};
use crate::settings::StoreSettings;
use crate::transport::Transport;
use crate::url::Location;

impl CloudWire {
    /// A client for a bucket of Google, or of an emulator at `endpoint`; nothing is asked of the server yet.
    pub(crate) fn google(settings: &StoreSettings, location: &Location) -> Result<Self, Fault> {
        let transport = Transport::new(settings.ca_cert_file.as_deref())?;
        let mut builder = match &settings.credentials_file {
            None => GoogleCloudStorageBuilder::from_env(),
            // What `[store]` names goes before what the environment says.
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let file = |source| Fault::File { key: "credentials_file", path: path.clone(), source };
                let text = text.map_err(|error| file(Reason::of(&error)))?;
                let builder = GoogleCloudStorageBuilder::new().with_service_account_key(text.clone());
                // The crate's message may show a piece of the file, and the file holds a private key.
                if builder.clone().with_bucket_name("any").with_http_connector(Bridge(transport.connector())).build().is_err() {
                    return Err(file(Reason::new("it is no key file of a service account")));
                }
                builder
            }
        };
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_base_url(endpoint.trim_end_matches('/'));
        }
        let builder = builder.with_bucket_name(location.bucket()).with_retry(no_retries());
        let client = builder.with_http_connector(Bridge(transport.connector())).build();
        Ok(Self::new(client.map_err(|error| failure::settings(&error))?, location, settings.timeout, PrefixItself::Listed))
    }
}
