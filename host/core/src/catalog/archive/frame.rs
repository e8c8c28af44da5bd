//! The form of an archived object: a skippable frame with the digest, then one zstd frame with the content.
//!
//! Skippable frames are part of the zstd format (RFC 8878, section 3.1.2): `magic, size, payload`, ignored by decoders.

use sha2::{Digest, Sha256};
use thiserror::Error;

/// One of the sixteen magic numbers that mark a skippable frame, little-endian.
const SKIPPABLE_MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();

/// Says that the payload is ours, and its version.
const TAG: &[u8; 4] = b"SFW1";

/// Tag, SHA-256, length of the content.
const PAYLOAD_LEN: usize = 4 + 32 + 8;

/// Magic, size of the payload, payload.
const HEADER_LEN: usize = 4 + 4 + PAYLOAD_LEN;

/// Fastest level that still halves a typical segment: archiving must keep up with the server, on its own machine.
const LEVEL: i32 = 1;

/// Largest content: a segment has at most 1 GiB. Guards the memory against a forged length.
const MAX_CONTENT_BYTES: usize = 1 << 30;

/// How an object is damaged.
#[derive(Debug, Error)]
pub enum FrameError {
    /// zstd refused it.
    #[error("zstd cannot process it")]
    Zstd(#[source] std::io::Error),
    /// There is nothing: zstd would take it for no frames at all.
    #[error("it is empty")]
    Empty,
    /// The digest in front of the content is itself damaged.
    #[error("the digest that it begins with is damaged")]
    Header,
    /// The content has another digest than the one written with it.
    #[error("its content does not have the SHA-256 that was stored with it")]
    Digest,
    /// The content has another length than the one written with it.
    #[error("it holds {found} bytes, and {expected} were stored")]
    Length {
        /// Bytes stored.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
}

/// Compresses content into an object.
pub(super) fn encode(content: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut body = Vec::with_capacity(HEADER_LEN + content.len() / 2);
    body.extend_from_slice(&SKIPPABLE_MAGIC);
    body.extend_from_slice(&u32::try_from(PAYLOAD_LEN).unwrap_or(u32::MAX).to_le_bytes());
    body.extend_from_slice(TAG);
    body.extend_from_slice(&Sha256::digest(content));
    body.extend_from_slice(&(content.len() as u64).to_le_bytes());
    let compressed = zstd::bulk::compress(content, LEVEL).map_err(FrameError::Zstd)?;
    body.extend_from_slice(&compressed);
    Ok(body)
}

/// Gives the content of an object, proven by its digest where it carries one.
pub(super) fn decode(body: &[u8]) -> Result<Vec<u8>, FrameError> {
    if body.is_empty() {
        return Err(FrameError::Empty);
    }
    let promise = Promise::read(body)?;
    let content = decompress(promise.as_ref().map_or(body, |_| &body[HEADER_LEN..]))?;
    if let Some(promise) = promise {
        if content.len() as u64 != promise.content_len {
            return Err(FrameError::Length { expected: promise.content_len, found: content.len() as u64 });
        }
        if Sha256::digest(&content)[..] != promise.digest {
            return Err(FrameError::Digest);
        }
    }
    Ok(content)
}

/// What the skippable frame says about the content.
struct Promise {
    digest: [u8; 32],
    content_len: u64,
}

impl Promise {
    /// Reads the frame; none when the object does not begin with one, as whatever another tool wrote.
    fn read(body: &[u8]) -> Result<Option<Self>, FrameError> {
        if !body.starts_with(&SKIPPABLE_MAGIC) {
            return Ok(None);
        }
        let payload = body.get(8..HEADER_LEN).filter(|payload| payload.starts_with(TAG)).ok_or(FrameError::Header)?;
        let (digest, content_len) = (payload[4..36].try_into(), payload[36..].try_into());
        match (digest, content_len) {
            (Ok(digest), Ok(content_len)) => Ok(Some(Self { digest, content_len: u64::from_le_bytes(content_len) })),
            _ => Err(FrameError::Header),
        }
    }
}

fn decompress(body: &[u8]) -> Result<Vec<u8>, FrameError> {
    use std::io::Read;
    let decoder = zstd::stream::read::Decoder::new(body).map_err(FrameError::Zstd)?;
    let mut content = Vec::new();
    decoder.take(MAX_CONTENT_BYTES as u64 + 1).read_to_end(&mut content).map_err(FrameError::Zstd)?;
    if content.len() > MAX_CONTENT_BYTES {
        return Err(FrameError::Length { expected: MAX_CONTENT_BYTES as u64, found: content.len() as u64 });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gives_back_what_was_stored(content: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&content).unwrap()).unwrap(), content);
        }

        #[test]
        fn never_panics_on_a_foreign_object(body: Vec<u8>) {
            let _ = decode(&body);
        }

        #[test]
        fn finds_every_flipped_bit(content in proptest::collection::vec(any::<u8>(), 1..500), place: prop::sample::Index, bit in 0u8..8) {
            let mut body = encode(&content).unwrap();
            let place = place.index(body.len());
            body[place] ^= 1 << bit;
            // A flip in the header's magic or tag makes it another frame; the content is then unproven but must be right or refused.
            if let Ok(found) = decode(&body) {
                prop_assert_eq!(found, content);
            }
        }

        #[test]
        fn finds_every_truncation(content in proptest::collection::vec(any::<u8>(), 1..500), place: prop::sample::Index) {
            let body = encode(&content).unwrap();
            prop_assert!(decode(&body[..place.index(body.len())]).is_err());
        }
    }

    #[test]
    fn other_decoders_pass_over_the_digest() {
        let body = encode(b"a segment").unwrap();
        assert_eq!(zstd::stream::decode_all(&body[..]).unwrap(), b"a segment");
    }

    #[test]
    fn reads_objects_that_carry_no_digest() {
        assert_eq!(decode(&zstd::bulk::compress(b"from WAL-G", 3).unwrap()).unwrap(), b"from WAL-G");
    }
}
