//! What can go wrong with the archive.

use thiserror::Error;

use super::damage::Damage;
use super::encode::EncodeError;
use super::identity::IdentityError;
use crate::catalog::ClusterName;
use crate::error::{Classify, ErrorClass};
use crate::postgres::{HeaderError, SystemIdentifier, WalFileName};
use crate::store::{Key, StoreError};

/// A failed operation on the archive.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be made an object.
    #[error("cannot archive `{name}`")]
    Encode {
        /// The file.
        name: WalFileName,
        /// The cause.
        #[source]
        source: EncodeError,
    },
    /// Another file of this name is in the archive.
    #[error("the archive holds `{name}` with other content, in `{key}`")]
    Conflict {
        /// The file.
        name: WalFileName,
        /// The object.
        key: Key,
    },
    /// The object is not what was written.
    #[error("the archived object `{key}` is damaged")]
    Damaged {
        /// The object.
        key: Key,
        /// How it is damaged.
        #[source]
        source: Damage,
    },
    /// The object is in a form that this version cannot read.
    #[error("the archived object `{key}` is in a form that this version cannot read")]
    UnknownForm {
        /// The object.
        key: Key,
    },
    /// The object is encrypted, and there is no private key that opens it.
    #[error("cannot decrypt the archived object `{key}`")]
    Identity {
        /// The object.
        key: Key,
        /// Why there is none.
        #[source]
        source: IdentityError,
    },
    /// The content could not be written to where it was wanted.
    #[error("cannot write the content of the archived object `{key}`")]
    Sink {
        /// The object.
        key: Key,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The archived segment is not what its name says.
    #[error("the archived `{name}` is not the segment that its name says")]
    Header {
        /// The file.
        name: WalFileName,
        /// What is wrong with it.
        #[source]
        source: HeaderError,
    },
    /// The archived segment is of another cluster.
    #[error("the archived `{name}` belongs to the cluster {found}, and the server to {ours}")]
    ForeignCluster {
        /// The file.
        name: WalFileName,
        /// The segment's cluster.
        found: SystemIdentifier,
        /// The server's cluster.
        ours: SystemIdentifier,
    },
    /// Nothing of the cluster is in the store, so that what is not there is not proven to be absent.
    #[error("the store {store} does not know the cluster `{cluster}`: nothing lies there under this name")]
    UnknownCluster {
        /// The name of the cluster.
        cluster: ClusterName,
        /// URL of the store.
        store: String,
    },
    /// The object was there and then was not.
    #[error("the archived object `{key}` vanished while it was compared")]
    Vanished {
        /// The object.
        key: Key,
    },
    /// A history file that cannot be read.
    #[error("the archived timeline history `{name}` is damaged: {reason}")]
    History {
        /// The file.
        name: WalFileName,
        /// How it is damaged.
        reason: String,
    },
    /// A thread that compresses or decompresses ended by itself.
    #[error("the work on an archived file did not end")]
    Worker(#[source] tokio::task::JoinError),
}

impl Classify for ArchiveError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Conflict { .. } | Self::ForeignCluster { .. } => ErrorClass::Refused,
            Self::UnknownForm { .. } | Self::Identity { .. } | Self::UnknownCluster { .. } => ErrorClass::Config,
            Self::Damaged { .. } | Self::History { .. } | Self::Header { .. } => ErrorClass::Corrupt,
            Self::Vanished { .. } | Self::Sink { .. } | Self::Encode { source: EncodeError::Read(_), .. } => ErrorClass::Transient,
            Self::Encode { .. } | Self::Worker(_) => ErrorClass::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::UnknownForm { key } => {
                Some(format!("decompress `{key}` with the tool that wrote it, and put it there again without its extension"))
            }
            Self::Identity { source, .. } => Some(source.hint()),
            Self::UnknownCluster { .. } => Some(
                "is `name` under `[cluster]` mistyped? if not, add the cluster to the store with `stillframe store create`, which \
                 leaves everything else as it is"
                    .to_owned(),
            ),
            Self::Header { .. } => Some("another tool put it there; restore it from a copy of the store".to_owned()),
            Self::Conflict { .. } | Self::ForeignCluster { .. } => Some(
                "two servers archive to one place, or this one was cloned or rolled back: give it a cluster name of its own"
                    .to_owned(),
            ),
            Self::Damaged { key, .. } => Some(format!("restore `{key}` from a copy of the store, or take a new backup")),
            Self::Vanished { .. } | Self::Sink { .. } | Self::Encode { .. } | Self::Worker(_) => None,
            Self::History { name, .. } => Some(format!("restore `{name}` from a copy of the store or from a standby's pg_wal")),
        }
    }
}
