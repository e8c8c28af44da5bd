//! Stores and destinations that are full, read-only or replaced: an error that says so, nothing partial, and a retry that succeeds.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use stillframe_tests::{
    Account, Archive, Backlog, FETCH_ERRORS, Finished, PUSH_ERRORS, ScratchDirectory, SmallDisk, leftovers, with_own_mounts,
};

/// Segments of 1 MiB, or of what the version has, that hardly compress.
const SEGMENTS: usize = 10;
/// As much as this many of these fits a few of them, and not all.
const TIGHT: u64 = 4;
/// Fits everything.
const WIDE: u64 = 64;

fn push(archive: &Archive, backlog: &Backlog, segment: &str) -> Finished {
    archive.push(&backlog.path(segment)).wait()
}

fn fetch(archive: &Archive, segment: &str, target: &Path) -> Finished {
    archive.fetch(segment, target).wait()
}

#[track_caller]
fn assert_is_error(finished: &Finished, codes: &RangeInclusive<i32>, what: &str) {
    assert!(finished.code().is_some_and(|code| codes.contains(&code)), "{what}: {finished}");
    assert!(finished.stderr.contains("error:"), "{what}: it says why: {finished}");
}

#[track_caller]
fn assert_all_can_be_pushed(archive: &Archive, backlog: &Backlog) {
    for segment in backlog.segments() {
        let finished = push(archive, backlog, segment);
        assert_eq!(finished.code(), Some(0), "the retry of {segment}: {finished}");
    }
    archive.assert_holds_each_once(backlog, backlog.segments());
}

/// PostgreSQL asks again for what is archived when it crashed before it knew; and a recovery needs no more than reading.
#[track_caller]
fn assert_still_holds_the_first(archive: &Archive, backlog: &Backlog) {
    let first = &backlog.segments()[..1];
    let again = push(archive, backlog, &first[0]);
    assert!(again.code().is_some_and(|code| code == 0 || PUSH_ERRORS.contains(&code)), "{again}");
    archive.assert_holds_each_once(backlog, first);
}

fn fill(disk: &SmallDisk, filler: &Path) {
    fs::write(filler, vec![1; usize::try_from(disk.free_bytes()).unwrap()]).unwrap();
}

/// Pushes all, in order; gives the names of those that were acknowledged, and every failure.
fn push_all(archive: &Archive, backlog: &Backlog) -> (Vec<String>, Vec<(String, Finished)>) {
    let (mut acknowledged, mut failed) = (Vec::new(), Vec::new());
    for segment in backlog.segments() {
        let finished = push(archive, backlog, segment);
        if finished.is_success() {
            acknowledged.push(segment.clone());
        } else {
            failed.push((segment.clone(), finished));
        }
    }
    (acknowledged, failed)
}

#[test]
fn a_full_store_acknowledges_nothing_that_it_does_not_hold_and_takes_it_when_there_is_room() {
    with_own_mounts("a_full_store_acknowledges_nothing_that_it_does_not_hold_and_takes_it_when_there_is_room", || {
        let backlog = Backlog::write_incompressible(1, SEGMENTS);
        let (disk, archive) = backlog.archive_on_a_small_disk(backlog.kib_of(TIGHT));
        let (acknowledged, failed) = push_all(&archive, &backlog);
        assert!(!acknowledged.is_empty() && !failed.is_empty(), "{} of {SEGMENTS} fit", acknowledged.len());
        for (segment, finished) in &failed {
            assert_is_error(finished, &PUSH_ERRORS, segment);
            assert!(finished.stderr.contains("No space left on device"), "{finished}");
        }
        // What was acknowledged can be restored from the store that is full.
        archive.assert_holds_each_once(&backlog, &acknowledged);
        let target = archive.directory.join("target");
        for (segment, _) in failed.iter().filter(|(segment, _)| !archive.holds(segment)) {
            assert_eq!(fetch(&archive, segment, &target).code(), Some(1), "{segment} is certainly not there");
        }
        assert!(archive.leftovers().is_empty(), "what fails must not fill the disk up: {:?}", archive.leftovers());
        disk.resize(backlog.kib_of(WIDE));
        assert_all_can_be_pushed(&archive, &backlog);
    });
}

#[test]
fn a_store_that_is_full_to_the_last_byte_recovers_as_well() {
    with_own_mounts("a_store_that_is_full_to_the_last_byte_recovers_as_well", || {
        let backlog = Backlog::write(1, SEGMENTS).without_marks();
        let (disk, archive) = backlog.archive_on_a_small_disk(backlog.kib_of(TIGHT));
        let (first, others) = backlog.segments().split_first().unwrap();
        assert_eq!(push(&archive, &backlog, first).code(), Some(0));
        let filler = disk.path().join("filler");
        fill(&disk, &filler);
        for segment in others {
            assert_is_error(&push(&archive, &backlog, segment), &PUSH_ERRORS, segment);
            assert!(!archive.holds(segment), "{segment}");
        }
        assert_still_holds_the_first(&archive, &backlog);
        assert!(archive.leftovers().is_empty(), "{:?}", archive.leftovers());
        fs::remove_file(filler).unwrap();
        disk.resize(backlog.kib_of(WIDE));
        assert_all_can_be_pushed(&archive, &backlog);
    });
}

#[test]
fn a_full_destination_gets_no_partial_segment_and_does_not_end_the_recovery() {
    with_own_mounts("a_full_destination_gets_no_partial_segment_and_does_not_end_the_recovery", || {
        let backlog = Backlog::write(1, SEGMENTS);
        let archive = backlog.archive();
        assert_all_can_be_pushed(&archive, &backlog);
        let scratch = ScratchDirectory::create();
        // Half a segment has room; then nothing at all.
        let disk = SmallDisk::mount(&scratch.join("pg_wal"), backlog.kib_of(1) / 2);
        let target = disk.path().join("RECOVERYXLOG");
        for filler in [None, Some(disk.path().join("filler"))] {
            if let Some(filler) = &filler {
                fill(&disk, filler);
            }
            for segment in backlog.segments() {
                assert_is_error(&fetch(&archive, segment, &target), &FETCH_ERRORS, segment);
                assert!(!target.exists(), "{segment}: no partial file");
                assert!(leftovers(disk.path()).is_empty(), "{segment}: {:?}", leftovers(disk.path()));
            }
        }
        fs::remove_file(disk.path().join("filler")).unwrap();
        disk.resize(backlog.kib_of(WIDE));
        for segment in backlog.segments() {
            assert!(archive.fetched(segment, &target) == backlog.content(segment), "{segment}");
        }
    });
}

#[test]
fn a_read_only_store_takes_nothing_and_still_gives_everything() {
    with_own_mounts("a_read_only_store_takes_nothing_and_still_gives_everything", || {
        let backlog = Backlog::write(1, SEGMENTS).without_marks();
        let (disk, archive) = backlog.archive_on_a_small_disk(backlog.kib_of(WIDE));
        let (first, others) = backlog.segments().split_first().unwrap();
        assert_eq!(push(&archive, &backlog, first).code(), Some(0));
        disk.make_read_only();
        for segment in others {
            assert_is_error(&push(&archive, &backlog, segment), &PUSH_ERRORS, segment);
        }
        assert_still_holds_the_first(&archive, &backlog);
        for segment in others {
            let absent = fetch(&archive, segment, &archive.directory.join("target"));
            assert_eq!(absent.code(), Some(1), "a read-only store proves an absence as well: {absent}");
        }
        disk.make_writable();
        assert_all_can_be_pushed(&archive, &backlog);
    });
}

/// What lies where the store was, while pushes and fetches are under way.
#[derive(Debug, Clone, Copy)]
enum Replacement {
    Nothing,
    EmptyDirectory,
    OtherStore,
}

fn replace(archive: &Archive, away: &Path, with: Replacement) {
    fs::rename(&archive.store, away).unwrap();
    match with {
        Replacement::Nothing => {}
        Replacement::EmptyDirectory => Account::unprivileged().create_directory(&archive.store),
        Replacement::OtherStore => drop(archive.stillframe.succeed(["store", "create"])),
    }
}

#[test]
fn a_store_that_is_replaced_in_the_middle_loses_nothing_that_was_acknowledged() {
    // With marks, a push may have archived others before they are named, and remember it.
    let (marked, unmarked) = (Backlog::write(1, 16), Backlog::write(1, 16).without_marks());
    for with in [Replacement::Nothing, Replacement::EmptyDirectory, Replacement::OtherStore] {
        for backlog in [&marked, &unmarked] {
            let acknowledged = replace_in_the_middle(backlog, with);
            if std::ptr::eq(backlog, &raw const unmarked) && !matches!(with, Replacement::OtherStore) {
                assert!(acknowledged < backlog.segments().len(), "{with:?}: where should all of it be?");
            }
        }
    }
}

/// Pushes all in three lanes while the store is replaced; gives the number of acknowledged segments.
fn replace_in_the_middle(backlog: &Backlog, with: Replacement) -> usize {
    let archive = backlog.archive();
    let (away, other) = (archive.directory.join("away"), archive.directory.join("other"));
    let next = AtomicUsize::new(0);
    let outcomes: Vec<(String, Finished)> = thread::scope(|scope| {
        let lane = || {
            let mut outcomes = Vec::new();
            while let Some(segment) = backlog.segments().get(next.fetch_add(1, Ordering::SeqCst)) {
                outcomes.push((segment.clone(), push(&archive, backlog, segment)));
            }
            outcomes
        };
        let lanes = [scope.spawn(lane), scope.spawn(lane), scope.spawn(lane)];
        // In the middle by count, with three pushes under way.
        while next.load(Ordering::SeqCst) < 6 {
            thread::yield_now();
        }
        replace(&archive, &away, with);
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    let (acknowledged, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, finished)| finished.is_success());
    for (segment, finished) in &failed {
        assert_is_error(finished, &PUSH_ERRORS, &format!("{with:?}: {segment}"));
    }
    let target = archive.directory.join("target");
    if matches!(with, Replacement::OtherStore) {
        let absent = fetch(&archive, "0000000100000000000000FF", &target);
        assert_eq!(absent.code(), Some(1), "another store is a store: {absent}");
    } else {
        for segment in backlog.segments() {
            assert_is_error(&fetch(&archive, segment, &target), &FETCH_ERRORS, &format!("{with:?}: {segment}"));
            assert!(!target.exists(), "{with:?}: {segment}");
        }
    }
    // Each acknowledged segment is in one of the two, whole.
    let names: Vec<String> = acknowledged.into_iter().map(|(segment, _)| segment).collect();
    let (in_other, in_first): (Vec<String>, Vec<String>) = names.into_iter().partition(|segment| archive.holds(segment));
    archive.assert_holds_each_once(backlog, &in_other);
    if archive.store.exists() {
        fs::rename(&archive.store, &other).unwrap();
    }
    fs::rename(&away, &archive.store).unwrap();
    archive.assert_holds_each_once(backlog, &in_first);
    assert_all_can_be_pushed(&archive, backlog);
    in_first.len() + in_other.len()
}
