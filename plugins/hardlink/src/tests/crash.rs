//! Killed at every effect, before and after it takes hold: what is told afterwards is true, and the next call finishes.

use stillframe_sdk::testing::{FakeHost, Kill};
use stillframe_sdk::{Deletion, MemberState, Provider, SetReference};

use super::{Hardlink, by_handle, by_token, complete, create, defaults, delete, host, is_ready, is_root, request, sets};

/// More effects than any operation here has.
const ENOUGH: usize = 50;

/// Runs `scene` with a kill at each effect in turn until the operation ends unharmed; returns how many effects it has.
fn at_each_effect(scene: impl Fn(usize, Kill) -> bool) -> usize {
    for kill in [Kill::Before, Kill::After] {
        for effect in 0..ENOUGH {
            if !scene(effect, kill) {
                assert!(effect > 0);
                if kill == Kill::After {
                    return effect;
                }
                break;
            }
        }
    }
    panic!("the operation never ended");
}

/// Whether the first creation was killed before it could make the marker. Then nothing was cut, and nothing is claimed.
fn nothing_is_claimed(host: &FakeHost, name: &str) -> bool {
    let answer = Hardlink::get_set(host, &defaults(), SetReference::Token(format!("token-{name}")));
    let unmarked = answer.is_err_and(|error| is_root(&error));
    if unmarked {
        assert!(host.paths("snapshots").is_empty());
        assert!(is_root(&delete(host, &format!("{name}:token-{name}")).unwrap_err()));
        assert!(is_root(&Hardlink::list_sets(host, &defaults(), "main", None).unwrap_err()));
    }
    unmarked
}

/// A set that is told as ready is complete; everything that is there is told.
fn told_is_true(host: &FakeHost, name: &str) {
    let there: Vec<String> = host.paths("snapshots").into_iter().filter(|path| path.starts_with(&format!("{name}/"))).collect();
    match by_token(host, name) {
        Some(set) if is_ready(&set) => assert_eq!(there, complete(name)),
        Some(set) => assert!(set.members.iter().all(|member| member.state != MemberState::Ready), "{set:?}"),
        // At most an empty directory.
        None => assert!(there.len() <= 1, "{there:?}"),
    }
    let listed = Hardlink::list_sets(host, &defaults(), "main", None).unwrap().sets;
    assert_eq!(listed.iter().any(|set| set.name == name), by_token(host, name).is_some());
}

#[test]
fn a_killed_creation_is_known_and_the_same_request_finishes_it() {
    let effects = at_each_effect(|effect, kill| {
        let host = host();
        let killed = host.kill_at(effect, kill, |host| create(host, "b1")).is_none();
        assert_eq!(nothing_is_claimed(&host, "b1"), killed && (effect, kill) == (0, Kill::Before));
        if !nothing_is_claimed(&host, "b1") {
            told_is_true(&host, "b1");
        }
        assert!(is_ready(&create(&host, "b1").unwrap()), "{effect} {kill:?}");
        assert_eq!(sets(&host), complete("b1"), "{effect} {kill:?}");
        killed
    });
    assert_eq!(effects, 6, "the marker, two records and three trees");
}

#[test]
fn a_killed_creation_can_be_deleted_instead() {
    at_each_effect(|effect, kill| {
        let host = host();
        let killed = host.kill_at(effect, kill, |host| create(host, "b1")).is_none();
        if nothing_is_claimed(&host, "b1") {
            return killed;
        }
        match by_token(&host, "b1") {
            Some(set) => assert_eq!(delete(&host, &set.handle), Ok(Deletion::Deleted)),
            None => assert_eq!(delete(&host, "b1:token-b1"), Ok(Deletion::Absent)),
        }
        assert!(sets(&host).len() <= 1, "{:?}", sets(&host));
        assert_eq!(by_token(&host, "b1"), None);
        killed
    });
}

#[test]
fn a_killed_deletion_is_finished_by_the_next_and_harms_no_other_set() {
    let effects = at_each_effect(|effect, kill| {
        let host = host();
        let first = create(&host, "b1").unwrap();
        let mut next = request("b2");
        next.previous = Some(first.handle.clone());
        let second = Hardlink::create_set(&host, &defaults(), next).unwrap();
        let killed = host.kill_at(effect, kill, |host| delete(host, &first.handle)).is_none();
        told_is_true(&host, "b1");
        if let Some(left) = by_handle(&host, &first) {
            let begun = left.members.iter().all(|member| matches!(member.state, MemberState::Deleting | MemberState::Absent));
            assert!(begun || is_ready(&left), "{left:?}");
        }
        let again = delete(&host, &first.handle).unwrap();
        assert!(matches!(again, Deletion::Deleted | Deletion::Absent));
        assert_eq!(delete(&host, &first.handle), Ok(Deletion::Absent));
        assert_eq!(sets(&host), complete("b2"));
        assert_eq!(by_handle(&host, &second), Some(second));
        killed
    });
    assert_eq!(effects, 5, "the mark, three trees, and the record with its directory");
}

#[test]
fn a_set_whose_deletion_was_begun_serves_nobody() {
    let host = host();
    let first = create(&host, "b1").unwrap();
    assert!(host.kill_at(0, Kill::After, |host| delete(host, &first.handle)).is_none());
    let mut next = request("b2");
    next.previous = Some(first.handle.clone());
    let second = Hardlink::create_set(&host, &defaults(), next).unwrap();
    assert!(second.members[0].attributes.contains(&("files-linked".to_owned(), "0".to_owned())));
    let restore =
        stillframe_sdk::RestoreRequest { handle: first.handle, token: "r".to_owned(), directories: super::targets(&host) };
    assert!(Hardlink::restore_set(&host, &defaults(), restore).is_err());
}

#[test]
fn a_killed_restore_never_leaves_a_control_file_without_the_rest() {
    at_each_effect(|effect, kill| {
        let host = host();
        let set = create(&host, "b1").unwrap();
        let directories = super::targets(&host);
        let request = stillframe_sdk::RestoreRequest { handle: set.handle.clone(), token: "r".to_owned(), directories };
        let killed = host.kill_at(effect, kill, |host| Hardlink::restore_set(host, &defaults(), request)).is_none();
        if host.content("target-data", "global/pg_control").is_some() {
            assert!(host.content("target-tablespace-16384", "PG_15/5/16385").is_some());
        }
        assert_eq!(by_handle(&host, &set), Some(set));
        killed
    });
}
