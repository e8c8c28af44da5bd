//! One object that was read from the archive, before anything is proven about it.

use std::io::Write;

use bytes::Bytes;

use super::decode::{self, DecodeError, Decoded};
use super::digest::ContentDigest;
use super::envelope;
use super::error::ArchiveError;
use super::form::Form;
use super::identity::{Identities, IdentityError};
use crate::postgres::{HeaderError, SegmentHeader, SystemIdentifier, WalFileName};
use crate::store::Key;

/// An object of this length is not worth a thread, unless others wait for this one.
const SMALL_BYTES: usize = 16 << 10;

/// A file of the archive as it is stored, read but not decoded.
#[derive(Debug)]
pub struct ArchivedObject {
    pub(super) name: WalFileName,
    pub(super) key: Key,
    pub(super) form: Form,
    pub(super) body: Bytes,
    /// The line that lies beside it.
    pub(super) sidecar: Option<Bytes>,
    pub(super) identities: Identities,
}

/// Content that was written, and is what was archived.
#[derive(Debug, Clone)]
pub struct Restored {
    name: WalFileName,
    /// Its length.
    pub size_bytes: u64,
    beginning: Vec<u8>,
}

impl Restored {
    /// Proves that it is the segment that its name says; what the archive proves is only that it is what somebody archived.
    pub fn prove_segment(&self) -> Result<SegmentHeader, HeaderError> {
        SegmentHeader::prove_beginning(self.name, &self.beginning, self.size_bytes)
    }
}

/// What was proven about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// All of its content; of a segment its header is given.
    Content(Option<SegmentHeader>),
    /// What stands on the outside of an encrypted object, and its length: there is no identity.
    Outside,
}

/// What an object is to content that is to be archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    Same,
    Other,
}

impl ArchivedObject {
    /// Writes the content, on another thread; nothing of it may be used when this fails. Gives the place back.
    pub async fn write_to<W: Write + Send + 'static>(self, mut sink: W) -> Result<(Restored, W), ArchiveError> {
        off_thread(move || self.restore(&mut sink).map(|restored| (restored, sink))).await?
    }

    fn restore(&self, sink: &mut (impl Write + Send)) -> Result<Restored, ArchiveError> {
        let Decoded { digest, beginning } = self.decode(self.sidecar.as_deref(), sink)?;
        Ok(Restored { name: self.name, size_bytes: digest.size_bytes, beginning })
    }

    fn decode(&self, sidecar: Option<&[u8]>, sink: &mut (impl Write + Send)) -> Result<Decoded, ArchiveError> {
        let key = || self.key.clone();
        decode::decode(self.name, self.form, &self.body, sidecar, &self.identities, sink).map_err(|error| match error {
            DecodeError::Damage(source) => ArchiveError::Damaged { key: key(), source },
            DecodeError::Identity(source) => ArchiveError::Identity { key: key(), source },
            DecodeError::Sink(source) => ArchiveError::Sink { key: key(), source },
        })
    }

    /// Compares it with content of this digest: all of it, or without a key that fits what stands outside.
    pub(super) async fn compare(self, digest: ContentDigest) -> Result<Likeness, ArchiveError> {
        off_thread(move || {
            let docket = self.docket()?;
            // The digest beside it may be the stale one of an object that another tool removed: what is compared is the content.
            let found = match (self.decode(None, &mut std::io::sink()), docket) {
                // The database host need not be able to decrypt, and never all that was encrypted before its keys were changed.
                (Err(ArchiveError::Identity { .. }), Some(docket)) if docket.is_of(&digest) => return Ok(Likeness::Same),
                (Err(ArchiveError::Identity { .. }), Some(_)) => return Ok(Likeness::Other),
                (decoded, _) => decoded?.digest,
            };
            if found == digest {
                return Ok(Likeness::Same);
            }
            // Other content that is not even what was stored is no conflict of two servers.
            self.restore(&mut std::io::sink()).map(|_| Likeness::Other)
        })
        .await?
    }

    /// Proves that a segment is one of this cluster, whole; of an encrypted one without its key.
    pub(super) async fn prove_of_cluster(self, cluster: SystemIdentifier) -> Result<(), ArchiveError> {
        // Nothing else goes on meanwhile that a moment here could hold up.
        if self.body.len() <= SMALL_BYTES {
            return self.check_cluster(cluster);
        }
        off_thread(move || self.check_cluster(cluster)).await?
    }

    fn check_cluster(&self, cluster: SystemIdentifier) -> Result<(), ArchiveError> {
        let name = self.name;
        let found = match self.docket()? {
            Some(docket) => docket.system_identifier.ok_or(HeaderError::NotWal),
            None => self.restore(&mut std::io::sink())?.prove_segment().map(|header| header.system_identifier),
        };
        match found.map_err(|source| ArchiveError::Header { name, source })? {
            found if found == cluster => Ok(()),
            found => Err(ArchiveError::ForeignCluster { name, found, ours: cluster }),
        }
    }

    /// Proves as much as can be, all of the content if there is an identity or it needs none.
    pub(super) async fn prove(self) -> Result<Proof, ArchiveError> {
        off_thread(move || {
            let name = self.name;
            let is_segment = matches!(name, WalFileName::Segment { .. } | WalFileName::Partial { .. });
            match self.restore(&mut std::io::sink()) {
                Ok(restored) if is_segment => {
                    let header = restored.prove_segment().map_err(|source| ArchiveError::Header { name, source })?;
                    Ok(Proof::Content(Some(header)))
                }
                Ok(_) => Ok(Proof::Content(None)),
                Err(ArchiveError::Identity { source: IdentityError::NotConfigured, key }) => match self.docket()? {
                    Some(_) => Ok(Proof::Outside),
                    None => Err(ArchiveError::Identity { source: IdentityError::NotConfigured, key }),
                },
                Err(error) => Err(error),
            }
        })
        .await?
    }

    /// What stands on the outside, once it is proven; none when there is nothing.
    fn docket(&self) -> Result<Option<envelope::Docket>, ArchiveError> {
        if !self.form.is_encrypted {
            return Ok(None);
        }
        envelope::read_docket(&self.body, self.name).map_err(|source| ArchiveError::Damaged { key: self.key.clone(), source })
    }
}

/// Does what takes a processor's time where it keeps nobody else from going on.
pub(super) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ArchiveError> {
    tokio::task::spawn_blocking(work).await.map_err(ArchiveError::Worker)
}
