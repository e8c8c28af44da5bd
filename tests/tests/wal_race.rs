//! Several `wal-push` of one segment at the same moment: one content wins, and all of them report the truth.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::path::{Path, PathBuf};

use stillframe_tests::{Account, Archive, Backlog, Finished, Random, Running};

/// Races; each is about a segment of its own.
const RACES: usize = 50;
/// Processes in one race, at least and at most.
const RACERS: (usize, usize) = (2, 8);
/// Within the second page of a segment, behind everything that says whose it is.
const CHANGED_BYTE: usize = 10_000;

/// A copy of a segment in a directory of its own, where nothing else waits to be archived.
fn copy(archive: &Archive, directory: &str, segment: &str, content: &[u8]) -> PathBuf {
    let directory = archive.directory.join(directory);
    Account::unprivileged().create_directory(&directory);
    let path = directory.join(segment);
    Account::unprivileged().write(&path, content);
    path
}

/// Starts all of them, and only then waits.
fn race(archive: &Archive, paths: &[&Path]) -> Vec<Finished> {
    let running: Vec<_> = paths.iter().map(|path| archive.push(path)).collect();
    running.into_iter().map(Running::wait).collect()
}

fn archived(archive: &Archive, segment: &str) -> Vec<u8> {
    assert_eq!(archive.objects_of(segment).len(), 1, "{segment} is there once");
    archive.fetched(segment, &archive.directory.join("archived"))
}

fn racers(random: &mut Random) -> usize {
    RACERS.0 + random.below(RACERS.1 - RACERS.0 + 1)
}

#[test]
fn pushes_of_the_same_content_all_succeed_and_it_is_archived_once() {
    let mut random = Random::seeded("the same content");
    let backlog = Backlog::write(1, RACES);
    let archive = backlog.archive();
    for segment in backlog.segments() {
        let content = backlog.content(segment);
        let (one, other) = (copy(&archive, "one", segment, &content), copy(&archive, "other", segment, &content));
        let paths: Vec<&Path> = (0..racers(&mut random)).map(|racer| [one.as_path(), &other][racer % 2]).collect();
        for finished in race(&archive, &paths) {
            assert_eq!(finished.code(), Some(0), "{segment}: {finished}");
        }
        assert!(archived(&archive, segment) == content, "{segment}");
    }
    assert!(archive.leftovers().is_empty(), "nobody was killed: {:?}", archive.leftovers());
}

#[test]
fn of_pushes_of_different_content_one_content_wins_and_the_others_are_refused() {
    let mut random = Random::seeded("different content");
    let backlog = Backlog::write(1, RACES);
    let archive = backlog.archive();
    let mut wins = [0, 0];
    for segment in backlog.segments() {
        let mut contents = [backlog.content(segment), backlog.content(segment)];
        contents[1][CHANGED_BYTE] ^= 0xFF;
        let paths = [copy(&archive, "one", segment, &contents[0]), copy(&archive, "other", segment, &contents[1])];
        let first = random.below(2);
        let sides: Vec<usize> = (0..racers(&mut random)).map(|racer| (racer + first) % 2).collect();
        let entered: Vec<&Path> = sides.iter().map(|side| paths[*side].as_path()).collect();
        let finished = race(&archive, &entered);
        let content = archived(&archive, segment);
        let winner = contents.iter().position(|entered| *entered == content).expect("the archive holds one of the two, unmixed");
        wins[winner] += 1;
        for (side, finished) in sides.iter().zip(&finished) {
            let expected = if *side == winner { Some(0) } else { Some(4) };
            assert_eq!(finished.code(), expected, "{segment}, side {side}, won by {winner}: {finished}");
        }
        // Who has lost is told the same when it asks again, and nothing changes.
        let again = race(&archive, &[&paths[1 - winner]]);
        assert_eq!(again[0].code(), Some(4), "{}", again[0]);
        assert!(archived(&archive, segment) == content, "{segment}: wal_never_overwritten");
    }
    eprintln!("wins by side: {wins:?}");
    assert!(archive.leftovers().is_empty(), "nobody was killed: {:?}", archive.leftovers());
}
