//! What a policy says about `http`: methods and addresses, and credentials that the host adds.
//!
//! `GET https://array.example/api/` allows what lies below; without the `/` at the end, a rule allows this one address. A query is
//! the provider's own. A credential is a header whose value stands in a file: it is read at each use, sent to the addresses in its
//! `for` (by default to those of all rules), and to no other.

mod address;
mod credential;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Keys, PolicyError};
use crate::text::clean;

pub(crate) use address::Address;
pub use credential::HttpCredential;

/// Methods that a rule can name. `CONNECT` and `TRACE` are none of a service's own.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// Bytes of a guest's word that a refusal quotes.
const MAX_QUOTED_BYTES: usize = 300;

/// The table `[http]` of a policy, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpPolicy {
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    credentials: BTreeMap<String, credential::WrittenCredential>,
    ca_cert_file: Option<PathBuf>,
}

/// What a provider may ask of HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    allow: Vec<HttpRule>,
    credentials: BTreeMap<String, HttpCredential>,
    ca_cert_file: Option<PathBuf>,
}

/// Allows a method at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    method: String,
    address: Address,
}

impl HttpPolicy {
    /// Puts in what the provider's section says, and checks everything.
    pub fn resolve(&self, keys: &Keys<'_>) -> Result<HttpGrant, PolicyError> {
        let mut allow = Vec::new();
        for (number, written) in self.allow.iter().enumerate() {
            allow.push(HttpRule::resolve(written, &format!("http.allow[{number}]"), keys)?);
        }
        let mut credentials = BTreeMap::new();
        for (name, written) in &self.credentials {
            credentials.insert(name.clone(), written.resolve(&format!("http.credentials.{name}"), keys, &allow)?);
        }
        if self.ca_cert_file.as_deref().is_some_and(Path::is_relative) {
            return Err(PolicyError::rule("http.ca_cert_file", "it must be an absolute path"));
        }
        Ok(HttpGrant { allow, credentials, ca_cert_file: self.ca_cert_file.clone() })
    }
}

impl HttpRule {
    fn resolve(written: &str, place: &str, keys: &Keys<'_>) -> Result<Self, PolicyError> {
        let Some((method, address)) = written.split_once(' ') else {
            return Err(PolicyError::rule(place, format!("`{written}` is not written like `GET https://array.example/api/`")));
        };
        if !METHODS.contains(&method) {
            return Err(PolicyError::rule(place, format!("`{method}` is none of the methods `{}`", METHODS.join("`, `"))));
        }
        Ok(Self { method: method.to_owned(), address: Address::resolve(address, place, keys)? })
    }
}

impl HttpGrant {
    /// The grant in words, one line for each thing that it allows.
    #[must_use]
    pub fn explain(&self) -> Vec<String> {
        let rules = self.allow.iter().map(|rule| format!("send `{}` to {}", rule.method, rule.address));
        let credentials = self.credentials.iter().map(|(name, credential)| credential.explain(name));
        rules.chain(credentials).collect()
    }

    /// The address, if some rule allows this method there; else why not.
    pub(crate) fn permit(&self, method: &str, url: &str) -> Result<url::Url, String> {
        let parsed = address::parse(url)?;
        if self.allow.iter().any(|rule| rule.method == method && rule.address.covers(&parsed)) {
            return Ok(parsed);
        }
        // Without the query, which may hold what nobody should read.
        let shown = format!("{method} {}://{}{}", parsed.scheme(), parsed.authority(), parsed.path());
        Err(format!("no rule of the policy allows `{}`", clean(&shown, MAX_QUOTED_BYTES)))
    }

    /// The credential of this name, if it may be sent to this address; else why not.
    pub(crate) fn credential(&self, name: &str, url: &url::Url) -> Result<&HttpCredential, String> {
        let shown = clean(name, MAX_QUOTED_BYTES);
        let found = self.credentials.get(name).ok_or_else(|| format!("the policy has no credential `{shown}`"))?;
        if found.may_go_to(url) { Ok(found) } else { Err(format!("the credential `{shown}` is not for this address")) }
    }

    /// Whether a header is one that a credential sets, which a guest must not set itself: also with `_` for `-`, since many servers
    /// hand both on as one and the same variable.
    pub(crate) fn is_of_a_credential(&self, header: &str) -> bool {
        let plain = |header: &str| header.to_ascii_lowercase().replace('_', "-");
        self.credentials.values().any(|credential| plain(credential.header()) == plain(header))
    }

    /// Certificates that are trusted besides the system's.
    pub(crate) fn ca_cert_file(&self) -> Option<&Path> {
        self.ca_cert_file.as_deref()
    }
}

#[cfg(test)]
mod tests;
