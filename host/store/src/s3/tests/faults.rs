//! A network that loses things, over real connections: what is repeated, what is not, and what is never believed.

use std::time::Duration;

use bytes::Bytes;
use stillframe_core::error::ErrorClass;
use stillframe_core::store::{PutOutcome, Store, list};
use stillframe_tests::{Dialect, FaultProxy, Loss, OwnServer, Precondition};
use tempfile::TempDir;

use crate::StoreSettings;
use crate::remote::RemoteStore;
use crate::testing::{Log, key, s3_settings_of_any_key, s3_store};

/// A store behind a proxy, created and with its marker seen.
struct Site {
    store: RemoteStore,
    proxy: FaultProxy,
    settings: StoreSettings,
    _server: OwnServer,
    _directory: TempDir,
}

async fn site() -> Site {
    let server = OwnServer::start(Dialect::S3, Precondition::Honoured);
    let proxy = FaultProxy::before(server.endpoint());
    let (settings, directory) = s3_settings_of_any_key(proxy.endpoint());
    let store = s3_store(&settings).await;
    store.create().await.unwrap();
    proxy.take_requests();
    Site { store, proxy, settings, _server: server, _directory: directory }
}

impl Site {
    fn requests(&self, method: &str, name: &str) -> usize {
        let is_one = |request: &&String| request.starts_with(&format!("{method} ")) && request.contains(name);
        self.proxy.take_requests().iter().filter(is_one).count()
    }
}

#[tokio::test]
async fn repeats_after_errors_of_the_server_and_throttling_and_says_so_in_the_log() {
    let site = site().await;
    let log = Log::of(tracing::Level::WARN);
    let losses =
        [Loss::Answer(500, "InternalError"), Loss::Answer(503, "SlowDown"), Loss::Answer(429, "TooManyRequests"), Loss::Reset];
    for loss in losses {
        site.proxy.lose_next("PUT", "/x", loss);
    }
    site.store.put(&key("x"), Bytes::from_static(b"body")).await.unwrap();
    assert_eq!(site.requests("PUT", "/x"), 5, "the client must not repeat by itself");
    let text = log.text();
    for words in
        ["store operation is tried again", "SlowDown", "attempt=4", "operation=\"write\"", "s3://stillframe-tests/some/prefix"]
    {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");
    assert_eq!(site.store.get(&key("x")).await.unwrap().as_deref(), Some(b"body".as_slice()));
}

#[tokio::test]
async fn gives_up_after_the_last_attempt_with_the_cause() {
    let site = site().await;
    for _ in 0..9 {
        site.proxy.lose_next("GET", "/x", Loss::Answer(503, "SlowDown"));
    }
    let error = site.store.get(&key("x")).await.unwrap_err();
    assert_eq!((error.class, site.requests("GET", "/x")), (ErrorClass::Transient, 5));
    assert!(error.source.to_string().contains("503 SlowDown"), "{error:?}");
}

#[tokio::test]
async fn never_repeats_what_the_operator_must_change() {
    let site = site().await;
    for code in ["AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken"] {
        site.proxy.lose_next("GET", "/x", Loss::Answer(403, code));
        let error = site.store.get(&key("x")).await.unwrap_err();
        assert_eq!((error.class, site.requests("GET", "/x")), (ErrorClass::Config, 1), "{code}");
        assert!(error.advice.is_some() && error.source.to_string().contains(code), "{error:?}");
    }
}

#[tokio::test]
async fn knows_its_own_object_when_the_answer_to_its_creation_was_lost() {
    let site = site().await;
    site.proxy.lose_next("PUT", "/x", Loss::LostAnswer);
    let outcome = site.store.put_if_absent(&key("x"), Bytes::from_static(b"mine")).await.unwrap();
    assert_eq!(outcome, PutOutcome::Created);
    let again = site.store.put_if_absent(&key("x"), Bytes::from_static(b"mine")).await.unwrap();
    assert_eq!(again, PutOutcome::AlreadyExists, "without a loss the same bytes are somebody else's");
    assert_eq!(site.proxy.pending(), 0);
}

#[tokio::test]
async fn says_that_somebody_was_there_before_when_its_own_request_was_lost() {
    let site = site().await;
    site.store.put(&key("x"), Bytes::from_static(b"theirs")).await.unwrap();
    site.proxy.lose_next("PUT", "/x", Loss::Reset);
    let outcome = site.store.put_if_absent(&key("x"), Bytes::from_static(b"mine")).await.unwrap();
    assert_eq!(outcome, PutOutcome::AlreadyExists);
    assert_eq!(site.store.get(&key("x")).await.unwrap().as_deref(), Some(b"theirs".as_slice()));
}

#[tokio::test]
async fn a_conflict_of_conditional_writes_is_repeated_and_is_no_outcome() {
    let site = site().await;
    site.proxy.lose_next("PUT", "/x", Loss::Answer(409, "ConditionalRequestConflict"));
    let outcome = site.store.put_if_absent(&key("x"), Bytes::from_static(b"mine")).await.unwrap();
    assert_eq!((outcome, site.requests("PUT", "/x")), (PutOutcome::Created, 2));
}

#[tokio::test]
async fn never_gives_back_half_a_body() {
    let site = site().await;
    let body = Bytes::from(vec![7; 3 << 20]);
    site.store.put(&key("x"), body.clone()).await.unwrap();
    site.proxy.lose_next("GET", "/x", Loss::HalfAnswer).lose_next("GET", "/x", Loss::HalfAnswer);
    assert!(site.store.get(&key("x")).await.unwrap() == Some(body));
    assert_eq!(site.requests("GET", "/x"), 3);
    for _ in 0..5 {
        site.proxy.lose_next("GET", "/x", Loss::HalfAnswer);
    }
    assert_eq!(site.store.get(&key("x")).await.unwrap_err().class, ErrorClass::Transient);
}

#[tokio::test]
async fn never_takes_half_a_listing_for_a_whole_one() {
    let site = site().await;
    for number in 0..20 {
        site.store.put(&key(&format!("list/{number:02}")), Bytes::from_static(b"x")).await.unwrap();
    }
    site.proxy.lose_next("GET", "list-type=2", Loss::HalfAnswer).lose_next("GET", "list-type=2", Loss::LostAnswer);
    assert_eq!(list(&site.store, "list/").await.unwrap().len(), 20);
    for _ in 0..5 {
        site.proxy.lose_next("GET", "list-type=2", Loss::HalfAnswer);
    }
    assert_eq!(list(&site.store, "list/").await.unwrap_err().class, ErrorClass::Transient);
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_after_the_timeout() {
    let mut site = site().await;
    site.settings.timeout = Duration::from_millis(300);
    site.settings.max_attempts = 2.try_into().unwrap();
    let store = s3_store(&site.settings).await;
    site.proxy.lose_next("GET", "/x", Loss::Silence).lose_next("GET", "/x", Loss::Silence);
    let error = store.get(&key("x")).await.unwrap_err();
    assert_eq!((error.class, site.requests("GET", "/x")), (ErrorClass::Transient, 2), "{error:?}");
    // Of one lost answer the next attempt makes good.
    site.proxy.lose_next("PUT", "/x", Loss::Silence);
    store.put(&key("x"), Bytes::from_static(b"body")).await.unwrap();
}

#[tokio::test]
async fn an_absence_needs_the_code_of_an_absent_object() {
    let site = site().await;
    // A proxy's page, or a server that is not an object store, says 404 as well.
    site.proxy.lose_next("GET", "/x", Loss::Answer(404, "NoSuchPage"));
    assert_eq!(site.store.get(&key("x")).await.unwrap_err().class, ErrorClass::Config);
    site.proxy.lose_next("GET", "/x", Loss::Answer(404, "NoSuchBucket"));
    assert_eq!(site.store.get(&key("x")).await.unwrap_err().class, ErrorClass::Config);
    assert_eq!(site.store.get(&key("x")).await.unwrap(), None);
}

#[tokio::test]
async fn a_marker_that_cannot_be_read_proves_no_absence() {
    let site = site().await;
    let fresh = s3_store(&site.settings).await;
    for _ in 0..5 {
        site.proxy.lose_next("GET", ".stillframe-store.json", Loss::Answer(500, "InternalError"));
    }
    assert_eq!(fresh.get(&key("x")).await.unwrap_err().class, ErrorClass::Transient);
    assert_eq!(fresh.get(&key("x")).await.unwrap(), None);
    site.proxy.take_requests();
    assert_eq!(fresh.get(&key("x")).await.unwrap(), None);
    assert_eq!(site.requests("GET", ".stillframe-store.json"), 1, "each absence is proven anew, once");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_transient() {
    let (settings, _directory) = s3_settings_of_any_key("http://127.0.0.1:1");
    let error = s3_store(&settings).await.get(&key("x")).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Transient, "{error:?}");
    assert!(error.advice.as_deref().is_some_and(|advice| advice.contains("endpoint")), "{error:?}");
}
