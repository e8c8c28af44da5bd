//! Restoring a set.

use stillframe_sdk::tree::TreeError;
use stillframe_sdk::{Error, Provider, RestoreRequest};

use super::{Hardlink, cp_al, create, defaults, delete, host, request, targets};

fn restore_request(handle: &str, directories: Vec<stillframe_sdk::RestoreDirectory>) -> RestoreRequest {
    RestoreRequest { handle: handle.to_owned(), token: "restore-1".to_owned(), directories }
}

#[test]
fn a_restore_is_a_copy_of_its_own() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    let restored = Hardlink::restore_set(&host, &defaults(), restore_request(&set.handle, targets(&host))).unwrap();
    let paths: Vec<&str> = restored.directories.iter().map(|directory| directory.path.as_str()).collect();
    assert_eq!(paths, ["/restored/data", "/restored/wal", "/restored/tablespace-16384"]);
    assert_eq!(host.content("target-data", "base/1/1259").as_deref(), Some("rows"));
    assert_eq!(host.content("target-data", "global/pg_control").as_deref(), Some("control 1"));
    assert_eq!(host.content("target-tablespace-16384", "PG_15/5/16385").as_deref(), Some("more rows"));
    assert!(host.paths("target-wal").is_empty());
    host.put("target-data", "base/1/1259", "written by the restored server");
    assert_eq!(host.content("snapshots", "b1/data/base/1/1259").as_deref(), Some("rows"));
    assert_eq!(host.content("data-data", "base/1/1259").as_deref(), Some("rows"));
    Hardlink::release(&host, &defaults(), &restored.handle).unwrap();
    assert!(host.content("target-data", "base/1/1259").is_some());
}

#[test]
fn a_restore_of_shared_trees_is_a_copy_as_well() {
    let host = host();
    let set = Hardlink::create_set(&host, &cp_al(), request("b1")).unwrap();
    Hardlink::restore_set(&host, &defaults(), restore_request(&set.handle, targets(&host))).unwrap();
    host.put("target-data", "base/1/1259", "written by the restored server");
    assert_eq!(host.content("data-data", "base/1/1259").as_deref(), Some("rows"));
}

#[test]
fn the_data_directory_is_restored_last_with_its_last_files() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    host.forget_calls();
    Hardlink::restore_set(&host, &defaults(), restore_request(&set.handle, targets(&host))).unwrap();
    let clones: Vec<String> = host.calls().into_iter().filter(|call| call.contains("clone-tree")).collect();
    assert_eq!(clones.last().map(String::as_str), Some("tree.clone-tree snapshots:b1/data -> target-data:"));
    assert_eq!(clones.len(), 3);
}

#[test]
fn a_failed_restore_leaves_every_target_empty() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    let directories = targets(&host);
    host.fail_tree("-> target-data", TreeError::Exhausted("the disk is full".to_owned()));
    let error = Hardlink::restore_set(&host, &defaults(), restore_request(&set.handle, directories)).unwrap_err();
    assert_eq!(error, Error::Exhausted("the disk is full".to_owned()));
    for root in ["target-data", "target-wal", "target-tablespace-16384"] {
        assert!(host.paths(root).is_empty(), "{root}");
    }
}

#[test]
fn a_target_that_is_not_empty_is_a_conflict_and_stays_as_it_is() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    let directories = targets(&host);
    host.put("target-tablespace-16384", "precious", "x");
    let error = Hardlink::restore_set(&host, &defaults(), restore_request(&set.handle, directories)).unwrap_err();
    assert!(matches!(error, Error::Conflict(_)), "{error:?}");
    assert_eq!(host.paths("target-tablespace-16384"), ["precious"]);
    assert!(host.paths("target-data").is_empty());
}

#[test]
fn refuses_targets_that_are_not_those_of_the_set() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    let refused = |change: &dyn Fn(&mut Vec<stillframe_sdk::RestoreDirectory>)| {
        let mut directories = targets(&host);
        change(&mut directories);
        let error = Hardlink::restore_set(&host, &defaults(), restore_request(&set.handle, directories)).unwrap_err();
        assert!(matches!(&error, Error::Invalid(argument) if argument.field == "directories"), "{error:?}");
        assert!(host.paths("target-data").is_empty());
    };
    refused(&|directories| drop(directories.remove(2)));
    refused(&|directories| directories[2].name = "tablespace-1".to_owned());
    refused(&|directories| directories[0].root = None);
}

#[test]
fn refuses_a_set_that_is_absent_or_incomplete() {
    let host = host();
    delete(&host, &create(&host, "b0").unwrap().handle).unwrap();
    let absent = Hardlink::restore_set(&host, &defaults(), restore_request("b1:token-b1", targets(&host)));
    assert_eq!(absent, Err(Error::NotFound("b1:token-b1".to_owned())));
    host.kill_at(3, stillframe_sdk::testing::Kill::After, |host| create(host, "b1"));
    let incomplete = Hardlink::restore_set(&host, &defaults(), restore_request("b1:token-b1", targets(&host)));
    assert!(matches!(incomplete, Err(Error::Invalid(argument)) if argument.message.contains("not complete")));
    assert!(host.paths("target-data").is_empty());
}
