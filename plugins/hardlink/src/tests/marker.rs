//! The marker: a root without it proves nothing, and only a first backup makes it.

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::tree::TreeError;
use stillframe_sdk::{Deletion, Error, Provider, RestoreRequest, SetReference, SnapshotSet};

use super::{Hardlink, by_handle, by_token, create, defaults, delete, host, is_ready, is_root, request, sets, targets};
use crate::layout::MARKER;

/// Every operation that could tell of an absent set refuses to, and names the root.
fn proves_nothing(host: &FakeHost, set: &SnapshotSet) {
    let before = host.paths("snapshots");
    let mut errors = vec![delete(host, &set.handle).unwrap_err()];
    for reference in [SetReference::Token(set.token.clone()), SetReference::Handle(set.handle.clone())] {
        errors.push(Hardlink::get_set(host, &defaults(), reference).unwrap_err());
    }
    errors.push(Hardlink::list_sets(host, &defaults(), "main", None).unwrap_err());
    let restore = RestoreRequest { handle: set.handle.clone(), token: "restore-1".to_owned(), directories: targets(host) };
    errors.push(Hardlink::restore_set(host, &defaults(), restore).unwrap_err());
    for error in errors {
        assert!(is_root(&error), "{error:?}");
    }
    assert_eq!(host.paths("snapshots"), before);
}

fn following(set: &SnapshotSet) -> stillframe_sdk::CreateRequest {
    let mut next = request("b2");
    next.previous = Some(set.handle.clone());
    next
}

#[test]
fn an_empty_mount_point_is_not_the_proof_that_a_set_is_gone() {
    let set = create(&host(), "b1").unwrap();
    let unmounted = host();
    proves_nothing(&unmounted, &set);
    unmounted.put_directory("snapshots", "lost+found");
    proves_nothing(&unmounted, &set);
}

#[test]
fn a_root_whose_marker_was_removed_proves_nothing_until_it_is_back() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    let marker = host.content("snapshots", MARKER).unwrap();
    host.lose("snapshots", MARKER);
    proves_nothing(&host, &set);
    assert!(is_root(&Hardlink::check(&host, &defaults()).unwrap_err()));
    assert!(is_root(&create(&host, "b2").unwrap_err()), "it holds a set");
    assert!(host.content("snapshots", MARKER).is_none());
    host.put("snapshots", MARKER, &marker);
    assert_eq!(by_handle(&host, &set), Some(set));
}

#[test]
fn a_backup_after_another_is_not_cut_into_an_empty_mount_point() {
    let set = create(&host(), "b1").unwrap();
    let unmounted = host();
    let error = Hardlink::create_set(&unmounted, &defaults(), following(&set)).unwrap_err();
    let Error::Invalid(argument) = error else { panic!("{error:?}") };
    assert_eq!(argument.field, "root");
    assert!(argument.message.contains("not mounted") && argument.message.contains(MARKER), "{}", argument.message);
    assert!(unmounted.paths("snapshots").is_empty());
    // The way out that the message tells, for somebody who moved to another disk.
    let (_, content) = argument.message.rsplit_once("content ").unwrap();
    unmounted.put("snapshots", MARKER, content);
    assert!(is_ready(&Hardlink::create_set(&unmounted, &defaults(), following(&set)).unwrap()));
}

#[test]
fn the_marker_outlives_every_set_and_is_none() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    let marker = host.content("snapshots", MARKER).unwrap();
    assert_eq!(marker, r#"{"format_version":1}"#);
    assert_eq!(delete(&host, &set.handle), Ok(Deletion::Deleted));
    assert_eq!(host.paths("snapshots"), [MARKER]);
    assert_eq!(delete(&host, &set.handle), Ok(Deletion::Absent));
    assert!(is_ready(&Hardlink::create_set(&host, &defaults(), following(&set)).unwrap()));
    assert_eq!(host.content("snapshots", MARKER), Some(marker));
    assert_eq!(host.calls().iter().filter(|call| call.contains("write-file") && call.contains(MARKER)).count(), 1);
}

#[test]
fn a_marker_that_cannot_be_written_or_sought_stops_the_backup_before_anything_is_cut() {
    for call in ["write-file", "read-file", "list-entries"] {
        let host = host();
        host.fail_tree(call, TreeError::Exhausted("the disk is full".to_owned()));
        assert_eq!(create(&host, "b1"), Err(Error::Exhausted("the disk is full".to_owned())), "{call}");
        assert!(host.paths("snapshots").is_empty(), "{call}");
        // It cannot be told from a root that is not mounted; the host keeps its intent.
        let reference = SetReference::Token("token-b1".to_owned());
        assert!(is_root(&Hardlink::get_set(&host, &defaults(), reference).unwrap_err()), "{call}");
        assert!(is_ready(&create(&host, "b1").unwrap()), "{call}");
    }
}

#[test]
fn a_marker_that_cannot_be_understood_is_neither_trusted_nor_replaced() {
    for strange in ["", "{", "{}", r#"{"format_version":2}"#] {
        let host = host();
        let set = create(&host, "b1").unwrap();
        host.put("snapshots", MARKER, strange);
        proves_nothing(&host, &set);
        assert!(is_root(&create(&host, "b2").unwrap_err()));
        assert!(is_root(&Hardlink::check(&host, &defaults()).unwrap_err()));
        assert_eq!(host.content("snapshots", MARKER).as_deref(), Some(strange));
    }
}

#[test]
fn a_failed_first_backup_leaves_a_root_that_proves_absence() {
    let host = host();
    host.fail_tree("clone-tree data-data", TreeError::Failed("a disk error".to_owned()));
    assert!(create(&host, "b1").is_err());
    assert!(sets(&host).is_empty());
    assert_eq!(by_token(&host, "b1"), None);
    assert_eq!(delete(&host, "b1:token-b1"), Ok(Deletion::Absent));
}
