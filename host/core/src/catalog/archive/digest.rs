//! What is promised about content: its SHA-256 and its length, and the two places where an object carries them.
//!
//! In front: a skippable frame, which both zstd (RFC 8878, section 3.1.2) and LZ4 frames have, with the same magic numbers:
//! `magic, size, payload`, ignored by decoders. Beside: a line as `sha256sum` writes and checks it.

use sha2::{Digest, Sha256};

use super::damage::Damage;
use crate::hex::{from_hex, to_hex};
use crate::postgres::WalFileName;

/// One of the sixteen magic numbers that mark a skippable frame, little-endian.
const SKIPPABLE_MAGIC: [u8; 4] = 0x184D_2A5E_u32.to_le_bytes();

/// Says that the payload is ours, and its version.
const TAG: &[u8; 4] = b"SFW1";

/// Tag, SHA-256, length of the content.
const PAYLOAD_LEN: u8 = 4 + 32 + 8;

/// Magic, size of the payload, payload.
pub(super) const FRAME_LEN: usize = 4 + 4 + PAYLOAD_LEN as usize;

/// SHA-256 and length of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentDigest {
    pub(super) sha256: [u8; 32],
    pub(super) size_bytes: u64,
}

impl ContentDigest {
    /// Ends a calculation.
    pub(super) fn of(hash: Sha256, size_bytes: u64) -> Self {
        Self { sha256: hash.finalize().into(), size_bytes }
    }

    /// Fails unless the content that was found is the one that was promised.
    pub(super) fn prove(&self, found: &Self) -> Result<(), Damage> {
        if self.size_bytes != found.size_bytes {
            return Err(Damage::Length { expected: self.size_bytes, found: found.size_bytes });
        }
        if self.sha256 == found.sha256 { Ok(()) } else { Err(Damage::Digest) }
    }

    /// The skippable frame that goes in front of the compressed content.
    pub(super) fn to_frame(self) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        frame[..4].copy_from_slice(&SKIPPABLE_MAGIC);
        frame[4] = PAYLOAD_LEN;
        frame[8..12].copy_from_slice(TAG);
        frame[12..44].copy_from_slice(&self.sha256);
        frame[44..].copy_from_slice(&self.size_bytes.to_le_bytes());
        frame
    }

    /// Reads the frame that compressed content begins with; none when it begins otherwise, as whatever another tool wrote.
    pub(super) fn from_frame(beginning: &[u8]) -> Result<Option<Self>, Damage> {
        if !beginning.starts_with(&SKIPPABLE_MAGIC) {
            return Ok(None);
        }
        let frame = beginning.get(..FRAME_LEN).filter(|frame| frame[4..8] == [PAYLOAD_LEN, 0, 0, 0] && &frame[8..12] == TAG);
        let read = |frame: &[u8]| {
            let size_bytes = u64::from_le_bytes(frame[44..].try_into().ok()?);
            Some(Self { sha256: frame[12..44].try_into().ok()?, size_bytes })
        };
        frame.and_then(read).map(Some).ok_or(Damage::Frame)
    }

    /// The line that lies beside an object that is the file itself; `sha256sum --check` reads it.
    pub(super) fn to_line(self, name: WalFileName) -> String {
        format!("{}  {name}\n", to_hex(&self.sha256))
    }
}

/// Reads the SHA-256 from the line beside an object.
pub(super) fn sha256_from_line(line: &[u8], name: WalFileName) -> Result<[u8; 32], Damage> {
    let text = str::from_utf8(line).ok().and_then(|text| text.strip_suffix(&format!("  {name}\n")));
    text.and_then(from_hex).ok_or(Damage::Sidecar)
}
