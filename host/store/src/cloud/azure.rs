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
        variables: MicrosoftAzureBuilder,
        settings: &StoreSettings,
        location: &Location,
    ) -> Result<Self, Fault> {
        let transport = Transport::new(settings.ca_cert_file.as_deref())?;
        refuse_a_program(&variables)?;
        let settings = resolved(&variables, settings)?;
        let Some(account) = &settings.account else {
            return Err(refusal("no account is named, neither by `account` in `[store]` nor by `AZURE_STORAGE_ACCOUNT_NAME`"));
        };
        // With this switch the crate would go to an address of its own, whatever the endpoint.
        let mut builder = variables.with_use_emulator(false).with_account(account);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        let builder = builder.with_container_name(location.bucket()).with_retry(no_retries());
        let client = builder.with_http_connector(Bridge(transport.connector())).build();
        // The crate's message may show a piece of a key that is no Base64.
        let client =
            client.map_err(|_| refusal("the `AZURE_*` variables hold a key, a signature or a word that Azure does not know"))?;
        Ok(Self::new(client, &settings, location, PrefixItself::LeftOut))
    }
}

/// The settings with the account and the endpoint of the variables, where they have none of their own.
fn resolved(variables: &MicrosoftAzureBuilder, settings: &StoreSettings) -> Result<StoreSettings, Fault> {
    if is_on(variables, AzureConfigKey::UseEmulator) && settings.endpoint.is_none() {
        return Err(refusal("`AZURE_STORAGE_USE_EMULATOR` is set: name the emulator with `endpoint` instead"));
    }
    let account = settings.account.clone().or_else(|| variables.get_config_value(&AzureConfigKey::AccountName));
    let fabric = account.as_ref().filter(|_| is_on(variables, AzureConfigKey::UseFabricEndpoint));
    let fabric = fabric.map(|account| format!("https://{account}.blob.fabric.microsoft.com"));
    let endpoint = settings.endpoint.clone().or_else(|| variables.get_config_value(&AzureConfigKey::Endpoint)).or(fabric);
    Ok(StoreSettings { account, ..settings.clone() }.at(endpoint)?)
}

fn refuse_a_program(variables: &MicrosoftAzureBuilder) -> Result<(), Fault> {
    let is_program = variables.get_config_value(&AzureConfigKey::CredentialType).is_some_and(|value| value == "azure_cli");
    if is_program || is_on(variables, AzureConfigKey::UseAzureCli) {
        let reason = "Stillframe starts no program for the credentials of a store, so it cannot ask the Azure command line";
        return Err(refusal(reason));
    }
    Ok(())
}

/// Whether a switch is on, in any of the words that the crate takes for it.
fn is_on(variables: &MicrosoftAzureBuilder, key: AzureConfigKey) -> bool {
    let value = variables.get_config_value(&key).unwrap_or_default().to_ascii_lowercase();
    ["1", "true", "on", "yes", "y"].contains(&value.as_str())
}

fn refusal(reason: &str) -> Fault {
    Fault::Settings { source: Reason::new(reason) }
}
