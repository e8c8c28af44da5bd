//! Answers that are too large, too late or not whole: an error with its reason, never a part, in both capabilities.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stillframe_core::provider::ProviderFault;

use crate::harness::{aws_call, aws_policy, called, http_call, keys, query, runtime, settings};
use crate::server::{Reply, Server, answer};

const LIMIT: usize = 4 << 20;

/// How a call of each capability ends at this server.
async fn told(server: &Server, timeout_ms: Option<u32>) -> [String; 2] {
    let mut aws = query("DescribeVolumes");
    aws["query"]["timeout_ms"] = json!(timeout_ms);
    let http: Value = json!({ "method": "GET", "url": format!("{}/api/", server.url()), "timeout_ms": timeout_ms });
    [aws_call(&server.url(), aws).await, http_call(&server.url(), http).await]
}

async fn fails_with(reply: impl Fn() -> Reply + Send + Sync + 'static, reason: &str) {
    let server = Server::start(move |_| reply()).await;
    for told in told(&server, None).await {
        assert!(told.contains("Error::Failed(") && told.contains(reason), "{told}");
    }
    assert_eq!(server.received().len(), 2, "one attempt each");
}

#[tokio::test]
async fn the_largest_answer_that_is_allowed_is_whole() {
    let body = "x".repeat(LIMIT);
    let server = Server::start(move |_| answer(200, &[], &body)).await;
    for told in told(&server, None).await {
        assert!(told.starts_with("200 ") && told.contains(&format!(" {LIMIT} bytes: xxx")), "{}", &told[..200]);
    }
}

#[tokio::test]
async fn an_announced_answer_that_is_too_large_fails() {
    let body = "x".repeat(LIMIT + 1);
    fails_with(move || answer(200, &[], &body), "the answer is larger than 4 MiB").await;
}

#[tokio::test]
async fn an_answer_in_pieces_that_becomes_too_large_fails() {
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let whole = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(5));
    fails_with(move || Reply::Bytes(whole.clone().into_bytes()), "the answer is larger than 4 MiB").await;
}

#[tokio::test]
async fn half_an_answer_fails() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<half",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<half\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n<half",
    ] {
        fails_with(move || Reply::Bytes(half.into()), "the answer broke off").await;
    }
    for cut in ["HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 2", ""] {
        fails_with(move || Reply::Bytes(cut.into()), "there is no answer").await;
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_may_be_half_of_one_and_fails() {
    fails_with(|| Reply::Bytes("HTTP/1.1 200 OK\r\n\r\n<half".into()), "does not say where it ends").await;
}

#[tokio::test]
async fn what_is_no_answer_fails() {
    fails_with(|| Reply::Bytes("SSH-2.0-OpenSSH\r\n".into()), "there is no answer").await;
    let two_lengths = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!";
    fails_with(|| Reply::Bytes(two_lengths.into()), "there is no answer").await;
    let server = Server::that_says("").await;
    let gone = server.url();
    drop(server);
    let told = aws_call(&gone, query("DescribeVolumes")).await;
    assert!(told.contains("AwsError::Failed(\"there is no answer"), "{told}");
}

#[tokio::test]
async fn a_header_that_is_no_text_is_left_out() {
    let server = Server::start(|_| Reply::Bytes(b"HTTP/1.1 200 OK\r\nX-Y: a\xff\r\nContent-Length: 2\r\n\r\nok".to_vec())).await;
    for told in told(&server, None).await {
        assert!(told.starts_with("200 ") && told.contains("ok") && !told.contains("x-y"), "{told}");
    }
}

#[tokio::test]
async fn an_answer_of_aws_that_is_no_text_fails() {
    let server = Server::start(|_| Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe".to_vec())).await;
    let told = aws_call(&server.url(), query("DescribeVolumes")).await;
    assert_eq!(told, "AwsError::Failed(\"the answer is no text in UTF-8\") found: []");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_after_the_time_of_the_request() {
    let server = Server::start(|_| Reply::Silence).await;
    let begin = Instant::now();
    for told in told(&server, Some(200)).await {
        assert!(told.contains("Error::TimedOut"), "{told}");
    }
    // Two calls that waited for the host's own limit take two minutes; on a busy machine much of one goes by in compiling.
    assert!(begin.elapsed() < Duration::from_secs(110), "{:?}", begin.elapsed());
    assert_eq!(server.received().len(), 2, "one attempt each");
}

#[tokio::test]
async fn no_request_outlives_the_deadline_of_the_operation() {
    let server = Server::start(|_| Reply::Silence).await;
    let mut settings = settings(&aws_policy(&server.url()), json!({ "calls": [query("DescribeVolumes")] }));
    settings.limits.deadline_secs = Some(1);
    match called(&runtime(keys()), settings).await {
        Ok(told) => assert!(told[0].contains("AwsError::TimedOut"), "{told:?}"),
        Err(error) => assert!(matches!(error.fault, ProviderFault::Deadline { seconds: 1 }), "{error:?}"),
    }
}
