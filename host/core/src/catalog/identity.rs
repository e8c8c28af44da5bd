//! The name by which snapshots say which catalog they belong to.
//!
//! Two stores may hold a cluster of the same name and system identifier: the old and the new one of a move, or one of each server
//! of a replication. Their snapshots may lie in one storage system, and what one catalog does not know is no orphan there. The name
//! is made with the first backup, never changes, and stands in a label of each snapshot.

use serde::{Deserialize, Serialize};

use super::{CatalogError, FORMAT_VERSION, Layout, codec};
use crate::provider::{ProviderName, Token};
use crate::store::{PutOutcome, Store};

/// What tells one catalog from all others: as unlike them as a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CatalogIdentity(String);

impl CatalogIdentity {
    /// As it stands in a label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    catalog: CatalogIdentity,
}

pub(super) async fn read(store: &dyn Store, layout: &Layout) -> Result<Option<CatalogIdentity>, CatalogError> {
    let key = layout.identity();
    let Some(body) = store.get(&key).await? else { return Ok(None) };
    let stored: Stored = codec::from_bytes(&key, &body)?;
    if stored.catalog.0.is_empty() {
        return Err(CatalogError::Inconsistent { key, reason: "it names nothing".to_owned() });
    }
    Ok(Some(stored.catalog))
}

pub(super) async fn read_or_make(store: &dyn Store, layout: &Layout, token: &Token) -> Result<CatalogIdentity, CatalogError> {
    if let Some(found) = read(store, layout).await? {
        return Ok(found);
    }
    let key = layout.identity();
    // Made of a token that nobody else has, and not the token itself: that one finds a snapshot.
    let name = ProviderName::try_from("catalog".to_owned()).map_or_else(|_| token.clone(), |name| token.for_provider(&name));
    let made = CatalogIdentity(name.0);
    let body = codec::to_bytes(&key, &Stored { format_version: FORMAT_VERSION, catalog: made.clone() })?;
    match store.put_if_absent(&key, body).await? {
        PutOutcome::Created => Ok(made),
        PutOutcome::AlreadyExists => Ok(read(store, layout).await?.unwrap_or(made)),
    }
}
