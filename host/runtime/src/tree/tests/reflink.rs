//! Sharing of extents, on a real XFS or btrfs in a loop-mounted image.

use std::fs;

use super::super::{TreeError, beneath};
use super::mount::{Mount, run};
use super::{CloneMethod, CloneOptions, Scene, at, options};

#[test]
fn a_reflink_clone_shares_extents_and_stays_isolated() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(home.path(), &["btrfs", "xfs"]) else { return };
    let scene = Scene::at(tempfile::tempdir_in(mount.point()).unwrap());
    assert!(scene.trees.roots().unwrap()[1].reflink);
    for method in [CloneMethod::Reflink, CloneMethod::Auto] {
        let name = format!("{method:?}");
        let stats = scene.clone_to(&name, &CloneOptions { method, ..options() }).unwrap();
        assert_eq!((stats.files, stats.files_reflinked, stats.bytes_copied), (4, 3, 8192), "{method:?}");
        let written = fs::OpenOptions::new().write(true).open(scene.data("base/1/1259")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&written, &[9; 10], 100).unwrap();
        let clone = fs::read(scene.snapshot(&name).join("base/1/1259")).unwrap();
        if method == CloneMethod::Reflink {
            assert_eq!(clone, vec![7; 40_000]);
        } else {
            assert_eq!(clone[100..110], [9; 10]);
        }
    }
    drop(scene);
    drop(mount);
}

#[test]
fn a_reflink_clone_fails_where_extents_cannot_be_shared_and_nothing_is_left() {
    let scene = Scene::new();
    let facts = scene.trees.roots().unwrap();
    let result = scene.clone_to("b", &CloneOptions { method: CloneMethod::Reflink, ..options() });
    // The temporary directory's file system decides which half of the promise is seen.
    if facts[1].reflink {
        assert_eq!(result.unwrap().files_reflinked, 3);
    } else {
        assert!(matches!(&result, Err(TreeError::Unsupported(_))), "{result:?}");
        let parent = fs::File::open(scene.snapshot("")).unwrap();
        assert!(beneath::names(&parent).unwrap().is_empty());
    }
}

#[test]
fn what_lies_in_a_subvolume_or_a_mount_of_its_own_under_a_root_is_not_read() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(home.path(), &["btrfs", "xfs"]) else { return };
    let scene = Scene::at(tempfile::tempdir_in(mount.point()).unwrap());
    let snapshot = scene.snapshot("b.0");
    assert!(run("btrfs", &["subvolume".as_ref(), "create".as_ref(), snapshot.as_ref()]), "root has btrfs-progs for these tests");
    fs::create_dir_all(snapshot.join("base/5")).unwrap();
    fs::write(snapshot.join("base/5/pg_filenode.map"), "secret").unwrap();
    scene.trees.write_file(&at("snapshots", "records/b.json"), "{}").unwrap();
    assert_eq!(scene.trees.read_file(&at("snapshots", "records/b.json")).unwrap(), "{}");
    assert_eq!(scene.trees.list_entries(&at("snapshots", "")).unwrap().len(), 2);
    for outcome in [
        scene.trees.read_file(&at("snapshots", "b.0/base/5/pg_filenode.map")).map(drop),
        scene.trees.list_entries(&at("snapshots", "b.0")).map(drop),
        scene.trees.list_entries(&at("snapshots", "b.0/base")).map(drop),
    ] {
        assert!(matches!(&outcome, Err(TreeError::Denied(text)) if text.contains("subvolume of its own")), "{outcome:?}");
    }
    drop(scene);
    drop(mount);
}
