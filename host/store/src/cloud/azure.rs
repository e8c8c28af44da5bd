//! Azure Blob Storage: the account of the settings or else of the `AZURE_*` variables, and the credentials of these variables or of
//! the machine's identity.

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::http::Bridge;
use super::{CloudWire, PrefixItself, no_retries};
use crate::remote::{Fault, Reason};
use crate::settings::StoreSettings;
use crate::transport::Transport;
use crate::url::Location;

impl CloudWire {
    /// A client for a container of Azure, or of an emulator at `endpoint`; nothing is asked of the server yet.
    pub(crate) fn azure(settings: &StoreSettings, location: &Location) -> Result<Self, Fault> {
        Self::azure_from(MicrosoftAzureBuilder::from_env(), settings, location)
    }

    /// The same with variables that were read before.
    pub(super) fn azure_from(
        mut builder: MicrosoftAzureBuilder,
        settings: &StoreSettings,
        location: &Location,
    ) -> Result<Self, Fault> {
        let transport = Transport::new(settings.ca_cert_file.as_deref())?;
        let wants_program = [AzureConfigKey::UseAzureCli, AzureConfigKey::CredentialType]
            .iter()
            .filter_map(|key| builder.get_config_value(key))
            .any(|value| value == "true" || value == "azure_cli");
        if wants_program {
            let reason = "Stillframe starts no program, so it cannot ask the Azure command line for a token";
            return Err(Fault::Settings { source: Reason::new(reason) });
        }
        if let Some(account) = &settings.account {
            builder = builder.with_account(account);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let builder = builder.with_container_name(location.bucket()).with_retry(no_retries());
        let client = builder.with_http_connector(Bridge(transport.connector())).build();
        let client = client.map_err(|error| Fault::Settings { source: Reason::of(&error) })?;
        Ok(Self::new(client, location, settings.timeout, PrefixItself::LeftOut))
    }
}
