//! Keys of age, made by the tool that people have: the Debian package `age`.

use std::path::Path;
use std::process::Command;

use crate::Account;

/// A key pair.
#[derive(Debug)]
pub struct AgeKey {
    /// The public key, a recipient.
    pub recipient: String,
    /// The private key.
    pub identity: String,
}

impl AgeKey {
    /// Makes a new one.
    pub fn generate() -> Self {
        let output = Command::new("age-keygen").output().unwrap_or_else(|error| panic!("install the package age: {error}"));
        let text = String::from_utf8(output.stdout).unwrap();
        let find =
            |beginning: &str| text.lines().find_map(|line| line.find(beginning).map(|start| line[start..].to_owned())).unwrap();
        Self { recipient: find("age1"), identity: find("AGE-SECRET-KEY-") }
    }

    /// Writes the private keys into one file, for the unprivileged user.
    pub fn write_identities(path: &Path, keys: &[&Self]) {
        let lines: Vec<&str> = keys.iter().map(|key| key.identity.as_str()).collect();
        Account::unprivileged().write(path, format!("# a comment\n{}\n", lines.join("\n")));
    }
}
