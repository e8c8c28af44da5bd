//! `http`: requests go where the policy says, with the credential of the host, and nowhere else.

use serde_json::{Value, json};

use crate::harness::{TOKEN, called, http_call, http_policy, runtime_without_keys, settings, token};
use crate::server::{Reply, Server, answer};

fn get(url: &str) -> Value {
    json!({ "method": "GET", "url": url })
}

#[tokio::test]
async fn sends_what_the_policy_allows_with_the_credential_of_the_host() {
    let server = Server::start(|_| answer(201, &[("X-Job", "7")], "{\"done\":true}")).await;
    let call = json!({ "method": "POST", "url": format!("{}/api/volumes?name=a%2Fb", server.url()), "credential": "array",
        "headers": [["Content-Type", "application/json"], ["X-Trace", "a b"]], "body": "{\"x\":1}" });
    let told = http_call(&server.url(), call).await;
    assert!(
        told.starts_with("201 ") && told.contains("(\"x-job\", \"7\")") && told.contains("13 bytes: {\"done\":true}"),
        "{told}"
    );
    let request = server.the_request();
    assert!(request.head.starts_with("POST /api/volumes?name=a%2Fb HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-trace"), Some("a b"));
    assert_eq!(request.header("host"), Some(server.authority().as_str()));
    assert_eq!(request.body, "{\"x\":1}");
}

#[tokio::test]
async fn sends_no_credential_that_is_not_named() {
    let server = Server::that_says("").await;
    http_call(&server.url(), get(&format!("{}/api/", server.url()))).await;
    assert_eq!(server.the_request().header("authorization"), None);
}

#[tokio::test]
async fn an_answer_without_a_body_may_announce_one() {
    let server = Server::start(|_| Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec())).await;
    let told = http_call(&server.url(), json!({ "method": "HEAD", "url": format!("{}/api/", server.url()) })).await;
    assert!(told.starts_with("200 ") && told.contains("0 bytes"), "{told}");
}

#[tokio::test]
async fn sends_nothing_to_an_address_that_no_rule_names() {
    let server = Server::that_says("reached").await;
    let (url, authority) = (server.url(), server.authority());
    for address in [
        format!("{url}/apix"),
        format!("{url}/api"),
        format!("{url}/"),
        format!("{url}/api/../admin"),
        format!("{url}/api/%2e%2e/admin"),
        format!("{url}/api/..%2fadmin"),
        format!("{url}/api/..;/admin"),
        format!("{url}/api\\..\\admin"),
        format!("http://user:password@{authority}/api/"),
        format!("http://localhost:{}/api/", authority.split(':').nth(1).unwrap()),
        format!("https://{authority}/api/"),
        format!("http://evil.example@{authority}/api/"),
        format!("http://{authority}.evil.example/api/"),
        format!("{url}/api/#x"),
        format!("{url}/api/\r\nX-Injected: 1"),
        format!("http://127.1:{}/api/", authority.split(':').nth(1).unwrap()),
    ] {
        let told = http_call(&url, get(&address)).await;
        assert!(told.starts_with("HttpError::Denied("), "{address}: {told}");
    }
    for method in ["DELETE", "get", "CONNECT", "GET /admin HTTP/1.1\r\nX: ", ""] {
        let told = http_call(&url, json!({ "method": method, "url": format!("{url}/api/") })).await;
        assert!(told.starts_with("HttpError::Denied("), "{method}: {told}");
    }
    assert!(server.received().is_empty(), "{:?}", server.received());
}

#[tokio::test]
async fn sends_no_header_that_is_the_hosts_own_or_smuggles_one() {
    let server = Server::that_says("reached").await;
    for (name, value) in [
        ("Authorization", "Bearer x"),
        ("AUTHORIZATION", "Bearer x"),
        ("Host", "evil.example"),
        ("Cookie", "a=b"),
        ("Proxy-Authorization", "Basic x"),
        ("proxy-anything", "x"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close, X-Trace"),
        ("Upgrade", "h2c"),
        ("TE", "trailers"),
        ("Expect", "100-continue"),
        ("Accept-Encoding", "gzip"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-Original-URL", "/admin"),
        ("X_HTTP_Method_Override", "DELETE"),
        ("Proxy_Authorization", "Basic x"),
        ("X-Trace", "a\r\nHost: evil.example"),
        ("X-Trace", "a\nb"),
        ("X-Trace", "a\0b"),
        ("X-Trace", "a\tb"),
        ("X-Trace", "\u{e9}"),
        ("X-Trace: a\r\nHost", "evil.example"),
        ("X Trace", "a"),
        (" Host", "evil.example"),
        ("", "a"),
    ] {
        let call = json!({ "method": "GET", "url": format!("{}/api/", server.url()), "headers": [[name, value]] });
        let told = http_call(&server.url(), call).await;
        assert!(told.starts_with("HttpError::Denied("), "{name:?}: {value:?}: {told}");
    }
    assert!(server.received().is_empty(), "{:?}", server.received());
}

#[tokio::test]
async fn follows_no_redirect_and_takes_the_credential_nowhere() {
    let elsewhere = Server::that_says("reached").await;
    let location = format!("{}/api/stolen", elsewhere.url());
    let server = Server::start(move |_| answer(302, &[("Location", &location)], "")).await;
    let told =
        http_call(&server.url(), json!({ "method": "GET", "url": format!("{}/api/", server.url()), "credential": "array" })).await;
    assert!(told.starts_with("302 ") && told.contains(&format!("(\"location\", \"{}/api/stolen\")", elsewhere.url())), "{told}");
    assert!(!told.contains(TOKEN), "{told}");
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn a_credential_goes_to_no_address_but_its_own() {
    let (array, other) = (Server::that_says("").await, Server::that_says("").await);
    let (_place, token) = token();
    let policy = http_policy(&array.url(), &token)
        .replace("allow = [\"GET", &format!("allow = [\"GET {}/api/\", \"GET", other.url()))
        .replace(" }\n", &format!(", for = [\"{}/api/\"] }}\n", array.url()));
    let call = |url: &str| json!({ "http": { "method": "GET", "url": format!("{url}/api/"), "credential": "array" } });
    let calls = json!({ "calls": [call(&array.url()), call(&other.url())] });
    let told = called(&runtime_without_keys(), settings(&policy, calls)).await.unwrap();
    assert!(told[0].starts_with("200 "), "{told:?}");
    assert!(told[1].starts_with("HttpError::Denied(\"the credential `array` is not for this address"), "{told:?}");
    assert!(other.received().is_empty());
    let told =
        http_call(&array.url(), json!({ "method": "GET", "url": format!("{}/api/", array.url()), "credential": "no" })).await;
    assert!(told.starts_with("HttpError::Denied(\"the policy has no credential `no`"), "{told}");
}

#[tokio::test]
async fn hides_headers_that_carry_credentials() {
    let headers = [("Set-Cookie", "session=hunter2"), ("WWW-Authenticate", "Digest nonce=hunter2"), ("X-Other", "shown")];
    let server = Server::start(move |_| answer(401, &headers, "")).await;
    let told = http_call(&server.url(), get(&format!("{}/api/", server.url()))).await;
    assert!(told.starts_with("401 ") && told.contains("shown") && !told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn an_answer_in_which_a_credential_could_not_be_found_is_withheld() {
    for (status, header) in
        [(200, ("Content-Encoding", "gzip")), (200, ("Transfer-Encoding", "gzip, chunked")), (206, ("X-Y", "z"))]
    {
        let server = Server::start(move |_| {
            let (name, value) = header;
            let length = if name == "Transfer-Encoding" { "" } else { "Content-Length: 5\r\n" };
            let body = if name == "Transfer-Encoding" { "5\r\nhello\r\n0\r\n\r\n" } else { "hello" };
            Reply::Bytes(format!("HTTP/1.1 {status} OK\r\n{name}: {value}\r\n{length}\r\n{body}").into_bytes())
        })
        .await;
        let mut call = get(&format!("{}/api/", server.url()));
        assert!(http_call(&server.url(), call.clone()).await.contains("hello"), "there is nothing to hide");
        call["credential"] = json!("array");
        let told = http_call(&server.url(), call).await;
        assert!(told.contains("could hide the credential `array`") && !told.contains("hello"), "{header:?}: {told}");
        assert!(server.received().iter().all(|request| request.header("accept-encoding") == Some("identity")));
    }
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent() {
    let server = Server::that_says("reached").await;
    let call = json!({ "method": "POST", "url": format!("{}/api/", server.url()), "body": "x".repeat((4 << 20) + 1) });
    let told = http_call(&server.url(), call).await;
    assert!(told.starts_with("HttpError::Failed(\"the body is larger than 4 MiB"), "{told}");
    assert!(server.received().is_empty());
}
