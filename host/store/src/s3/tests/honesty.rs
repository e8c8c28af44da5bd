//! A server that does not honour conditional writes is refused, and told by what it did.
//!
//! The one that ignores them is s3rver, from npm. The one that races is the harness's own server, which leaves a gap between its
//! look and its write. Real servers race only now and then (moto does as soon as it has threads), and a test must not.

use stillframe_core::error::ErrorClass;
use stillframe_tests::{Dialect, ObjectStoreServer, OwnServer, Precondition};

use crate::testing::{s3_settings, s3_settings_of_any_key, s3_store, whole};

#[tokio::test]
async fn refuses_a_real_server_that_ignores_the_precondition() {
    let server = ObjectStoreServer::s3rver();
    let error = s3_store(&s3_settings(server.endpoint(), &server.credentials_file())).await.create().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Config, "{error:?}");
    let text = whole(&error);
    assert!(text.contains("ignored the precondition: it answered success to a second writer and replaced the object"), "{text}");
}

#[tokio::test]
async fn refuses_a_server_that_races_or_ignores_the_precondition_says_which_and_leaves_nothing() {
    let racing = ["it answered success to ", " of 24 concurrent writers of one object"].as_slice();
    for (precondition, words) in [(Precondition::Racing, racing), (Precondition::Ignored, &["ignored the precondition"])] {
        let server = OwnServer::start(Dialect::S3, precondition);
        let (settings, _directory) = s3_settings_of_any_key(server.endpoint());
        let error = s3_store(&settings).await.create().await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Config, "{error:?}");
        assert!(words.iter().all(|words| whole(&error).contains(words)), "{error:?}");
        assert_eq!(server.names(), Vec::<String>::new(), "neither a marker nor a probe may stay");
    }
}

#[tokio::test]
async fn accepts_an_honest_server_and_leaves_only_the_marker() {
    let server = OwnServer::start(Dialect::S3, Precondition::Honoured);
    let (settings, _directory) = s3_settings_of_any_key(server.endpoint());
    s3_store(&settings).await.create().await.unwrap();
    assert_eq!(server.names(), ["some/prefix/.stillframe-store.json"]);
}
