//! Which headers a provider may send, and which it may see.

use crate::policy::HttpGrant;
use crate::text::clean;

/// Headers of one request.
const MAX_HEADERS: usize = 100;

/// Bytes of a name that a refusal quotes.
const MAX_QUOTED_BYTES: usize = 100;

/// Headers that only the host sends: they say who asks, where the request goes and how long it is. And in a compressed answer, a
/// credential that is given back could not be found.
const OF_THE_HOST: [&str; 14] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that many servers obey instead of the request's own method or path, which the policy has judged.
const OVERRIDES: [&str; 7] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

/// Headers of an answer that hold credentials, or ask for some.
const HIDDEN: [&str; 8] = [
    "authentication-info",
    "authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "www-authenticate",
];

/// Refuses headers that a provider must not send; the text names the first.
pub(super) fn check(headers: &[(String, String)], grant: &HttpGrant) -> Result<(), String> {
    if headers.len() > MAX_HEADERS {
        return Err(format!("a request has at most {MAX_HEADERS} headers"));
    }
    for (name, value) in headers {
        let shown = clean(name, MAX_QUOTED_BYTES);
        if http::HeaderName::try_from(name).is_err() {
            return Err(format!("`{shown}` is no name of a header"));
        }
        // Many servers hand both on as one and the same variable.
        let lower = name.to_ascii_lowercase().replace('_', "-");
        if OF_THE_HOST.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            return Err(format!("the header `{shown}` is the host's own"));
        }
        if OVERRIDES.contains(&lower.as_str()) {
            return Err(format!("the header `{shown}` could change the method or the path that the policy allows"));
        }
        if grant.is_of_a_credential(name) {
            return Err(format!("the header `{shown}` belongs to a credential of the policy"));
        }
        if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(format!("the value of the header `{shown}` is not printable ASCII"));
        }
    }
    Ok(())
}

/// Whether a provider must not see this header of an answer.
pub(super) fn carries_credentials(name: &str) -> bool {
    HIDDEN.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether a header says that the body is not what was written, but a compressed form of it.
pub(super) fn is_encoding(name: &str, value: &str) -> bool {
    let plain = match name.to_ascii_lowercase().as_str() {
        "content-encoding" => "identity",
        "transfer-encoding" => "chunked",
        _ => return false,
    };
    !value.trim().eq_ignore_ascii_case(plain)
}
