//! From a file's content to the object that is stored: hashed and compressed in one pass, then encrypted.
//!
//! The content is read in pieces and once; the object is the only thing as large as a segment that is held in memory, and twice
//! that when it is encrypted.

use std::io::{self, Write};

use bytes::Bytes;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::content::Content;
use super::digest::{ContentDigest, FRAME_LEN};
use super::envelope::{self, Docket};
use super::pieces;
use super::settings::{ArchiveSettings, Compression};
use crate::postgres::{SegmentHeader, SystemIdentifier, WalFileName};

/// What frames and blocks add at most to content that is small.
const SLACK_BYTES: usize = 4096;

/// What is stored, and what it holds.
pub(super) struct Encoded {
    pub(super) body: Bytes,
    pub(super) digest: ContentDigest,
}

/// Makes the object that holds the content.
pub(super) fn encode(name: WalFileName, content: &Content, settings: &ArchiveSettings) -> Result<Encoded, EncodeError> {
    let (body, digest) = compress(content, settings.compression)?;
    if settings.recipients.is_empty() {
        return Ok(Encoded { body: body.into(), digest });
    }
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| EncodeError::Encrypt(age::EncryptError::Io(io::Error::other(error.to_string()))))?;
    let docket = Docket::new(name, &digest, cluster(name, content)?, salt);
    let body = envelope::seal(&body, &settings.recipients, docket).map_err(EncodeError::Encrypt)?;
    Ok(Encoded { body: body.into(), digest })
}

/// Why there is no object.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The content could not be read.
    #[error("cannot read it")]
    Read(#[source] io::Error),
    /// A compressor refused, as for a level that does not exist.
    #[error("cannot compress it")]
    Compress(#[source] io::Error),
    /// The encryption failed.
    #[error("cannot encrypt it")]
    Encrypt(#[source] age::EncryptError),
}

fn compress(content: &Content, compression: Compression) -> Result<(Vec<u8>, ContentDigest), EncodeError> {
    let size = usize::try_from(content.size_bytes()).unwrap_or(usize::MAX);
    match compression {
        Compression::None => {
            let mut body = Vec::with_capacity(size);
            let digest = pour(content, &mut body)?;
            Ok((body, digest))
        }
        Compression::Zstd(level) => {
            let mut encoder = zstd::Encoder::new(with_room(size), level).map_err(EncodeError::Compress)?;
            // Other readers check it, who know nothing of the digest.
            encoder.include_checksum(true).map_err(EncodeError::Compress)?;
            encoder.set_pledged_src_size(Some(content.size_bytes())).map_err(EncodeError::Compress)?;
            let digest = pour(content, &mut encoder)?;
            Ok(begin_with(digest, encoder.finish().map_err(EncodeError::Compress)?))
        }
        Compression::Lz4 => {
            // Larger blocks compress no better and need more memory.
            let form = FrameInfo::new().block_size(BlockSize::Max1MB).block_mode(BlockMode::Independent);
            let form = form.content_checksum(true).content_size(Some(content.size_bytes()));
            let mut encoder = FrameEncoder::with_frame_info(form, with_room(size));
            let digest = pour(content, &mut encoder)?;
            let body = encoder.finish().map_err(|error| EncodeError::Compress(error.into()))?;
            Ok(begin_with(digest, body))
        }
    }
}

/// Gives all of the content to a compressor, and hashes it meanwhile.
fn pour(content: &Content, to: &mut impl Write) -> Result<ContentDigest, EncodeError> {
    let (mut hash, mut offset) = (Sha256::new(), 0);
    pieces::pass(
        |buffer| {
            let length = content.read_at(buffer, offset).map_err(EncodeError::Read)?;
            offset += length as u64;
            Ok(length)
        },
        |piece| to.write_all(piece).map_err(EncodeError::Compress),
        |piece| {
            hash.update(piece);
            Ok(())
        },
    )?;
    Ok(ContentDigest::of(hash, offset))
}

/// A buffer with a place for the digest, which is known last and stands first.
///
/// Content that cannot be compressed fits as well: a buffer that grows is copied, and held twice meanwhile. What stays untouched
/// takes no memory.
fn with_room(content_size: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(FRAME_LEN + content_size + content_size / 128 + SLACK_BYTES);
    body.resize(FRAME_LEN, 0);
    body
}

fn begin_with(digest: ContentDigest, mut body: Vec<u8>) -> (Vec<u8>, ContentDigest) {
    body[..FRAME_LEN].copy_from_slice(&digest.to_frame());
    (body, digest)
}

/// The cluster that a segment says it is of; none for what is no segment.
fn cluster(name: WalFileName, content: &Content) -> Result<Option<SystemIdentifier>, EncodeError> {
    let mut beginning = [0; SegmentHeader::LENGTH];
    let length = content.read_at(&mut beginning, 0).map_err(EncodeError::Read)?;
    let header = SegmentHeader::prove_beginning(name, &beginning[..length], content.size_bytes());
    Ok(header.ok().map(|header| header.system_identifier))
}
