//! Keeps a file whose name is taken by other content, where no recovery, no listing and no deletion looks.
//!
//! Two servers that were promoted from one timeline in one segment each leave a `.partial` of the same name. The name of what is
//! parked tells its content; there is no digest beside it.

use super::encode::{self, Encoded};
use super::object::{self, ArchivedObject, Likeness};
use super::{ArchiveError, Content, WalArchive};
use crate::hex::to_hex;
use crate::postgres::WalFileName;
use crate::store::{Key, PutOutcome};

/// As much of the SHA-256 as tells contents of one name apart.
const DIGEST_BYTES: usize = 8;

impl WalArchive<'_> {
    /// Parks a file; returns when it is durable. The same content again is a success.
    pub async fn park(&self, name: WalFileName, content: impl Into<Content>) -> Result<Key, ArchiveError> {
        let (content, settings) = (content.into(), self.settings.clone());
        let form = settings.form();
        let encoded = object::off_thread(move || encode::encode(name, &content, &settings)).await?;
        let Encoded { body, digest } = encoded.map_err(|source| ArchiveError::Encode { name, source })?;
        let key = self.layout.parked(name, &to_hex(&digest.sha256[..DIGEST_BYTES]), form.suffix());
        if self.store.put_if_absent(&key, body).await? == PutOutcome::Created {
            return Ok(key);
        }
        let Some(body) = self.store.get(&key).await? else { return Err(ArchiveError::Vanished { key }) };
        let found =
            ArchivedObject { name, key: key.clone(), form, body, sidecar: None, identities: self.settings.identities.clone() };
        match found.compare(digest).await? {
            Likeness::Same => Ok(key),
            Likeness::Other => Err(ArchiveError::Conflict { name, key }),
        }
    }
}
