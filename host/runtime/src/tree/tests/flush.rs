//! When a clone reaches the disk, and what becomes of one that does not.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use super::super::flush::Flush;
use super::super::{Access, CloneOptions, CloneStats, Location, StopFlag, TreeError, TreeRoot, Trees, Usage, clone};
use super::mount::Mount;
use super::{Scene, at, control_file, names, options};

/// Everything below a directory: its path, and its length or what it is.
fn below(directory: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            let name = entry.path().strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            found.push((name, if metadata.is_file() { metadata.len() } else { 0 }));
            pending.extend(metadata.is_dir().then(|| entry.path()));
        }
    }
    found.sort();
    found
}

fn clone_flushed(trees: &Trees, to: &Location, flush: Flush<'_>) -> Result<CloneStats, TreeError> {
    let (from, to) = (trees.place(&at("data", ""), Usage::CloneFrom)?, trees.place(to, Usage::CloneTo)?);
    clone::clone_tree(&from, &to, None, &options(), Some(flush), &StopFlag::default())
}

fn target_of(scene: &Scene) -> Trees {
    let target = scene.home.path().join("target");
    fs::create_dir(&target).unwrap();
    let root = |name: &str, path, access| TreeRoot { name: name.to_owned(), path, access };
    Trees::open(vec![root("data", scene.data(""), Access::Source), root("target", target, Access::Target)]).unwrap()
}

#[test]
fn a_clone_is_flushed_when_nothing_is_missing_but_its_name() {
    let scene = Scene::new();
    let seen = Mutex::new(Vec::new());
    let look = |_: &fs::File| {
        seen.lock().unwrap().push(below(&scene.snapshot("")));
        Ok(())
    };
    clone_flushed(&scene.trees, &at("snapshots", "b"), Flush::Whole(&look)).unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), 1, "one flush is enough");
    let named = |(path, size): &(String, u64)| (path.replace(".stillframe-staging-b", "b"), *size);
    let mut unnamed: Vec<_> = seen[0].iter().map(named).collect();
    unnamed.sort();
    assert!(!seen[0].iter().any(|(path, _)| path == "b"), "it has no name yet");
    assert_eq!(unnamed, below(&scene.snapshot("")), "nothing comes after the flush");
    assert!(unnamed.iter().any(|(path, _)| path == ".stillframe-index-b"), "{unnamed:?}");
}

#[test]
fn a_clone_that_could_not_be_flushed_leaves_nothing() {
    let scene = Scene::new();
    let error = |error| move |_: &fs::File| Err(io::Error::from(error));
    let failure = clone_flushed(&scene.trees, &at("snapshots", "b"), Flush::Whole(&error(io::ErrorKind::Other))).unwrap_err();
    assert!(matches!(&failure, TreeError::Failed(text) if text.contains("flush")), "{failure}");
    // A page that was promised room may find none.
    let failure = clone_flushed(&scene.trees, &at("snapshots", "b"), Flush::Whole(&error(io::ErrorKind::StorageFull))).unwrap_err();
    assert!(matches!(&failure, TreeError::Exhausted(_)), "{failure}");
    assert!(scene.all_snapshot_names().is_empty(), "{:?}", scene.all_snapshot_names());
}

#[test]
fn a_clone_that_was_stopped_while_it_was_flushed_leaves_nothing() {
    let scene = Scene::new();
    let stop = StopFlag::default();
    let flush = |_: &fs::File| {
        stop.stop();
        Ok(())
    };
    let from = scene.trees.place(&at("data", ""), Usage::CloneFrom).unwrap();
    let to = scene.trees.place(&at("snapshots", "b"), Usage::CloneTo).unwrap();
    let outcome = clone::clone_tree(&from, &to, None, &options(), Some(Flush::Whole(&flush)), &stop);
    assert_eq!(outcome, Err(TreeError::TimedOut));
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn a_target_is_flushed_before_the_files_that_come_last_and_after() {
    let scene = Scene::new();
    let trees = target_of(&scene);
    let target = scene.home.path().join("target");
    let seen = Mutex::new(Vec::new());
    let look = |_: &fs::File| {
        seen.lock().unwrap().push(below(&target));
        Ok(())
    };
    clone_flushed(&trees, &at("target", ""), Flush::Whole(&look)).unwrap();
    let complete = below(&target);
    let mut without_control = complete.clone();
    without_control.retain(|(path, _)| path != "global/pg_control");
    assert_eq!(seen.into_inner().unwrap(), [without_control, complete]);
}

#[test]
fn a_target_that_could_not_be_flushed_is_empty_again() {
    for fails_at in 0..2 {
        let scene = Scene::new();
        let trees = target_of(&scene);
        let calls = Mutex::new(0);
        let flush = |_: &fs::File| {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            if *calls > fails_at { Err(io::Error::from(io::ErrorKind::Other)) } else { Ok(()) }
        };
        let failure = clone_flushed(&trees, &at("target", ""), Flush::Whole(&flush)).unwrap_err();
        assert!(matches!(failure, TreeError::Failed(_)), "{failure}");
        assert!(names(&scene.home.path().join("target")).is_empty(), "call {fails_at}");
    }
}

#[test]
fn a_clone_survives_a_power_failure_right_after_it_was_made() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(home.path(), &["xfs"]) else { return };
    let scene = Scene::at(tempfile::tempdir_in(mount.point()).unwrap());
    // What was not cloned must have reached the disk: the failure is to take only what came later.
    rustix::fs::syncfs(fs::File::open(mount.point()).unwrap()).unwrap();
    for (name, method) in [("copied", super::CloneMethod::Copy), ("shared", super::CloneMethod::Reflink)] {
        scene.clone_to(&format!("set/{name}"), &CloneOptions { method, ..options() }).unwrap();
    }
    fs::write(scene.snapshot("unflushed"), "gone").unwrap();
    let (snapshots, kept) = (scene.snapshot(""), scene.home.keep());
    drop(scene.trees);
    if !mount.fail_power() {
        return;
    }
    assert!(!snapshots.join("unflushed").exists(), "the failure was none");
    for name in ["copied", "shared"] {
        let clone = |path: &str| snapshots.join("set").join(name).join(path);
        assert_eq!(fs::read(clone("base/1/1259")).unwrap(), vec![7; 40_000]);
        assert_eq!(fs::read(clone("global/pg_control")).unwrap(), control_file(1));
        assert_eq!(names(&clone("")), ["PG_VERSION", "base", "global", "pg_tblspc", "pg_wal"]);
        assert!(snapshots.join(format!("set/.stillframe-index-{name}")).exists(), "without it a provider could read the clone");
    }
    fs::remove_dir_all(kept).unwrap();
}
