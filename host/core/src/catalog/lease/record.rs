//! The objects of the leases: one per fencing token, of which the newest always stays, so that no token is given twice.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::LeaseError;
use crate::catalog::{CatalogError, FORMAT_VERSION, Layout, codec};
use crate::store::{self, PutOutcome, Store};

/// How often the newest lease may be gone between a listing and a look.
const LOOKS: usize = 5;

/// Who holds a lease, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseHolder {
    /// Its host.
    pub host: String,
    /// Its process there.
    pub process_id: u32,
    /// The processes among which that number means this one, where it is known.
    #[serde(default)]
    pub process_space: Option<String>,
    /// What it does.
    pub command: String,
    /// When it began, by its own clock.
    pub acquired_at: Timestamp,
}

impl fmt::Display for LeaseHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.acquired_at.strftime("%Y-%m-%d %H:%M:%SZ");
        write!(formatter, "`{}`, process {} on `{}`, since {since}", self.command, self.process_id, self.host)
    }
}

/// Whether a lease is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LeaseState {
    Held,
    Released,
}

/// What is in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseRecord {
    pub(super) state: LeaseState,
    pub(super) holder: LeaseHolder,
    /// Changes while the holder lives.
    pub(super) renewals: u64,
    /// After how long without a change the holder itself takes it for lost.
    pub(super) term: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    state: LeaseState,
    holder: LeaseHolder,
    renewals: u64,
    term_secs: u64,
}

/// A lease as it was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) token: u64,
    pub(super) body: Bytes,
    pub(super) record: LeaseRecord,
}

/// The objects of one cluster's leases.
#[derive(Clone)]
pub(super) struct Leases<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
}

impl<'a> Leases<'a> {
    pub(super) fn new(store: &'a dyn Store, layout: &'a Layout) -> Self {
        Self { store, layout }
    }

    /// The lease with the highest token; none before the first.
    pub(super) async fn newest(&self) -> Result<Option<Found>, LeaseError> {
        for _ in 0..LOOKS {
            let Some(token) = self.highest_token().await? else { return Ok(None) };
            // Gone since the listing only when a higher one has come.
            if let Some(found) = self.read(token).await? {
                return Ok(Some(found));
            }
        }
        Err(LeaseError::Held { holder: None, waited: Duration::ZERO })
    }

    pub(super) async fn highest_token(&self) -> Result<Option<u64>, LeaseError> {
        Ok(self.tokens().await?.last().copied())
    }

    /// All tokens, the highest last.
    async fn tokens(&self) -> Result<Vec<u64>, LeaseError> {
        let entries = store::list(self.store, &self.layout.leases()).await?;
        let parse = |entry: store::ObjectEntry| {
            // It may be the lease of a version that names them otherwise.
            self.layout.parse_lease(&entry.key).ok_or(CatalogError::Unknown { key: entry.key })
        };
        Ok(entries.into_iter().map(parse).collect::<Result<_, _>>()?)
    }

    pub(super) async fn read(&self, token: u64) -> Result<Option<Found>, LeaseError> {
        let key = self.layout.lease(token);
        let Some(body) = self.store.get(&key).await? else { return Ok(None) };
        let stored: Stored = codec::from_bytes(&key, &body).map_err(|source| match source {
            CatalogError::Malformed { .. } | CatalogError::Inconsistent { .. } => LeaseError::Damaged { key, source },
            other => LeaseError::Catalog(other),
        })?;
        let term = Duration::from_secs(stored.term_secs);
        let record = LeaseRecord { state: stored.state, holder: stored.holder, renewals: stored.renewals, term };
        Ok(Some(Found { token, body, record }))
    }

    /// Makes the object of a token; false when somebody else did.
    ///
    /// A write whose answer got lost is ours all the same, which is seen by its content.
    pub(super) async fn create(&self, token: u64, record: &LeaseRecord) -> Result<bool, LeaseError> {
        let key = self.layout.lease(token);
        let body = self.to_bytes(token, record)?;
        match self.store.put_if_absent(&key, body.clone()).await {
            Ok(outcome) => Ok(outcome == PutOutcome::Created),
            Err(error) => match self.store.get(&key).await {
                Ok(Some(found)) => Ok(found == body),
                Ok(None) | Err(_) => Err(error.into()),
            },
        }
    }

    /// Writes the object of a token that is ours.
    pub(super) async fn write(&self, token: u64, record: &LeaseRecord) -> Result<(), LeaseError> {
        Ok(self.store.put(&self.layout.lease(token), self.to_bytes(token, record)?).await?)
    }

    /// Removes the objects of all lower tokens.
    pub(super) async fn remove_before(&self, token: u64) -> Result<(), LeaseError> {
        for older in self.tokens().await?.into_iter().filter(|older| *older < token) {
            self.store.delete(&self.layout.lease(older)).await?;
        }
        Ok(())
    }

    fn to_bytes(&self, token: u64, record: &LeaseRecord) -> Result<Bytes, CatalogError> {
        let stored = Stored {
            format_version: FORMAT_VERSION,
            state: record.state,
            holder: record.holder.clone(),
            renewals: record.renewals,
            term_secs: record.term.as_secs(),
        };
        codec::to_bytes(&self.layout.lease(token), &stored)
    }
}
