//! The fake keeps the host's rules, or tests against it would prove nothing.

use super::{FakeHost, Kill};
use crate::Host;
use crate::command::{Command, CommandError, ExitStatus, Invocation, Output};
use crate::tree::{CloneMethod, CloneOptions, Tree, TreeError, location};

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.add_source("data");
    host.add_root("snapshots");
    for (path, content) in [("PG_VERSION", "15"), ("base/1/2", "old"), ("pg_wal/01", "wal"), ("global/pg_control", "c")] {
        host.put("data", path, content);
    }
    host.advance_ms(10_000);
    host
}

fn options(method: CloneMethod) -> CloneOptions {
    CloneOptions { method, base: None, skip: vec!["pg_wal/*".to_owned()], last: vec!["global/pg_control".to_owned()] }
}

fn clone(host: &FakeHost, name: &str, options: &CloneOptions) -> Result<crate::tree::CloneStats, TreeError> {
    host.clone_tree(&location("data", ""), &location("snapshots", name), options)
}

#[test]
fn a_clone_is_isolated_unless_it_is_shared() {
    for (method, expected) in [(CloneMethod::Auto, "old"), (CloneMethod::Copy, "old"), (CloneMethod::Shared, "new")] {
        let host = host();
        clone(&host, "b", &options(method)).unwrap();
        host.put("data", "base/1/2", "new");
        assert_eq!(host.content("snapshots", "b/base/1/2").as_deref(), Some(expected), "{method:?}");
        assert_eq!(
            host.paths("snapshots"),
            ["b/", "b/PG_VERSION", "b/base/", "b/base/1/", "b/base/1/2", "b/global/", "b/global/pg_control", "b/pg_wal/"]
        );
    }
}

#[test]
fn a_base_serves_what_has_not_changed_and_only_that() {
    let host = host();
    clone(&host, "a", &options(CloneMethod::Auto)).unwrap();
    let on_base = CloneOptions { base: Some(location("snapshots", "a")), ..options(CloneMethod::Auto) };
    assert_eq!(clone(&host, "b", &on_base).unwrap().files_linked, 2);
    host.put("data", "base/1/2", "new");
    assert_eq!(clone(&host, "c", &on_base).unwrap().files_linked, 1);
    assert_eq!(host.content("snapshots", "c/base/1/2").as_deref(), Some("new"));
    let shared = clone(&host, "d", &options(CloneMethod::Shared));
    assert_eq!(shared.unwrap().files_linked, 2);
    let on_shared = CloneOptions { base: Some(location("snapshots", "d")), ..options(CloneMethod::Auto) };
    assert_eq!(clone(&host, "e", &on_shared).unwrap().files_linked, 0);
}

#[test]
fn the_rules_of_locations_hold() {
    let host = host();
    for path in ["..", "/a", "a//b", ".stillframe-x", "a/../b"] {
        assert!(matches!(host.read_file(&location("snapshots", path)), Err(TreeError::Denied(_))), "{path}");
    }
    assert!(matches!(host.write_file(&location("data", "x"), ""), Err(TreeError::Denied(_))));
    assert!(matches!(host.remove_tree(&location("snapshots", "")), Err(TreeError::Denied(_))));
    assert!(matches!(host.read_file(&location("gone", "x")), Err(TreeError::NotFound(_))));
    clone(&host, "b", &options(CloneMethod::Auto)).unwrap();
    assert!(matches!(clone(&host, "b", &options(CloneMethod::Auto)), Err(TreeError::AlreadyExists(_))));
    assert!(matches!(clone(&host, "", &options(CloneMethod::Auto)), Err(TreeError::Denied(_))));
    assert!(matches!(clone(&host, "c", &options(CloneMethod::Reflink)), Err(TreeError::Unsupported(_))));
}

#[test]
fn what_a_provider_moves_it_cannot_see() {
    let host = host();
    host.add_target("target");
    clone(&host, "set/data", &options(CloneMethod::Auto)).unwrap();
    let options = CloneOptions { last: Vec::new(), ..options(CloneMethod::Copy) };
    host.clone_tree(&location("snapshots", "set/data"), &location("target", ""), &options).unwrap();
    let denied = |place: &crate::tree::Location| matches!(host.read_file(place), Err(TreeError::Denied(_)));
    for (root, path) in
        [("data", "PG_VERSION"), ("snapshots", "set/data/PG_VERSION"), ("snapshots", "set/data/absent"), ("target", "PG_VERSION")]
    {
        assert!(denied(&location(root, path)), "{root}:{path}");
    }
    for (root, path) in [("data", ""), ("snapshots", "set/data"), ("snapshots", "set/data/base")] {
        assert!(matches!(host.list_entries(&location(root, path)), Err(TreeError::Denied(_))), "{root}:{path}");
    }
    assert_eq!(host.list_entries(&location("snapshots", "set")).unwrap().len(), 1);
    assert!(host.list_entries(&location("target", "")).unwrap().len() > 1);
    for root in ["data", "target"] {
        let based = CloneOptions { base: Some(location(root, "")), ..options.clone() };
        assert!(matches!(clone(&host, "b", &based), Err(TreeError::Denied(_))), "{root}");
    }
    let from_target = host.clone_tree(&location("target", ""), &location("snapshots", "c"), &options);
    assert!(matches!(from_target, Err(TreeError::Denied(_))));
}

#[test]
fn a_kill_is_before_or_after_its_effect_and_the_host_lives_on() {
    for (kill, written) in [(Kill::Before, None), (Kill::After, Some("1"))] {
        let host = host();
        let result = host.kill_at(1, kill, |host| {
            host.write_file(&location("snapshots", "zero"), "0").unwrap();
            host.write_file(&location("snapshots", "one"), "1").unwrap();
            host.write_file(&location("snapshots", "two"), "2").unwrap();
        });
        assert_eq!(result, None);
        assert_eq!(host.content("snapshots", "zero").as_deref(), Some("0"));
        assert_eq!(host.content("snapshots", "one").as_deref(), written);
        assert_eq!(host.content("snapshots", "two"), None);
        assert_eq!(host.kill_at(1, kill, |host| host.write_file(&location("snapshots", "two"), "2").is_ok()), Some(true));
    }
}

#[test]
fn scripted_failures_come_once_and_calls_are_recorded() {
    let host = host();
    host.fail_tree("write-file snapshots:b", TreeError::Exhausted("full".to_owned()));
    assert!(host.write_file(&location("snapshots", "a"), "").is_ok());
    assert!(matches!(host.write_file(&location("snapshots", "b"), ""), Err(TreeError::Exhausted(_))));
    assert!(host.write_file(&location("snapshots", "b"), "").is_ok());
    assert_eq!(host.calls().len(), 3);
    assert_eq!(host.calls()[0], "tree.write-file snapshots:a");
}

#[test]
fn programs_are_denied_until_scripted() {
    let host = host();
    let list = Invocation { program: "zfs".to_owned(), args: vec!["list".to_owned()], stdin: None, timeout_ms: None };
    assert!(matches!(host.run(&list), Err(CommandError::Denied(_))));
    host.on_command(|invocation| {
        let stdout = invocation.args.join("+");
        Ok(Output { status: ExitStatus::Code(0), stdout, stderr: String::new(), truncated: false })
    });
    assert_eq!(host.run(&list).unwrap().stdout, "list");
    assert_eq!(host.calls(), ["command.run zfs list", "command.run zfs list"]);
}

#[test]
fn the_clock_stands_still_until_a_sleep_that_fits() {
    let host = FakeHost::new();
    host.set_remaining_ms(1_000);
    let begin = host.now_ms();
    assert!(host.sleep_ms(600));
    assert!(!host.sleep_ms(600));
    assert_eq!((host.now_ms() - begin, host.remaining_ms()), (600, 400));
}
