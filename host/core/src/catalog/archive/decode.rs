//! From a stored object to the file's content: decrypted, decompressed, written and hashed in one pass.
//!
//! Whoever gives the place to write to must not use what is there before this has returned: the proof comes last.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Write};

use lz4_flex::frame::FrameDecoder;
use sha2::{Digest, Sha256};

use super::damage::Damage;
use super::digest::{self, ContentDigest, FRAME_LEN};
use super::envelope;
use super::form::{Codec, Form};
use super::identity::{Identities, IdentityError};
use super::pieces;
use crate::postgres::{SegmentHeader, WalFileName};

/// Largest content: a segment has at most 1 GiB. Guards disk and memory against an object that expands without end.
const MAX_CONTENT_BYTES: u64 = 1 << 30;

/// Buffer of the brotli decoder, and between decryption and decompression: one chunk of an age file.
const BUFFER_BYTES: usize = 64 << 10;

/// Content that has been written and proven.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) digest: ContentDigest,
    /// As much as it takes to know a segment by.
    pub(super) beginning: Vec<u8>,
}

/// Why there is no proven content.
#[derive(Debug)]
pub(super) enum DecodeError {
    Damage(Damage),
    Identity(IdentityError),
    /// The place to write to failed.
    Sink(io::Error),
}

impl From<Damage> for DecodeError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<IdentityError> for DecodeError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error)
    }
}

/// Writes the content of an object, and proves it by every digest that there is.
///
/// `sidecar` is the line that lies beside an object that is the file itself.
pub(super) fn decode<W: Write + Send>(
    name: WalFileName,
    form: Form,
    body: &[u8],
    sidecar: Option<&[u8]>,
    identities: &Identities,
    sink: &mut W,
) -> Result<Decoded, DecodeError> {
    let proven = |decoded: Decoded| {
        // A timeline that has a history has an ancestor. Of other files the header tells, or nobody asks.
        let is_nothing = decoded.digest.size_bytes == 0 && matches!(name, WalFileName::History { .. });
        if is_nothing { Err(Damage::Empty.into()) } else { Ok(decoded) }
    };
    if !form.is_encrypted {
        let promise = sidecar.map(|line| digest::sha256_from_line(line, name)).transpose()?;
        let decoded = decompress(form.codec, body, sink)?;
        return match promise {
            Some(sha256) if sha256 != decoded.digest.sha256 => Err(Damage::Digest.into()),
            _ => proven(decoded),
        };
    }
    let docket = envelope::read_docket(body, name)?;
    let plain = envelope::open(body, docket.as_ref(), identities)?;
    let decoded = decompress(form.codec, BufReader::with_capacity(BUFFER_BYTES, plain), sink)?;
    match docket {
        Some(docket) if !docket.is_of(&decoded.digest) => Err(Damage::Digest.into()),
        _ => proven(decoded),
    }
}

/// Decompresses, and proves the digest in front where there is one.
fn decompress<W: Write + Send>(codec: Codec, mut body: impl BufRead, sink: &mut W) -> Result<Decoded, DecodeError> {
    if codec == Codec::Raw {
        return pour(body, sink);
    }
    let mut beginning = Vec::with_capacity(FRAME_LEN);
    (&mut body).take(FRAME_LEN as u64).read_to_end(&mut beginning).map_err(Damage::Undecodable)?;
    if beginning.is_empty() {
        return Err(Damage::Empty.into());
    }
    let promise = ContentDigest::from_frame(&beginning)?;
    if promise.is_some() {
        beginning.clear();
    }
    let body = Cursor::new(beginning).chain(body);
    let decoded = match codec {
        Codec::Zstd => pour(zstd::stream::read::Decoder::with_buffer(body).map_err(Damage::Undecodable)?, sink)?,
        Codec::Lz4 => pour(Lz4Frames::new(body), sink)?,
        Codec::Brotli => pour(brotli_decompressor::Decompressor::new(body, BUFFER_BYTES), sink)?,
        Codec::Raw => pour(body, sink)?,
    };
    if let Some(promise) = promise {
        promise.prove(&decoded.digest)?;
    }
    Ok(decoded)
}

/// Writes all that a decoder gives, and hashes it meanwhile.
fn pour<W: Write + Send>(mut from: impl Read, sink: &mut W) -> Result<Decoded, DecodeError> {
    let (mut hash, mut size_bytes, mut beginning) = (Sha256::new(), 0, Vec::new());
    pieces::pass(
        |buffer| loop {
            match from.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read.map_err(|error| Damage::Undecodable(error).into()),
            }
        },
        |piece| {
            if beginning.is_empty() {
                beginning.extend_from_slice(&piece[..piece.len().min(SegmentHeader::LENGTH)]);
            }
            hash.update(piece);
            size_bytes += piece.len() as u64;
            if size_bytes > MAX_CONTENT_BYTES {
                return Err(Damage::TooLong { limit: MAX_CONTENT_BYTES }.into());
            }
            Ok(())
        },
        |piece| sink.write_all(piece).map_err(DecodeError::Sink),
    )?;
    Ok(Decoded { digest: ContentDigest::of(hash, size_bytes), beginning })
}

/// LZ4 frames, one after the other, each with its end.
///
/// The decoder calls it an end as well when its source stops between two blocks.
struct Lz4Frames<R: BufRead> {
    decoder: FrameDecoder<Watched<R>>,
}

/// A source that remembers whether more was wanted of it than it had.
struct Watched<R> {
    source: R,
    was_exhausted: bool,
}

impl<R: BufRead> Lz4Frames<R> {
    fn new(source: R) -> Self {
        Self { decoder: FrameDecoder::new(Watched { source, was_exhausted: false }) }
    }
}

impl<R: BufRead> Read for Lz4Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.decoder.read(buffer)?;
            if length > 0 {
                return Ok(length);
            }
            let source = self.decoder.get_mut();
            if source.was_exhausted {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if source.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
        }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.was_exhausted |= length == 0 && !buffer.is_empty();
        Ok(length)
    }
}
