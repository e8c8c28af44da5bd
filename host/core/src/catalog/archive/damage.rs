//! How an object is found to be damaged.

use thiserror::Error;

use crate::postgres::WalFileName;

/// How an object is damaged.
#[derive(Debug, Error)]
pub enum Damage {
    /// A decoder refused it.
    #[error("it cannot be decompressed or decrypted")]
    Undecodable(#[source] std::io::Error),
    /// There is nothing: zstd would take it for no frames at all.
    #[error("it is empty")]
    Empty,
    /// The digest in front of the content is itself damaged.
    #[error("the digest that it begins with is damaged")]
    Frame,
    /// The digest beside the object is itself damaged.
    #[error("the digest that lies beside it is damaged")]
    Sidecar,
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
    /// The content is longer than any WAL file.
    #[error("it holds more than {limit} bytes, which no WAL file does")]
    TooLong {
        /// Bytes at most.
        limit: u64,
    },
    /// The header of an age file is not what was written.
    #[error("the header of its encryption is damaged")]
    Envelope,
    /// The object was written under another name.
    #[error("it was stored as `{stored_as}`")]
    Misplaced {
        /// The name that it was stored under.
        stored_as: WalFileName,
    },
}
