//! A named credential: which header, in which file, for which addresses.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use serde::Deserialize;
use url::Url;

use super::{Address, HttpRule};
use crate::policy::{Keys, PolicyError};

/// Bytes of a credential's file: the longest tokens have a few thousand.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// Headers that say how a request is framed or where it goes: a credential in one would break it.
const NOT_FOR_CREDENTIALS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];

/// A credential as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenCredential {
    header: String,
    #[serde(default)]
    prefix: String,
    file: PathBuf,
    #[serde(rename = "for")]
    addresses: Option<Vec<String>>,
}

/// A header that the host adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCredential {
    header: String,
    prefix: String,
    file: PathBuf,
    addresses: Vec<Address>,
}

impl WrittenCredential {
    pub(super) fn resolve(&self, place: &str, keys: &Keys<'_>, rules: &[HttpRule]) -> Result<HttpCredential, PolicyError> {
        let wrong = |key: &str, reason: &str| PolicyError::rule(format!("{place}.{key}"), reason);
        let is_forbidden = NOT_FOR_CREDENTIALS.contains(&self.header.to_ascii_lowercase().as_str());
        if is_forbidden || http::HeaderName::try_from(&self.header).is_err() {
            return Err(wrong("header", "it is no header that a credential can stand in, such as `Authorization`"));
        }
        if !self.prefix.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(wrong("prefix", "it must be printable, such as `Bearer `"));
        }
        if self.file.is_relative() {
            return Err(wrong("file", "it must be an absolute path"));
        }
        let addresses = match &self.addresses {
            None => rules.iter().map(|rule| rule.address.clone()).collect(),
            Some(written) => {
                let read = |address: &String| Address::resolve(address, &format!("{place}.for"), keys);
                written.iter().map(read).collect::<Result<_, _>>()?
            }
        };
        let Self { header, prefix, file, .. } = self.clone();
        Ok(HttpCredential { header, prefix, file, addresses })
    }
}

impl HttpCredential {
    pub(super) fn explain(&self, name: &str) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        format!(
            "let the host add the header `{}` from `{}` as `{name}`, to {}; the provider does not see it",
            self.header,
            self.file.display(),
            if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") }
        )
    }

    /// The header that it stands in.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// What stands before it in the header.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn may_go_to(&self, url: &Url) -> bool {
        self.addresses.iter().any(|address| address.covers(url))
    }

    /// Reads the secret; blocks for as long as a file needs. The error names the file, and never what it holds.
    pub(crate) fn read(&self) -> Result<String, String> {
        let path = self.file.display();
        let unusable = |reason: String| format!("the host cannot use the credential in `{path}`: {reason}");
        // Before it is opened, which a named pipe would make wait for ever.
        if !fs::metadata(&self.file).map_err(|error| unusable(error.to_string()))?.is_file() {
            return Err(unusable("it is no regular file".to_owned()));
        }
        let file = File::open(&self.file).map_err(|error| unusable(error.to_string()))?;
        let metadata = file.metadata().map_err(|error| unusable(error.to_string()))?;
        // The group is the operator's to choose: files that several services share belong to one.
        if metadata.mode() & 0o007 != 0 {
            return Err(unusable(format!("others can use it; take that away with `chmod o-rwx {path}`")));
        }
        let mut text = String::new();
        let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
        // Without the error: it may be about what the file holds.
        let length = read.map_err(|_| unusable("it is no text".to_owned()))? as u64;
        let secret = text.trim();
        if length > MAX_FILE_BYTES || secret.is_empty() || !secret.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(unusable(format!("it must hold one line of at most {MAX_FILE_BYTES} printable characters")));
        }
        Ok(secret.to_owned())
    }
}
