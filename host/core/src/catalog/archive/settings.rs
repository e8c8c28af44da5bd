//! In which form new WAL is archived, and with which keys encrypted WAL is read.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::form::{Codec, Form};
use super::identity::Identities;

/// How the archive writes, and what it reads with.
#[derive(Debug, Clone, Default)]
pub struct ArchiveSettings {
    /// How content is compressed.
    pub compression: Compression,
    /// Who can decrypt what is written; nobody in particular when empty, for then it is not encrypted.
    pub recipients: Vec<Recipient>,
    /// The private keys, which are asked for only when an encrypted object is met.
    pub identities: Identities,
}

impl ArchiveSettings {
    /// The form of what is written.
    pub(super) fn form(&self) -> Form {
        let codec = match self.compression {
            Compression::Zstd(_) => Codec::Zstd,
            Compression::Lz4 => Codec::Lz4,
            Compression::None => Codec::Raw,
        };
        Form { codec, is_encrypted: !self.recipients.is_empty() }
    }
}

/// How content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zstd, at this level.
    Zstd(i32),
    /// LZ4 frames, at the fast level.
    Lz4,
    /// Not at all: the object is the file.
    None,
}

impl Default for Compression {
    /// The fastest level of zstd still halves a typical segment: archiving must keep up with the server, on its own machine.
    fn default() -> Self {
        Self::Zstd(1)
    }
}

/// A public key of age, `age1…`: who has the private key that belongs to it can decrypt.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Recipient(pub(super) age::x25519::Recipient);

impl fmt::Display for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Recipient {
    type Err = InvalidRecipient;

    fn from_str(text: &str) -> Result<Self, InvalidRecipient> {
        // Whoever mixes up the two keys must not find the private one in a log.
        if text.to_ascii_uppercase().contains("SECRET-KEY") {
            return Err(InvalidRecipient::SecretKey);
        }
        text.parse().map(Self).map_err(|_| InvalidRecipient::Malformed(text.to_owned()))
    }
}

/// A text that is no recipient.
#[derive(Debug, Error)]
pub enum InvalidRecipient {
    /// A private key, which has no place on the database host.
    #[error("a private key stands where a recipient is expected: give the public key, `age1…`, that `age-keygen -y` prints")]
    SecretKey,
    /// Something else.
    #[error("`{0}` is not an age recipient: X25519 public keys are, `age1…`")]
    Malformed(String),
}

#[cfg(test)]
mod tests {
    use age::secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_private_key_in_the_place_of_a_public_one_is_refused_and_not_shown() {
        let identity = age::x25519::Identity::generate();
        let secret = identity.to_string();
        for text in [secret.expose_secret().to_owned(), format!(" {}", secret.expose_secret().to_lowercase())] {
            let error = text.parse::<Recipient>().unwrap_err();
            assert!(matches!(error, InvalidRecipient::SecretKey));
            assert!(!format!("{error} {error:?}").contains(text.trim()));
        }
        let public = identity.to_public().to_string();
        assert_eq!(public.parse::<Recipient>().unwrap().to_string(), public);
        assert!(matches!("age1x".parse::<Recipient>(), Err(InvalidRecipient::Malformed(_))));
    }
}
