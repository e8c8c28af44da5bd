//! Addresses: one spelling each, so that what is compared is what is sent, and what is sent is what a server understands.
//!
//! A URL that the parser would have to change (capitals in the host, `..`, a default port, a number for an IP address) is refused,
//! and so is one that servers read in different ways: escaped dots, slashes and percent signs, `..;`, a backslash, half an escape.

use std::fmt;

use url::Url;

use crate::outbound::is_loopback;
use crate::policy::{Keys, PolicyError};
use crate::text::clean;

/// Bytes of a URL.
const MAX_URL_BYTES: usize = 8 << 10;

/// Bytes of a URL that a message shows.
const MAX_QUOTED_BYTES: usize = 200;

/// Characters of a path whose escaped form servers take for the character, or not; the last two begin an overlong form of one.
const AMBIGUOUS: [&str; 8] = ["%2e", "%2f", "%3b", "%5c", "%25", "%00", "%c0", "%c1"];

/// An address of a rule: everything below it when it ends with `/`, else itself alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

impl Address {
    /// Reads an address of a policy, with the text of a key in it if it is one.
    pub(super) fn resolve(written: &str, place: &str, keys: &Keys<'_>) -> Result<Self, PolicyError> {
        let text = keys.text(written, "write an address, such as `https://array.example/api/`")?;
        let wrong = |reason: String| match Keys::reference(written) {
            Some(key) => PolicyError::key(key, reason),
            None => PolicyError::rule(place, reason),
        };
        let url = parse(&text).map_err(wrong)?;
        if url.query().is_some() {
            return Err(wrong("an address of a rule has no query; a provider may add one".to_owned()));
        }
        Ok(Self(url))
    }

    /// Whether a URL is this address, or lies below it.
    pub(super) fn covers(&self, url: &Url) -> bool {
        let is_here = self.0.scheme() == url.scheme() && self.0.host() == url.host() && self.0.port() == url.port();
        let path = self.0.path();
        is_here && if path.ends_with('/') { url.path().starts_with(path) } else { url.path() == path }
    }
}

/// Reads a URL; the error says what is wrong, without a password that may stand in it.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    if text.len() > MAX_URL_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("a URL has at most {MAX_URL_BYTES} printable characters; escape all others"));
    }
    let authority = text.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    if authority.is_empty() || authority.contains('@') {
        return Err("a URL names a scheme and a host, and neither user nor password".to_owned());
    }
    let shown = clean(text, MAX_QUOTED_BYTES);
    let url = Url::parse(text).map_err(|error| format!("`{shown}` is no URL: {error}"))?;
    if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
        return Err(format!("`{shown}` does not begin with `https://`; `http://` leads to this machine alone"));
    }
    if url.as_str() != text {
        let right = clean(url.as_str(), MAX_QUOTED_BYTES);
        return Err(format!("`{shown}` is written in an unusual way; the usual one is `{right}`"));
    }
    if url.fragment().is_some() {
        return Err(format!("`{shown}` has a fragment, which is never sent"));
    }
    let path = url.path().to_ascii_lowercase();
    let is_ambiguous = |part: &str| matches!(part.split(';').next(), Some("." | "..")) || part.contains('\\');
    let is_whole = |escape: &str| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    let has_broken_escape = !path.split('%').skip(1).all(is_whole);
    if has_broken_escape || AMBIGUOUS.iter().any(|escape| path.contains(escape)) || path.split('/').any(is_ambiguous) {
        return Err(format!("the path of `{shown}` holds what servers read in different ways"));
    }
    Ok(url)
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.path().ends_with('/') { write!(formatter, "`{}` and below", self.0) } else { write!(formatter, "`{}`", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, parse};

    fn covers(address: &str, url: &str) -> bool {
        parse(url).is_ok_and(|url| Address(parse(address).unwrap()).covers(&url))
    }

    #[test]
    fn an_address_covers_itself_and_what_lies_below() {
        let api = "https://array.example/api/";
        for url in [
            "https://array.example/api/",
            "https://array.example/api/volumes",
            "https://array.example/api/volumes/1?x=../../etc&y=%2F",
            "https://array.example/api/a%20b/c..d/...",
            "https://array.example/api//x",
        ] {
            assert!(covers(api, url), "{url}");
        }
        assert!(covers("https://array.example/api", "https://array.example/api?x=1"));
        assert!(covers("https://array.example:8443/", "https://array.example:8443/x"));
        assert!(covers("http://127.0.0.1:8080/", "http://127.0.0.1:8080/x"));
        assert!(covers("http://[::1]:8080/", "http://[::1]:8080/x"));
    }

    #[test]
    fn no_other_spelling_leads_out_of_an_address() {
        let api = "https://array.example/api/";
        for url in [
            "https://array.example.evil/api/",
            "https://array.example:444/api/",
            "https://array.example./api/",
            "https://evil/array.example/api/",
            "https://array.example@evil/api/",
            "https://user:password@array.example/api/",
            "https://@array.example/api/",
            "http://array.example/api/",
            "https://array.example/apix",
            "https://array.example/api",
            "https://array.example/API/",
            "https://array.example/",
            "https://array.example/api/../admin",
            "https://array.example/api/%2e%2e/admin",
            "https://array.example/api/%2E%2E/admin",
            "https://array.example/api/.%2e/admin",
            "https://array.example/api/..%2fadmin",
            "https://array.example/api/..%5cadmin",
            "https://array.example/api/%252e%252e/admin",
            "https://array.example/api/..;/admin",
            "https://array.example/api/..;x=1/admin",
            "https://array.example/api/.;/admin",
            "https://array.example/api/..\\admin",
            "https://array.example\\@evil/api/",
            "https:\\\\array.example/api/",
            "https:/array.example/api/",
            "https:array.example/api/",
            "//array.example/api/",
            "/api/",
            "https://array.example/api/#x",
            "https://array.example/api/x\r\nHost: evil",
            "https://array.example/api/x y",
            "https://array.example/api/\u{e9}",
            " https://array.example/api/",
            "HTTPS://array.example/api/",
            "https://Array.example/api/",
            "https://array.example:443/api/",
            "https://array%2eexample/api/",
            "ftp://array.example/api/",
            "file:///api/",
            "data:text/plain,x",
            "https://array.example/api/%00",
            "https://array.example/api/..%3b/admin",
            "https://array.example/api/%u002e%u002e/admin",
            "https://array.example/api/%%32e%%32e/admin",
            "https://array.example/api/%c0%ae%c0%ae/admin",
            "https://array.example/api/%",
            "https://array.example/api/%2",
            "",
        ] {
            assert!(!covers(api, url), "{url}");
        }
        assert!(!covers("https://array.example/api", "https://array.example/api/x"));
        assert!(!covers("https://127.0.0.1/", "https://0x7f.1/"));
        assert!(!covers("https://127.0.0.1/", "https://2130706433/"));
        assert!(!covers("http://localhost/", "http://localhost.evil/"));
    }

    #[test]
    fn plain_http_leads_to_this_machine_alone() {
        for url in ["http://127.0.0.1:8080/", "http://[::1]/", "http://localhost/"] {
            assert!(parse(url).is_ok(), "{url}");
        }
        for url in
            ["http://10.0.0.1/", "http://array.example/", "http://localhost.example/", "http://0.0.0.0/", "http://128.0.0.1/"]
        {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_message_never_repeats_a_password() {
        for url in ["https://me:hunter2@h/", "https://me:hunter2@h:9x/", "me:hunter2@h", "https://hunter2@h\\x/"] {
            let error = parse(url).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
