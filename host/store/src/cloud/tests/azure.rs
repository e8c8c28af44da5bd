//! Azure's blobs, on Azurite.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use stillframe_core::clock::SystemClock;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::Store;
use stillframe_tests::{BUCKET, FaultProxy, Loss, ObjectStoreServer};

use crate::cloud::CloudWire;
use crate::remote::{Fault, RemoteStore, Wire as _};
use crate::testing::{key, whole};
use crate::url::StoreUrl;
use crate::{StoreSettings, conformance};

fn store(server: &ObjectStoreServer, endpoint: &str, container: &str, secret: &str) -> RemoteStore {
    let settings = StoreSettings {
        endpoint: Some(endpoint.to_owned()),
        account: Some(server.access_key().to_owned()),
        ..StoreSettings::new(format!("az://{container}/some/prefix").parse().unwrap())
    };
    let StoreUrl::Azure(location) = &settings.url else { panic!("not Azure") };
    // The variables of a process cannot be set in a test; this is what is read from them.
    let builder = MicrosoftAzureBuilder::new().with_access_key(secret);
    let wire = CloudWire::azure_from(builder, &settings, location).unwrap();
    RemoteStore::new(&settings, Box::new(wire), Box::new(SystemClock))
}

#[tokio::test]
async fn passes_the_whole_suite_on_azurite() {
    let server = ObjectStoreServer::azurite();
    let store = store(&server, server.endpoint(), BUCKET, server.secret_key());
    store.create().await.unwrap();
    let store: Arc<dyn Store> = Arc::new(store);
    conformance::run(&store, "conformance").await;
}

#[tokio::test]
async fn tells_a_missing_container_and_a_wrong_key_from_an_absent_object() {
    let server = ObjectStoreServer::azurite();
    let right = store(&server, server.endpoint(), BUCKET, server.secret_key());
    right.create().await.unwrap();
    assert_eq!(right.get(&key("x")).await.unwrap(), None);
    assert_eq!(right.head(&key("x")).await.unwrap(), None);

    let elsewhere = store(&server, server.endpoint(), "no-such-container", server.secret_key());
    for error in [
        elsewhere.get(&key("x")).await.unwrap_err(),
        elsewhere.head(&key("x")).await.unwrap_err(),
        elsewhere.list_page("", None, 10).await.unwrap_err(),
        elsewhere.create().await.unwrap_err(),
    ] {
        assert!(error.class == ErrorClass::Config && whole(&error).contains("ContainerNotFound"), "{error:?}");
    }

    // Base64 of `hunter2hunter2`, as a key must be.
    let wrong = store(&server, server.endpoint(), BUCKET, "aHVudGVyMmh1bnRlcjI=");
    let error = wrong.get(&key("x")).await.unwrap_err();
    assert!(error.class == ErrorClass::Config && !whole(&error).contains("aHVudGVyMmh1bnRlcjI"), "{error:?}");
}

#[tokio::test]
async fn a_conflict_that_is_not_about_the_object_is_no_existing_object() {
    let server = ObjectStoreServer::azurite();
    let proxy = FaultProxy::before(server.endpoint());
    let store = store(&server, proxy.endpoint(), BUCKET, server.secret_key());
    store.create().await.unwrap();
    proxy.lose_next("PUT", "/x", Loss::Answer(409, "ContainerBeingDeleted"));
    let error = store.put_if_absent(&key("x"), "body".into()).await.unwrap_err();
    assert!(error.class == ErrorClass::Config && whole(&error).contains("ContainerBeingDeleted"), "{error:?}");
}

fn with_variables(variables: &[(AzureConfigKey, &str)], settings: &StoreSettings) -> Result<CloudWire, Fault> {
    let StoreUrl::Azure(location) = &settings.url else { panic!("not Azure") };
    let set = |builder: MicrosoftAzureBuilder, (key, value): &(AzureConfigKey, &str)| builder.with_config(*key, *value);
    CloudWire::azure_from(variables.iter().fold(MicrosoftAzureBuilder::new(), set), settings, location)
}

fn plain() -> StoreSettings {
    StoreSettings::new("az://container/prefix".parse().unwrap())
}

#[test]
fn a_store_is_named_by_the_account_and_the_endpoint_of_variables() {
    let name = |variables: &[(AzureConfigKey, &str)], settings: &StoreSettings| with_variables(variables, settings).unwrap().name();
    let (account, endpoint) = ((AzureConfigKey::AccountName, "one"), (AzureConfigKey::Endpoint, "http://127.0.0.1:7/one"));
    assert_eq!(name(std::slice::from_ref(&account), &plain()), "az://container/prefix (account one)");
    assert_eq!(name(&[account, endpoint], &plain()), "az://container/prefix (at http://127.0.0.1:7/one, account one)");
    let fabric = (AzureConfigKey::UseFabricEndpoint, "1");
    assert_eq!(name(&[account, fabric], &plain()), "az://container/prefix (at https://one.blob.fabric.microsoft.com, account one)");
    let settings = StoreSettings { account: Some("two".to_owned()), endpoint: Some("http://127.0.0.1:8".to_owned()), ..plain() };
    let emulator = (AzureConfigKey::UseEmulator, "yes");
    assert_eq!(name(&[account, endpoint, emulator], &settings), "az://container/prefix (at http://127.0.0.1:8, account two)");
}

#[test]
fn what_a_variable_holds_is_refused_without_showing_it() {
    let account = (AzureConfigKey::AccountName, "one");
    for (variables, words) in [
        (vec![account, (AzureConfigKey::AccessKey, "hunter2!")], "AZURE_"),
        (vec![account, (AzureConfigKey::SasKey, "hunter2")], "AZURE_"),
        (vec![account, (AzureConfigKey::CredentialType, "hunter2")], "AZURE_"),
        (vec![account, (AzureConfigKey::SkipSignature, "hunter2")], "AZURE_"),
        (vec![account, (AzureConfigKey::Endpoint, "https://me:hunter2@host")], "https://…@host"),
        (vec![(AzureConfigKey::AccessKey, "hunter2=")], "no account is named"),
        (vec![account, (AzureConfigKey::UseEmulator, "On")], "endpoint"),
        (vec![account, (AzureConfigKey::UseAzureCli, "1")], "starts no program for the credentials of a store"),
        (vec![account, (AzureConfigKey::CredentialType, "azure_cli")], "starts no program for the credentials of a store"),
    ] {
        let fault = with_variables(&variables, &plain()).err().unwrap();
        let shown = format!("{} {fault:?}", stillframe_core::error::chain(&fault));
        assert!(shown.contains(words) && !shown.contains("hunter2"), "{variables:?}: {shown}");
    }
}
