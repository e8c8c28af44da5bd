//! The docket: what is written on the outside of an encrypted object.
//!
//! One stanza in the header of the age file, in text, behind those of the recipients:
//! `-> stillframe-docket v1 <name> <salt> <fingerprint> <payload bytes> <content bytes> <system identifier or -> <checksum>`

use age_core::format::Stanza;
use sha2::{Digest, Sha256};

use crate::catalog::archive::damage::Damage;
use crate::catalog::archive::digest::ContentDigest;
use crate::hex::{from_hex, to_hex};
use crate::postgres::{SystemIdentifier, WalFileName};

/// Marks the stanza; implementations of age pass over tags that they do not know.
const TAG: &str = "stillframe-docket";

/// Version of what follows.
const VERSION: &str = "v1";

/// Stands for a system identifier that the file does not have.
const NONE: &str = "-";

/// What is known about an encrypted object without its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::catalog::archive) struct Docket {
    /// The name under which it was stored.
    pub(super) name: WalFileName,
    salt: [u8; 16],
    fingerprint: [u8; 32],
    /// Length of all that follows the header.
    pub(super) payload_bytes: u64,
    /// Length of the content.
    content_bytes: u64,
    /// The cluster of a segment.
    pub(in crate::catalog::archive) system_identifier: Option<SystemIdentifier>,
}

impl Docket {
    /// Describes content. The salt keeps two objects of the same content from being known for that.
    pub(in crate::catalog::archive) fn new(
        name: WalFileName,
        digest: &ContentDigest,
        system_identifier: Option<SystemIdentifier>,
        salt: [u8; 16],
    ) -> Self {
        let fingerprint = fingerprint(salt, digest);
        Self { name, salt, fingerprint, payload_bytes: 0, content_bytes: digest.size_bytes, system_identifier }
    }

    /// Whether the object holds this content.
    pub(in crate::catalog::archive) fn is_of(&self, digest: &ContentDigest) -> bool {
        self.content_bytes == digest.size_bytes && self.fingerprint == fingerprint(self.salt, digest)
    }

    /// Writes the stanza, with a checksum over itself and those before it.
    pub(super) fn to_stanza(self, before: &[Stanza]) -> Stanza {
        let cluster = self.system_identifier.map_or_else(|| NONE.to_owned(), |identifier| identifier.0.to_string());
        let mut args = vec![
            VERSION.to_owned(),
            self.name.to_string(),
            to_hex(&self.salt),
            to_hex(&self.fingerprint),
            self.payload_bytes.to_string(),
            self.content_bytes.to_string(),
            cluster,
        ];
        args.push(checksum(before, &args));
        Stanza { tag: TAG.to_owned(), args, body: Vec::new() }
    }

    /// Finds the docket among the stanzas of a header; none when there is none.
    pub(super) fn find(stanzas: &[Stanza]) -> Result<Option<Self>, Damage> {
        let Some(at) = stanzas.iter().position(|stanza| stanza.tag == TAG) else { return Ok(None) };
        let (before, args) = (&stanzas[..at], &stanzas[at].args);
        let Some((found, fields)) = args.split_last() else { return Err(Damage::Envelope) };
        if *found != checksum(before, fields) {
            return Err(Damage::Envelope);
        }
        Self::parse(fields).map(Some).ok_or(Damage::Envelope)
    }

    fn parse(fields: &[String]) -> Option<Self> {
        let [version, name, salt, fingerprint, payload_bytes, content_bytes, cluster] = fields else { return None };
        let system_identifier = if cluster == NONE { None } else { Some(SystemIdentifier(cluster.parse().ok()?)) };
        (version == VERSION).then_some(())?;
        Some(Self {
            name: name.parse().ok()?,
            salt: from_hex(salt)?,
            fingerprint: from_hex(fingerprint)?,
            payload_bytes: payload_bytes.parse().ok()?,
            content_bytes: content_bytes.parse().ok()?,
            system_identifier,
        })
    }

    #[cfg(test)]
    pub(super) fn example() -> Self {
        let digest = ContentDigest { sha256: [1; 32], size_bytes: 7 };
        Self::new("00000002.history".parse().unwrap(), &digest, Some(SystemIdentifier(8)), [3; 16])
    }
}

fn fingerprint(salt: [u8; 16], digest: &ContentDigest) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(digest.sha256).finalize().into()
}

/// Eight hexadecimal digits: against damage, which must not pass for a wrong key or for other content.
fn checksum(before: &[Stanza], fields: &[String]) -> String {
    let mut sum = 0;
    let mut add = |part: &[u8]| {
        sum = crc32c::crc32c_append(sum, &(part.len() as u64).to_le_bytes());
        sum = crc32c::crc32c_append(sum, part);
    };
    for stanza in before {
        add(stanza.tag.as_bytes());
        for arg in &stanza.args {
            add(arg.as_bytes());
        }
        add(&stanza.body);
    }
    for field in fields {
        add(field.as_bytes());
    }
    format!("{sum:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(body: u8) -> Stanza {
        Stanza { tag: "X25519".to_owned(), args: vec!["a".to_owned()], body: vec![1, body] }
    }

    #[test]
    fn a_docket_reads_back_what_was_written() {
        let docket = Docket { payload_bytes: 99, ..Docket::example() };
        for docket in [docket, Docket { system_identifier: None, ..docket }] {
            let written = docket.to_stanza(&[recipient(2)]);
            assert_eq!(Docket::find(&[recipient(2), written]).unwrap(), Some(docket));
        }
        assert!(Docket::find(&[recipient(2)]).unwrap().is_none());
    }

    #[test]
    fn content_is_known_by_its_fingerprint_whatever_the_salt() {
        let name = "00000002.history".parse().unwrap();
        let digest = |byte: u8, size_bytes: u64| ContentDigest { sha256: [byte; 32], size_bytes };
        let dockets = [[1; 16], [2; 16]].map(|salt| Docket::new(name, &digest(1, 7), None, salt));
        assert!(dockets.iter().all(|docket| docket.is_of(&digest(1, 7))));
        assert!(!dockets.iter().any(|docket| docket.is_of(&digest(2, 7)) || docket.is_of(&digest(1, 8))));
        assert_ne!(dockets[0].fingerprint, dockets[1].fingerprint);
    }

    #[test]
    fn a_damaged_stanza_of_a_recipient_does_not_pass_for_a_wrong_key() {
        let written = || Docket::example().to_stanza(&[recipient(2)]);
        for stanzas in [vec![recipient(3), written()], vec![written()], vec![recipient(2), recipient(2), written()]] {
            assert!(matches!(Docket::find(&stanzas), Err(Damage::Envelope)));
        }
    }
}
