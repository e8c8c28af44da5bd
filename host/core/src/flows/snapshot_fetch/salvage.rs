//! Takes what an old cluster had not archived: before anything is chosen, so that a target may lie in it, and before anything is made.
//!
//! The archive comes first in every recovery, so that what it has is never taken from elsewhere. Where both have a file and differ, one
//! of them is not of this history; then nothing is restored before somebody has looked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::with_old_wal::WithOldWal;
use super::{FetchRequest, resolve_existing};
use crate::catalog::{ArchiveClaim, ArchiveError, CatalogContents, Instance, Sentinel};
use crate::data_directory::{OldFile, OldWal, OldWalError, SalvagedFile};
use crate::error::{Classify, ErrorClass, chain};
use crate::files::FileError;
use crate::flows::Ports;
use crate::postgres::{
    Lsn, ReadingEnd, SystemIdentifier, TimelineHistory, TimelineId, WalFileName, WalRange, WalReader, WalSegmentSize,
    bytes_in_order,
};
use crate::window::Way;

/// What was found, and proven against the archive.
pub(super) struct Salvage {
    wal: OldWal,
    /// What the archive does not have.
    unarchived: Vec<OldFile>,
}

/// What is taken into the `pg_wal` of the copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SalvagedWal {
    /// The files.
    pub files: Vec<SalvagedFile>,
    /// Where the first segment among them begins, and the last record that can be read in them; none when there are none.
    pub span: Option<(Lsn, Lsn)>,
    /// How many of the files are in the archive by now.
    pub archived: usize,
    /// Whether the last segment was still being written.
    pub ends_in_partial: bool,
    /// Files that are of no use to this recovery, since they are on another timeline, damaged or behind what cannot be read.
    pub left: Vec<WalFileName>,
}

impl SalvagedWal {
    /// How many segments there are.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.files.iter().filter(|file| matches!(file.name, WalFileName::Segment { .. })).count()
    }
}

impl Salvage {
    /// Looks at the old WAL, if there shall be any.
    pub(super) async fn look(
        ports: &Ports<'_>,
        contents: &CatalogContents,
        request: &FetchRequest,
    ) -> Result<Option<Self>, SalvageError> {
        let Some(from) = request.precautions.salvage_wal.clone() else { return Ok(None) };
        let inspected = tokio::task::spawn_blocking(move || OldWal::inspect(&from)).await;
        let wal = inspected.map_err(SalvageError::Lost)??;
        refuse_if_restored_over(&wal.directory, request)?;
        refuse_foreign(&wal, contents)?;
        for (name, error) in &wal.damaged {
            tracing::warn!(file = %name, %error, "not salvaged");
        }
        let archived: BTreeSet<WalFileName> = ports.archive().list().await?.into_iter().map(|file| file.name).collect();
        let unarchived = wal.files.iter().filter(|file| !archived.contains(&file.name)).cloned().collect();
        for file in witnesses(&wal.files, &archived) {
            let content = read(&file.path)?;
            if ports.archive().agrees(file.name, &content).await? == Some(false) {
                return Err(SalvageError::Conflict { name: file.name, path: file.path.clone() });
            }
        }
        Ok(Some(Self { wal, unarchived }))
    }

    /// The store with what the archive lacks.
    pub(super) fn shown_in<'a>(&self, ports: &Ports<'a>) -> WithOldWal<'a> {
        WithOldWal::new(ports.store, ports.layout, &self.unarchived)
    }

    /// Decides what of it this recovery replays, and reads it.
    pub(super) fn take(&self, sentinel: &Sentinel, history: TimelineHistory) -> Result<SalvagedWal, SalvageError> {
        let expected = sentinel.system_identifier;
        if let Some(found) = self.wal.system_identifier.filter(|found| *found != expected) {
            return Err(SalvageError::OtherCluster { directory: self.wal.directory.clone(), found, expected });
        }
        let size = sentinel.segment_size;
        if self.wal.segment_size.is_some_and(|found| found != size) {
            return Err(OldWalError::OtherSize { path: self.wal.directory.clone() }.into());
        }
        let way = Way::new(history, size).pieces(sentinel.wal_range().first, u64::MAX);
        let mut taken = SalvagedWal::default();
        let mut reading = Reading::new(size);
        for file in &self.unarchived {
            match file.name {
                // Whatever is followed: the number of a timeline that was given must not be given again.
                WalFileName::History { .. } => taken.files.push(salvaged(file, true)),
                name if is_on(&way, name, size) => reading.read(file, &mut taken)?,
                name => taken.left.push(name),
            }
        }
        reading.finish(&mut taken);
        taken.left.extend(self.wal.damaged.iter().map(|(name, _)| *name));
        Ok(taken)
    }

    /// Archives what is complete, in the place of the old server. Not all of it may be there for the restored one to archive: a server
    /// removes what it has replayed. What cannot be archived now is replayed all the same.
    pub(super) async fn archive(&self, ports: &Ports<'_>, taken: &mut SalvagedWal) {
        let is_final = |file: &&SalvagedFile| file.is_final;
        for file in taken.files.iter().filter(is_final) {
            match self.archive_one(ports, file).await {
                Ok(()) => taken.archived += 1,
                Err(reason) => {
                    tracing::warn!(file = %file.name, "salvaged, and not archived: {reason}");
                    return;
                }
            }
        }
    }

    async fn archive_one(&self, ports: &Ports<'_>, file: &SalvagedFile) -> Result<(), String> {
        // A history has no single writer.
        if !matches!(file.name, WalFileName::History { .. }) && !self.is_of_claimant(ports, file.name).await? {
            return Err("the timeline is claimed by another server than the one whose data directory this was".to_owned());
        }
        let content = read(&file.path).map_err(|error| chain(&error))?;
        ports.archive().push(file.name, content).await.map(|_| ()).map_err(|error| chain(&error))
    }

    /// Whether this very directory, perhaps under another name, is the one that archives the timeline.
    async fn is_of_claimant(&self, ports: &Ports<'_>, name: WalFileName) -> Result<bool, String> {
        let Some(directory) = &self.wal.data_directory else {
            return Err("without its data directory nobody knows whose it was".to_owned());
        };
        let claim = ports.claims().read(name.timeline()).await.map_err(|error| chain(&error))?;
        let ours = Instance::observe(directory, "").map_err(|error| chain(&error))?;
        let is_same = |claim: ArchiveClaim| {
            claim.system_identifier == ours.system_identifier && claim.place.directory.is(&ours.place.directory)
        };
        Ok(claim.is_some_and(is_same))
    }
}

/// Before anything is compared: what another cluster has under the same names differs, and is no conflict.
fn refuse_foreign(wal: &OldWal, contents: &CatalogContents) -> Result<(), SalvageError> {
    let known = || contents.backups.iter().map(|backup| backup.sentinel.system_identifier);
    match (wal.system_identifier, known().next_back()) {
        (Some(found), Some(expected)) if known().all(|ours| ours != found) => {
            Err(SalvageError::OtherCluster { directory: wal.directory.clone(), found, expected })
        }
        _ => Ok(()),
    }
}

fn salvaged(file: &OldFile, is_final: bool) -> SalvagedFile {
    SalvagedFile { name: file.name, path: file.path.clone(), is_final }
}

fn is_on(way: &[WalRange], name: WalFileName, size: WalSegmentSize) -> bool {
    name.segment(size).is_some_and(|segment| way.iter().any(|range| range.contains(segment)))
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::new("read", path, source))
}

/// The files that tell whether both are of one history: what the old server did not note as archived and yet is, and of each timeline
/// the newest that both have. What came before it is proven with it, for each record names the one before.
fn witnesses<'a>(files: &'a [OldFile], archived: &BTreeSet<WalFileName>) -> Vec<&'a OldFile> {
    let shared: Vec<&OldFile> = files.iter().filter(|file| archived.contains(&file.name)).collect();
    let is_newest =
        |place: usize, file: &OldFile| shared.get(place + 1).is_none_or(|next| next.name.timeline() != file.name.timeline());
    shared.iter().enumerate().filter(|(place, file)| !file.is_noted || is_newest(*place, file)).map(|(_, file)| *file).collect()
}

/// What is restored over, or written to, must not be what is salvaged.
fn refuse_if_restored_over(wal: &Path, request: &FetchRequest) -> Result<(), SalvageError> {
    let tablespaces = request.tablespace_mapping.iter().map(|(_, to)| to);
    for place in std::iter::once(&request.destination).chain(tablespaces).chain(&request.wal_directory) {
        let place = resolve_existing(place);
        if wal.starts_with(&place) || place.starts_with(wal) {
            return Err(SalvageError::RestoredOver { directory: wal.to_owned(), place });
        }
    }
    Ok(())
}

/// Reads segments that follow each other, as a recovery does.
struct Reading {
    size: WalSegmentSize,
    reader: WalReader,
    /// The last one that was read: its number, and whether records can follow it.
    last: Option<(u64, ReadingEnd)>,
    /// The timeline of the newest page.
    newest: Option<TimelineId>,
}

impl Reading {
    fn new(size: WalSegmentSize) -> Self {
        Self { size, reader: WalReader::default(), last: None, newest: None }
    }

    /// Takes a segment if recovery can come to it.
    fn read(&mut self, file: &OldFile, taken: &mut SalvagedWal) -> Result<(), SalvageError> {
        let Some(segment) = file.name.segment(self.size) else { return Ok(()) };
        if matches!(self.last, Some((_, ReadingEnd::Invalid))) {
            taken.left.push(file.name);
            return Ok(());
        }
        if self.last.is_some_and(|(last, _)| last + 1 != segment.number) {
            // What lies between may be in the archive: each stretch is read by itself.
            self.reader = WalReader::default();
        }
        let content = read(&file.path)?;
        let begin = segment.begin(self.size);
        let (length, newest) = bytes_in_order(&content, self.newest, file.name.timeline());
        let mut last = begin;
        let mut end = self.reader.read(begin, &content[..length], |record| last = record.start);
        if length < content.len() && end != ReadingEnd::Switched {
            end = ReadingEnd::Invalid;
        }
        self.newest = Some(newest);
        let from = taken.span.map_or(begin, |(from, _)| from);
        taken.span = Some((from, last));
        taken.files.push(salvaged(file, end != ReadingEnd::Invalid));
        self.last = Some((segment.number, end));
        Ok(())
    }

    fn finish(self, taken: &mut SalvagedWal) {
        taken.ends_in_partial = matches!(self.last, Some((_, ReadingEnd::Invalid)));
    }
}

/// Why the old WAL was not salvaged; nothing was restored.
#[derive(Debug, Error)]
pub enum SalvageError {
    /// It is not what it must be.
    #[error(transparent)]
    OldWal(#[from] OldWalError),
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The archive cannot be compared with it.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A background task died.
    #[error("the look at the old WAL died")]
    Lost(#[source] tokio::task::JoinError),
    /// It would be lost by what is asked for.
    #[error("`{}`, whose WAL shall be salvaged, is where `{}` would be restored", directory.display(), place.display())]
    RestoredOver {
        /// The directory with the old WAL.
        directory: PathBuf,
        /// What would be written to.
        place: PathBuf,
    },
    /// It is the WAL of another cluster.
    #[error("`{}` holds the WAL of the cluster {found}, and the backup is of the cluster {expected}", directory.display())]
    OtherCluster {
        /// The directory.
        directory: PathBuf,
        /// What its files say.
        found: SystemIdentifier,
        /// In the backup.
        expected: SystemIdentifier,
    },
    /// The archive has this file with other content.
    #[error("`{}` and the `{name}` in the archive differ: they are not of one history", path.display())]
    Conflict {
        /// The file.
        name: WalFileName,
        /// The old server's.
        path: PathBuf,
    },
}

impl Classify for SalvageError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::OldWal(error) => error.class(),
            Self::File(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::Lost(_) => ErrorClass::Internal,
            Self::RestoredOver { .. } | Self::OtherCluster { .. } | Self::Conflict { .. } => ErrorClass::Refused,
        }
    }

    fn hint(&self) -> Option<String> {
        let advice = match self {
            Self::OldWal(error) => return error.hint(),
            Self::File(error) => return error.hint(),
            Self::Archive(error) => return error.hint(),
            Self::Lost(_) => return None,
            Self::RestoredOver { .. } => {
                "move the old data directory aside, for instance with `mv DIRECTORY DIRECTORY.old`, and salvage from there"
            }
            Self::OtherCluster { .. } => "name the data directory, or the `pg_wal`, of the cluster that the backup is of",
            Self::Conflict { .. } => {
                "another server has archived this timeline, or this one was rolled back: `stillframe wal-show` tells what the archive \
                 holds; without --salvage-wal the archive alone is followed"
            }
        };
        Some(advice.to_owned())
    }
}
