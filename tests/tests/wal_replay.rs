//! A recovery whose `wal-fetch` processes are killed: it stops and can go on, and never ends early.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stillframe_tests::{Cluster, Found, Random, Site, is_alive, leftovers};

/// Segments that the recovery needs, at least.
const SEGMENTS: usize = 30;
/// Kills before the recovery is left alone.
const KILLS: usize = 20;
/// Runs of `wal-fetch` between two kills, at most: some of them get far.
const SPARED: usize = 8;
/// Longest time for all of it.
const PATIENCE: Duration = Duration::from_mins(3);

/// How an attempt to recover ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The server takes writes.
    Recovered,
    /// It stopped, as PostgreSQL does when its command dies of a signal.
    Stopped,
}

/// Starts the server and waits until it has recovered or stopped.
fn recover(restored: &mut Cluster, deadline: Instant) -> Outcome {
    if restored.try_start().is_err() {
        return Outcome::Stopped;
    }
    while Instant::now() < deadline {
        match restored.try_sql("SELECT pg_is_in_recovery()") {
            Ok(rows) if rows[0][0].as_deref() == Some("f") => return Outcome::Recovered,
            Err(_) if !is_alive(restored.pid()) => {
                restored.kill9();
                return Outcome::Stopped;
            }
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("the recovery neither ends nor stops:\n{}", restored.log());
}

/// Kills a run of `wal-fetch` now and then, below whatever server runs, until enough are killed.
fn kill_fetches(end: &AtomicBool, kills: &AtomicUsize, data_directory: &Path, mut random: Random) {
    while !end.load(Ordering::SeqCst) && kills.load(Ordering::SeqCst) < KILLS {
        // The first line is the server's process, from its first moment on.
        let file = fs::read_to_string(data_directory.join("postmaster.pid")).unwrap_or_default();
        let Some(found) = file.lines().next().and_then(|pid| Found::below(pid.parse().ok()?)) else {
            thread::yield_now();
            continue;
        };
        thread::sleep(random.within(Duration::from_millis(15)));
        if random.below(SPARED) == 0 && found.kill9() {
            kills.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn a_recovery_whose_fetches_are_killed_never_promotes_early_and_ends_with_every_row() {
    let mut random = Random::seeded("killed fetches");
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (i int, word text)");
    let backup = site.backup(&[]);
    let before = site.archived().len();
    for _ in 0..SEGMENTS {
        site.cluster.sql("INSERT INTO t SELECT g, md5(g::text || random()::text) FROM generate_series(1, 14000) g");
        // Where segments are larger than these rows.
        site.cluster.switch_wal();
    }
    site.switch_wal();
    let written = site.archived().len() - before;
    assert!(written >= SEGMENTS, "{written} segments");
    let digest = "SELECT count(*) || ' ' || sum(hashtext(word)::bigint * i) FROM t";
    let expected = site.cluster.value(digest);

    let (kills, deadline) = (AtomicUsize::new(0), Instant::now() + PATIENCE);
    let mut stops = 0;
    // A quick machine recovers before enough of its fetches are hit; then it recovers once more.
    for round in 0.. {
        let killed = kills.load(Ordering::SeqCst);
        if killed >= KILLS {
            break;
        }
        assert!(Instant::now() < deadline, "only {killed} were hit in {round} recoveries of {written} segments");
        let (restored, stopped) =
            recover_under_fire(&site, (&format!("restored-{round}"), &backup), random.fork(), &kills, deadline);
        assert_eq!(restored.value(digest), expected, "{}", restored.log());
        stops += stopped;
    }
    // A kill is an error and no answer: it is not for recovery to guess.
    assert!(stops > 0, "no server stopped");
}

/// One recovery whose fetches are killed until enough are; gives the server and how often it stopped.
fn recover_under_fire(
    site: &Site,
    (name, backup): (&str, &str),
    random: Random,
    kills: &AtomicUsize,
    deadline: Instant,
) -> (Cluster, usize) {
    let before = kills.load(Ordering::SeqCst);
    let finished = site.fetch(name, &[backup, "--archiving", "off"]);
    assert!(finished.is_success(), "{finished}");
    let place = site.place(name);
    let mut restored = site.adopt(name);
    let end = AtomicBool::new(false);
    let stops = thread::scope(|scope| {
        scope.spawn(|| kill_fetches(&end, kills, &place, random));
        let mut stops = 0;
        while recover(&mut restored, deadline) == Outcome::Stopped {
            stops += 1;
            // A promotion leaves this behind, whatever becomes of the server then.
            assert!(!place.join("pg_wal/00000002.history").exists(), "it promoted and ended:\n{}", restored.log());
        }
        end.store(true, Ordering::SeqCst);
        stops
    });
    let killed = kills.load(Ordering::SeqCst) - before;
    let left = leftovers(&place.join("pg_wal"));
    eprintln!("{name}: {killed} kills, {stops} stops; left in pg_wal: {left:?}");
    assert!(left.len() <= killed, "{left:?}");
    (restored, stops)
}
