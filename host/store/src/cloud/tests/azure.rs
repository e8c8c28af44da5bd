//! Azure's blobs, on Azurite.

use std::sync::Arc;

use object_store::azure::MicrosoftAzureBuilder;
use stillframe_core::clock::SystemClock;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{Store, list};
use stillframe_tests::{BUCKET, FaultProxy, Loss, ObjectStoreServer};

use crate::cloud::CloudWire;
use crate::remote::RemoteStore;
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
    assert_eq!(list(store.as_ref(), "").await.unwrap(), []);
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
