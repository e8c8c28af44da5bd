//! What each kind of root refuses, and that a clone cannot be read.

use std::fs;

use super::super::{Access, StopFlag, TreeError, TreeRoot, Trees};
use super::{CloneOptions, Location, Scene, at, options};

/// The same directory, with something to read, to list and to clone, as a root of this kind beside the provider's own.
fn trees(scene: &Scene, access: Access) -> Trees {
    let root = |name: &str, path: &str, access| TreeRoot { name: name.to_owned(), path: scene.home.path().join(path), access };
    Trees::open(vec![root("it", "data", access), root("snapshots", "snapshots", Access::Own)]).unwrap()
}

/// Every use of a root, with its name and whether it was allowed; a refusal must name the root and say why.
fn uses(scene: &Scene, access: Access) -> Vec<&'static str> {
    let trees = trees(scene, access);
    let stop = StopFlag::default();
    let clone = |from: &Location, to: &Location, base| {
        trees.clone_tree(from, to, &CloneOptions { base, last: Vec::new(), ..options() }, &stop).map(drop)
    };
    let attempts = [
        ("read", trees.read_file(&at("it", "PG_VERSION")).map(drop)),
        ("list", trees.list_entries(&at("it", "")).map(drop)),
        ("write", trees.write_file(&at("it", "new"), "x")),
        ("clone from", clone(&at("it", ""), &at("snapshots", "one"), None)),
        ("clone to", clone(&at("snapshots", ""), &at("it", "clone"), None)),
        ("base", clone(&at("snapshots", ""), &at("it", "other"), Some(at("it", "clone")))),
        ("remove", trees.remove_tree(&at("it", "new"), &stop)),
    ];
    let mut allowed = Vec::new();
    for (name, outcome) in attempts {
        match outcome {
            Ok(()) => allowed.push(name),
            Err(TreeError::Denied(text)) => {
                assert!(text.contains("the root `it` is"), "{access:?} {name}: {text}");
            }
            Err(other) => panic!("{access:?} {name}: {other}"),
        }
    }
    allowed
}

#[test]
fn each_kind_of_root_allows_what_it_is_for_and_nothing_else() {
    for (access, expected) in [
        (Access::Own, &["read", "list", "write", "clone from", "clone to", "base", "remove"][..]),
        (Access::Source, &["clone from"]),
        (Access::Facts, &[]),
        (Access::Target, &["list", "write", "clone to", "remove"]),
    ] {
        assert_eq!(uses(&Scene::new(), access), expected, "{access:?}");
    }
}

#[test]
fn a_base_lies_under_an_own_root() {
    let scene = Scene::new();
    for access in [Access::Source, Access::Facts, Access::Target] {
        let options = CloneOptions { base: Some(at("it", "base")), ..options() };
        let own = at("snapshots", "");
        let error = trees(&scene, access).clone_tree(&own, &at("snapshots", "b"), &options, &StopFlag::default()).unwrap_err();
        assert!(matches!(&error, TreeError::Denied(text) if text.contains("cannot be used as a base")), "{access:?}: {error}");
    }
}

#[test]
fn a_clone_cannot_be_read_nor_what_is_made_of_it() {
    let scene = Scene::new();
    scene.trees.write_file(&at("snapshots", "set/set.json"), "record").unwrap();
    scene.clone_to("set/data", &options()).unwrap();
    let copy = |from: &str, to: &str| {
        let options = CloneOptions { last: Vec::new(), ..options() };
        scene.trees.clone_tree(&at("snapshots", from), &at("snapshots", to), &options, &StopFlag::default()).unwrap();
    };
    copy("set/data", "copy-of-the-clone");
    copy("set/data/base", "copy-of-a-part");
    copy("set", "copy-of-the-set");
    for clone in ["set/data", "copy-of-the-clone", "copy-of-a-part", "copy-of-the-set"] {
        for below in ["", "/base", "/base/1", "/data/base", "/1/1259", "/base/1/1259", "/PG_VERSION", "/set.json", "/absent"] {
            let place = at("snapshots", &format!("{clone}{below}"));
            for error in [scene.trees.read_file(&place).unwrap_err(), scene.trees.list_entries(&place).unwrap_err()] {
                let named = format!("`snapshots:{clone}` is a clone");
                assert!(matches!(&error, TreeError::Denied(text) if text.contains(&named)), "{place}: {error}");
            }
        }
    }
    assert_eq!(scene.trees.read_file(&at("snapshots", "set/set.json")).unwrap(), "record");
    assert_eq!(scene.trees.list_entries(&at("snapshots", "set")).unwrap().len(), 2);
    assert_eq!(scene.trees.list_entries(&at("snapshots", "")).unwrap().len(), 4);
}

#[test]
fn a_clone_with_a_damaged_index_cannot_be_read_either() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    fs::write(scene.snapshot(".stillframe-index-b"), "damaged").unwrap();
    assert!(matches!(scene.trees.read_file(&at("snapshots", "b/PG_VERSION")), Err(TreeError::Denied(_))));
}

#[test]
fn a_removal_that_fails_leaves_the_clone_unreadable() {
    let scene = Scene::new();
    scene.clone_to("b", &options()).unwrap();
    fs::create_dir(scene.snapshot(".stillframe-trash-x")).unwrap();
    let stop = StopFlag::default();
    stop.stop();
    assert_eq!(scene.trees.remove_tree(&at("snapshots", "b"), &stop), Err(TreeError::TimedOut));
    assert!(scene.snapshot("b/PG_VERSION").exists());
    assert!(matches!(scene.trees.read_file(&at("snapshots", "b/PG_VERSION")), Err(TreeError::Denied(_))));
}

#[test]
fn only_a_target_is_filled_in_place() {
    let scene = Scene::new();
    let error = scene.clone_to("", &options()).unwrap_err();
    assert!(matches!(&error, TreeError::Denied(text) if text.contains("is not a target")), "{error}");
    assert!(scene.all_snapshot_names().is_empty());
}

#[test]
fn a_name_too_long_for_a_clone_is_an_ordinary_file() {
    let scene = Scene::new();
    let place = at("snapshots", &"n".repeat(250));
    scene.trees.write_file(&place, "text").unwrap();
    assert_eq!(scene.trees.read_file(&place).unwrap(), "text");
}
