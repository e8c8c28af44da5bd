//! The URL of a store: `file:///directory`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use stillframe_core::error::{Classify, ErrorClass};
use thiserror::Error;

/// Longest prefix in bytes: with it and the longest key, S3's limit of 1,024 is kept.
const MAX_PREFIX_BYTES: usize = 448;

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `file:///…`: an absolute directory.
    File(PathBuf),
    /// `s3://bucket/prefix`.
    S3(Location),
    /// `gs://bucket/prefix`.
    Google(Location),
    /// `az://container/prefix`.
    Azure(Location),
}

/// A bucket, or a container, and the prefix below which everything lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    bucket: String,
    prefix: String,
}

impl Location {
    /// The bucket or container.
    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What stands before every name of the store: empty, or parts of a path that end with `/`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn parse(rest: &str) -> Option<Self> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(is_legal) {
            return None;
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.is_empty() {
            return Some(Self { bucket: bucket.to_owned(), prefix: String::new() });
        }
        let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(is_legal);
        let is_prefix = prefix.len() <= MAX_PREFIX_BYTES && prefix.split('/').all(is_part);
        is_prefix.then(|| Self { bucket: bucket.to_owned(), prefix: format!("{prefix}/") })
    }
}

impl StoreUrl {
    /// What the URL begins with.
    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::S3(_) => "s3",
            Self::Google(_) => "gs",
            Self::Azure(_) => "az",
        }
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.split_once("://") {
            Some(("file", path)) => Some(PathBuf::from(path)).filter(|path| path.is_absolute()).map(Self::File),
            Some(("s3", rest)) => Location::parse(rest).map(Self::S3),
            Some(("gs", rest)) => Location::parse(rest).map(Self::Google),
            Some(("az", rest)) => Location::parse(rest).map(Self::Azure),
            _ => None,
        };
        parsed.ok_or_else(|| InvalidStoreUrl { url: without_secrets(text) })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "file://{}", path.display()),
            Self::S3(location) | Self::Google(location) | Self::Azure(location) => {
                let prefix = location.prefix.strip_suffix('/').map(|prefix| format!("/{prefix}")).unwrap_or_default();
                write!(formatter, "{}://{}{prefix}", self.scheme(), location.bucket)
            }
        }
    }
}

/// A text that names no store.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("`{url}` is not the URL of a store")]
pub struct InvalidStoreUrl {
    /// The text, without what could be a password.
    pub url: String,
}

impl Classify for InvalidStoreUrl {
    fn class(&self) -> ErrorClass {
        ErrorClass::Config
    }

    fn hint(&self) -> Option<String> {
        let forms = "`file:///directory`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`";
        Some(format!("write {forms}, with letters, digits, `.`, `_` and `-`; server and credentials have keys of their own"))
    }
}

/// What may stand before `://`; anything else there may be the beginning of a password.
const SCHEMES: [&str; 6] = ["file", "s3", "gs", "az", "https", "http"];

/// A URL as a message may show it. People write passwords into URLs, before an `@` or into a query, and neither is repeated.
///
/// A password may hold `@`, `?` and `#` itself, so what comes before the last `@` goes first. Where a `?` or `#` is in it, nobody
/// can tell whether what follows is the place or the rest of a query, so that goes as well.
pub(crate) fn without_secrets(text: &str) -> String {
    let known = text.split_once("://").filter(|(scheme, _)| SCHEMES.contains(scheme));
    let (scheme, rest) = known.map_or_else(|| (String::new(), text), |(scheme, rest)| (format!("{scheme}://"), rest));
    let without_query = |place: &str| place.split(['?', '#']).next().unwrap_or_default().to_owned();
    match rest.rsplit_once('@') {
        Some((user, _)) if user.contains(['?', '#']) => format!("{scheme}…"),
        Some((_, place)) => format!("{scheme}…@{}", without_query(place)),
        None => format!("{scheme}{}", without_query(rest)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::{Just, Strategy as _, prop_assert, prop_oneof, proptest};

    use super::{StoreUrl, without_secrets};

    #[test]
    fn reads_every_form_and_writes_it_back() {
        for url in ["file:///var/lib/store", "s3://bucket/a/b", "s3://bucket", "gs://my.bucket/p", "az://container/p"] {
            assert_eq!(url.parse::<StoreUrl>().unwrap().to_string(), url);
        }
        let StoreUrl::S3(location) = "s3://bucket/main/".parse().unwrap() else { panic!("not S3") };
        assert_eq!((location.bucket(), location.prefix()), ("bucket", "main/"));
        assert_eq!("file:///x".parse(), Ok(StoreUrl::File(PathBuf::from("/x"))));
    }

    #[test]
    fn refuses_what_would_lead_somewhere_else() {
        for url in [
            "",
            "/var/lib",
            "file://relative",
            "s3://",
            "s3:///p",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/.p",
            "s3://b/a b",
            "http://b/p",
        ] {
            assert!(url.parse::<StoreUrl>().is_err(), "{url}");
        }
    }

    #[test]
    fn never_repeats_a_secret_of_a_refused_url() {
        for url in ["s3://key:hunter2@bucket/p", "az://c/p?sig=hunter2", "s3://b/p#hunter2"] {
            let error = url.parse::<StoreUrl>().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let shown = |text: &str| without_secrets(text);
        assert_eq!(shown("s3://key:hunter2@bucket/p?x#y"), "s3://…@bucket/p");
        assert_eq!(shown("s3://key:hun?ter2@bucket"), "s3://…");
        assert_eq!(shown("me:pw@h://a@b"), "…@b");
        assert_eq!(shown("pass://word@host"), "…@host");
        assert_eq!(shown("s3://b/p?sig=abc@hunter2"), "s3://…");
        assert_eq!(shown("s3n://bucket/p"), "s3n://bucket/p", "a mistyped scheme can be seen");
    }

    proptest! {
        #[test]
        fn what_is_shown_of_a_url_does_not_depend_on_user_password_and_query(
            scheme in prop_oneof![Just(""), Just("s3://"), Just("https://"), Just("az://")],
            user in "[a-zA-Z0-9:/?#@%&=+. ü-]{0,20}".prop_filter("a scheme", |user| !user.contains("://")),
            query in prop_oneof![Just(String::new()), "[?#][a-zA-Z0-9:/?#@%&=]{0,20}"],
        ) {
            let shown = without_secrets(&format!("{scheme}{user}@Bucket/Prefix{query}"));
            let allowed = [format!("{scheme}…@Bucket/Prefix"), format!("{scheme}…")];
            prop_assert!(allowed.contains(&shown), "{shown}");
            // The same where the password looks like a URL itself; nothing of it is a scheme that anybody knows.
            let shown = without_secrets(&format!("{scheme}Me:{user}://{user}@Bucket/Prefix{query}"));
            prop_assert!(allowed.contains(&shown), "{shown}");
        }
    }
}
