//! How large the segments are, which their names do not tell.
//!
//! A wrong size hides gaps or invents them: so it is told from what is certain, in this order, and said which it was. Only what a
//! person looks at may rest on the assumption.

use crate::catalog::{ArchiveError, ArchivedFile, CatalogContents, Proof, WalArchive, WalGBackup, WalGContents};
use crate::postgres::{WalFileName, WalSegmentSize};

/// Segments that are read before reading is given up: of an archive without a key each of them fails.
const MAX_READS: usize = 3;

/// A segment size, and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSizeFound {
    /// The size.
    pub size: WalSegmentSize,
    /// How it is known.
    pub source: SizeSource,
}

/// How a segment size is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeSource {
    /// The operator said it.
    Given,
    /// The newest backup's record says it.
    Backup,
    /// The header of this archived segment says it.
    Header(WalFileName),
    /// Names and positions of WAL-G's backups allow no other.
    WalGBackups,
    /// Nothing tells it: what `initdb` chooses, or the largest smaller size that the names allow.
    Assumed,
}

impl SizeSource {
    /// The name of the source in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Backup => "backup",
            Self::Header(_) => "header",
            Self::WalGBackups => "walg-backups",
            Self::Assumed => "assumed",
        }
    }
}

pub(super) async fn find(
    archive: &WalArchive<'_>,
    given: Option<WalSegmentSize>,
    contents: &CatalogContents,
    walg: &WalGContents,
    files: &[ArchivedFile],
) -> Result<SegmentSizeFound, ArchiveError> {
    let found = |size, source| Ok(SegmentSizeFound { size, source });
    if let Some(size) = given {
        return found(size, SizeSource::Given);
    }
    if let Some(newest) = contents.backups.last() {
        return found(newest.sentinel.segment_size, SizeSource::Backup);
    }
    let segments = || files.iter().rev().map(|file| file.name).filter(|name| matches!(name, WalFileName::Segment { .. }));
    for name in segments().take(MAX_READS) {
        match archive.prove(name).await {
            Ok(Some(Proof::Content(Some(header)))) => return found(header.segment_size, SizeSource::Header(name)),
            Err(error @ ArchiveError::Store(_)) => return Err(error),
            // Encrypted, damaged or gone: another one may tell.
            Ok(_) | Err(_) => {}
        }
    }
    let sizes: Vec<Vec<WalSegmentSize>> =
        walg.backups.iter().map(WalGBackup::segment_sizes).filter(|sizes| !sizes.is_empty()).collect();
    let highest = segments().map(part).max().unwrap_or(0);
    let allowed = |size: &WalSegmentSize| u64::from(highest) < size.segments_per_log();
    let mut common = sizes.first().cloned().unwrap_or_default();
    common.retain(|size| allowed(size) && sizes.iter().all(|others| others.contains(size)));
    if let [only] = common[..] {
        return found(only, SizeSource::WalGBackups);
    }
    let largest = WalSegmentSize::every().filter(|size| *size <= WalSegmentSize::DEFAULT).filter(allowed).last();
    found(largest.unwrap_or(WalSegmentSize::DEFAULT), SizeSource::Assumed)
}

/// The last part of a segment's name.
fn part(name: WalFileName) -> u32 {
    match name {
        WalFileName::Segment { segment, .. } => segment,
        WalFileName::Partial { .. } | WalFileName::History { .. } | WalFileName::BackupHistory { .. } => 0,
    }
}
