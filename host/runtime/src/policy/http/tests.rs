//! Rules, credentials, and what a policy says of them; `address` has the table of URLs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tempfile::TempDir;

use super::{HttpGrant, HttpPolicy};
use crate::policy::{Keys, PolicyError};

fn resolved(text: &str) -> Result<HttpGrant, PolicyError> {
    let section = json!({ "array": "https://array.example/api/", "insecure": "http://array.example/api/" });
    toml::from_str::<HttpPolicy>(text).unwrap().resolve(&Keys::new(section.as_object().unwrap()))
}

const POLICY: &str = r#"
allow = ["GET $array", "POST https://array.example/api/snapshots", "GET https://other.example/"]
credentials.array = { header = "Authorization", prefix = "Bearer ", file = "/etc/stillframe/array.token", for = ["$array"] }
credentials.any = { header = "X-Token", file = "/etc/stillframe/any.token" }
"#;

#[test]
fn allows_a_method_where_a_rule_says_so_and_nowhere_else() {
    let grant = resolved(&POLICY.replace("GET $array", "GET https://array.example/api/")).unwrap();
    for (method, url) in [
        ("GET", "https://array.example/api/volumes?x=1"),
        ("POST", "https://array.example/api/snapshots"),
        ("GET", "https://other.example/"),
    ] {
        assert!(grant.permit(method, url).is_ok(), "{method} {url}");
    }
    for (method, url) in [
        ("POST", "https://array.example/api/volumes"),
        ("POST", "https://array.example/api/snapshots/1"),
        ("DELETE", "https://array.example/api/volumes"),
        ("get", "https://array.example/api/volumes"),
        ("GET ", "https://array.example/api/volumes"),
        ("", "https://array.example/api/volumes"),
        ("GET", "https://array.example/apix"),
        ("GET", "https://array.example.evil/api/"),
        ("CONNECT", "https://array.example/api/"),
    ] {
        let reason = grant.permit(method, url).unwrap_err();
        assert!(reason.starts_with("no rule of the policy allows `"), "{reason}");
    }
}

#[test]
fn a_refusal_does_not_repeat_the_query() {
    let reason = resolved(POLICY).unwrap().permit("GET", "https://evil.example/?token=hunter2").unwrap_err();
    assert_eq!(reason, "no rule of the policy allows `GET https://evil.example/`");
}

#[test]
fn a_credential_goes_to_its_own_addresses_alone() {
    let grant = resolved(POLICY).unwrap();
    let url = |text: &str| grant.permit("GET", text).unwrap();
    assert!(grant.credential("array", &url("https://array.example/api/volumes")).is_ok());
    let reason = grant.credential("array", &url("https://other.example/")).unwrap_err();
    assert_eq!(reason, "the credential `array` is not for this address");
    assert!(grant.credential("any", &url("https://other.example/")).is_ok());
    assert!(grant.credential("no", &url("https://other.example/")).unwrap_err().contains("no credential `no`"));
    assert!(
        ["authorization", "X-TOKEN", "x_token"].iter().all(|header| grant.is_of_a_credential(header))
            && !grant.is_of_a_credential("X-Other")
    );
}

#[test]
fn refuses_a_policy_that_cannot_work_and_names_the_place() {
    for (text, place) in [
        (r#"allow = ["https://array.example/"]"#, "http.allow[0]"),
        (r#"allow = ["GET https://array.example/", "TRACE https://array.example/"]"#, "http.allow[1]"),
        (r#"allow = ["get https://array.example/"]"#, "http.allow[0]"),
        (r#"allow = ["GET https://array.example"]"#, "http.allow[0]"),
        (r#"allow = ["GET http://array.example/"]"#, "http.allow[0]"),
        (r#"allow = ["GET https://array.example/?x"]"#, "http.allow[0]"),
        (r#"allow = ["GET https://array.example/a/../b/"]"#, "http.allow[0]"),
        (r#"allow = ["GET https://me:hunter2@array.example/"]"#, "http.allow[0]"),
        (r#"allow = ["GET $insecure"]"#, "insecure"),
        (r#"allow = ["GET $missing"]"#, "missing"),
        (r#"credentials.a = { header = "Host", file = "/f" }"#, "http.credentials.a.header"),
        (r#"credentials.a = { header = "A b", file = "/f" }"#, "http.credentials.a.header"),
        (r#"credentials.a = { header = "A", file = "f" }"#, "http.credentials.a.file"),
        (r#"credentials.a = { header = "A", prefix = "x\r\nB: ", file = "/f" }"#, "http.credentials.a.prefix"),
        (r#"credentials.a = { header = "A", file = "/f", for = ["https://h"] }"#, "http.credentials.a.for"),
        (r#"ca_cert_file = "relative""#, "http.ca_cert_file"),
    ] {
        let error = resolved(text).unwrap_err();
        let (PolicyError::Key { key: found, .. } | PolicyError::Rule { place: found, .. }) = &error;
        assert_eq!(found, place, "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn reads_one_line_of_a_file_that_others_cannot_use() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("token");
    let grant = resolved(&POLICY.replace("/etc/stillframe/array.token", file.to_str().unwrap())).unwrap();
    let url = grant.permit("GET", "https://array.example/api/").unwrap();
    let read = |content: &[u8], mode: u32| {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        grant.credential("array", &url).unwrap().read()
    };
    assert_eq!(read(b"hunter2-hunter2\n", 0o600).as_deref(), Ok("hunter2-hunter2"));
    assert_eq!(read(b" hunter3 \r\n", 0o640).as_deref(), Ok("hunter3"), "a file is read at each use");
    for (content, mode) in [
        (&b"hunter2"[..], 0o644),
        (b"hunter2", 0o602),
        (b"hunter2\nhunter2", 0o600),
        (b"hunter2\x01hunter2", 0o600),
        (b"hunter2\xff", 0o600),
        (b" \n", 0o600),
        (&vec![b'h'; 20_000], 0o600),
    ] {
        let error = read(content, mode).unwrap_err();
        assert!(error.contains(file.to_str().unwrap()) && !error.contains("hunter") && !error.contains("hhh"), "{error}");
    }
    fs::remove_file(&file).unwrap();
    assert!(grant.credential("array", &url).unwrap().read().unwrap_err().contains("No such file"));
}

#[test]
fn says_in_words_what_it_allows() {
    assert_eq!(
        resolved(POLICY).unwrap().explain(),
        [
            "send `GET` to `https://array.example/api/` and below",
            "send `POST` to `https://array.example/api/snapshots`",
            "send `GET` to `https://other.example/` and below",
            "let the host add the header `X-Token` from `/etc/stillframe/any.token` as `any`, to `https://array.example/api/` and below, \
             `https://array.example/api/snapshots`, `https://other.example/` and below; the provider does not see it",
            "let the host add the header `Authorization` from `/etc/stillframe/array.token` as `array`, to `https://array.example/api/` and \
             below; the provider does not see it",
        ]
    );
}
