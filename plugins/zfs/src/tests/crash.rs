//! Killed at every command, before and after it takes hold: what is told afterwards is true, and the next call finishes.

use stillframe_sdk::testing::{FakeHost, Kill};
use stillframe_sdk::{Deletion, Host, LockMode, MemberState, Provider};

use super::fake::Fake;
use super::{
    TOKEN, ZfsProvider, by_handle, by_token, create_and_look, create_of_two, defaults, delete, is_ready, listed, pools, release,
    request_of_two, restore,
};

/// More commands than any operation here has.
const ENOUGH: usize = 60;

/// Runs `scene` with a kill at each command in turn until the operation ends unharmed; returns how many commands it has.
fn at_each_command(scene: impl Fn(usize, Kill) -> bool) -> usize {
    for kill in [Kill::Before, Kill::After] {
        for command in 0..ENOUGH {
            if !scene(command, kill) {
                assert!(command > 0);
                if kill == Kill::After {
                    return command;
                }
                break;
            }
        }
    }
    panic!("the operation never ended");
}

/// Every snapshot that is there is told, and what is told as ready is there.
fn told_is_true(fake: &Fake, host: &FakeHost) {
    let mut told: Vec<String> = Vec::new();
    for set in listed(host) {
        for member in set.members {
            match member.state {
                MemberState::Ready => {
                    assert_eq!(fake.holds(&member.id), ["stillframe"]);
                    told.push(member.id);
                }
                MemberState::Cut => told.push(member.id),
                MemberState::Absent => assert!(!fake.snapshots().contains(&member.id)),
                other => panic!("{other:?}"),
            }
        }
    }
    told.sort_unstable();
    assert_eq!(told, fake.snapshots());
}

#[test]
fn a_killed_creation_is_known_and_the_same_request_finishes_it() {
    let commands = at_each_command(|command, kill| {
        let (fake, host) = pools();
        let request = request_of_two(&host, "b1");
        let killed = host.kill_at(command, kill, |host| ZfsProvider::create_set(host, &defaults(), request.clone())).is_none();
        told_is_true(&fake, &host);
        host.advance_ms(1_000);
        assert!(is_ready(&create_and_look(&host, request).unwrap()), "{command} {kill:?}");
        assert_eq!(fake.snapshots(), ["fast/ts@b1", "tank/pg@b1", "tank/wal@b1"]);
        for snapshot in fake.snapshots() {
            assert_eq!(fake.holds(&snapshot), ["stillframe"], "{command} {kill:?}");
        }
        let begins =
            fake.state(|state| state.snapshots.values().map(|one| one.local["stillframe:begin"].clone()).collect::<Vec<_>>());
        assert!(begins.iter().all(|begin| *begin == begins[0]), "{begins:?}");
        killed
    });
    assert_eq!(commands, 2, "two pools");
}

#[test]
fn a_killed_first_look_is_finished_by_the_next_or_the_set_is_deleted() {
    for is_finished in [true, false] {
        let commands = at_each_command(|command, kill| {
            let (fake, host) = pools();
            let cut = ZfsProvider::create_set(&host, &defaults(), request_of_two(&host, "b1")).unwrap();
            let killed = host.kill_at(command, kill, |host| by_handle(host, &cut)).is_none();
            told_is_true(&fake, &host);
            if is_finished {
                assert!(is_ready(&by_handle(&host, &cut).unwrap()));
                told_is_true(&fake, &host);
            }
            assert_eq!(delete(&host, &cut), Ok(Deletion::Deleted), "{command} {kill:?}");
            assert!(fake.snapshots().is_empty());
            killed
        });
        assert_eq!(commands, 6, "five questions, and the holds");
    }
}

#[test]
fn a_killed_creation_can_be_deleted_instead() {
    at_each_command(|command, kill| {
        let (fake, host) = pools();
        let killed = host.kill_at(command, kill, |host| create_of_two(host, "b1")).is_none();
        if let Some(set) = by_token(&host, "b1") {
            assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
        }
        assert!(fake.snapshots().is_empty(), "{command} {kill:?}");
        killed
    });
}

#[test]
fn a_killed_removal_of_what_an_attempt_left_is_finished_by_the_next() {
    at_each_command(|command, kill| {
        let (fake, host) = pools();
        let request = request_of_two(&host, "b1");
        assert!(host.kill_at(0, Kill::After, |host| ZfsProvider::create_set(host, &defaults(), request.clone())).is_none());
        host.advance_ms(1_000);
        let killed = host.kill_at(command, kill, |host| ZfsProvider::create_set(host, &defaults(), request.clone())).is_none();
        told_is_true(&fake, &host);
        host.advance_ms(1_000);
        assert!(is_ready(&create_and_look(&host, request).unwrap()), "{command} {kill:?}");
        assert_eq!(fake.snapshots().len(), 3);
        killed
    });
}

#[test]
fn a_killed_deletion_is_finished_by_the_next_and_harms_no_other_set() {
    let commands = at_each_command(|command, kill| {
        let (fake, host) = pools();
        let other = create_of_two(&host, "b0").unwrap();
        let set = create_of_two(&host, "b1").unwrap();
        let killed = host.kill_at(command, kill, |host| delete(host, &set)).is_none();
        told_is_true(&fake, &host);
        let again = delete(&host, &set).unwrap();
        assert!(matches!(again, Deletion::Deleted | Deletion::Absent));
        assert_eq!(delete(&host, &set), Ok(Deletion::Absent));
        assert_eq!(by_handle(&host, &other).unwrap().members, other.members);
        assert_eq!(fake.snapshots().len(), 3);
        killed
    });
    assert_eq!(commands, 11, "five questions, and two commands for each of three snapshots");
}

#[test]
fn a_killed_restore_is_finished_or_released() {
    for is_finished in [true, false] {
        at_each_command(|command, kill| {
            let (fake, host) = pools();
            let set = create_of_two(&host, "b1").unwrap();
            let killed = host.kill_at(command, kill, |host| restore(host, &set)).is_none();
            if is_finished {
                let restored = restore(&host, &set).unwrap();
                assert!(restored.handle.starts_with(TOKEN));
                assert!(fake.state(|state| state.datasets[&format!("tank/stillframe/{TOKEN}-2")].is_mounted));
            }
            release(&host, TOKEN).unwrap();
            assert!(fake.below("tank/stillframe").is_empty() && fake.below("fast/stillframe").is_empty(), "{command} {kill:?}");
            assert_eq!(by_handle(&host, &set).unwrap().members, set.members);
            killed
        });
    }
}

#[test]
fn a_killed_release_is_finished_by_the_next() {
    at_each_command(|command, kill| {
        let (fake, host) = pools();
        let set = create_of_two(&host, "b1").unwrap();
        restore(&host, &set).unwrap();
        let killed = host.kill_at(command, kill, |host| release(host, TOKEN)).is_none();
        release(&host, TOKEN).unwrap();
        assert!(fake.below("tank/stillframe").is_empty() && fake.below("fast/stillframe").is_empty());
        killed
    });
}

#[test]
fn a_killed_prolongation_never_leaves_a_shorter_lock() {
    at_each_command(|command, kill| {
        let (fake, host) = pools();
        let set = create_of_two(&host, "b1").unwrap();
        let lock = |host: &FakeHost, until| ZfsProvider::lock_set(host, &defaults(), &set.handle, LockMode::Governance, until);
        let now = host.now_ms();
        lock(&host, now + 10).unwrap();
        let killed = host.kill_at(command, kill, |host| lock(host, now + 20)).is_none();
        for snapshot in fake.snapshots() {
            assert!(fake.holds(&snapshot).iter().any(|tag| tag.starts_with("stillframe:lock:")), "{command} {kill:?}");
        }
        lock(&host, now + 20).unwrap();
        for snapshot in fake.snapshots() {
            assert_eq!(fake.holds(&snapshot), ["stillframe".to_owned(), format!("stillframe:lock:{}", now + 20)]);
        }
        killed
    });
}
