//! What is to be archived: bytes, or an open file that is read in pieces.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

/// The content of a file that is to be archived.
#[derive(Debug, Clone)]
pub struct Content(Source);

#[derive(Debug, Clone)]
enum Source {
    Bytes(Bytes),
    File { file: Arc<File>, size_bytes: u64 },
}

impl Content {
    /// Takes the content from an open file, whose length must not change from here on.
    pub fn from_file(file: File) -> io::Result<Self> {
        let size_bytes = file.metadata()?.len();
        Ok(Self(Source::File { file: Arc::new(file), size_bytes }))
    }

    /// Its length.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match &self.0 {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File { size_bytes, .. } => *size_bytes,
        }
    }

    /// Fills the buffer from this place on, up to the end of the content; fails when the file is shorter than it was.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.size_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        match &self.0 {
            Source::Bytes(bytes) => {
                let from = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
                buffer[..length].copy_from_slice(&bytes[from..from + length]);
            }
            Source::File { file, .. } => file.read_exact_at(&mut buffer[..length], offset)?,
        }
        Ok(length)
    }
}

impl<T: Into<Bytes>> From<T> for Content {
    fn from(bytes: T) -> Self {
        Self(Source::Bytes(bytes.into()))
    }
}
