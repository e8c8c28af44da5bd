//! `kill -9` of `wal-push` and `wal-fetch` at any moment: nothing acknowledged is lost, and nothing partial is ever seen.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use stillframe_tests::{
    Account, Archive, Attempt, Backlog, ClusterBuilder, Found, Horizon, Random, Running, Session, Site, StopMode, kill_after,
    leftovers, tested_major,
};

/// Processes at a time: twice the cores of a small machine, so that they get into each other's way.
const LANES: usize = 4;
/// Files that one process has under way: four workers by default, and the one that was named.
const FILES_AT_ONCE: usize = 5;
/// Segments that may lie between two calls, ahead of a server: more than the default, and far fewer than there are kills.
const KEPT_SEGMENTS: u64 = 32;
/// Kills of the archiver's processes; the server starts again after most of them.
const ARCHIVER_KILLS: usize = 20;
/// Rows that one transaction writes: half of a segment.
const ROWS: usize = 5000;
/// Pause between two transactions: more WAL than is archived in the meantime, and no flood of it.
const PACE: Duration = Duration::from_millis(5);
/// Processes that are killed to see what they leave.
const ATTEMPTS: usize = 12;
/// Longest wait for one process of the server.
const PATIENCE: Duration = Duration::from_mins(1);

fn push(archive: &Archive, backlog: &Backlog, segment: &str) -> Running {
    archive.push(&backlog.path(segment))
}

/// Runs the work in all lanes at once.
fn in_lanes(work: impl Fn(usize) + Sync) {
    let work = &work;
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || work(lane));
        }
    });
}

/// The same, each with chances of its own.
fn in_lanes_at_random(random: &mut Random, work: impl Fn(usize, Random) + Sync) {
    let chances = [(); LANES].map(|()| random.fork());
    in_lanes(|lane| work(lane, chances[lane].clone()));
}

/// Does this with all segments, divided between the lanes.
fn for_each(segments: &[String], work: impl Fn(&str, usize) + Sync) {
    in_lanes(|lane| segments.iter().skip(lane).step_by(LANES).for_each(|segment| work(segment, lane)));
}

/// The longest that one of these takes while all lanes are busy.
fn longest(run: impl Fn(usize) -> Running + Sync) -> Duration {
    let longest = Mutex::new(Duration::ZERO);
    in_lanes(|lane| {
        let started = Instant::now();
        let finished = run(lane).wait();
        assert!(finished.is_success(), "{finished}");
        let mut longest = longest.lock().unwrap();
        *longest = started.elapsed().max(*longest);
    });
    longest.into_inner().unwrap()
}

/// Pushes in all lanes and kills; ends when all is acknowledged or enough are killed. Gives the number of kills.
fn push_under_fire(random: &mut Random, backlog: &Backlog, archive: &Archive, horizon: &Horizon, wanted: usize) -> usize {
    let open: Mutex<BTreeSet<&String>> = Mutex::new(backlog.segments().iter().collect());
    let kills = AtomicUsize::new(0);
    in_lanes_at_random(random, |lane, mut random| {
        let target = archive.directory.join(format!("look-{lane}"));
        while kills.load(Ordering::SeqCst) < wanted {
            let segment = {
                let open = open.lock().unwrap();
                if open.is_empty() {
                    return;
                }
                open.iter().nth(random.below(open.len())).copied().unwrap()
            };
            match horizon.kill(push(archive, backlog, segment), &mut random) {
                Attempt::Hit(_) => {
                    kills.fetch_add(1, Ordering::SeqCst);
                    if archive.holds(segment) {
                        assert_comes_back(archive, backlog, segment, &target);
                    }
                }
                Attempt::TooEarly => {}
                Attempt::Ended(finished) => {
                    assert_eq!(finished.code(), Some(0), "{segment}: {finished}");
                    assert!(archive.holds(segment), "{segment} is acknowledged and not there");
                    open.lock().unwrap().remove(segment);
                }
            }
        }
    });
    kills.into_inner()
}

/// What is visible under a key is whole, whoever was killed while writing it.
#[track_caller]
fn assert_comes_back(archive: &Archive, backlog: &Backlog, segment: &str, target: &Path) {
    assert!(archive.fetched(segment, target) == backlog.content(segment), "{segment} is visible and whole");
}

/// Fetches in all lanes and kills, each lane into a directory of its own as a server does. Gives the number of kills.
fn fetch_under_fire(random: &mut Random, backlog: &Backlog, archive: &Archive, longest: Duration, wanted: usize) -> usize {
    let horizon = Horizon::new(longest);
    let kills = AtomicUsize::new(0);
    in_lanes_at_random(random, |lane, mut random| {
        let target = lane_target(archive, lane);
        while kills.load(Ordering::SeqCst) < wanted {
            let segment = &backlog.segments()[random.below(backlog.segments().len())];
            let attempt = horizon.kill(archive.fetch(segment, &target), &mut random);
            match &attempt {
                Attempt::Hit(_) => drop(kills.fetch_add(1, Ordering::SeqCst)),
                Attempt::TooEarly => {}
                Attempt::Ended(finished) => {
                    assert_eq!(finished.code(), Some(0), "{segment}: {finished}");
                    assert!(target.exists(), "{segment}: success without a file");
                }
            }
            if target.exists() {
                assert!(fs::read(&target).unwrap() == backlog.content(segment), "{segment} is there in part, or is another one");
                fs::remove_file(&target).unwrap();
            }
        }
        // The retry that the server makes.
        assert_comes_back(archive, backlog, &backlog.segments()[lane], &target);
    });
    kills.into_inner()
}

fn lane_target(archive: &Archive, lane: usize) -> PathBuf {
    let directory = archive.directory.join(format!("pg_wal-{lane}"));
    Account::unprivileged().create_directory(&directory);
    directory.join("RECOVERYXLOG")
}

/// Kills as many of each as wanted, each round with a new archive, and looks at every segment after every round.
fn kill(random: &mut Random, backlog: &Backlog, wanted: usize) {
    let calm = backlog.archive();
    let segments = backlog.segments();
    let push_time = longest(|lane| push(&calm, backlog, &segments[lane]));
    let fetch_time = longest(|lane| calm.fetch(&segments[lane], &lane_target(&calm, lane)));
    let horizon = Horizon::new(push_time);
    let (mut pushes_killed, mut rounds, mut left_behind) = (0, 0, 0);
    let mut archive = calm;
    while pushes_killed < wanted {
        archive = backlog.archive();
        let killed = push_under_fire(random, backlog, &archive, &horizon, wanted - pushes_killed);
        for_each(segments, |segment, _| {
            let again = push(&archive, backlog, segment).wait();
            assert_eq!(again.code(), Some(0), "the retry of {segment}: {again}");
        });
        for_each(segments, |segment, lane| {
            assert_eq!(archive.objects_of(segment).len(), 1, "{segment} is there once");
            assert_comes_back(&archive, backlog, segment, &archive.directory.join(format!("look-{lane}")));
        });
        let leftovers = archive.leftovers();
        assert!(leftovers.len() <= killed * FILES_AT_ONCE, "{killed} were killed and left {leftovers:?}");
        (pushes_killed, rounds, left_behind) = (pushes_killed + killed, rounds + 1, left_behind + leftovers.len());
    }
    let fetches_killed = fetch_under_fire(random, backlog, &archive, fetch_time, wanted);
    let segment_bytes = u64::try_from(backlog.content(&segments[0]).len()).unwrap();
    let kept_bytes: u64 = archive.cached().iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
    assert!(kept_bytes <= segment_bytes * KEPT_SEGMENTS, "the spool grows with what is killed: {:?}", archive.cached());
    let in_wal: Vec<_> = (0..LANES).flat_map(|lane| leftovers(lane_target(&archive, lane).parent().unwrap())).collect();
    assert!(in_wal.len() <= fetches_killed, "{fetches_killed} were killed and left {in_wal:?}");
    eprintln!(
        "killed {pushes_killed} wal-push within {push_time:?} in {rounds} rounds: {left_behind} files left in the stores; \
         {fetches_killed} wal-fetch within {fetch_time:?}: {} left in pg_wal; {} cached",
        in_wal.len(),
        archive.cached().len()
    );
    assert!(pushes_killed >= wanted && fetches_killed >= wanted, "{pushes_killed} and {fetches_killed} of {wanted}");
}

#[test]
fn after_500_kills_every_segment_is_archived_once_and_comes_back_byte_for_byte() {
    let mut random = Random::seeded("500 kills");
    // Each by itself, for many kills in its own write; and beside others that are taken along.
    kill(&mut random, &Backlog::write(2, 12).without_marks(), 220);
    kill(&mut random, &Backlog::write(16, 4), 30);
}

/// Kills processes all over their run time; enough of them die in the middle of a write.
fn kill_some(random: &mut Random, longest: Duration, run: impl Fn(usize) -> Running) {
    for attempt in 0..ATTEMPTS {
        kill_after(run(attempt), random.within(longest));
    }
}

#[test]
fn killed_pushes_leave_nothing_in_the_store() {
    let mut random = Random::seeded("pushes that leave nothing");
    let backlog = Backlog::write_incompressible(16, ATTEMPTS).without_marks();
    let calm = backlog.archive();
    let push_time = longest(|lane| push(&calm, &backlog, &backlog.segments()[lane]));
    let archive = backlog.archive();
    kill_some(&mut random, push_time, |attempt| push(&archive, &backlog, &backlog.segments()[attempt]));
    assert!(archive.leftovers().is_empty(), "left for ever: {:?}", archive.leftovers());
}

#[test]
fn killed_fetches_leave_nothing_in_pg_wal() {
    let mut random = Random::seeded("fetches that leave nothing");
    let backlog = Backlog::write_incompressible(16, LANES);
    let archive = backlog.archive();
    longest(|lane| push(&archive, &backlog, &backlog.segments()[lane]));
    let (target, segment) = (lane_target(&archive, 0), &backlog.segments()[0]);
    let fetch_time = longest(|lane| archive.fetch(&backlog.segments()[lane], &lane_target(&archive, lane)));
    kill_some(&mut random, fetch_time, |_| archive.fetch(segment, &target));
    let left = leftovers(target.parent().unwrap());
    assert!(left.is_empty(), "left in pg_wal, and in every backup, for ever: {left:?}");
}

/// Writes rows through the server's restarts; gives the number of batches that it acknowledged.
fn write_until(end: &AtomicBool, conninfo: &str) -> usize {
    let (mut acknowledged, mut session) = (0, None);
    while !end.load(Ordering::SeqCst) {
        let Some(open) = session.take().or_else(|| Session::open(conninfo).ok()) else {
            thread::yield_now();
            continue;
        };
        let batch = format!("INSERT INTO t SELECT g, md5(g::text || random()::text) FROM generate_series(1, {ROWS}) g");
        if open.try_sql(&batch).is_ok() {
            acknowledged += 1;
            session = Some(open);
            thread::sleep(PACE);
        }
    }
    acknowledged
}

/// Kills one process that the archiver has started, at a moment of its run; spares most of them when there are many.
fn kill_a_push_of(server: u32, random: &mut Random, one_in: usize) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(found) = Found::below(server) {
            thread::sleep(random.within(Duration::from_millis(10)));
            if random.below(one_in) == 0 && found.kill9() {
                return;
            }
        }
        thread::yield_now();
    }
    panic!("the archiver started nothing");
}

#[test]
fn a_server_whose_pushes_are_killed_archives_everything_and_recovers_with_every_row() {
    let mut random = Random::seeded("the archiver's pushes");
    let mut site = Site::builder(tested_major()).cluster(ClusterBuilder::small_segments).start();
    site.cluster.sql("CREATE TABLE t (i int, word text)");
    let backup = site.backup(&[]);
    let (end, conninfo) = (AtomicBool::new(false), site.cluster.conninfo());
    let acknowledged = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&end, &conninfo));
        for kill in 0..ARCHIVER_KILLS {
            kill_a_push_of(site.cluster.pid(), &mut random, 10);
            // An archiver whose command dies of a signal ends as well, and comes back after ten seconds, or with a new server.
            match kill % 3 {
                0 => site.cluster.kill9(),
                1 => site.cluster.stop(StopMode::Immediate),
                _ => site.cluster.stop(StopMode::Fast),
            }
            site.cluster.start();
        }
        end.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    // The last time it comes back by itself.
    site.cluster.sql("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 20000) g; SELECT pg_switch_wal()");
    kill_a_push_of(site.cluster.pid(), &mut random, 1);
    let last = site.cluster.switch_wal();
    let archived = format!("SELECT coalesce(last_archived_wal >= '{last}', false) FROM pg_stat_archiver");
    let deadline = Instant::now() + PATIENCE;
    // A new session each time: an idle postmaster looks only once a minute whether its archiver may start again.
    while site.cluster.value(&archived) != "t" {
        assert!(Instant::now() < deadline, "{last} is not archived:\n{}", site.cluster.log());
        thread::sleep(Duration::from_millis(50));
    }

    let digest = "SELECT count(*) || ' ' || sum(hashtext(word)::bigint * i) FROM t";
    let expected = site.cluster.value(digest);
    let rows: usize = expected.split_once(' ').unwrap().0.parse().unwrap();
    assert!(rows >= acknowledged * ROWS + 20_000, "{acknowledged} batches were acknowledged, and there are {rows} rows");
    let restored = site.restore("restored", &[&backup, "--archiving", "off"]);
    assert_eq!(restored.value(digest), expected);
    let left = leftovers(&site.place("store"));
    eprintln!(
        "{rows} rows in {} segments; {} kills left {} files in the store",
        site.archived().len(),
        ARCHIVER_KILLS + 1,
        left.len()
    );
    assert!(left.len() <= (ARCHIVER_KILLS + 1) * FILES_AT_ONCE, "{left:?}");
}
