//! What a clone holds, and that nothing is left of one that failed.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::{Duration, UNIX_EPOCH};

use super::super::{Access, StopFlag, TreeError, TreeRoot, Trees};
use super::{CloneMethod, CloneOptions, Scene, at, control_file, names, options};

#[test]
fn a_clone_holds_contents_modes_times_and_links_as_they_were() {
    let scene = Scene::new();
    let _socket = UnixListener::bind(scene.data("socket")).unwrap();
    let moment = UNIX_EPOCH + Duration::new(1_000_000_000, 123_000_000);
    for path in ["base/1/1259", "base/1", "global/pg_control"] {
        File::open(scene.data(path)).unwrap().set_times(FileTimes::new().set_modified(moment)).unwrap();
    }
    fs::set_permissions(scene.data("base/1/1259"), Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(scene.data("base"), Permissions::from_mode(0o750)).unwrap();
    let stats = scene.clone_to("b/data", &options()).unwrap();
    let clone = |path: &str| scene.snapshot("b/data").join(path);
    assert_eq!((stats.files, stats.directories), (4, 6));
    assert_eq!(stats.bytes_total, 3 + 40_000 + 8192);
    assert_eq!(fs::read(clone("base/1/1259")).unwrap(), vec![7; 40_000]);
    assert_eq!(fs::read(clone("global/pg_control")).unwrap(), control_file(1));
    assert_eq!(fs::read_link(clone("pg_tblspc/16384")).unwrap().to_str(), Some("/elsewhere/ts"));
    assert_eq!(names(&clone("")), ["PG_VERSION", "base", "global", "pg_tblspc", "pg_wal"]);
    for path in ["base/1/1259", "base/1", "base", "global/pg_control", "PG_VERSION", ""] {
        let (from, to) = (fs::metadata(scene.data(path)).unwrap(), fs::metadata(clone(path)).unwrap());
        assert_eq!(
            (from.mode(), from.uid(), from.mtime(), from.mtime_nsec()),
            (to.mode(), to.uid(), to.mtime(), to.mtime_nsec()),
            "{path}"
        );
    }
}

#[test]
fn a_pattern_that_empties_a_directory_keeps_it() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    assert!(names(&scene.snapshot("b/pg_wal")).is_empty());
    assert_eq!(names(&scene.snapshot("b/base")), ["1"]);
}

#[test]
fn a_later_write_to_the_source_reaches_no_isolated_clone() {
    for (method, isolated) in [(CloneMethod::Auto, true), (CloneMethod::Copy, true), (CloneMethod::Shared, false)] {
        let scene = Scene::new();
        let stats = scene.clone_to("b", &CloneOptions { method, ..options() }).unwrap();
        let written = fs::OpenOptions::new().write(true).open(scene.data("base/1/1259")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&written, &[9; 10], 100).unwrap();
        let unchanged = fs::read(scene.snapshot("b/base/1/1259")).unwrap() == vec![7; 40_000];
        assert_eq!(unchanged, isolated, "{method:?}");
        assert_eq!(stats.files_linked > 0, !isolated, "{method:?}");
    }
}

#[test]
fn the_control_file_is_copied_even_when_everything_else_is_shared() {
    let scene = Scene::new();
    scene.clone_to("b", &CloneOptions { method: CloneMethod::Shared, ..options() }).unwrap();
    assert_ne!(super::inode(&scene.data("global/pg_control")), super::inode(&scene.snapshot("b/global/pg_control")));
}

#[test]
fn a_torn_control_file_fails_the_clone_and_nothing_is_left() {
    let scene = Scene::new();
    let mut torn = control_file(1);
    torn[40] ^= 0xFF;
    fs::write(scene.data("global/pg_control"), torn).unwrap();
    let error = scene.clone_to("b", &options()).unwrap_err();
    assert!(matches!(&error, TreeError::Failed(text) if text.contains("checksum")), "{error}");
    assert!(scene.all_snapshot_names().is_empty(), "{:?}", scene.all_snapshot_names());
}

#[test]
fn a_missing_control_file_fails_the_clone_and_nothing_is_left() {
    let scene = Scene::new();
    fs::remove_file(scene.data("global/pg_control")).unwrap();
    let error = scene.clone_to("b", &options()).unwrap_err();
    assert!(matches!(&error, TreeError::NotFound(text) if text.contains("global/pg_control")), "{error}");
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn a_stopped_clone_leaves_nothing() {
    let scene = Scene::new();
    let stop = StopFlag::default();
    stop.clone().stop();
    let error = scene.trees.clone_tree(&at("data", ""), &at("snapshots", "b"), &options(), &stop).unwrap_err();
    assert_eq!(error, TreeError::TimedOut);
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn an_existing_destination_is_never_touched() {
    let scene = Scene::new();
    fs::create_dir(scene.snapshot("b")).unwrap();
    assert!(matches!(scene.clone_to("b", &options()), Err(TreeError::AlreadyExists(_))));
    assert!(names(&scene.snapshot("b")).is_empty());
}

#[test]
fn fills_an_empty_root_in_place() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    let target = scene.home.path().join("target");
    fs::create_dir(&target).unwrap();
    let trees = with_target(&scene);
    let fill = || trees.clone_tree(&at("snapshots", "b"), &at("target", ""), &options(), &StopFlag::default());
    fill().unwrap();
    assert_eq!(names(&target), ["PG_VERSION", "base", "global", "pg_tblspc", "pg_wal"]);
    assert_eq!(fs::read(target.join("global/pg_control")).unwrap(), control_file(1));
    assert!(matches!(fill(), Err(TreeError::AlreadyExists(_))));
    assert!(target.join("global/pg_control").exists());
}

#[test]
fn a_root_that_could_not_be_filled_is_empty_again() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    fs::write(scene.snapshot("b/global/pg_control"), "damaged").unwrap();
    let target = scene.home.path().join("target");
    fs::create_dir(&target).unwrap();
    let trees = with_target(&scene);
    let result = trees.clone_tree(&at("snapshots", "b"), &at("target", ""), &options(), &StopFlag::default());
    assert!(matches!(result, Err(TreeError::Failed(_))), "{result:?}");
    assert!(names(&target).is_empty());
}

#[test]
fn only_one_clone_fills_a_root_at_a_time() {
    let scene = Scene::new();
    let target = scene.home.path().join("target");
    fs::create_dir(&target).unwrap();
    let filling = File::open(&target).unwrap();
    filling.lock().unwrap();
    let trees = with_target(&scene);
    let error = trees.clone_tree(&at("data", ""), &at("target", ""), &options(), &StopFlag::default()).unwrap_err();
    assert!(matches!(&error, TreeError::Failed(text) if text.contains("another")), "{error}");
}

#[test]
fn what_a_dead_clone_left_is_replaced_and_a_living_one_is_not() {
    let scene = Scene::new();
    let staging = scene.snapshot(".stillframe-staging-b");
    fs::create_dir_all(staging.join("base")).unwrap();
    fs::write(staging.join("base/half"), "half").unwrap();
    let living = File::open(&staging).unwrap();
    living.lock().unwrap();
    let error = scene.clone_to("b", &options()).unwrap_err();
    assert!(matches!(&error, TreeError::Failed(text) if text.contains("another")), "{error}");
    assert!(staging.join("base/half").exists());
    drop(living);
    scene.clone_to("b", &options()).unwrap();
    assert!(!scene.snapshot("b/base/half").exists());
    assert_eq!(scene.all_snapshot_names(), [".stillframe-index-b", "b"]);
}

#[test]
fn refuses_a_pattern_that_cannot_be_read() {
    let scene = Scene::new();
    let error = scene.clone_to("b", &CloneOptions { skip: vec!["a[".to_owned()], ..options() }).unwrap_err();
    assert!(matches!(&error, TreeError::Denied(text) if text.contains("a[")), "{error}");
}

#[test]
fn a_full_disk_is_told_as_such() {
    let error = TreeError::of("write", &"x", &rustix::io::Errno::NOSPC.into());
    assert!(matches!(error, TreeError::Exhausted(_)));
    let error = TreeError::of("write", &"x", &rustix::io::Errno::DQUOT.into());
    assert!(matches!(error, TreeError::Exhausted(_)));
}

fn with_target(scene: &Scene) -> Trees {
    let root = |name: &str, access| TreeRoot { name: name.to_owned(), path: scene.home.path().join(name), access };
    Trees::open(vec![root("data", Access::Source), root("snapshots", Access::Own), root("target", Access::Target)]).unwrap()
}
