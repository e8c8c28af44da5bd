//! Fetches the next segments into the spool while the server replays, in a process or task of its own.
//!
//! It speaks to nobody: it finds out from the spool how far the server is, keeps a window of segments ahead of it filled, and ends
//! when there is nothing ahead or nobody takes what is there. What it cannot get it leaves to the server's own call, which alone
//! says what is absent and what is wrong. Segments of one timeline only: at a fork the server asks for the first one itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;

use super::{WalFetched, file};
use crate::error;
use crate::files::directory_of;
use crate::flows::Ports;
use crate::postgres::{WalFileName, WalSegment, WalSegmentSize};
use crate::spool::{AheadSettings, Place, Prefetched, SpoolError, Tender, sweep};

/// Segments may have up to 1 GiB: however many are wanted, no more of the disk is taken than this, or than one segment.
const MAX_BYTES: u64 = 512 << 20;

/// The disk keeps this many times the window free: it may be the server's own.
const FREE_FACTOR: u64 = 4;

/// How often it looks how far the server is. Replaying a segment takes longer.
const LOOK: Duration = Duration::from_millis(5);

/// After so long without a segment taken, the server has ended, paused, or been promoted.
const IDLE: Duration = Duration::from_secs(30);

/// What to continue with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefetchRequest {
    /// The segment that the server has just been given.
    pub served: WalFileName,
    /// Size of its segments.
    pub segment_size: WalSegmentSize,
    /// Where the server wanted it: in its WAL directory.
    pub destination: PathBuf,
}

/// The place of the server that recovers to this destination, `pg_wal/RECOVERYXLOG` within its data directory.
pub(super) fn place(ports: &Ports<'_>, settings: &AheadSettings, destination: &Path) -> Result<Option<Place>, SpoolError> {
    Place::open(ports, settings, directory_of(directory_of(destination)))
}

/// Prefetches what follows, until nobody takes it any more or `stop`. Another process that does so already is a success.
pub async fn wal_prefetch(ports: &Ports<'_>, settings: &AheadSettings, request: &PrefetchRequest, stop: impl Future<Output = ()>) {
    let opened = place(ports, settings, &request.destination).and_then(|place| {
        let Some(place) = place else { return Ok(None) };
        let _ = sweep(&place, ports.clock.now());
        Prefetched::of(&place).tend()
    });
    let tender = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(error) => return tracing::debug!(error = error::chain(&error), "cannot prefetch"),
    };
    if let Some(mut window) = Window::new(ports, settings, request, &tender) {
        let work = window.keep_filled(ports, &tender);
        tokio::select! {
            () = work => {}
            () = stop => {}
        }
    }
    tender.end();
}

/// What lies ahead of the server, and what is on its way.
struct Window {
    size: WalSegmentSize,
    /// The segment that the server was last given.
    served: WalSegment,
    /// Segments that may lie ahead of it.
    length: u64,
    workers: usize,
    /// Numbers of the segments that lie ready.
    ready: BTreeSet<u64>,
    /// Numbers of those under way.
    under_way: BTreeSet<u64>,
    /// The position as it was last noted, to see a change.
    noted: Option<WalFileName>,
    /// From this number on, nothing more is fetched: the archive did not have it, or failed.
    end: u64,
    last_progress: Timestamp,
}

/// What became of one segment.
enum Fetched {
    Ready,
    Unavailable,
}

impl Window {
    fn new(ports: &Ports<'_>, settings: &AheadSettings, request: &PrefetchRequest, tender: &Tender) -> Option<Self> {
        let (size, now) = (request.segment_size, ports.clock.now());
        let served = request.served.segment(size)?;
        let whole = tender.clean(now).unwrap_or_default();
        let wanted = u64::try_from(settings.fetch_files).unwrap_or(u64::MAX);
        let mut window = Self {
            size,
            served,
            length: wanted.min(MAX_BYTES / size.bytes()).max(1),
            workers: settings.workers.max(1),
            ready: BTreeSet::new(),
            under_way: BTreeSet::new(),
            noted: None,
            end: u64::MAX,
            last_progress: now,
        };
        for name in whole {
            match name.segment(size) {
                Some(segment) if segment.timeline == served.timeline => {
                    window.ready.insert(segment.number);
                }
                _ => tender.remove(name),
            }
        }
        Some(window)
    }

    /// Works until nothing can be fetched and nobody takes what is there.
    async fn keep_filled(&mut self, ports: &Ports<'_>, tender: &Tender) {
        let mut fetching = FuturesUnordered::new();
        loop {
            self.observe(tender, ports.clock.now());
            while let Some(segment) = self.next(tender) {
                self.under_way.insert(segment.number);
                fetching.push(fetch(ports, tender, segment, self.size));
            }
            let is_idle = ports.clock.now().duration_since(self.last_progress).unsigned_abs() > IDLE;
            if fetching.is_empty() && (self.ready.is_empty() || is_idle) {
                return;
            }
            tokio::select! {
                biased;
                Some((segment, fetched)) = fetching.next() => self.settle(tender, segment, &fetched),
                () = ports.clock.sleep(LOOK) => {}
            }
        }
    }

    /// Finds out how far the server is, and removes what it will not ask for.
    fn observe(&mut self, tender: &Tender, now: Timestamp) {
        let taken: Vec<u64> = self.ready.iter().copied().filter(|number| !tender.holds(self.name(*number))).collect();
        for number in taken {
            self.ready.remove(&number);
            self.served.number = self.served.number.max(number);
            self.last_progress = now;
        }
        let noted = tender.position();
        if noted != self.noted {
            self.noted = noted;
            if let Some(served) = noted.and_then(|name| name.segment(self.size)) {
                self.follow(tender, served);
                self.last_progress = now;
            }
        }
        let window = self.served.number + 1..=self.served.number + self.length;
        let outside: Vec<u64> = self.ready.iter().copied().filter(|number| !window.contains(number)).collect();
        for number in outside {
            self.ready.remove(&number);
            tender.remove(self.name(number));
        }
    }

    /// The server is elsewhere: it was quicker, began again, or follows another timeline.
    fn follow(&mut self, tender: &Tender, served: WalSegment) {
        if served.timeline != self.served.timeline {
            for number in std::mem::take(&mut self.ready) {
                tender.remove(self.name(number));
            }
        }
        self.served = served;
        // What was not there may be by now.
        self.end = u64::MAX;
    }

    /// The next segment to fetch, while there is room for it.
    fn next(&self, tender: &Tender) -> Option<WalSegment> {
        let count = self.ready.len() + self.under_way.len();
        if self.under_way.len() >= self.workers || count as u64 >= self.length {
            return None;
        }
        let window = self.served.number + 1..=self.served.number + self.length;
        let number = window.into_iter().find(|number| !self.ready.contains(number) && !self.under_way.contains(number))?;
        let is_wanted = number < self.end && tender.free_bytes() >= self.length.saturating_mul(self.size.bytes() * FREE_FACTOR);
        is_wanted.then_some(WalSegment { timeline: self.served.timeline, number })
    }

    fn settle(&mut self, tender: &Tender, segment: WalSegment, fetched: &Fetched) {
        self.under_way.remove(&segment.number);
        match fetched {
            Fetched::Unavailable if segment.timeline == self.served.timeline => self.end = self.end.min(segment.number),
            Fetched::Unavailable => {}
            Fetched::Ready if segment.timeline == self.served.timeline => {
                self.ready.insert(segment.number);
            }
            Fetched::Ready => tender.remove(segment.file_name(self.size)),
        }
    }

    fn name(&self, number: u64) -> WalFileName {
        WalSegment { timeline: self.served.timeline, number }.file_name(self.size)
    }
}

/// Fetches one segment into the spool; it appears there under its name, whole and with the digest that was archived, or not.
async fn fetch<'a>(ports: &'a Ports<'a>, tender: &'a Tender, segment: WalSegment, size: WalSegmentSize) -> (WalSegment, Fetched) {
    let name = segment.file_name(size);
    let _under_way = tender.announce(name);
    let fetched = match file::restore_file(ports, name, &tender.path(name)).await {
        Ok(WalFetched::Restored(size_bytes)) if size_bytes == size.bytes() => Fetched::Ready,
        Ok(WalFetched::Restored(_)) => {
            tender.remove(name);
            Fetched::Unavailable
        }
        Ok(WalFetched::Absent) => Fetched::Unavailable,
        Err(error) => {
            tracing::debug!(segment = %name, error = error::chain(&error), "is not prefetched");
            Fetched::Unavailable
        }
    };
    (segment, fetched)
}
