//! Which files are linked from an earlier clone: only those that have provably not changed.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;

use super::super::StopFlag;
use super::super::flush::Flush;
use super::super::index::Index;
use super::{CloneMethod, CloneOptions, CloneStats, Scene, at, inode, options};

/// Files of the scene that a base may serve: all that are cloned, but for the control file.
const LINKABLE: u64 = 3;

#[test]
fn links_what_has_not_changed_to_the_base_and_never_to_the_source() {
    let scene = Scene::new();
    base(&scene);
    let stats = clone_on_base(&scene);
    assert_eq!((stats.files, stats.files_linked), (4, LINKABLE));
    assert_eq!(inode(&scene.snapshot("b/base/1/1259")), inode(&scene.snapshot("a/base/1/1259")));
    assert_ne!(inode(&scene.snapshot("b/base/1/1259")), inode(&scene.data("base/1/1259")));
    assert_ne!(inode(&scene.snapshot("b/global/pg_control")), inode(&scene.snapshot("a/global/pg_control")));
}

#[test]
fn copies_what_was_written_within_the_margin_before_the_base() {
    let scene = Scene::new();
    scene.clone_to("a", &options()).unwrap();
    assert_eq!(clone_on_base(&scene).files_linked, 0);
}

#[test]
fn copies_what_was_changed_behind_the_same_size_and_modification_time() {
    let scene = Scene::new();
    base(&scene);
    let path = scene.data("base/1/1259");
    let before = fs::metadata(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[8], 5).unwrap();
    file.set_times(FileTimes::new().set_modified(before.modified().unwrap())).unwrap();
    drop(file);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before.modified().unwrap());
    assert_eq!(clone_on_base(&scene).files_linked, LINKABLE - 1);
    assert_eq!(fs::read(scene.snapshot("b/base/1/1259")).unwrap()[5], 8);
    assert_eq!(fs::read(scene.snapshot("a/base/1/1259")).unwrap()[5], 7);
}

#[test]
fn copies_what_was_replaced_by_an_equal_file() {
    let scene = Scene::new();
    base(&scene);
    let path = scene.data("base/1/1259");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(scene.data("new"), vec![7; 40_000]).unwrap();
    File::open(scene.data("new")).unwrap().set_times(FileTimes::new().set_modified(before)).unwrap();
    fs::rename(scene.data("new"), &path).unwrap();
    assert_eq!(clone_on_base(&scene).files_linked, LINKABLE - 1);
}

#[test]
fn copies_what_somebody_changed_in_the_base() {
    let scene = Scene::new();
    base(&scene);
    fs::write(scene.snapshot("a/base/1/1259"), vec![6; 40_000]).unwrap();
    assert_eq!(clone_on_base(&scene).files_linked, LINKABLE - 1);
    assert_eq!(fs::read(scene.snapshot("b/base/1/1259")).unwrap()[0], 7);
}

#[test]
fn a_chain_of_bases_links_through() {
    let scene = Scene::new();
    base(&scene);
    clone_on_base(&scene);
    age(&scene, "b");
    let stats = clone_on(&scene, "b", "c");
    assert_eq!(stats.files_linked, LINKABLE);
    assert_eq!(inode(&scene.snapshot("c/PG_VERSION")), inode(&scene.snapshot("a/PG_VERSION")));
}

#[test]
fn links_nothing_from_a_base_that_is_not_isolated() {
    let scene = Scene::new();
    scene.clone_to("a", &CloneOptions { method: CloneMethod::Shared, ..options() }).unwrap();
    // Sharing has changed the link count and with it the ctime of every file, so age the fingerprints as well.
    let fresh = scene.clone_to("fresh", &options()).map(|_| read_index(&scene, "fresh")).unwrap();
    let shared = read_index(&scene, "a");
    let isolated = shared.isolated;
    Index { begin_nanos: fresh.begin_nanos + 10_000_000_000, files: fresh.files, ..shared }
        .write(&snapshots(&scene), OsStr::new("a"), Flush::Each)
        .unwrap();
    assert!(!isolated);
    assert_eq!(clone_on_base(&scene).files_linked, 0);
}

#[test]
fn links_nothing_without_the_bases_own_index() {
    let scene = Scene::new();
    base(&scene);
    fs::rename(scene.snapshot(".stillframe-index-a"), scene.snapshot("saved")).unwrap();
    assert_eq!(clone_on(&scene, "a", "b").files_linked, 0);
    // The same index beside another tree is not that tree's.
    fs::rename(scene.snapshot("saved"), scene.snapshot(".stillframe-index-b")).unwrap();
    assert_eq!(clone_on(&scene, "b", "c").files_linked, 0);
}

#[test]
fn links_nothing_from_a_base_of_before_a_reboot() {
    let scene = Scene::new();
    base(&scene);
    let index = read_index(&scene, "a");
    Index { boot: "another".to_owned(), ..index }.write(&snapshots(&scene), OsStr::new("a"), Flush::Each).unwrap();
    assert_eq!(clone_on_base(&scene).files_linked, 0);
}

#[test]
fn an_absent_base_means_that_everything_is_copied() {
    let scene = Scene::new();
    assert_eq!(clone_on(&scene, "gone", "b").files_linked, 0);
    assert_eq!(fs::read(scene.snapshot("b/base/1/1259")).unwrap().len(), 40_000);
}

#[test]
fn removing_the_base_leaves_the_later_clone_whole() {
    let scene = Scene::new();
    base(&scene);
    clone_on_base(&scene);
    scene.trees.remove_tree(&at("snapshots", "a"), &StopFlag::default()).unwrap();
    assert_eq!(fs::read(scene.snapshot("b/base/1/1259")).unwrap(), vec![7; 40_000]);
}

/// A base whose files were all old when it was begun.
fn base(scene: &Scene) {
    scene.clone_to("a", &options()).unwrap();
    age(scene, "a");
}

/// Moves the begin of a clone ahead, which stands for files that were written long before: no call can set a file's ctime.
fn age(scene: &Scene, name: &str) {
    let index = read_index(scene, name);
    Index { begin_nanos: index.begin_nanos + 10_000_000_000, ..index }
        .write(&snapshots(scene), OsStr::new(name), Flush::Each)
        .unwrap();
}

fn read_index(scene: &Scene, name: &str) -> Index {
    Index::read(&snapshots(scene), OsStr::new(name)).unwrap()
}

fn snapshots(scene: &Scene) -> File {
    File::open(scene.snapshot("")).unwrap()
}

fn clone_on_base(scene: &Scene) -> CloneStats {
    clone_on(scene, "a", "b")
}

fn clone_on(scene: &Scene, base: &str, name: &str) -> CloneStats {
    scene.clone_to(name, &CloneOptions { base: Some(at("snapshots", base)), ..options() }).unwrap()
}
