//! No key, token or signature reaches a provider, a log or a text for people, even when a server gives all of them back.
//!
//! The component looks for them in its whole memory, right after each call. That it can find something is proven each time by a
//! word that the server put into the same answer.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::harness::{
    ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, TOKEN, aws_policy, called, http_policy, keys, query, runtime, runtime_without_keys,
    settings, token,
};
use crate::server::{Received, Reply, Server, answer};
use crate::sigv4;

/// What the server says besides the secrets; a run of digits like a signature, and a word.
const CANARY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const WORD: &str = "canary-in-the-answer";

/// Each byte raised by one, as the component wants it.
fn raised(text: &str) -> String {
    text.bytes().map(|byte| char::from(byte + 1)).collect()
}

/// Gives back the whole request, in the body, in a header and as the id of the request.
fn echo(request: &Received) -> Reply {
    let authorization = request.header("authorization").unwrap();
    let body = format!("{WORD} {CANARY}\n{}\n{}", request.head, request.header("x-amz-security-token").unwrap_or(""));
    answer(403, &[("x-amzn-RequestId", authorization), ("X-Echo", authorization)], &body)
}

#[tokio::test]
async fn no_secret_of_aws_reaches_the_provider_or_the_log() {
    let (log, _guard) = Log::begin();
    let server = Server::start(echo).await;
    let runtime = runtime(keys());
    let raised: Vec<String> = [ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, "stillframe/Session", WORD].map(raised).into();
    let config = json!({ "calls": [query("DescribeVolumes"), query("DescribeSnapshots")], "raised": raised });
    let settings = settings(&aws_policy(&server.url()), config);
    let told = called(&runtime, settings.clone()).await.unwrap();

    let requests = server.received();
    assert_eq!(requests.len(), 2);
    for (told, request) in told.iter().zip(&requests) {
        sigv4::verify(request);
        let counts = told.rsplit_once("found: [").unwrap().1;
        let (of_secrets, of_the_word) = counts.trim_end_matches(']').rsplit_once(", ").unwrap();
        assert_eq!(of_secrets, "0, 0, 0, 0", "{told}");
        assert_ne!(of_the_word, "0", "the component finds what is there: {told}");
    }
    // All runs of digits that could be a signature, as the component sees its memory at the end.
    let runs = told.last().unwrap();
    assert!(runs.contains(CANARY), "{runs}");
    let seen = format!("{told:?} {settings:?} {runtime:?} {}", log.text());
    assert!(log.text().contains("AWS answered") && log.text().contains("DescribeVolumes"), "the log has what was done");
    for secret in
        [ACCESS_KEY, SECRET_KEY, SESSION_TOKEN].into_iter().map(ToOwned::to_owned).chain(requests.iter().map(sigv4::signature))
    {
        let place = seen.find(&secret).map(|place| &seen[place.saturating_sub(200)..place]);
        assert_eq!(place, None, "a secret is shown");
    }
}

#[tokio::test]
async fn no_secret_of_aws_is_in_the_error_of_a_call_that_fails() {
    let (log, _guard) = Log::begin();
    let server = Server::start(|request| {
        let head =
            format!("HTTP/1.1 200 OK\r\nX-Echo: {}\r\nContent-Length: 9999\r\n\r\n", request.header("authorization").unwrap());
        Reply::Bytes([head.as_bytes(), request.head.as_bytes()].concat())
    })
    .await;
    let raised: Vec<String> = [ACCESS_KEY, SECRET_KEY, SESSION_TOKEN].map(raised).into();
    let config = json!({ "calls": [query("DescribeVolumes")], "raised": raised });
    let told = called(&runtime(keys()), settings(&aws_policy(&server.url()), config)).await.unwrap();
    assert!(told[0].starts_with("AwsError::Failed(\"the answer broke off") && told[0].ends_with("found: [0, 0, 0]"), "{told:?}");
    let signature = sigv4::signature(&server.the_request());
    for secret in [ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, &signature] {
        assert!(!told[0].contains(secret) && !log.text().contains(secret), "a secret is shown");
    }
}

#[tokio::test]
async fn no_credential_of_http_reaches_the_provider_or_the_log() {
    let (log, _guard) = Log::begin();
    let server = Server::start(|request| {
        let authorization = request.header("authorization").unwrap();
        let body = if request.head.starts_with("GET /api/body") { request.head.as_str() } else { WORD };
        answer(200, &[("X-Echo", authorization), ("X-Other", "shown")], body)
    })
    .await;
    let (_place, token) = token();
    let call =
        |path: &str| json!({ "http": { "method": "GET", "url": format!("{}/api/{path}", server.url()), "credential": "array" } });
    let config = json!({ "calls": [call("header"), call("body")], "raised": [raised(TOKEN), raised(WORD)] });
    let settings = settings(&http_policy(&server.url(), &token), config);
    let told = called(&runtime_without_keys(), settings.clone()).await.unwrap();
    assert!(told[0].starts_with("200 ") && told[0].contains("shown") && !told[0].contains("x-echo"), "{told:?}");
    assert!(told[0].contains("found: [0, ") && !told[0].ends_with(", 0]"), "{told:?}");
    assert!(told[1].starts_with("HttpError::Failed(\"the answer repeats the credential `array`, and is withheld"), "{told:?}");
    assert!(told[1].contains("found: [0, "), "{told:?}");
    assert!(server.received().iter().all(|request| request.head.contains(TOKEN)), "the service got it");
    assert!(log.text().contains("a service answered"), "the log has what was done");
    assert!(!format!("{told:?} {settings:?} {}", log.text()).contains(TOKEN), "a secret is shown");
}

/// Everything that is logged on this thread while it lives, of everybody and down to the last detail.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(log.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
