//! Pushes other files that wait beside the one that PostgreSQL asked for.
//!
//! PostgreSQL asks for one file at a time and waits. What else is `.ready` is archived meanwhile, by the same rules, and a marker
//! in the spool lets the later call return at once. It begins only once the file asked for is stored: what a clone would place
//! beside a conflict is never begun. A failure here ends the batch and is nobody's failure; the next call meets it in its turn.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use super::{Pusher, WalPushError, segment};
use crate::catalog::PushOutcome;
use crate::error;
use crate::files::directory_of;
use crate::flows::Ports;
use crate::postgres::WalFileName;
use crate::spool::{AheadSettings, Fingerprint, Markers, Place, SpoolError, sweep};

/// Says that PostgreSQL waits for a file to be archived.
const READY: &str = ".ready";

/// After this no further file is begun: PostgreSQL waits for the answer about the first.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// How long files that are under way may still take when the batch has to end.
const GRACE: Duration = Duration::from_secs(10);

/// The files that wait in one WAL directory, and what is known of those that were pushed before.
pub(super) struct Ahead<'a> {
    ports: &'a Ports<'a>,
    pusher: &'a Pusher<'a>,
    place: Place,
    markers: Markers,
    workers: usize,
    files: usize,
}

impl<'a> Ahead<'a> {
    /// Looks whether files can be pushed ahead; none when they cannot, which is nobody's failure.
    pub(super) fn open(
        ports: &'a Ports<'a>,
        settings: &AheadSettings,
        pusher: &'a Pusher<'a>,
        name: WalFileName,
        path: &Path,
    ) -> Option<Self> {
        let data_directory = pusher.data_directory;
        // By hand, or from elsewhere, one file means one file: only PostgreSQL leaves a `.ready` beside what it asks for.
        if settings.push_files == 0 || !is_in_wal_directory(data_directory, path) || !ready_path(data_directory, name).exists() {
            return None;
        }
        let place = Place::open(ports, settings, data_directory).inspect_err(warn).ok()??;
        let markers = Markers::open(&place, ports).inspect_err(warn).ok()?;
        Some(Self { ports, pusher, place, markers, workers: settings.workers.max(1), files: settings.push_files })
    }

    /// Whether the file was pushed ahead, as it is now, and the archive has it still. The marker is used up.
    pub(super) async fn recall(&self, name: WalFileName, path: &Path) -> bool {
        let was_pushed = self.markers.vouches_for(name, path, self.ports.clock.now());
        self.markers.remove(name);
        // The store may have been emptied, or made anew under its URL. Where it cannot be asked, the push itself tells why.
        was_pushed && self.ports.archive().holds(name).await.unwrap_or(false)
    }

    /// Pushes what else waits, until it is done, out of time or told to stop. Returns how many were pushed.
    ///
    /// The caller has stored the file `asked`, in this very call.
    pub(super) async fn push_others(&self, asked: WalFileName, stop: impl Future<Output = ()>) -> usize {
        let now = self.ports.clock.now();
        let swept = self.markers.sweep(now).and_then(|()| sweep(&self.place, now));
        let _ = swept.inspect_err(|error| tracing::debug!(%error, "the spool is not swept"));
        let (histories, others): (VecDeque<_>, VecDeque<_>) =
            self.waiting(asked).into_iter().partition(|name| matches!(name, WalFileName::History { .. }));
        // A history claims its timeline: nothing of that timeline may be placed before the claim holds.
        let (histories, others) = (Queue::new(histories), Queue::new(others));
        let batch = async {
            self.work(&histories).await;
            if !histories.is_closed() {
                join_all((0..self.workers).map(|_| self.work(&others))).await;
            }
        };
        let mut batch = std::pin::pin!(batch);
        tokio::select! {
            biased;
            () = stop => {}
            () = &mut batch => return histories.stored() + others.stored(),
            () = self.ports.clock.sleep(TIME_LIMIT) => {}
        }
        histories.close();
        others.close();
        // What is dropped here has no marker, and is pushed again in its turn.
        tokio::select! {
            biased;
            () = batch => {}
            () = self.ports.clock.sleep(GRACE) => {}
        }
        histories.stored() + others.stored()
    }

    /// The files that wait, in the order in which PostgreSQL would ask for them.
    fn waiting(&self, asked: WalFileName) -> Vec<WalFileName> {
        let Ok(entries) = std::fs::read_dir(status_directory(self.pusher.data_directory)) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(READY)?.parse().ok());
        let mut names: Vec<WalFileName> = names.filter(|name| *name != asked).collect();
        names.sort_by_cached_key(|name| (!matches!(name, WalFileName::History { .. }), name.to_string()));
        let now = self.ports.clock.now();
        names.into_iter().filter(|name| !self.markers.vouches_for(*name, &self.path(*name), now)).take(self.files).collect()
    }

    async fn work(&self, queue: &Queue) {
        while let Some(name) = queue.next() {
            match self.push_one(name).await {
                Ok(true) => queue.count(),
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(file = %name, error = error::chain(&error), "is not pushed ahead; PostgreSQL will ask for it");
                    queue.close();
                }
            }
        }
    }

    /// Pushes one file and leaves its marker; false when there is nothing to push.
    async fn push_one(&self, name: WalFileName) -> Result<bool, WalPushError> {
        let path = self.path(name);
        let now = self.ports.clock.now();
        // Archived by another process meanwhile, or written so lately that a change would not show.
        let Some(before) = Fingerprint::of(&path).ok().filter(|file| file.is_settled(now)) else { return Ok(false) };
        if !ready_path(self.pusher.data_directory, name).exists() {
            return Ok(false);
        }
        match segment::archive_file(self.ports, self.pusher, name, &path).await {
            Ok(PushOutcome::Stored | PushOutcome::AlreadyStored) => {}
            // Durable, and yet not what the archive has under its name: whoever asks for it is told so.
            Ok(PushOutcome::Parked) => return Ok(true),
            Err(WalPushError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        if Fingerprint::of(&path).is_ok_and(|after| after == before) {
            let _ = self.markers.leave(name, before).inspect_err(|error| {
                tracing::warn!(file = %name, %error, "the spool cannot be written; the file will be read back from the archive");
            });
        }
        Ok(true)
    }

    fn path(&self, name: WalFileName) -> PathBuf {
        self.pusher.data_directory.join("pg_wal").join(name.to_string())
    }
}

/// Files that no worker has taken yet.
struct Queue {
    state: Mutex<State>,
}

struct State {
    /// None once nothing more may be begun.
    waiting: Option<VecDeque<WalFileName>>,
    stored: usize,
}

impl Queue {
    fn new(waiting: VecDeque<WalFileName>) -> Self {
        Self { state: Mutex::new(State { waiting: Some(waiting), stored: 0 }) }
    }

    fn next(&self) -> Option<WalFileName> {
        self.with(|state| state.waiting.as_mut()?.pop_front())
    }

    fn close(&self) {
        self.with(|state| state.waiting = None);
    }

    fn is_closed(&self) -> bool {
        self.with(|state| state.waiting.is_none())
    }

    fn count(&self) {
        self.with(|state| state.stored += 1);
    }

    fn stored(&self) -> usize {
        self.with(|state| state.stored)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn status_directory(data_directory: &Path) -> PathBuf {
    data_directory.join("pg_wal").join("archive_status")
}

fn ready_path(data_directory: &Path, name: WalFileName) -> PathBuf {
    status_directory(data_directory).join(format!("{name}{READY}"))
}

/// Whether the file lies in the WAL directory of this very data directory.
fn is_in_wal_directory(data_directory: &Path, path: &Path) -> bool {
    let resolved = |path: &Path| path.canonicalize().ok();
    resolved(directory_of(path)).is_some_and(|parent| resolved(&data_directory.join("pg_wal")) == Some(parent))
}

fn warn(error: &SpoolError) {
    tracing::warn!(error = error::chain(error), "WAL is not pushed ahead");
}
