//! Why a lease is not, or no longer, held.

use std::time::Duration;

use thiserror::Error;

use super::{LeaseHolder, TERM};
use crate::catalog::CatalogError;
use crate::error::{Classify, ErrorClass};
use crate::store::{Key, StoreError};

/// Why a lease is not, or no longer, held.
#[derive(Debug, Error)]
pub enum LeaseError {
    /// Somebody else held it for longer than we may wait.
    #[error("the lease of this cluster is held by {}, after {} s of waiting", .holder.as_ref().map_or_else(|| "others in turn".to_owned(), ToString::to_string), .waited.as_secs())]
    Held {
        /// Who; none when it went from hand to hand.
        holder: Option<Box<LeaseHolder>>,
        /// The deadline.
        waited: Duration,
    },
    /// Somebody has taken it over.
    #[error("the lease {token} was taken over{}: this process was suspended, or cut off from the store", .highest.map_or_else(String::new, |highest| format!(" by {highest}")))]
    Lost {
        /// Ours.
        token: u64,
        /// The one that holds now.
        highest: Option<u64>,
    },
    /// It was not renewed for so long that somebody may have taken it over.
    #[error("the lease {token} was not renewed for {} s: this process was suspended, cut off from the store, or its clock was set", .age.as_secs())]
    Expired {
        /// Ours.
        token: u64,
        /// Time since.
        age: Duration,
    },
    /// The record of a lease is damaged.
    #[error("it cannot be known who holds the lease of this cluster")]
    Damaged {
        /// Where it lies.
        key: Key,
        /// What is wrong with it.
        #[source]
        source: CatalogError,
    },
    /// The last token has been given.
    #[error("no fencing token is left")]
    NoTokens,
    /// A record of a lease is not one of this version.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for LeaseError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Held { .. } | Self::Lost { .. } | Self::Expired { .. } => ErrorClass::Transient,
            Self::Damaged { .. } => ErrorClass::Corrupt,
            Self::NoTokens => ErrorClass::Internal,
            Self::Catalog(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some(format!(
                "run it again when that has ended; if it is dead, its lease falls free by itself after {} s",
                TERM.as_secs()
            )),
            Self::Lost { .. } | Self::Expired { .. } => Some("run it again: it goes on where this one stopped".to_owned()),
            Self::Damaged { key, .. } => Some(format!("when neither a backup nor a deletion runs, remove `{key}`")),
            Self::NoTokens => None,
            Self::Catalog(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
}
