//! The WAL archive: WAL-G's names and zstd, plus a digest.
//!
//! Each object begins with a skippable zstd frame that holds the SHA-256 and the length of the content. Every zstd decoder passes
//! over it, so that WAL-G and `zstd -d` read our archive; and corruption is found here before PostgreSQL sees it. Objects without
//! that frame, which WAL-G wrote, are read as well. Nothing is ever overwritten: what exists is compared.

mod frame;
mod settings;

use bytes::Bytes;
use thiserror::Error;

use crate::catalog::Layout;
use crate::error::{Classify, ErrorClass};
use crate::postgres::{
    HeaderError, SegmentHeader, SystemIdentifier, TimelineHistory, TimelineId, WalFileName, WalSegment, WalSegmentSize,
};
use crate::store::{self, Key, PutOutcome, Store, StoreError};

use frame::FrameError;
pub use settings::{ArchiveSettings, Compression};

/// What an archived file's key may end with: ours (and WAL-G's zstd), or uncompressed.
const EXTENSIONS: [&str; 2] = [ZSTD, ""];

/// Extension of what is compressed with zstd.
const ZSTD: &str = ".zst";

/// Archived WAL of one cluster.
pub struct WalArchive<'a> {
    store: &'a dyn Store,
    layout: &'a Layout,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushOutcome {
    /// The file is in the archive, durable.
    Stored,
    /// The same content was there before: a retry of PostgreSQL after a crash.
    AlreadyStored,
}

/// One object of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedFile {
    /// The file that it holds.
    pub name: WalFileName,
    /// Its key.
    pub key: Key,
    /// Its size as stored.
    pub size_bytes: u64,
}

impl<'a> WalArchive<'a> {
    /// Opens the archive of the cluster that the layout describes.
    #[must_use]
    pub fn new(store: &'a dyn Store, layout: &'a Layout) -> Self {
        Self { store, layout }
    }

    /// Archives one file; returns when it is durable.
    pub async fn push(&self, name: WalFileName, content: &[u8]) -> Result<PushOutcome, ArchiveError> {
        // An uncompressed object that another tool left would shadow ours for that tool and differ unnoticed.
        let foreign = self.layout.wal_file(name, "");
        if self.store.head(&foreign).await?.is_some() {
            return self.compare(name, &foreign, content).await;
        }
        let key = self.layout.wal_file(name, ZSTD);
        let body = frame::encode(content).map_err(|source| ArchiveError::Frame { key: key.clone(), source })?;
        match self.store.put_if_absent(&key, body.into()).await? {
            PutOutcome::Created => Ok(PushOutcome::Stored),
            PutOutcome::AlreadyExists => self.compare(name, &key, content).await,
        }
    }

    /// Accepts what is stored only after reading all of it: PostgreSQL recycles the segment on our word.
    async fn compare(&self, name: WalFileName, key: &Key, content: &[u8]) -> Result<PushOutcome, ArchiveError> {
        let Some(body) = self.store.get(key).await? else { return Err(ArchiveError::Vanished { key: key.clone() }) };
        let stored = decode(key, &body)?;
        if stored == content { Ok(PushOutcome::AlreadyStored) } else { Err(ArchiveError::Conflict { name, key: key.clone() }) }
    }

    /// Reads one file; none when it is certain that the archive does not have it.
    pub async fn fetch(&self, name: WalFileName) -> Result<Option<Vec<u8>>, ArchiveError> {
        for extension in EXTENSIONS {
            let key = self.layout.wal_file(name, extension);
            if let Some(body) = self.store.get(&key).await? {
                return Ok(Some(decode(&key, &body)?));
            }
        }
        self.prove_absent(name).await?;
        Ok(None)
    }

    /// The file may be there in a form that another tool wrote and we cannot read (`.lz4`, `.br`): that is no absence.
    async fn prove_absent(&self, name: WalFileName) -> Result<(), ArchiveError> {
        let (plain, name_asked) = (self.layout.wal_file(name, ""), name);
        for entry in store::list(self.store, plain.as_str()).await? {
            let file_name = entry.key.file_name();
            // `.partial` and `.backup` files of the segment are other files, in whatever form they are.
            let is_one = |name: &str| name.parse::<WalFileName>().is_ok_and(|other| other != name_asked);
            let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
            if !is_one(file_name) && !is_one(stem) {
                return Err(ArchiveError::UnknownForm { key: entry.key });
            }
        }
        Ok(())
    }

    /// Reads a segment that a backup needs and proves that it is this cluster's; false while it is absent.
    ///
    /// An object of the right name proves nothing: another cluster, or this one before it was rolled back, may have written it.
    pub async fn holds_segment(
        &self,
        segment: WalSegment,
        size: WalSegmentSize,
        cluster: SystemIdentifier,
    ) -> Result<bool, ArchiveError> {
        let name = segment.file_name(size);
        let Some(content) = self.fetch(name).await? else { return Ok(false) };
        let header = SegmentHeader::prove(name, &content).map_err(|source| ArchiveError::Header { name, source })?;
        if header.system_identifier != cluster {
            return Err(ArchiveError::ForeignCluster { name, found: header.system_identifier, ours: cluster });
        }
        Ok(true)
    }

    /// Lists every WAL file in the archive, by timeline and segment. Objects with other names are not ours and are left out.
    pub async fn list(&self) -> Result<Vec<ArchivedFile>, ArchiveError> {
        let entries = store::list(self.store, &self.layout.wal()).await?;
        let mut files: Vec<ArchivedFile> = entries
            .into_iter()
            .filter_map(|entry| {
                let file_name = entry.key.file_name();
                let name = file_name.strip_suffix(ZSTD).unwrap_or(file_name).parse().ok()?;
                Some(ArchivedFile { name, key: entry.key, size_bytes: entry.size_bytes })
            })
            .collect();
        files.sort_by_key(|file| file.name.order());
        Ok(files)
    }

    /// Reads the history of a timeline; the first timeline has none, and its history is trivial.
    pub async fn history(&self, timeline: TimelineId) -> Result<Option<TimelineHistory>, ArchiveError> {
        if timeline == TimelineId::FIRST {
            return Ok(Some(TimelineHistory::root(timeline)));
        }
        let name = WalFileName::History { timeline };
        let Some(content) = self.fetch(name).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&content);
        let history = TimelineHistory::parse(timeline, &text);
        history.map(Some).map_err(|source| ArchiveError::History { name, reason: source.to_string() })
    }

    /// Removes one object. Absent is a success.
    pub async fn remove(&self, file: &ArchivedFile) -> Result<(), ArchiveError> {
        Ok(self.store.delete(&file.key).await?)
    }
}

fn decode(key: &Key, body: &Bytes) -> Result<Vec<u8>, ArchiveError> {
    if !key.as_str().ends_with(ZSTD) {
        return Ok(body.to_vec());
    }
    frame::decode(body).map_err(|source| ArchiveError::Frame { key: key.clone(), source })
}

/// A failed operation on the archive.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    Frame {
        /// The object.
        key: Key,
        /// How it is damaged.
        #[source]
        source: FrameError,
    },
    /// The object is in a form that this version cannot read.
    #[error("the archived object `{key}` is in a form that this version cannot read")]
    UnknownForm {
        /// The object.
        key: Key,
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
}

impl Classify for ArchiveError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Conflict { .. } | Self::ForeignCluster { .. } => ErrorClass::Refused,
            Self::UnknownForm { .. } => ErrorClass::Config,
            Self::Frame { .. } | Self::History { .. } | Self::Header { .. } => ErrorClass::Corrupt,
            Self::Vanished { .. } => ErrorClass::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::UnknownForm { key } => {
                Some(format!("decompress `{key}` with the tool that wrote it, and put it there again without its extension"))
            }
            Self::Header { .. } => Some("another tool put it there; restore it from a copy of the store".to_owned()),
            Self::Conflict { .. } | Self::ForeignCluster { .. } => Some(
                "two servers archive to one place, or this one was cloned or rolled back: give it a cluster name of its own"
                    .to_owned(),
            ),
            Self::Frame { key, .. } => Some(format!("restore `{key}` from a copy of the store, or take a new backup")),
            Self::Vanished { .. } => None,
            Self::History { name, .. } => Some(format!("restore `{name}` from a copy of the store or from a standby's pg_wal")),
        }
    }
}
