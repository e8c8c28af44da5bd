//! Removing trees, and what dead processes left.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use super::super::{StopFlag, TreeError};
use super::{Scene, at, options};

#[test]
fn removes_a_tree_with_its_index_and_a_second_time_as_well() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    for _ in 0..2 {
        scene.trees.remove_tree(&at("snapshots", "b"), &StopFlag::default()).unwrap();
        assert!(scene.all_snapshot_names().is_empty());
    }
    scene.trees.remove_tree(&at("snapshots", "never/was"), &StopFlag::default()).unwrap();
}

#[test]
fn removes_a_file_and_a_link_but_not_what_the_link_points_to() {
    let scene = Scene::new();
    fs::write(scene.snapshot("file"), "x").unwrap();
    symlink(scene.data("base"), scene.snapshot("link")).unwrap();
    fs::create_dir(scene.snapshot("tree")).unwrap();
    symlink(scene.data("base"), scene.snapshot("tree/link")).unwrap();
    for name in ["file", "link", "tree"] {
        scene.trees.remove_tree(&at("snapshots", name), &StopFlag::default()).unwrap();
    }
    assert!(scene.all_snapshot_names().is_empty());
    assert!(scene.data("base/1/1259").exists());
}

#[test]
fn a_file_that_is_removed_goes_in_one_step_and_leaves_nothing_to_free() {
    let scene = Scene::new();
    let stop = StopFlag::default();
    fs::write(scene.snapshot("record.json"), "x").unwrap();
    // Stopped at once, as by a kill: a tree would lie in the trash now.
    stop.stop();
    scene.trees.remove_tree(&at("snapshots", "record.json"), &stop).unwrap();
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn never_removes_a_root() {
    let scene = Scene::new();
    let error = scene.trees.remove_tree(&at("snapshots", ""), &StopFlag::default()).unwrap_err();
    assert!(matches!(error, TreeError::Denied(_)), "{error}");
}

#[test]
fn a_stopped_removal_has_taken_the_name_away_and_the_next_one_finishes_it() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    let stop = StopFlag::default();
    stop.stop();
    assert_eq!(scene.trees.remove_tree(&at("snapshots", "b"), &stop), Err(TreeError::TimedOut));
    assert!(!scene.snapshot("b").exists());
    assert_eq!(scene.all_snapshot_names(), [".stillframe-trash-b"]);
    scene.trees.remove_tree(&at("snapshots", "other"), &StopFlag::default()).unwrap();
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn removes_what_a_dead_clone_left_and_refuses_while_one_lives() {
    let scene = Scene::new();
    let staging = scene.snapshot(".stillframe-staging-b");
    fs::create_dir_all(staging.join("half")).unwrap();
    let living = File::open(&staging).unwrap();
    living.lock().unwrap();
    assert!(matches!(scene.trees.remove_tree(&at("snapshots", "b"), &StopFlag::default()), Err(TreeError::Failed(_))));
    assert!(staging.join("half").exists());
    drop(living);
    scene.trees.remove_tree(&at("snapshots", "b"), &StopFlag::default()).unwrap();
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn a_write_removes_what_dead_writers_left_beside_it_and_spares_the_living() {
    let scene = Scene::new();
    scene.trees.write_file(&at("snapshots", "records/a.json"), "{}").unwrap();
    let records = scene.snapshot("records");
    for name in [".stillframe-write-1-0", ".stillframe-write-1-1", ".stillframe-other"] {
        fs::write(records.join(name), "half").unwrap();
    }
    let living = File::open(records.join(".stillframe-write-1-1")).unwrap();
    living.lock().unwrap();
    let left = || -> Vec<bool> {
        let names = [".stillframe-write-1-0", ".stillframe-write-1-1", ".stillframe-other", "a.json"];
        names.iter().map(|name| records.join(name).exists()).collect()
    };
    scene.trees.write_file(&at("snapshots", "records/b.json"), "{}").unwrap();
    assert_eq!(left(), [false, true, true, true]);
    drop(living);
    scene.trees.write_file(&at("snapshots", "records/b.json"), "{}").unwrap();
    assert_eq!(left(), [false, false, true, true]);
}
