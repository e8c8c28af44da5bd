//! Killed at every effect, before and after it takes hold: what is told afterwards is true, and nothing is left that nobody knows.

use stillframe_sdk::testing::{FakeHost, Kill};
use stillframe_sdk::{Deletion, MemberState, Provider};

use super::{Cloud, Ebs, by_token, create, defaults, request, restore_request, with_set};

/// More effects than any operation here has.
const ENOUGH: usize = 200;

/// Runs `scene` with a kill at each effect in turn, until the operation ends unharmed.
fn at_each_effect(scene: impl Fn(usize, Kill) -> bool) {
    for kill in [Kill::Before, Kill::After] {
        let effects = (0..ENOUGH).find(|effect| !scene(*effect, kill));
        assert!(effects.is_some_and(|effects| effects > 2), "{effects:?}");
    }
}

/// Everything in the cloud is told, by token and in the listing, and can be deleted.
fn all_is_accounted_for(cloud: &Cloud, host: &FakeHost) {
    let there = cloud.cut().len();
    let told = by_token(host, "b1");
    let listed = Ebs::list_sets(host, &defaults(), "main/74", None).unwrap().sets;
    assert_eq!(told.is_some(), there > 0);
    assert_eq!(listed.len(), usize::from(there > 0));
    if let Some(set) = told {
        let seen = set.members.iter().filter(|member| member.state == MemberState::Ready).count();
        assert_eq!(seen, there.min(2), "{set:?}");
        assert_eq!(Ebs::delete_set(host, &defaults(), &set.handle), Ok(Deletion::Deleted));
    }
    assert!(cloud.cut().is_empty());
    assert_eq!(by_token(host, "b1"), None);
}

#[test]
fn a_killed_creation_is_accounted_for() {
    for apart in [false, true] {
        at_each_effect(|effect, kill| {
            let cloud = Cloud::default();
            let host = cloud.host();
            let asked = request(&host, "b1", super::paths());
            if apart {
                cloud.add_volume("b", None);
            }
            let killed = host.kill_at(effect, kill, |host| Ebs::create_set(host, &defaults(), asked)).is_none();
            all_is_accounted_for(&cloud, &host);
            killed
        });
    }
}

#[test]
fn a_killed_creation_can_be_repeated() {
    for apart in [false, true] {
        at_each_effect(|effect, kill| {
            let cloud = Cloud::default();
            let host = cloud.host();
            let asked = request(&host, "b1", super::paths());
            if apart {
                cloud.add_volume("b", None);
            }
            let killed = host.kill_at(effect, kill, |host| Ebs::create_set(host, &defaults(), asked.clone())).is_none();
            let set = Ebs::create_set(&host, &defaults(), asked).unwrap();
            assert_eq!(cloud.cut().len(), 2, "{effect} {kill:?}");
            assert_eq!(by_token(&host, "b1"), Some(set));
            killed
        });
    }
}

#[test]
fn a_killed_deletion_is_finished_by_the_next() {
    at_each_effect(|effect, kill| {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        let other = create(&host, "b2").unwrap();
        let killed = host.kill_at(effect, kill, |host| Ebs::delete_set(host, &defaults(), &set.handle)).is_none();
        let again = Ebs::delete_set(&host, &defaults(), &set.handle).unwrap();
        assert!(matches!(again, Deletion::Deleted | Deletion::Absent));
        assert_eq!(cloud.cut().len(), 2);
        assert_eq!(by_token(&host, "b2").unwrap().handle, other.handle);
        killed
    });
}

#[test]
fn a_killed_restore_is_released_by_its_token_alone() {
    at_each_effect(|effect, kill| {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        let killed = host.kill_at(effect, kill, |host| Ebs::restore_set(host, &defaults(), restore_request(&set))).is_none();
        Ebs::release(&host, &defaults(), "r-1").unwrap();
        assert!(cloud.restored().is_empty(), "{effect} {kill:?}");
        cloud.world(|world| {
            assert!(world.mounts.mounts.is_empty());
            assert!(!world.mounts.directories.iter().any(|path| path.contains("r-1")), "{:?}", world.mounts.directories);
        });
        killed
    });
}

#[test]
fn a_killed_restore_can_be_repeated() {
    at_each_effect(|effect, kill| {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        let killed = host.kill_at(effect, kill, |host| Ebs::restore_set(host, &defaults(), restore_request(&set))).is_none();
        Ebs::restore_set(&host, &defaults(), restore_request(&set)).unwrap();
        assert_eq!(cloud.restored().len(), 1, "{effect} {kill:?}");
        cloud.world(|world| assert_eq!(world.mounts.mounts.len(), 1));
        killed
    });
}

#[test]
fn a_killed_release_is_finished_by_the_next() {
    at_each_effect(|effect, kill| {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        Ebs::restore_set(&host, &defaults(), restore_request(&set)).unwrap();
        let killed = host.kill_at(effect, kill, |host| Ebs::release(host, &defaults(), "r-1")).is_none();
        Ebs::release(&host, &defaults(), "r-1").unwrap();
        assert!(cloud.restored().is_empty());
        assert_eq!(cloud.cut().len(), 2);
        killed
    });
}
