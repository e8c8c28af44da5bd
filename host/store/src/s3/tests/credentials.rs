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

#[tokio::test]
async fn credentials_that_no_header_can_hold_are_refused_and_not_shown() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let keys = "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = B\n";
    for text in [
        format!("[default]\naws_access_key_id = A\n {WRONG_SECRET}\naws_secret_access_key = B\n"),
        format!("[default]\n{keys}aws_session_token = two {WRONG_SECRET}\n"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = s3_store(&s3_settings("http://127.0.0.1:1", &file)).await.get(&key("x")).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config, "{error:?}");
        assert!(whole(&error).contains("no single word") && !whole(&error).contains(WRONG_SECRET), "{error:?}");
    }
}

#[tokio::test]
async fn a_store_is_named_by_the_endpoint_that_a_profile_names() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let keys = "aws_access_key_id = A\naws_secret_access_key = B\n";
    let text = format!("[default]\n{keys}endpoint_url = http://127.0.0.1:7/\n[profile other]\n{keys}[other]\n{keys}");
    std::fs::write(&file, text).unwrap();
    let named = s3_settings("http://127.0.0.1:8", &file);
    let name = async |settings: &StoreSettings| s3_store(settings).await.url();
    assert_eq!(name(&named).await, "s3://stillframe-tests/some/prefix (at http://127.0.0.1:8)", "`[store]` goes first");
    let unnamed = StoreSettings { endpoint: None, region: Some("eu-west-1".to_owned()), ..named };
    assert_eq!(name(&unnamed).await, "s3://stillframe-tests/some/prefix (at http://127.0.0.1:7, region eu-west-1)");
    let other = StoreSettings { profile: Some("other".to_owned()), ..unnamed };
    assert_eq!(name(&other).await, "s3://stillframe-tests/some/prefix (region eu-west-1)");
}

#[tokio::test]
async fn an_endpoint_of_a_profile_is_refused_like_one_of_the_settings() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    let keys = "[default]\naws_access_key_id = A\naws_secret_access_key = B\n";
    let log = Log::of(tracing::Level::TRACE);
    // The vendor's client takes the first for a URL and the second not.
    for endpoint in ["http://me:hunter2@h", "http://me:hunter?2@h:9"] {
        std::fs::write(&file, format!("{keys}endpoint_url = {endpoint}\nhunter2 3 = x\n")).unwrap();
        let settings = StoreSettings { endpoint: None, region: Some("eu-west-1".to_owned()), ..s3_settings("", &file) };
        let error = crate::open(&settings).await.err().unwrap();
        assert!(error.class == ErrorClass::Config && whole(&error).contains("the endpoint `http://…"), "{error:?}");
        assert!(!whole(&error).contains("hunter"), "{error:?}");
    }
    assert!(!log.text().contains("hunter"), "{}", log.text());
}

#[tokio::test]
async fn no_line_of_a_credentials_file_is_quoted_whatever_is_wrong_with_it() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("credentials");
    for text in [
        format!("aws_secret_access_key = {WRONG_SECRET}\n"),
        format!("[default\naws_secret_access_key = {WRONG_SECRET}\n"),
        format!("[default]\n = {WRONG_SECRET}\n"),
        format!("[default]\naws_access_key_id = A\n  {WRONG_SECRET}\n"),
        format!("[default]\naws_access_key_id =\n  {WRONG_SECRET}\naws_secret_access_key = x\n"),
        format!("[default]\n{WRONG_SECRET}\n"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let settings = StoreSettings { max_attempts: 1.try_into().unwrap(), ..s3_settings("http://127.0.0.1:1", &file) };
        let error = s3_store(&settings).await.get(&key("x")).await.unwrap_err();
        assert!(!whole(&error).contains("hunter2"), "{text}: {error:?}");
    }
}
