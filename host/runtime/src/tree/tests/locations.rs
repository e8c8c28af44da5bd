//! What cannot be named, and that the refusal says why.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::{Access, StopFlag, TreeError, TreeRoot, Trees};
use super::{Scene, at, options};

#[test]
fn refuses_a_path_that_could_leave_its_root_and_names_the_rule() {
    let scene = Scene::new();
    for (path, rule) in [
        ("..", "`..`"),
        ("a/../b", "`..`"),
        ("a/.", "`.`"),
        ("/etc", "absolute"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("a\0b", "NUL"),
        (".stillframe-staging-x", "`.stillframe-`"),
        ("a/.stillframe-index-x", "`.stillframe-`"),
    ] {
        let place = at("snapshots", path);
        let stop = StopFlag::default();
        let errors = [
            scene.trees.read_file(&place).unwrap_err(),
            scene.trees.write_file(&place, "x").unwrap_err(),
            scene.trees.list_entries(&place).unwrap_err(),
            scene.trees.remove_tree(&place, &stop).unwrap_err(),
            scene.trees.clone_tree(&place, &at("snapshots", "b"), &options(), &stop).unwrap_err(),
            scene.trees.clone_tree(&at("data", ""), &place, &options(), &stop).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, TreeError::Denied(text) if text.contains(rule)), "{path:?}: {error}");
        }
    }
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn follows_no_symbolic_link() {
    let scene = Scene::new();
    let outside = scene.home.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "x").unwrap();
    symlink(&outside, scene.snapshot("link")).unwrap();
    symlink(outside.join("secret"), scene.snapshot("file")).unwrap();
    let denied = |result: Result<(), TreeError>| {
        let error = result.unwrap_err();
        assert!(matches!(&error, TreeError::Denied(text) if text.contains("symbolic link")), "{error}");
    };
    let stop = StopFlag::default();
    denied(scene.trees.read_file(&at("snapshots", "link/secret")).map(drop));
    denied(scene.trees.read_file(&at("snapshots", "file")).map(drop));
    denied(scene.trees.write_file(&at("snapshots", "link/new"), "x"));
    denied(scene.trees.list_entries(&at("snapshots", "link")).map(drop));
    denied(scene.trees.remove_tree(&at("snapshots", "link/secret"), &stop));
    denied(scene.trees.clone_tree(&at("snapshots", "link"), &at("snapshots", "b"), &options(), &stop).map(drop));
    denied(scene.trees.clone_tree(&at("data", ""), &at("snapshots", "link/b"), &options(), &stop).map(drop));
    assert_eq!(super::names(&outside), ["secret"]);
    assert_eq!(scene.all_snapshot_names(), ["file", "link"]);
}

#[test]
fn writing_replaces_a_symbolic_link_and_not_what_it_points_to() {
    let scene = Scene::new();
    symlink(scene.data("PG_VERSION"), scene.snapshot("file")).unwrap();
    scene.trees.write_file(&at("snapshots", "file"), "new").unwrap();
    assert_eq!(fs::read_to_string(scene.data("PG_VERSION")).unwrap(), "15\n");
    assert_eq!(scene.trees.read_file(&at("snapshots", "file")).unwrap(), "new");
}

#[test]
fn writes_nothing_under_a_source() {
    let scene = Scene::new();
    let stop = StopFlag::default();
    let with_base = super::CloneOptions { base: Some(at("data", "base")), ..options() };
    for error in [
        scene.trees.write_file(&at("data", "x"), "x").unwrap_err(),
        scene.trees.remove_tree(&at("data", "base"), &stop).unwrap_err(),
        scene.trees.clone_tree(&at("data", "base"), &at("data", "copy"), &options(), &stop).unwrap_err(),
        scene.trees.clone_tree(&at("data", ""), &at("snapshots", "b"), &with_base, &stop).unwrap_err(),
    ] {
        assert!(matches!(&error, TreeError::Denied(text) if text.contains("clone-only")), "{error}");
    }
    assert!(scene.data("base/1/1259").exists());
    assert!(!scene.data("x").exists() && !scene.data("copy").exists());
}

#[test]
fn refuses_a_clone_that_would_hold_itself_or_its_source() {
    let scene = Scene::new();
    // Roots may overlap by what the operator wrote: the directories decide, not the names.
    let root = |name: &str, path: &str| TreeRoot { name: name.to_owned(), path: scene.home.path().join(path), access: Access::Own };
    let trees = Trees::open(vec![root("all", ""), root("data", "data"), root("base", "data/base")]).unwrap();
    let stop = StopFlag::default();
    for (source, destination, expected) in [
        (at("data", ""), at("all", "data/snapshots/new"), "destination"),
        (at("data", ""), at("base", "new"), "destination"),
        (at("data", ""), at("all", "data"), "source"),
        (at("base", ""), at("data", ""), "source"),
        (at("base", ""), at("all", ""), "source"),
    ] {
        let error = trees.clone_tree(&source, &destination, &options(), &stop).unwrap_err();
        let names_it = matches!(&error, TreeError::Denied(text) if text.contains(&format!("the {expected} `")) && text.contains("lies inside"));
        assert!(names_it, "{source} to {destination}: {error}");
    }
    assert!(!scene.data("snapshots").exists());
}

#[test]
fn an_unknown_root_is_not_found() {
    let scene = Scene::new();
    let error = scene.trees.read_file(&at("etc", "passwd")).unwrap_err();
    assert_eq!(error, TreeError::NotFound("there is no root `etc` in this call".to_owned()));
}

#[test]
fn a_listing_hides_what_is_the_hosts_own() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    fs::write(scene.snapshot("a"), "12345").unwrap();
    let entries = scene.trees.list_entries(&at("snapshots", "")).unwrap();
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.size_bytes)).collect();
    assert_eq!(found, [("a", super::super::EntryKind::File, 5), ("b", super::super::EntryKind::Directory, 0)]);
    assert!(entries[0].modified_ms > 1_600_000_000_000);
}

#[test]
fn small_files_are_text_and_have_a_limit() {
    let scene = Scene::new();
    let place = at("snapshots", "a/b/set.json");
    scene.trees.write_file(&place, "one").unwrap();
    scene.trees.write_file(&place, "two").unwrap();
    assert_eq!(scene.trees.read_file(&place).unwrap(), "two");
    assert_eq!(super::names(&scene.snapshot("a/b")), ["set.json"]);
    let long = "x".repeat(1024 * 1024 + 1);
    assert!(matches!(scene.trees.write_file(&place, &long), Err(TreeError::Denied(_))));
    assert_eq!(scene.trees.read_file(&place).unwrap(), "two");
    fs::write(scene.snapshot("long"), &long).unwrap();
    fs::write(scene.snapshot("bytes"), [0xFF]).unwrap();
    for name in ["long", "bytes", "a"] {
        assert!(matches!(scene.trees.read_file(&at("snapshots", name)), Err(TreeError::Failed(_))), "{name}");
    }
}

#[test]
fn tells_the_room_of_a_root() {
    let scene = Scene::new();
    let roots = scene.trees.roots().unwrap();
    let seen: Vec<_> = roots.iter().map(|root| (root.name.as_str(), root.writable)).collect();
    assert_eq!(seen, [("data", false), ("snapshots", true)]);
    assert!(roots.iter().all(|root| root.total_bytes >= root.available_bytes && root.total_bytes > 0));
    assert!(scene.all_snapshot_names().is_empty());
}
