//! `.pgpass`: passwords by host, port, database and user.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::{Endpoint, Host, Secret};

/// A password file, read each time a password is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PasswordFile(pub(super) PathBuf);

impl PasswordFile {
    /// The password of the first line that matches; none without such a line, or without a file that may be used.
    pub(crate) fn look_up(&self, host: &Host, database: &str, user: &str) -> Option<Secret> {
        let contents = read_private(&self.0)?;
        let port = host.port.to_string();
        first_match(&contents, [&host_word(host), &port, database, user])
    }
}

/// How the file names a host: a socket in the default directory is `localhost`, one elsewhere is its directory.
fn host_word(host: &Host) -> String {
    match &host.endpoint {
        Endpoint::Socket(directory) if !Endpoint::DEFAULT_SOCKETS.contains(&&*directory.to_string_lossy()) => {
            directory.display().to_string()
        }
        Endpoint::Socket(_) => "localhost".to_owned(),
        Endpoint::Network { name, address } => {
            name.clone().or_else(|| address.map(|address| address.to_string())).unwrap_or_default()
        }
    }
}

/// Reads a file that nobody else can read; one that others can read is refused with a warning, as libpq does.
fn read_private(path: &Path) -> Option<String> {
    let refuse = |reason: &str| {
        warn!(path = %path.display(), "the password file is not used: {reason}");
        None
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return refuse(&error.to_string()),
    };
    if !metadata.is_file() {
        return refuse("it is not a plain file");
    }
    if metadata.mode() & 0o077 != 0 {
        return refuse("others can read it; its permissions should be u=rw (0600) or less");
    }
    match fs::read(path) {
        Ok(contents) => Some(String::from_utf8_lossy(&contents).into_owned()),
        Err(error) => refuse(&error.to_string()),
    }
}

fn first_match(contents: &str, wanted: [&str; 4]) -> Option<Secret> {
    let password = |line: &str| {
        if line.starts_with('#') {
            return None;
        }
        let mut rest = line;
        for word in wanted {
            let (field, after) = field(rest)?;
            if field.raw != "*" && field.plain != word {
                return None;
            }
            rest = after;
        }
        Some(last_field(rest))
    };
    // An empty password is no password: libpq then goes on without one.
    contents.lines().find_map(password).filter(|password| !password.is_empty()).map(Secret::new)
}

struct Field<'a> {
    raw: &'a str,
    plain: String,
}

/// The text up to the next colon without a backslash before it, and what follows.
fn field(text: &str) -> Option<(Field<'_>, &str)> {
    let mut plain = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            ':' => return Some((Field { raw: &text[..position], plain }, &text[position + 1..])),
            '\\' => plain.extend(characters.next().map(|(_, escaped)| escaped)),
            other => plain.push(other),
        }
    }
    None
}

/// The password: the last field of the line.
fn last_field(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            // libpq cuts the password here: a colon in it needs its backslash.
            ':' => break,
            '\\' => plain.extend(characters.next()),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WANTED: [&str; 4] = ["h", "5432", "d", "u"];

    fn found(contents: &str) -> Option<String> {
        first_match(contents, WANTED).map(|secret| secret.reveal().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        assert_eq!(found("x:*:*:*:no\n*:*:*:u:one\nh:5432:d:u:two"), Some("one".into()));
        assert_eq!(found("#h:5432:d:u:comment\nh:5432:d:other:no"), None);
        assert_eq!(found("h:5432:d"), None);
    }

    #[test]
    fn backslashes_keep_colons_and_stars() {
        let contents = "a\\:b:1:\\*:u\\\\:pass\\:word\\\\";
        let secret = first_match(contents, ["a:b", "1", "*", "u\\"]).unwrap();
        assert_eq!(secret.reveal(), "pass:word\\");
        // An escaped star is a star, not every database.
        assert!(first_match(contents, ["a:b", "1", "other", "u\\"]).is_none());
    }

    #[test]
    fn an_empty_password_is_none() {
        assert_eq!(found("h:5432:d:u:"), None);
    }

    #[test]
    fn a_default_socket_is_localhost_and_another_is_its_directory() {
        let socket = |directory: &str| Host { endpoint: Endpoint::Socket(directory.into()), port: 5432 };
        assert_eq!(host_word(&socket("/var/run/postgresql")), "localhost");
        assert_eq!(host_word(&socket("/tmp")), "localhost");
        assert_eq!(host_word(&socket("/srv/s")), "/srv/s");
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:word\n").unwrap();
        let host = Host { endpoint: Endpoint::Socket("/tmp".into()), port: 1 };
        for (mode, usable) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(PasswordFile(path.clone()).look_up(&host, "d", "u").is_some(), usable, "{mode:o}");
        }
        assert!(PasswordFile(directory.path().into()).look_up(&host, "d", "u").is_none());
    }
}
