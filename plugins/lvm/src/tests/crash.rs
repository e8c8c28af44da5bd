//! Killed at every effect, before and after it takes hold: what is told afterwards is true, and the next call finishes.

use stillframe_sdk::testing::Kill;
use stillframe_sdk::{Deletion, MemberState};

use super::{Machine, is_ready, machine};

/// More effects than any operation here has.
const ENOUGH: usize = 60;

/// Runs `scene` with a kill at each effect in turn until the operation ends unharmed; returns how many effects it has.
fn at_each_effect(scene: impl Fn(&Machine, usize, Kill) -> bool) -> usize {
    for kill in [Kill::Before, Kill::After] {
        for effect in 0..ENOUGH {
            if !scene(&machine(), effect, kill) {
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

/// A set that is told as ready has all its snapshots; every snapshot belongs to a set that is told and listed.
fn told_is_true(machine: &Machine, name: &str) {
    let there = machine.ours().iter().filter(|id| id.contains(&format!("stillframe_backup.{name}."))).count();
    let told = machine.by_token(name);
    match &told {
        Some(set) if is_ready(set) => assert_eq!(there, 3),
        Some(set) => {
            let present = set.members.iter().filter(|member| member.state != MemberState::Absent).count();
            assert_eq!(present, there, "{set:?}");
        }
        None => assert_eq!(there, 0),
    }
    assert_eq!(machine.listed().into_iter().find(|set| set.name == name), told);
    machine.origins_are_unharmed();
}

#[test]
fn a_killed_creation_is_known_and_the_same_request_finishes_it() {
    let effects = at_each_effect(|machine, effect, kill| {
        let killed = machine.host.kill_at(effect, kill, |_| machine.create("b1")).is_none();
        told_is_true(machine, "b1");
        if machine.by_token("b1").is_some_and(|set| is_ready(&set)) {
            assert!(!killed || effect >= 6, "only the mark makes it ready");
        }
        assert!(is_ready(&machine.create("b1").unwrap()), "{effect} {kill:?}");
        assert_eq!(machine.ours().len(), 3);
        killed
    });
    assert_eq!(effects, 8, "three looks, three cuts, the mark, and a look");
}

#[test]
fn a_killed_creation_can_be_deleted_instead() {
    at_each_effect(|machine, effect, kill| {
        let killed = machine.host.kill_at(effect, kill, |_| machine.create("b1")).is_none();
        match machine.by_token("b1") {
            Some(set) => assert_eq!(machine.delete(&set.handle), Ok(Deletion::Deleted)),
            None => assert_eq!(machine.delete("b1:token-b1"), Ok(Deletion::Absent)),
        }
        assert!(machine.ours().is_empty());
        assert_eq!(machine.by_token("b1"), None);
        machine.origins_are_unharmed();
        killed
    });
}

#[test]
fn a_killed_deletion_is_finished_by_the_next_and_harms_no_other_set() {
    let effects = at_each_effect(|machine, effect, kill| {
        let (first, second) = (machine.create("b1").unwrap(), machine.create("b2").unwrap());
        let killed = machine.host.kill_at(effect, kill, |_| machine.delete(&first.handle)).is_none();
        told_is_true(machine, "b1");
        assert!(matches!(machine.delete(&first.handle).unwrap(), Deletion::Deleted | Deletion::Absent));
        assert_eq!(machine.delete(&first.handle), Ok(Deletion::Absent));
        assert_eq!(machine.by_handle(&second), Some(second));
        assert_eq!(machine.ours().len(), 3);
        killed
    });
    assert_eq!(effects, 4, "a look and three removals");
}

#[test]
fn a_killed_restore_is_finished_by_the_same_request_or_released_by_its_token() {
    let effects = at_each_effect(|machine, effect, kill| {
        let set = machine.create("b1").unwrap();
        let killed = machine.host.kill_at(effect, kill, |_| machine.restore(&set, "r1")).is_none();
        assert_eq!(machine.by_handle(&set), Some(set.clone()));
        machine.restore(&set, "r1").unwrap();
        for (index, content) in [("0", "rows"), ("2", "more rows")] {
            let point = format!("/run/stillframe/mnt/r1/{index}");
            assert_eq!(machine.lvm.borrow().content_at(&point).as_deref(), Some(content), "{effect} {kill:?}");
        }
        assert_eq!(machine.lvm.borrow().mounts.mounts.len(), 2);
        killed
    });
    assert_eq!(
        effects, 15,
        "two looks, a clone and its mount, a volume, three pieces, a look, the mark, its mount, and a look at each mount"
    );
    at_each_effect(|machine, effect, kill| {
        let set = machine.create("b1").unwrap();
        let killed = machine.host.kill_at(effect, kill, |_| machine.restore(&set, "r1")).is_none();
        machine.release("r1").unwrap();
        is_released(machine);
        assert_eq!(machine.by_handle(&set), Some(set));
        killed
    });
}

#[test]
fn a_killed_release_is_finished_by_the_next() {
    at_each_effect(|machine, effect, kill| {
        let set = machine.create("b1").unwrap();
        machine.restore(&set, "r1").unwrap();
        let killed = machine.host.kill_at(effect, kill, |_| machine.release("r1")).is_none();
        machine.release("r1").unwrap();
        is_released(machine);
        assert_eq!(machine.by_handle(&set), Some(set));
        killed
    });
}

fn is_released(machine: &Machine) {
    assert_eq!(machine.ours().len(), 3);
    let lvm = machine.lvm.borrow();
    assert!(lvm.mounts.mounts.is_empty() && !lvm.mounts.directories.contains("/run/stillframe/mnt/r1"));
}
