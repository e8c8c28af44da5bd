//! Reads every needed object: its digest, its page header, and whose it is.
//!
//! Several at a time, for a store answers slower than it reads; each takes the memory of about two segments. A store that fails
//! ends the reading and says nothing about the objects.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;

use crate::catalog::{ArchiveError, ArchivedFile, Proof};
use crate::error::{Classify, ErrorClass, chain};
use crate::flows::Ports;
use crate::flows::archive_map::ArchiveMap;
use crate::postgres::{HeaderError, SystemIdentifier, WalFileName, WalRange, WalSegmentSize};

/// Problems that are listed one by one; all are counted.
const MAX_LISTED: usize = 1_000;

/// How far the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
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
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> ContentReport {
    let files = needed_files(map, needed);
    let total = files.len() as u64;
    let queue = Mutex::new(files.into_iter());
    let state = Mutex::new((ContentReport::default(), 0_u64));
    let take = || locked(&queue).next();
    let work = async || {
        while locked(&state).0.stopped_by.is_none()
            && let Some(file) = take()
        {
            let found = prove(ports, file, map.size.size, cluster).await;
            let mut state = locked(&state);
            state.0.add(file.name, found);
            state.1 += 1;
            progress(Progress { done: state.1, total });
        }
    };
    all((0..workers.max(1)).map(|_| work())).await;
    let (mut report, _) = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.problems.sort_by_key(|problem| problem.file.order());
    report
}

/// One object for each needed segment, by position.
fn needed_files<'a>(map: &'a ArchiveMap, needed: &[WalRange]) -> Vec<&'a ArchivedFile> {
    let is_needed = |file: &&ArchivedFile| match (file.name, file.name.segment(map.size.size)) {
        (WalFileName::Segment { .. }, Some(segment)) => {
            // Sorted and disjoint: the only one that can hold it is the last that does not begin behind it.
            let behind = needed.partition_point(|range| (range.timeline, range.first) <= (segment.timeline, segment.number));
            behind.checked_sub(1).is_some_and(|place| needed[place].contains(segment))
        }
        _ => false,
    };
    let mut files: Vec<&ArchivedFile> = map.files.iter().filter(is_needed).collect();
    files.dedup_by_key(|file| file.name);
    files
}

async fn prove(
    ports: &Ports<'_>,
    file: &ArchivedFile,
    size: WalSegmentSize,
    cluster: Option<SystemIdentifier>,
) -> Result<Finding, ArchiveError> {
    match prove_content(ports, file, size, cluster).await {
        // What stands on the outside of an encrypted object may still be wrong.
        Err(ArchiveError::Identity { .. }) => match ports.archive().prove(file).await {
            Ok(Proof::Content) => Ok(Finding::Proven),
            Ok(Proof::Outside) => Ok(Finding::NotVerified("there is no key that decrypts it".to_owned())),
            Err(error) => classify(error),
        },
        Ok(finding) => Ok(finding),
        Err(error) => classify(error),
    }
}

async fn prove_content(
    ports: &Ports<'_>,
    file: &ArchivedFile,
    size: WalSegmentSize,
    cluster: Option<SystemIdentifier>,
) -> Result<Finding, ArchiveError> {
    let name = file.name;
    let Some(object) = ports.archive().find(name).await? else { return Ok(Finding::Vanished) };
    let (restored, _) = object.write_to(std::io::sink()).await?;
    let header = restored.prove_segment().map_err(|source| ArchiveError::Header { name, source })?;
    if restored.size_bytes != size.bytes() {
        let source = HeaderError::Length { expected: size.bytes(), found: restored.size_bytes };
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

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Drives several futures until all of them are done.
async fn all<F: Future<Output = ()>>(futures: impl Iterator<Item = F>) {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    poll_fn(|context| {
        running.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
