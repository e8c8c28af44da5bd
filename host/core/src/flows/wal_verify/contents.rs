//! Reads every needed object: its digest, its page header, and whose it is.
//!
//! Several at a time, for a store answers slower than it reads; each takes the memory of about two segments. A store that fails
//! ends the reading and says nothing about the objects.

use std::future::ready;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};

use crate::catalog::{ArchiveError, Proof};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::Ports;
use crate::flows::archive_map::ArchiveMap;
use crate::postgres::{HeaderError, SystemIdentifier, WalFileName, WalRange, WalSegmentSize};

/// Problems that are listed one by one; all are counted.
const MAX_LISTED: usize = 1_000;

/// How far the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadingProgress {
    /// Objects read.
    pub done: u64,
    /// Objects to read.
    pub total: u64,
}

/// What reading showed.
#[derive(Debug, Default)]
pub struct ContentReport {
    /// Objects whose content is proven.
    pub proven: u64,
    /// Objects that could not be read for want of a key, or in a form that this version does not know.
    pub not_verified: u64,
    /// Objects that are damaged, are not what their names say, or belong to another cluster.
    pub damaged: u64,
    /// Objects that were gone when they were to be read.
    pub vanished: u64,
    /// The first of these.
    pub problems: Vec<ContentProblem>,
    /// The failure that ended the reading before its end.
    pub stopped_by: Option<ArchiveError>,
}

/// What is wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentProblem {
    /// The file.
    pub file: WalFileName,
    /// Whether it is damaged; otherwise it was not verified, or is gone.
    pub is_damaged: bool,
    /// What is wrong, in words.
    pub reason: String,
}

/// What became of one object.
enum Finding {
    Proven,
    NotVerified(String),
    Damaged(String),
    Vanished,
}

/// Reads the archived segments of these stretches.
pub(super) async fn read(
    ports: &Ports<'_>,
    map: &ArchiveMap,
    needed: &[WalRange],
    cluster: Option<SystemIdentifier>,
    workers: usize,
    progress: &(dyn Fn(ReadingProgress) + Send + Sync),
) -> ContentReport {
    let names = needed_files(map, needed);
    let total = names.len() as u64;
    let is_stopped = AtomicBool::new(false);
    // What was begun before a failure is still finished: it may be what is certain.
    let names = stream::iter(names).take_while(|_| ready(!is_stopped.load(Ordering::Relaxed)));
    let read = async |name| (name, prove(ports, name, map.size.size, cluster).await.or_else(classify));
    let mut found = pin!(names.map(read).buffer_unordered(workers.max(1)));
    let mut report = ContentReport::default();
    let mut done = 0;
    while let Some((name, found)) = found.next().await {
        is_stopped.fetch_or(found.is_err(), Ordering::Relaxed);
        report.add(name, found);
        done += 1;
        progress(ReadingProgress { done, total });
    }
    report.problems.sort_by_key(|problem| problem.file.order());
    report
}

/// The archived segments among those that are needed, each once, by position.
fn needed_files(map: &ArchiveMap, needed: &[WalRange]) -> Vec<WalFileName> {
    let is_needed = |name: &WalFileName| match (name, name.segment(map.size.size)) {
        (WalFileName::Segment { .. }, Some(segment)) => {
            // Sorted and disjoint: the only one that can hold it is the last that does not begin behind it.
            let behind = needed.partition_point(|range| (range.timeline, range.first) <= (segment.timeline, segment.number));
            behind.checked_sub(1).is_some_and(|place| needed[place].contains(segment))
        }
        _ => false,
    };
    let mut names: Vec<WalFileName> = map.files.iter().map(|file| file.name).filter(is_needed).collect();
    names.dedup();
    names
}

async fn prove(
    ports: &Ports<'_>,
    name: WalFileName,
    size: WalSegmentSize,
    cluster: Option<SystemIdentifier>,
) -> Result<Finding, ArchiveError> {
    let header = match ports.archive().prove(name).await? {
        None => return Ok(Finding::Vanished),
        Some(Proof::Outside) => return Ok(Finding::NotVerified("there is no key that decrypts it".to_owned())),
        Some(Proof::Content(None)) => return Ok(Finding::Proven),
        Some(Proof::Content(Some(header))) => header,
    };
    if header.segment_size != size {
        let source = HeaderError::Length { expected: size.bytes(), found: header.segment_size.bytes() };
        return Err(ArchiveError::Header { name, source });
    }
    match cluster {
        Some(ours) if ours != header.system_identifier => {
            Err(ArchiveError::ForeignCluster { name, found: header.system_identifier, ours })
        }
        _ => Ok(Finding::Proven),
    }
}

fn classify(error: ArchiveError) -> Result<Finding, ArchiveError> {
    match error {
        ArchiveError::Store(_) => Err(error),
        ArchiveError::Vanished { .. } => Ok(Finding::Vanished),
        error => match error.class() {
            ErrorClass::Corrupt | ErrorClass::Refused => Ok(Finding::Damaged(chain(&error))),
            ErrorClass::Config => Ok(Finding::NotVerified(chain(&error))),
            ErrorClass::Transient | ErrorClass::Internal | ErrorClass::Usage => Err(error),
        },
    }
}

impl ContentReport {
    fn add(&mut self, file: WalFileName, found: Result<Finding, ArchiveError>) {
        let (is_damaged, reason) = match found {
            Ok(Finding::Proven) => {
                self.proven += 1;
                return;
            }
            Ok(Finding::NotVerified(reason)) => {
                self.not_verified += 1;
                (false, reason)
            }
            Ok(Finding::Damaged(reason)) => {
                self.damaged += 1;
                (true, reason)
            }
            Ok(Finding::Vanished) => {
                self.vanished += 1;
                (false, "it was gone when it was to be read".to_owned())
            }
            Err(error) => {
                self.stopped_by.get_or_insert(error);
                return;
            }
        };
        if self.problems.len() < MAX_LISTED {
            self.problems.push(ContentProblem { file, is_damaged, reason });
        }
    }
}
