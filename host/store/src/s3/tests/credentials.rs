//! Wrong credentials are told by their kind, and no secret is ever shown.

use stillframe_core::error::ErrorClass;
use stillframe_core::store::Store as _;
use stillframe_tests::ObjectStoreServer;
use tempfile::TempDir;

use crate::StoreSettings;
use crate::testing::{Log, key, moto_settings, s3_settings, s3_store, whole};

const WRONG_SECRET: &str = "hunter2/hunter2/hunter2/hunter2/hunter2";

#[tokio::test]
async fn tells_a_wrong_secret_from_an_unknown_key_and_shows_neither() {
    let server = ObjectStoreServer::moto_that_checks_signatures();
    let right = s3_store(&moto_settings(&server)).await;
    right.create().await.unwrap();
    right.put(&key("x"), "body".into()).await.unwrap();

    let log = Log::of(tracing::Level::TRACE);
    let wrong = s3_store(&s3_settings(server.endpoint(), &server.credentials_file_with(WRONG_SECRET))).await;
    let error = wrong.get(&key("x")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config);
    assert!(error.source.to_string().contains("SignatureDoesNotMatch"), "{error:?}");
    assert!(error.advice.as_deref().unwrap().contains("secret"), "{error:?}");
    assert!(!whole(&error).contains(WRONG_SECRET), "{error:?}");

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let text = format!(
        "[default]\naws_access_key_id = AKIAUNKNOWN\naws_secret_access_key = {WRONG_SECRET}\naws_session_token = token-{WRONG_SECRET}\n"
    );
    std::fs::write(&file, text).unwrap();
    let error = s3_store(&s3_settings(server.endpoint(), &file)).await.get(&key("x")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config, "{error:?}");
    assert!(error.advice.is_some() && !whole(&error).contains(WRONG_SECRET), "{error:?}");
    let text = log.text();
    assert!(text.contains("stillframe-tests"), "the log holds what the client does");
    assert!(!text.contains(WRONG_SECRET), "the log shows a secret");
}

#[tokio::test]
async fn names_the_file_or_the_profile_that_has_no_credentials() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let missing = s3_settings("http://127.0.0.1:1", &file);
    let error = crate::open(&missing).await.err().unwrap();
    assert_eq!(error.class, ErrorClass::Config);
    assert!(whole(&error).contains("credentials_file"), "{error:?}");

    // What is wrong in the file may stand beside a secret.
    std::fs::write(&file, format!("[default]\naws_secret_access_key {WRONG_SECRET}\n")).unwrap();
    for profile in [None, Some("no-such-profile".to_owned())] {
        let settings = StoreSettings { profile, ..s3_settings("http://127.0.0.1:1", &file) };
        let error = s3_store(&settings).await.get(&key("x")).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config, "{error:?}");
        assert!(whole(&error).contains("credentials") && !whole(&error).contains(WRONG_SECRET), "{error:?}");
    }
}
