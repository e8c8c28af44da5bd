//! Numbered rows, each a transaction of its own, and the moments between them: what a restore to such a moment must show exactly.
//!
//! The writer takes a moment (time and position by the server's own word) after the answer to one commit and before the next row, so
//! that every row is known to be on one side of it. A row whose answer a kill has swallowed is looked up once the server is back:
//! what its own recovery has found is in the WAL for good, and what it has not found never comes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use stillframe_tests::{Cluster, Row, Session};

/// Pause between two rows: many of them in each segment, and time for everything else on a small machine.
const PACE: Duration = Duration::from_millis(20);
/// Every so many rows the moment gets a restore point.
const POINT_EVERY: u64 = 25;
/// Every so many rows the writer connects anew and finishes the segment, as applications and timers do. An idle postmaster notices once
/// a minute that its archiver has died, and an archiver that failed three times waits for a minute or for a segment.
const ROWS_IN_SESSION: u64 = 50;
/// Longest wait for a row while the server runs.
const PATIENCE: Duration = Duration::from_mins(2);
/// Time and position of the server, as a target takes the one and as numbers compare for the other.
const MOMENT: &str = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
                      pg_current_wal_insert_lsn(), (pg_current_wal_insert_lsn() - '0/0')::text";

/// A moment between two commits of the writer.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// So many rows had been committed.
    pub(crate) rows: usize,
    /// The server's clock.
    pub(crate) time: String,
    /// The server's position in the WAL.
    pub(crate) lsn: String,
    /// The same as a number.
    pub(crate) position: u64,
    /// A restore point that was made at this moment.
    pub(crate) point: Option<String>,
}

/// The rows of one server, and their writer.
#[derive(Debug)]
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    end: AtomicBool,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    /// Numbers of the rows, in the order of their commits.
    committed: Vec<u64>,
    moments: Vec<Moment>,
    /// Rows whose answer never came, and how many of them were there all the same.
    unanswered: (usize, usize),
}

impl Ledger {
    /// Makes the table and begins to write.
    #[track_caller]
    pub(crate) fn begin(cluster: &Cluster) -> Self {
        cluster.sql("CREATE TABLE ledger (number bigint PRIMARY KEY)");
        let shared = Arc::new(Shared::default());
        let (own, conninfo) = (Arc::clone(&shared), cluster.conninfo());
        let writer = thread::spawn(move || Writer { shared: own, next: 1, doubtful: None }.write(&conninfo));
        Self { shared, writer: Some(writer) }
    }

    /// Waits until so many more rows have been committed.
    #[track_caller]
    pub(crate) fn goes_on(&self, rows: usize) {
        let count = || self.shared.pages.lock().unwrap().committed.len();
        let (wanted, deadline) = (count() + rows, Instant::now() + PATIENCE);
        while count() < wanted {
            assert!(Instant::now() < deadline, "nothing is written any more");
            thread::sleep(PACE);
        }
    }

    /// Writes no more; the server has to run, for the last row must be known.
    #[track_caller]
    pub(crate) fn end(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        if let Some(writer) = self.writer.take() {
            writer.join().expect("the writer does not panic");
        }
    }

    /// All moments so far, oldest first.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.shared.pages.lock().unwrap().moments.clone()
    }

    /// Rows so far; rows whose answer never came, and how many of these were committed.
    pub(crate) fn counts(&self) -> (usize, (usize, usize)) {
        let pages = self.shared.pages.lock().unwrap();
        (pages.committed.len(), pages.unanswered)
    }

    /// Fails unless a restored server shows the rows of a moment: all of them and no other.
    #[track_caller]
    pub(crate) fn assert_shows(&self, restored: &Cluster, rows: usize, what: &str) {
        self.assert_shows_between(restored, rows, rows, what);
    }

    /// The same for a position that lies between two moments.
    #[track_caller]
    pub(crate) fn assert_shows_between(&self, restored: &Cluster, least: usize, most: usize, what: &str) {
        let rows = restored.sql("SELECT number FROM ledger ORDER BY number");
        let shown: Vec<u64> = rows.iter().map(|row| value(row, 0).parse().expect("a number")).collect();
        let pages = self.shared.pages.lock().unwrap();
        let count = shown.len();
        let is_prefix = pages.committed.get(..count) == Some(&shown[..]);
        if is_prefix && (least..=most).contains(&count) {
            return;
        }
        let shown: BTreeSet<u64> = shown.into_iter().collect();
        let first = |count: usize| -> BTreeSet<u64> { pages.committed[..count].iter().copied().collect() };
        panic!(
            "{what}: {count} rows instead of {least} to {most}; missing: {:?}; not committed by then: {:?}",
            first(least).difference(&shown).collect::<Vec<_>>(),
            shown.difference(&first(most)).collect::<Vec<_>>()
        );
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // After a panic there may be no server to ask: the thread then ends with the process.
        self.shared.end.store(true, Ordering::SeqCst);
    }
}

/// What one thread does.
struct Writer {
    shared: Arc<Shared>,
    next: u64,
    /// A row of which nobody has said that it was committed.
    doubtful: Option<u64>,
}

impl Writer {
    fn write(mut self, conninfo: &str) {
        while !self.is_over() {
            // It also ends with every kill of the server, and of any of its processes.
            let _broken = Session::open(conninfo).and_then(|session| self.write_in(&session));
            thread::sleep(PACE);
        }
    }

    fn is_over(&self) -> bool {
        self.shared.end.load(Ordering::SeqCst) && self.doubtful.is_none()
    }

    fn write_in(&mut self, session: &Session) -> Result<(), String> {
        self.look_up(session)?;
        session.try_sql("SELECT pg_switch_wal()")?;
        let last = self.next + ROWS_IN_SESSION;
        while !self.is_over() && self.next < last {
            let number = self.next;
            self.next += 1;
            self.doubtful = Some(number);
            session.try_sql(&format!("INSERT INTO ledger VALUES ({number})"))?;
            self.doubtful = None;
            self.shared.pages.lock().unwrap().committed.push(number);
            self.note(session, None)?;
            if number.is_multiple_of(POINT_EVERY) {
                let point = format!("behind row {number}");
                session.try_sql(&format!("SELECT pg_create_restore_point('{point}')"))?;
                self.note(session, Some(point))?;
            }
            thread::sleep(PACE);
        }
        Ok(())
    }

    /// Finds out what became of a row without an answer. Its backend is gone: there is no session before a recovery is over.
    fn look_up(&mut self, session: &Session) -> Result<(), String> {
        let Some(number) = self.doubtful else { return Ok(()) };
        let rows = session.try_sql(&format!("SELECT count(*) FROM ledger WHERE number = {number}"))?;
        let is_there = value(&rows[0], 0) == "1";
        self.doubtful = None;
        let mut pages = self.shared.pages.lock().unwrap();
        pages.unanswered.0 += 1;
        if is_there {
            pages.unanswered.1 += 1;
            pages.committed.push(number);
        }
        Ok(())
    }

    fn note(&self, session: &Session, point: Option<String>) -> Result<(), String> {
        let rows = session.try_sql(MOMENT)?;
        let [time, lsn, position] = [0, 1, 2].map(|column| value(&rows[0], column).to_owned());
        let mut pages = self.shared.pages.lock().unwrap();
        let rows = pages.committed.len();
        pages.moments.push(Moment { rows, time, lsn, position: position.parse().expect("a number"), point });
        Ok(())
    }
}

fn value(row: &Row, column: usize) -> &str {
    row[column].as_deref().expect("a value")
}
