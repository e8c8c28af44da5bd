//! Encryption: an object is a plain age file, with a docket on its outside.
//!
//! The database host has public keys only, and still must tell a retry from a conflict and a whole object from half of one. So the
//! header of the age file holds one more stanza, the docket, which every implementation of age passes over. What is proven by it
//! without a private key: that docket and stanzas are what was written (by a checksum, against damage and not against forgery),
//! name, cluster, length and fingerprint of the content, and that the object has its full length. What is not: that nobody
//! replaced the docket (age authenticates its header with the file's key), and that no bit of the ciphertext has changed. Both are
//! found when the object is decrypted: by a restore, or by `wal-verify --deep` where there is an identity.

mod docket;

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, Read, Write};

use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use age_core::format::{FileKey, Stanza};

use super::damage::Damage;
use super::decode::DecodeError;
use super::identity::{Identities, IdentityError};
use super::settings::Recipient;
use crate::postgres::WalFileName;
pub(super) use docket::Docket;

/// Bytes of content in one chunk of the payload.
const CHUNK_BYTES: u64 = 64 << 10;

/// What encryption adds to each chunk.
const CHUNK_TAG_BYTES: u64 = 16;

/// What stands between header and chunks.
const NONCE_BYTES: u64 = 16;

/// Encrypts `plain` to all recipients, with the docket outside.
pub(super) fn seal(plain: &[u8], recipients: &[Recipient], mut docket: Docket) -> Result<Vec<u8>, EncryptError> {
    docket.payload_bytes = payload_bytes(plain.len() as u64);
    let header = Outside { recipients, docket };
    let encryptor = Encryptor::with_recipients(std::iter::once(&header as &dyn age::Recipient))?;
    let spare = 1024 * (1 + recipients.len());
    let body = Vec::with_capacity(spare + usize::try_from(docket.payload_bytes).unwrap_or(0));
    let mut writer = encryptor.wrap_output(body).map_err(EncryptError::Io)?;
    writer.write_all(plain).map_err(EncryptError::Io)?;
    writer.finish().map_err(EncryptError::Io)
}

/// Reads the docket, and proves with it what can be proven without a key; none when the object has none, being another tool's.
pub(super) fn read_docket(body: &[u8], name: WalFileName) -> Result<Option<Docket>, Damage> {
    let mut rest = body;
    let reader = Reader { docket: RefCell::new(Ok(None)) };
    let decryptor = Decryptor::new_buffered(&mut rest).map_err(|_| Damage::Envelope)?;
    // This is how the crate shows stanzas. Nothing is decrypted: the reader has no key.
    let _ = decryptor.decrypt(std::iter::once(&reader as &dyn age::Identity));
    let Some(docket) = reader.docket.into_inner()? else { return Ok(None) };
    // The nonce has been read with the header.
    let found = rest.len() as u64 + NONCE_BYTES;
    if docket.payload_bytes != found {
        return Err(Damage::Length { expected: docket.payload_bytes, found });
    }
    if docket.name != name {
        return Err(Damage::Misplaced { stored_as: docket.name });
    }
    Ok(Some(docket))
}

/// Decrypts.
pub(super) fn open<'a>(
    body: &'a [u8],
    docket: Option<&Docket>,
    identities: &Identities,
) -> Result<impl Read + use<'a>, DecodeError> {
    let decryptor = Decryptor::new_buffered(body).map_err(|_| Damage::Envelope)?;
    let identities = identities.load()?;
    decryptor.decrypt(identities.iter().map(|identity| identity as &dyn age::Identity)).map_err(|error| match error {
        // With a docket, the stanzas have been proven: it is really another key.
        DecryptError::NoMatchingKeys => DecodeError::Identity(IdentityError::NoneFits),
        DecryptError::InvalidHeader | DecryptError::InvalidMac => DecodeError::Damage(Damage::Envelope),
        other if docket.is_some() => DecodeError::Damage(Damage::Undecodable(io::Error::other(other))),
        _ => DecodeError::Damage(Damage::Envelope),
    })
}

/// Length of nonce and chunks for a content of this length; an empty one still has a chunk.
fn payload_bytes(plain_bytes: u64) -> u64 {
    NONCE_BYTES + plain_bytes + CHUNK_TAG_BYTES * plain_bytes.div_ceil(CHUNK_BYTES).max(1)
}

/// All recipients, and the docket behind them.
struct Outside<'a> {
    recipients: &'a [Recipient],
    docket: Docket,
}

impl age::Recipient for Outside<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let (mut stanzas, mut labels) = (Vec::new(), HashSet::new());
        for recipient in self.recipients {
            let (more, constraints) = recipient.0.wrap_file_key(file_key)?;
            stanzas.extend(more);
            labels.extend(constraints);
        }
        stanzas.push(self.docket.to_stanza(&stanzas));
        Ok((stanzas, labels))
    }
}

/// Reads the docket from the stanzas of a header, and opens none.
struct Reader {
    docket: RefCell<Result<Option<Docket>, Damage>>,
}

impl age::Identity for Reader {
    fn unwrap_stanza(&self, _stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, DecryptError>> {
        *self.docket.borrow_mut() = Docket::find(stanzas);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn the_length_of_the_payload_is_known_beforehand(chunks in 0u64..4, more in 0u64..3) {
            let length = (chunks * CHUNK_BYTES + more).saturating_sub(1);
            let identity = age::x25519::Identity::generate();
            let plain = vec![7; usize::try_from(length).unwrap()];
            let name = Docket::example().name;
            let body = seal(&plain, &[Recipient(identity.to_public())], Docket::example()).unwrap();
            prop_assert_eq!(read_docket(&body, name).unwrap().unwrap().payload_bytes, payload_bytes(length));
        }
    }

    #[test]
    fn an_object_that_was_cut_off_is_found_without_a_key() {
        let identity = age::x25519::Identity::generate();
        let name = Docket::example().name;
        let body = seal(&[7; 1000], &[Recipient(identity.to_public())], Docket::example()).unwrap();
        for length in 0..body.len() {
            assert!(read_docket(&body[..length], name).is_err(), "{length}");
        }
        assert!(read_docket(&[body.clone(), vec![0]].concat(), name).is_err());
        assert!(read_docket(&body, name).is_ok());
    }
}
