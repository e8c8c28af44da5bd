//! Google's XML interface, as the harness's own server speaks it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{PutOutcome, Store};
use stillframe_tests::{BUCKET, Dialect, FaultProxy, Loss, OwnServer, Precondition};
use tempfile::TempDir;

use crate::cloud::CloudWire;
use crate::remote::{Fault, Wire as _};
use crate::testing::{key, whole};
use crate::url::StoreUrl;
use crate::{StoreSettings, conformance, create, open};

fn settings(endpoint: &str, directory: &Path) -> StoreSettings {
    let file = directory.join("key.json");
    let text = "{\"disable_oauth\": true, \"client_email\": \"\", \"private_key\": \"\", \"private_key_id\": \"\"}";
    std::fs::write(&file, text).unwrap();
    StoreSettings {
        endpoint: Some(endpoint.to_owned()),
        credentials_file: Some(file),
        ..StoreSettings::new(format!("gs://{BUCKET}/some/prefix").parse().unwrap())
    }
}

async fn store_behind(proxy: &FaultProxy, directory: &TempDir) -> Arc<dyn Store> {
    create(&settings(proxy.endpoint(), directory.path())).await.unwrap()
}

#[tokio::test]
async fn passes_the_whole_suite() {
    let server = OwnServer::start(Dialect::Google, Precondition::Honoured);
    let directory = TempDir::new().unwrap();
    let store = create(&settings(server.endpoint(), directory.path())).await.unwrap();
    conformance::run(&store, "conformance").await;
}

#[tokio::test]
async fn refuses_a_server_that_ignores_the_generation() {
    let directory = TempDir::new().unwrap();
    for (precondition, words) in
        [(Precondition::Ignored, "ignored the precondition"), (Precondition::Racing, "answered success to")]
    {
        let server = OwnServer::start(Dialect::Google, precondition);
        let error = create(&settings(server.endpoint(), directory.path())).await.err().unwrap();
        assert!(error.class == ErrorClass::Config && whole(&error).contains(words), "{error:?}");
        assert_eq!(server.names(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn repeats_what_is_lost_itself_and_the_crate_repeats_nothing() {
    let server = OwnServer::start(Dialect::Google, Precondition::Honoured);
    let (proxy, directory) = (FaultProxy::before(server.endpoint()), TempDir::new().unwrap());
    let mut impatient = settings(proxy.endpoint(), directory.path());
    create(&impatient).await.unwrap();
    impatient.max_attempts = 1.try_into().unwrap();
    let store = open(&impatient).await.unwrap();
    let body = Bytes::from(vec![7; 1 << 20]);
    store.put(&key("x"), body).await.unwrap();
    let losses = [Loss::Answer(503, "SlowDown"), Loss::Answer(429, ""), Loss::Reset, Loss::HalfAnswer, Loss::LostAnswer];
    for loss in losses {
        proxy.take_requests();
        proxy.lose_next("GET", "/x", loss.clone());
        let error = store.get(&key("x")).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Transient, "{loss:?}: {error:?}");
        assert_eq!(proxy.take_requests().len(), 1, "{loss:?}");
    }
    proxy.lose_next("PUT", "/lost", Loss::LostAnswer);
    let patient = store_behind(&proxy, &directory).await;
    assert_eq!(patient.put_if_absent(&key("lost"), Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::Created);
    assert_eq!(proxy.pending(), 0);
}

#[tokio::test]
async fn an_absence_needs_the_code_of_an_absent_object() {
    let server = OwnServer::start(Dialect::Google, Precondition::Honoured);
    let (proxy, directory) = (FaultProxy::before(server.endpoint()), TempDir::new().unwrap());
    let store = store_behind(&proxy, &directory).await;
    for (status, code) in [(404, "NoSuchBucket"), (404, "SomethingElse"), (403, "AccessDenied"), (401, "AuthenticationRequired")] {
        proxy.lose_next("GET", "/x", Loss::Answer(status, code));
        let error = store.get(&key("x")).await.unwrap_err();
        assert!(error.class == ErrorClass::Config && whole(&error).contains(code), "{error:?}");
        proxy.lose_next("DELETE", "/x", Loss::Answer(status, code));
        assert_eq!(store.delete(&key("x")).await.unwrap_err().class, ErrorClass::Config, "{code}");
    }
    assert_eq!(store.get(&key("x")).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_file_that_is_none_is_named_and_not_shown() {
    let directory = TempDir::new().unwrap();
    let settings = settings("http://127.0.0.1:1", directory.path());
    let file = settings.credentials_file.clone().unwrap();
    for text in ["\"hunter2\"", "{\"private_key\": \"hunter2\"}", "hunter2"] {
        std::fs::write(&file, text).unwrap();
        let error = open(&settings).await.err().unwrap();
        assert!(error.class == ErrorClass::Config && whole(&error).contains("credentials_file"), "{error:?}");
        assert!(!whole(&error).contains("hunter2"), "{error:?}");
    }
}

/// The variables of a process cannot be set in a test; a builder is what is read from them.
fn with_variables(builder: GoogleCloudStorageBuilder, settings: &StoreSettings) -> Result<CloudWire, Fault> {
    let StoreUrl::Google(location) = &settings.url else { panic!("not Google") };
    CloudWire::google_from(builder, settings, location)
}

#[test]
fn a_key_of_a_variable_that_is_none_is_named_and_not_shown() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("key.json");
    let plain = StoreSettings::new("gs://bucket/prefix".parse().unwrap());
    for text in ["\"hunter2\"", "{\"private_key\": \"hunter2\"}", "hunter2", "{\"type\": \"hunter2\"}"] {
        std::fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        for (variable, value) in [
            (GoogleConfigKey::ServiceAccountKey, text),
            (GoogleConfigKey::ServiceAccount, path),
            (GoogleConfigKey::ApplicationCredentials, path),
            // Somebody took the variable for another one.
            (GoogleConfigKey::ServiceAccount, text),
            (GoogleConfigKey::ApplicationCredentials, text),
        ] {
            let name = format!("{variable:?}");
            let fault = with_variables(GoogleCloudStorageBuilder::new().with_config(variable, value), &plain).err().unwrap();
            let shown = format!("{} {fault:?}", stillframe_core::error::chain(&fault));
            assert!(shown.contains("`GOOGLE_") && !shown.contains("hunter2"), "{name}: {shown}");
        }
    }
}

#[test]
fn a_store_is_named_by_the_endpoint_of_a_variable_and_a_key_names_none() {
    let directory = TempDir::new().unwrap();
    let with_file = settings("http://127.0.0.1:8", directory.path());
    let variables = || GoogleCloudStorageBuilder::new().with_base_url("http://127.0.0.1:7");
    let name = |builder, settings: &StoreSettings| with_variables(builder, settings).unwrap().name();
    assert_eq!(name(variables(), &with_file), "gs://stillframe-tests/some/prefix (at http://127.0.0.1:8)");
    let unnamed = StoreSettings { endpoint: None, ..with_file };
    assert_eq!(name(variables(), &unnamed), "gs://stillframe-tests/some/prefix (at http://127.0.0.1:7)");
    assert_eq!(name(GoogleCloudStorageBuilder::new(), &unnamed), "gs://stillframe-tests/some/prefix");
}
