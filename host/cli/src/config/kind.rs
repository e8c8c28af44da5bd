//! What a value may be, checked as soon as it is read and without repeating what may be secret.
//!
//! A value that is wrong is repeated in the error only where a secret cannot stand by mistake: a number, a word of a list, a path.

use std::path::Path;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use stillframe_core::catalog::Recipient;
use stillframe_core::error::Classify;
use stillframe_store::{InvalidStoreUrl, StoreUrl};

use super::Value;

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whatever another part of the program checks.
    Text,
    /// A connection string, which may hold a password.
    Conninfo,
    /// The URL of a store.
    StoreUrl,
    /// The base URL of a server.
    Endpoint,
    /// One word without white space.
    Word,
    /// The identifier of a role of AWS.
    Role,
    /// The name of an account of Azure.
    Account,
    /// The name of an instance, which stands in claims and verdicts.
    Instance,
    /// An absolute path.
    Path,
    /// A whole number between two bounds, both included.
    Number(u64, u64),
    /// A length of time: `7 days`, `168h`.
    Length,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// Public keys of age.
    Recipients,
    /// A program and its arguments.
    Program,
    /// Absolute paths of files, whose last part may hold `*`.
    Files,
}

impl Kind {
    /// Whether the file may write it as an array.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Recipients | Self::Program | Self::Files)
    }

    /// Says what is wrong with a value.
    pub fn check(self, value: &Value) -> Result<(), String> {
        let text = value.text.as_str();
        match self {
            Self::Text | Self::Conninfo => Ok(()),
            Self::StoreUrl => text.parse::<StoreUrl>().map(drop).map_err(|error| store_url(&error)),
            Self::Endpoint => endpoint(text),
            Self::Word if is_word(text) => Ok(()),
            Self::Word => Err("it must be one word of visible letters".to_owned()),
            Self::Role if is_word(text) && text.starts_with("arn:") => Ok(()),
            Self::Role => Err("it must begin with `arn:`".to_owned()),
            Self::Account if is_account(text) => Ok(()),
            Self::Account => Err("an account of Azure has 3 to 24 lower-case letters and digits".to_owned()),
            Self::Instance if is_instance(text) => Ok(()),
            Self::Instance => Err("use letters, digits, `.`, `_` and `-`, at most 63, and no `.` first".to_owned()),
            Self::Path if Path::new(text).is_absolute() => Ok(()),
            Self::Path => Err(format!("`{text}` is not an absolute path")),
            Self::Number(least, most) => match text.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(format!("`{text}` is not a whole number from {least} to {most}")),
            },
            Self::Length => length(text).map(drop),
            Self::Choice(words) if words.contains(&text) => Ok(()),
            Self::Choice(words) => Err(format!("`{text}` is none of {}", words_of(words))),
            Self::Flag if matches!(text, "true" | "false") => Ok(()),
            Self::Flag => Err(format!("`{text}` is neither `true` nor `false`")),
            Self::Recipients => recipients(&value.items()),
            Self::Program => program(&value.items()),
            Self::Files => files(&value.items()),
        }
    }

    /// The value for people, without what may be secret.
    pub fn shown(self, value: &Value) -> String {
        match self {
            Self::Conninfo => without_password(&value.text),
            Self::Program => match value.items().as_slice() {
                [program] => program.clone(),
                [program, arguments @ ..] => format!("{program} (and {} arguments, not shown)", arguments.len()),
                [] => String::new(),
            },
            _ => value.text.clone(),
        }
    }
}

/// A connection string that may hold a password is not shown at all: it can be quoted, escaped and spaced in too many ways.
fn without_password(text: &str) -> String {
    if text.contains('@') || text.to_lowercase().contains("pass") {
        "(not shown, since it may hold a password)".to_owned()
    } else {
        text.to_owned()
    }
}

/// `a`, `b` and `c`.
fn words_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_account(text: &str) -> bool {
    (3..=24).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// It stands in claims, verdicts and logs: within the bounds of a host's name.
fn is_instance(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=63).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(legal)
}

/// What the kernel has for a host that nobody has named.
const NAMELESS: &str = "(none)";

/// The instance's name unless the operator says otherwise. An odd host name must not keep a server from archiving.
pub(super) fn instance_of(host_name: &str) -> Option<String> {
    if host_name == NAMELESS {
        return None;
    }
    let legal = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' };
    let text: String = host_name.trim_start_matches('.').chars().map(legal).collect();
    is_instance(&text).then_some(text)
}

/// What is wrong with the URL of a store, and how it is written.
pub(super) fn store_url(error: &InvalidStoreUrl) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// `https://host:port`, without anything that may be secret.
fn endpoint(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| "it must begin with `https://` or `http://`".to_owned())?;
    if rest.contains('@') {
        return Err("credentials do not belong into a URL (it is not shown here)".to_owned());
    }
    let host = rest.split('/').next().unwrap_or_default();
    if host.is_empty() || !is_word(rest) || rest.contains(['?', '#', '\\']) {
        return Err("it must be of the form `https://host:port`".to_owned());
    }
    Ok(())
}

/// Whoever writes `6m` means months, and would keep backups for six minutes.
const SHORTEST: Duration = Duration::from_hours(1);

/// A length of time. Days have 24 hours; months and years have none that is certain.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    const HOW: &str = "write `7 days`, `2 weeks` or `168h`";
    let span: Span = text.parse().map_err(|_| format!("`{text}` is not a length of time: {HOW}"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(format!("`{text}` has months or years, which differ in length: {HOW}"));
    }
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok().and_then(|exact| Duration::try_from(exact).ok());
    match exact {
        Some(length) if length >= SHORTEST => Ok(length),
        _ => Err(format!("`{text}` is shorter than an hour (`m` are minutes): {HOW}")),
    }
}

/// An empty list is refused: a variable that is empty by mistake must not turn encryption off.
fn recipients(items: &[String]) -> Result<(), String> {
    if items.is_empty() {
        return Err("it names nobody: leave it out for an archive without encryption".to_owned());
    }
    match items.iter().position(|item| item.parse::<Recipient>().is_err()) {
        None => Ok(()),
        Some(at) => Err(format!("entry {} is no public key `age1…`, as `age-keygen -y` prints it", at + 1)),
    }
}

fn files(items: &[String]) -> Result<(), String> {
    for item in items {
        let path = Path::new(item);
        if !path.is_absolute() {
            return Err(format!("`{item}` is not an absolute path"));
        }
        if path.parent().is_some_and(|directory| directory.as_os_str().as_encoded_bytes().contains(&b'*')) {
            return Err(format!("`{item}` has a `*` in the name of a directory"));
        }
    }
    Ok(())
}

fn program(items: &[String]) -> Result<(), String> {
    let program = items.first().ok_or_else(|| "it must name a program".to_owned())?;
    if Path::new(program).is_absolute() {
        Ok(())
    } else {
        Err("its first part must be the absolute path of a program; no shell is started".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::{Kind, Value, instance_of, length};

    fn text(text: &str) -> Value {
        Value { text: text.to_owned(), items: None, origin: Origin::Default }
    }

    #[test]
    fn never_shows_a_password() {
        for connection in [
            "password= secret",
            "host=a password=secret user=b",
            "password = secret",
            "password='se cret' user=b",
            "postgresql://me:secret@host/db",
            "postgresql://me:se@cret@host/db?x=1",
            "postgresql://host/db?user=me&password=secret&sslmode=require",
            "host=a PASSWORD=secret sslpassword=secret",
        ] {
            let shown = Kind::Conninfo.shown(&text(connection));
            assert!(!shown.contains("secret") && !shown.contains("cret"), "{connection} became {shown}");
        }
        assert_eq!(Kind::Conninfo.shown(&text("host=/run user=postgres")), "host=/run user=postgres");
    }

    #[test]
    fn never_shows_the_arguments_of_a_program() {
        let shown = Kind::Program.shown(&text("/usr/bin/vault --token secret"));
        assert_eq!(shown, "/usr/bin/vault (and 2 arguments, not shown)");
    }

    #[test]
    fn never_repeats_credentials_of_a_url() {
        for (kind, url) in [
            (Kind::Endpoint, "https://me:secret@host:9000"),
            (Kind::Endpoint, "https://host/?key=secret"),
            (Kind::Endpoint, "secret"),
            (Kind::StoreUrl, "s3://me:secret@bucket/prefix"),
            (Kind::StoreUrl, "az://container/prefix?sig=secret"),
            (Kind::Account, "secret/secret=="),
            (Kind::Role, "secret"),
            (Kind::Word, "se cret secret"),
        ] {
            let reason = kind.check(&text(url)).unwrap_err();
            assert!(!reason.contains("secret"), "{url}: {reason}");
        }
    }

    #[test]
    fn reads_lengths_as_people_write_them() {
        let days = |number: u64| Ok(std::time::Duration::from_hours(24 * number));
        for text in ["7 days", "7d", "1 week", "168h", "168 hours", "6 days 24 hours", "P7D"] {
            assert_eq!(length(text), days(7), "{text}");
        }
        assert_eq!(length("2 weeks"), days(14));
        for text in ["", "7", "seven days", "days", "-7 days", "0 days", "6m", "59 minutes", "6 months", "1 year", "7 days ago"] {
            assert!(length(text).is_err(), "{text} became {:?}", length(text));
        }
        assert!(length("6m").unwrap_err().contains("minutes") && length("6 months").unwrap_err().contains("months"));
    }

    #[test]
    fn an_odd_host_name_gives_a_legal_instance() {
        assert_eq!(instance_of("db-1.example").as_deref(), Some("db-1.example"));
        for name in ["0123456789abcdef01234567", "db 1/ä"].map(|name| instance_of(name).unwrap()) {
            assert_eq!(Kind::Instance.check(&text(&name)), Ok(()), "{name}");
        }
        assert_eq!((instance_of(""), instance_of("(none)")), (None, None), "every host without a name would have the same");
    }
}
