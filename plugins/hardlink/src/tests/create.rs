//! Making a set: what it holds, what it shares, and that a failure leaves nothing.

use stillframe_sdk::tree::TreeError;
use stillframe_sdk::{Error, Level, Provider};

use super::{Hardlink, by_token, complete, config, cp_al, create, defaults, delete, host, is_ready, path, request, sets};

#[test]
fn a_set_is_complete_isolated_and_ready_at_once() {
    let host = host();
    let set = create(&host, "b1").unwrap();
    assert!(is_ready(&set) && set.isolated && !set.atomic);
    assert_eq!(sets(&host), complete("b1"));
    let volumes: Vec<&str> = set.members.iter().map(|member| member.volume.as_str()).collect();
    assert_eq!(volumes, ["data", "wal", "tablespace-16384"]);
    assert_eq!(set.members[0].size_bytes, Some("15rowscontrol 1".len() as u64));
    assert_eq!(set.members[0].id, "b1/data");
    assert_eq!(set.labels.iter().find(|(key, _)| key == "backup"), Some(&("backup".to_owned(), "b1".to_owned())));
    host.put("data-data", "base/1/1259", "rows from the future");
    assert_eq!(host.content("snapshots", "b1/data/base/1/1259").as_deref(), Some("rows"));
}

#[test]
fn the_marker_comes_first_then_the_record_and_the_data_directory_last() {
    let host = host();
    create(&host, "b1").unwrap();
    let effects: Vec<String> =
        host.calls().into_iter().filter(|call| call.contains("write-file") || call.contains("clone-tree")).collect();
    assert_eq!(
        effects,
        [
            "tree.write-file snapshots:stillframe-snapshots.json",
            "tree.write-file snapshots:b1/set.json",
            "tree.clone-tree data-wal: -> snapshots:b1/wal",
            "tree.clone-tree data-tablespace-16384: -> snapshots:b1/tablespace-16384",
            "tree.clone-tree data-data: -> snapshots:b1/data",
            "tree.write-file snapshots:b1/set.json",
        ]
    );
}

#[test]
fn the_same_token_again_is_the_same_set() {
    let host = host();
    let first = create(&host, "b1").unwrap();
    host.advance_ms(1_000);
    host.put("data-data", "base/1/1259", "later");
    assert_eq!(create(&host, "b1").unwrap(), first);
    assert_eq!(host.content("snapshots", "b1/data/base/1/1259").as_deref(), Some("rows"));
}

#[test]
fn the_same_name_with_another_token_is_a_conflict_and_touches_nothing() {
    let host = host();
    let first = create(&host, "b1").unwrap();
    let mut other = request("b1");
    other.token = "other".to_owned();
    assert_eq!(Hardlink::create_set(&host, &defaults(), other), Err(Error::Conflict("b1".to_owned())));
    assert_eq!(by_token(&host, "b1"), Some(first));
}

#[test]
fn a_foreign_directory_of_that_name_is_a_conflict_and_touched_by_nobody() {
    let host = host();
    host.put("snapshots", "b1/precious", "x");
    assert_eq!(create(&host, "b1"), Err(Error::Conflict("b1".to_owned())));
    assert_eq!(sets(&host), ["b1/", "b1/precious"]);
}

#[test]
fn an_empty_directory_of_that_name_is_used() {
    let host = host();
    host.put_directory("snapshots", "b1");
    assert!(is_ready(&create(&host, "b1").unwrap()));
}

#[test]
fn a_failure_at_any_call_leaves_nothing() {
    let error = || TreeError::Exhausted("the disk is full".to_owned());
    for call in [
        "write-file snapshots:b1/set.json",
        "clone-tree data-wal",
        "clone-tree data-tablespace-16384",
        "clone-tree data-data",
        "read-file snapshots:b1/set.json",
        "list-entries snapshots:b1",
    ] {
        let host = host();
        host.fail_tree(call, error());
        assert_eq!(create(&host, "b1"), Err(Error::Exhausted("the disk is full".to_owned())), "{call}");
        assert!(sets(&host).is_empty(), "{call}: {:?}", sets(&host));
        assert_eq!(by_token(&host, "b1"), None, "{call}");
    }
}

#[test]
fn a_failure_to_say_ready_leaves_nothing() {
    let host = host();
    host.fail_tree_later(1, "write-file snapshots:b1/set.json", TreeError::TimedOut);
    let error = create(&host, "b1").unwrap_err();
    assert!(matches!(&error, Error::Transient(text) if text.contains("deadline")), "{error:?}");
    assert!(host.calls().iter().any(|call| call.contains("clone-tree data-data")));
    assert!(sets(&host).is_empty());
}

#[test]
fn what_cannot_be_removed_after_a_failure_is_told_as_failed() {
    let host = host();
    host.fail_tree("clone-tree data-data", TreeError::Failed("a disk error".to_owned()));
    host.fail_tree("remove-tree", TreeError::Failed("another disk error".to_owned()));
    assert!(matches!(create(&host, "b1"), Err(Error::Transient(text)) if text == "a disk error"));
    let left = by_token(&host, "b1").unwrap();
    for member in &left.members {
        let stillframe_sdk::MemberState::Failed(reason) = &member.state else { panic!("{member:?}") };
        assert!(reason.contains("a disk error"), "{reason}");
    }
    assert!(host.messages().iter().any(|(level, text)| *level == Level::Warn && text.contains("b1")));
    // The next request with the token cleans up and succeeds.
    assert!(is_ready(&create(&host, "b1").unwrap()));
    assert_eq!(sets(&host), complete("b1"));
}

#[test]
fn a_vanished_control_file_is_no_fault_of_the_provider_and_no_absent_set() {
    let host = host();
    host.lose("data-data", "global/pg_control");
    assert!(matches!(create(&host, "b1"), Err(Error::Transient(text)) if text.contains("pg_control")));
    assert!(sets(&host).is_empty());
}

#[test]
fn unchanged_files_are_linked_from_the_previous_set_but_never_the_control_file() {
    let host = host();
    let first = create(&host, "b1").unwrap();
    host.put("data-data", "base/1/1259", "new rows");
    let mut next = request("b2");
    next.previous = Some(first.handle.clone());
    let set = Hardlink::create_set(&host, &defaults(), next.clone()).unwrap();
    let fact = |key: &str| set.members[0].attributes.iter().find(|(name, _)| name == key).unwrap().1.clone();
    assert_eq!((fact("files").as_str(), fact("files-linked").as_str()), ("3", "1"));
    assert_eq!(host.content("snapshots", "b2/data/base/1/1259").as_deref(), Some("new rows"));
    assert_eq!(host.content("snapshots", "b1/data/base/1/1259").as_deref(), Some("rows"));
    delete(&host, &first.handle).unwrap();
    assert_eq!(sets(&host), complete("b2"));
}

#[test]
fn nothing_is_linked_when_the_operator_does_not_want_it_or_the_previous_set_is_unfit() {
    let linked = |prepare: &dyn Fn(&stillframe_sdk::testing::FakeHost) -> Option<String>, settings: &str| {
        let host = host();
        // Makes the marker, without which nothing follows another set.
        delete(&host, &create(&host, "b0").unwrap().handle).unwrap();
        let mut next = request("b2");
        next.previous = prepare(&host);
        let set = Hardlink::create_set(&host, &config(settings), next).unwrap();
        set.members.iter().flat_map(|member| &member.attributes).filter(|(key, _)| key == "files-linked").any(|(_, n)| n != "0")
    };
    let good = |host: &stillframe_sdk::testing::FakeHost| Some(create(host, "b1").unwrap().handle);
    assert!(linked(&good, "{}"));
    assert!(!linked(&good, r#"{"link_unchanged":false}"#));
    assert!(!linked(&|_| Some("b1:token-b1".to_owned()), "{}"));
    let shared =
        |host: &stillframe_sdk::testing::FakeHost| Some(Hardlink::create_set(host, &cp_al(), request("b1")).unwrap().handle);
    assert!(!linked(&shared, "{}"));
    let of_another_token = |host: &stillframe_sdk::testing::FakeHost| create(host, "b1").map(|_| "b1:other".to_owned()).ok();
    assert!(!linked(&of_another_token, "{}"));
    assert!(!linked(&|_| Some("snap-0123, of another provider".to_owned()), "{}"));
    let damaged = |host: &stillframe_sdk::testing::FakeHost| {
        let handle = create(host, "b1").unwrap().handle;
        host.put("snapshots", "b1/set.json", "{");
        Some(handle)
    };
    assert!(!linked(&damaged, "{}"));
}

#[test]
fn cp_al_must_be_allowed_and_is_recorded_as_not_isolated() {
    let host = host();
    let refused = Hardlink::create_set(&host, &config(r#"{"method":"cp-al"}"#), request("b1")).unwrap_err();
    let Error::Invalid(argument) = refused else { panic!("{refused:?}") };
    assert_eq!(argument.field, "method");
    assert!(argument.message.contains("allow_not_isolated") && argument.message.contains("in place"), "{}", argument.message);
    assert!(sets(&host).is_empty());
    let set = Hardlink::create_set(&host, &cp_al(), request("b1")).unwrap();
    assert!(!set.isolated && !by_token(&host, "b1").unwrap().isolated);
    host.put("data-data", "base/1/1259", "from the future");
    assert_eq!(host.content("snapshots", "b1/data/base/1/1259").as_deref(), Some("from the future"));
}

#[test]
fn refuses_names_and_volumes_that_are_not_its_own() {
    let field = |change: &dyn Fn(&mut stillframe_sdk::CreateRequest)| {
        let host = host();
        let mut wrong = request("b1");
        change(&mut wrong);
        let error = Hardlink::create_set(&host, &defaults(), wrong).unwrap_err();
        assert!(sets(&host).is_empty());
        let Error::Invalid(argument) = error else { panic!("{error:?}") };
        argument.field
    };
    for name in ["", "..", "a/b", ".hidden", "set.json", &"x".repeat(65)] {
        assert_eq!(field(&|request| request.name = name.to_owned()), "name", "{name}");
    }
    assert_eq!(field(&|request| request.token = String::new()), "token");
    assert_eq!(field(&|request| request.volumes.clear()), "volumes");
    assert_eq!(field(&|request| request.volumes[0].id = "vol-1".to_owned()), "volumes");
    assert_eq!(field(&|request| request.volumes[0].paths.clear()), "volumes");
    assert_eq!(field(&|request| request.volumes[1] = request.volumes[0].clone()), "volumes");
}

#[test]
fn a_path_that_the_host_did_not_open_is_unmanaged() {
    let mut closed = path("data", stillframe_sdk::DataRole::Data);
    closed.root = None;
    let error = Hardlink::resolve(&host(), &defaults(), vec![closed]).unwrap_err();
    assert_eq!(error, Error::UnmanagedPath("/cluster/data".to_owned()));
}
