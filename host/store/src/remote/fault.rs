//! What can go wrong with a store behind a network, and what the operator does about it.
//!
//! Nothing of a vendor's own errors is shown as it is: they hold URLs, and a URL may hold a signature.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

use super::answer::Answer;
use super::marker::MARKER;
use super::probe::Breach;
use crate::MAX_OBJECT_BYTES;
use crate::settings::SettingsError;
use crate::url::without_secrets;

/// Why an operation on a remote store failed.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    #[error("the server answered {answer}")]
    Refused { answer: Answer },
    #[error("there was no whole answer within {waited_secs} s")]
    TimedOut { waited_secs: u64 },
    #[error("the server cannot be reached, or the connection broke")]
    Broken {
        #[source]
        source: Reason,
    },
    #[error("the server's certificate is not trusted")]
    Untrusted {
        #[source]
        source: Reason,
    },
    #[error("there are no credentials that can be used")]
    Credentials {
        is_transient: bool,
        #[source]
        source: Reason,
    },
    #[error("the answer ended after {read_bytes} of {expected_bytes} bytes")]
    Truncated { expected_bytes: u64, read_bytes: u64 },
    #[error("the answer does not say how long the object is")]
    NoLength,
    #[error("an object of {size_bytes} bytes is larger than {MAX_OBJECT_BYTES}")]
    TooLarge { size_bytes: u64 },
    #[error("the server lists `{name}` after `{after}`, which is not the order of the names that were asked for")]
    Disordered { name: String, after: String },
    #[error("the server gives page after page of a listing, without an object and without an end")]
    EndlessListing,
    #[error("there is no `{MARKER}` below the prefix, and so no store")]
    MarkerMissing,
    #[error("`{MARKER}` says `{found}`, which this version does not know")]
    MarkerUnknown { found: String },
    #[error("the server does not keep what a store must keep")]
    Unfit {
        #[source]
        source: Breach,
    },
    #[error("an object that was there vanished before it could be compared")]
    Vanished,
    #[error("cannot use `{}`, which `{key}` names", path.display())]
    File {
        key: &'static str,
        path: PathBuf,
        #[source]
        source: Reason,
    },
    #[error("the settings lead to no store")]
    Settings {
        #[source]
        source: Reason,
    },
    #[error("the system gives no random numbers")]
    NoRandomness {
        #[source]
        source: getrandom::Error,
    },
    #[error("the request could not be made")]
    Request {
        #[source]
        source: Reason,
    },
}

impl From<SettingsError> for Fault {
    fn from(error: SettingsError) -> Self {
        Self::Settings { source: Reason::new(&error.to_string()) }
    }
}

impl Classify for Fault {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Refused { answer } => answer.class(),
            Self::TimedOut { .. }
            | Self::Broken { .. }
            | Self::Truncated { .. }
            | Self::Vanished
            | Self::Credentials { is_transient: true, .. }
            | Self::NoRandomness { .. } => ErrorClass::Transient,
            Self::Untrusted { .. }
            | Self::Credentials { is_transient: false, .. }
            | Self::NoLength
            | Self::Disordered { .. }
            | Self::EndlessListing
            | Self::MarkerMissing
            | Self::MarkerUnknown { .. }
            | Self::Unfit { .. }
            | Self::File { .. }
            | Self::Settings { .. } => ErrorClass::Config,
            Self::TooLarge { .. } => ErrorClass::Corrupt,
            Self::Request { .. } => ErrorClass::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Refused { answer } => return answer.advice().map(str::to_owned),
            Self::TimedOut { .. } => "look at the network and the server; on a slow line, raise `timeout_secs`",
            Self::Broken { .. } => "look at `endpoint`, the name service, the network and the server",
            Self::Untrusted { .. } => {
                "name the certificate of its authority with `ca_cert_file`; look also at the host name in `endpoint` and at the clock"
            }
            Self::Credentials { .. } => {
                "name them with `profile` or `credentials_file`, or by the vendor's variables, or give the machine a role"
            }
            Self::NoLength | Self::Disordered { .. } | Self::EndlessListing => {
                "Stillframe cannot rely on this server, or on what is between: use another store"
            }
            Self::TooLarge { .. } => "nothing that Stillframe writes is that large; look at what it is",
            Self::MarkerMissing => {
                "correct `url`; if there has never been a store at this place, make one with `stillframe store create`"
            }
            Self::MarkerUnknown { .. } => "use the version of Stillframe that wrote it, or a newer one",
            Self::Unfit { .. } => {
                "use a server that honours conditional writes, as S3, GCS and Azure do, or a newer version of this one"
            }
            Self::File { key, .. } => return Some(format!("correct the file or `{key}` in `[store]`")),
            Self::Settings { .. } => "correct `[store]`, or the vendor's variables",
            Self::Truncated { .. } | Self::Vanished | Self::NoRandomness { .. } | Self::Request { .. } => return None,
        };
        Some(text.to_owned())
    }
}

/// The text of an error and of everything below it, without what may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reason(String);

impl Reason {
    /// Reads the chain of an error.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut text = String::new();
        for error in chain(error) {
            let part = error.to_string();
            // Many errors repeat their source.
            if !text.contains(&part) {
                text.push_str(if text.is_empty() { "" } else { ": " });
                text.push_str(&part);
            }
        }
        Self(without_url_secrets(&text))
    }

    /// A reason of ours.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for Reason {}

/// The first error of this type in the chain of an error.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and those below it, with those that `io::Error` hides.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner as &(dyn Error + 'static)),
        None => error.source(),
    })
}

/// Cuts the user off every URL, and the query: a shared access signature stands there.
fn without_url_secrets(text: &str) -> String {
    let word = |word: &str| match word.split_once('?') {
        _ if word.contains("://") && word.contains('@') => without_secrets(word),
        Some((start, _)) if word.contains("://") || start.starts_with('/') => format!("{start}?…"),
        _ => word.to_owned(),
    };
    text.split([' ', '\n', '\r', '\t']).filter(|part| !part.is_empty()).map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Reason;

    #[test]
    fn a_reason_never_shows_the_query_of_a_url() {
        let error = io::Error::other("GET https://a.blob.example/c/x?sv=2026&sig=hunter2 failed\nwith /c/x?sig=hunter2&b");
        let text = Reason::of(&error).to_string();
        assert!(!text.contains("hunter2") && text.contains("https://a.blob.example/c/x?…"), "{text}");
    }

    #[test]
    fn a_reason_never_shows_the_user_of_a_url() {
        for text in ["cannot parse https://me:hunter2@host", "X=http://me:hunter2@host, Error: y", "http://me:hun?ter2@hunter2/"] {
            let text = Reason::of(&io::Error::other(text)).to_string();
            assert!(!text.contains("hun"), "{text}");
        }
    }

    #[test]
    fn a_reason_shows_what_an_io_error_hides() {
        let inner = io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate");
        assert!(Reason::of(&io::Error::other(inner)).to_string().contains("invalid peer certificate"));
    }
}
