//! The building of a clone in an empty directory.
//!
//! Order: directories, then files in parallel, then links, then the files that come last, one by one, then the directories' own
//! owners, modes and times. Where no name can be withheld until all of it is durable, everything is before the first of the files
//! that come last: a clone with a `pg_control` holds all that the `pg_control` speaks of, after a power failure too.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::fs::Mode;

use super::TreeError;
use super::beneath::{self, Identity};
use super::index::Fingerprint;
use super::parents::Parents;
use super::rules::Rules;
use super::scan::{self, Scan};
use super::steady;
use super::transfer::{self, CHUNK_BYTES, CloneStats, Transfer};

/// Most files that are cloned at once: more only make a disk seek, and starve the server beside us.
const MAX_WORKERS: usize = 8;

/// What was built.
#[derive(Default)]
pub(super) struct Built {
    pub(super) stats: CloneStats,
    /// Of every file but those that came last: what it was like before it was read.
    pub(super) fingerprints: HashMap<PathBuf, Fingerprint>,
}

/// What tells a clone that is complete from one that a power failure cut short.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// Its name.
    Name,
    /// That it has the files that come last.
    LastFiles,
}

/// Builds the clone; the caller flushes it. On failure something is left in the directory, which the caller removes.
pub(super) fn build(transfer: &Transfer<'_>, rules: &Rules, seal: Seal) -> Result<Built, TreeError> {
    let into = Identity::of(transfer.clone).map_err(|cause| TreeError::of("look at", &"the clone", &cause))?;
    let scan = scan::scan(transfer.source, rules, into, transfer.stop)?;
    make_directories(transfer.clone, &scan)?;
    let mut built = clone_files(transfer, &scan.files)?;
    make_links(transfer.clone, &scan)?;
    if seal == Seal::LastFiles && !rules.last.is_empty() {
        for_each_directory(transfer.clone, &scan, |directory, _| transfer.flush.one(directory))?;
        flush(transfer)?;
    }
    for path in &rules.last {
        built.stats += steady::clone_last(transfer, path)?;
    }
    for_each_directory(transfer.clone, &scan, |directory, metadata| transfer::finish(directory, metadata, transfer.flush))?;
    transfer.stop.check()?;
    built.stats.directories = scan.directories.len() as u64;
    Ok(built)
}

/// Makes durable what was built, where that is done as a whole.
pub(super) fn flush(transfer: &Transfer<'_>) -> Result<(), TreeError> {
    transfer.flush.all(transfer.clone).map_err(|cause| TreeError::of("flush the file system of", &"the clone", &cause))?;
    // It may have taken long, and nothing in it can be interrupted.
    transfer.stop.check()
}

/// The scan has each directory before what it holds.
fn make_directories(clone: &File, scan: &Scan) -> Result<(), TreeError> {
    for (path, _) in scan.directories.iter().skip(1) {
        beneath::open_parent(clone, path)
            .and_then(|(parent, name)| Ok(rustix::fs::mkdirat(&parent, name, Mode::RWXU)?))
            .map_err(|cause| TreeError::of("make the directory", &path.display(), &cause))?;
    }
    Ok(())
}

fn make_links(clone: &File, scan: &Scan) -> Result<(), TreeError> {
    for (path, target) in &scan.links {
        beneath::open_parent(clone, path)
            .and_then(|(parent, name)| Ok(rustix::fs::symlinkat(target, &parent, name)?))
            .map_err(|cause| TreeError::of("make the symbolic link", &path.display(), &cause))?;
    }
    Ok(())
}

/// Deepest first, since work in a directory changes its times.
fn for_each_directory(
    clone: &File,
    scan: &Scan,
    act: impl Fn(&File, &std::fs::Metadata) -> io::Result<()>,
) -> Result<(), TreeError> {
    for (path, metadata) in scan.directories.iter().rev() {
        beneath::open_directory(clone, path)
            .and_then(|directory| act(&directory, metadata))
            .map_err(|cause| TreeError::of("finish the directory", &path.display(), &cause))?;
    }
    Ok(())
}

fn clone_files(transfer: &Transfer<'_>, files: &[PathBuf]) -> Result<Built, TreeError> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
    let next = AtomicUsize::new(0);
    let results: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..workers).map(|_| scope.spawn(|| work(transfer, files, &next))).collect();
        started.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut built = Built::default();
    for result in results {
        let part = result.map_err(|_| TreeError::Failed("a thread that clones files panicked".to_owned()))??;
        built.stats += part.stats;
        built.fingerprints.extend(part.fingerprints);
    }
    Ok(built)
}

/// Takes the next file until there is none; a failure takes the rest away from the other workers.
fn work(transfer: &Transfer<'_>, files: &[PathBuf], next: &AtomicUsize) -> Result<Built, TreeError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut parents = None;
    let mut part = Built::default();
    while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        match clone_file(transfer, path, &mut parents, &mut buffer) {
            Ok(Some((fingerprint, stats))) => {
                part.stats += stats;
                part.fingerprints.insert(path.clone(), fingerprint);
            }
            Ok(None) => {}
            Err(error) => {
                next.store(files.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
    }
    Ok(part)
}

fn clone_file(
    transfer: &Transfer<'_>,
    path: &Path,
    kept: &mut Option<Parents>,
    buffer: &mut [u8],
) -> Result<Option<(Fingerprint, CloneStats)>, TreeError> {
    transfer.stop.check()?;
    *kept = Parents::follow(kept.take(), transfer, path.parent().unwrap_or(Path::new("")))?;
    match kept {
        Some(parents) => transfer.file(path, parents, buffer),
        None => Ok(None),
    }
}
