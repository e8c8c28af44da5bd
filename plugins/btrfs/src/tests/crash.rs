//! The provider is killed at each of its effects, before and after it takes hold: whatever is left is told of, and can be removed.

use std::collections::BTreeSet;

use stillframe_sdk::testing::{FakeHost, Kill};
use stillframe_sdk::{Deletion, Provider, SetReference};

use super::fake::FakeBtrfs;
use super::restore::restore;
use super::{Btrfs, config, create, list, machine};

/// Runs once for each effect and kind of kill, until the run is no longer killed; gives how many there were.
fn at_each_effect(prepare: impl Fn(&FakeHost), run: impl Fn(&FakeHost), check: impl Fn(&FakeHost, &FakeBtrfs)) -> usize {
    for effect in 0.. {
        let mut was_killed = false;
        for kill in [Kill::Before, Kill::After] {
            let (host, btrfs) = machine();
            prepare(&host);
            was_killed |= host.kill_at(effect, kill, &run).is_none();
            check(&host, &btrfs);
        }
        if !was_killed {
            return effect;
        }
    }
    unreachable!("the run has an end");
}

fn told(host: &FakeHost) -> BTreeSet<String> {
    list(host).into_iter().flat_map(|set| set.members).map(|member| member.id).collect()
}

#[test]
fn no_snapshot_is_unaccounted_for_wherever_a_creation_is_killed() {
    let effects = at_each_effect(
        |_| (),
        |host| drop(create(host, "b1")),
        |host, btrfs| {
            let snapshots = btrfs.snapshots();
            if Btrfs::list_sets(host, &config(), "main/42", None).is_err() {
                assert!(snapshots.is_empty(), "killed before the marker");
                return;
            }
            assert!(snapshots.iter().all(|snapshot| told(host).contains(snapshot)), "{snapshots:?}");
            let found = Btrfs::get_set(host, &config(), SetReference::Token("token-b1".to_owned())).unwrap();
            assert!(found.is_some() || snapshots.is_empty());
            // The repetition makes it whole, the deletion removes it.
            let set = create(host, "b1").unwrap();
            assert_eq!(btrfs.snapshots().len(), 2);
            assert_eq!(Btrfs::delete_set(host, &config(), &set.handle), Ok(Deletion::Deleted));
            assert!(btrfs.snapshots().is_empty());
        },
    );
    assert!(effects > 6, "{effects}");
}

#[test]
fn a_deletion_that_is_killed_anywhere_ends_in_the_same_place_when_it_is_repeated() {
    let effects = at_each_effect(
        |host| drop(create(host, "b1").unwrap()),
        |host| drop(Btrfs::delete_set(host, &config(), "b1:token-b1")),
        |host, btrfs| {
            assert!(btrfs.snapshots().iter().all(|snapshot| told(host).contains(snapshot)));
            Btrfs::delete_set(host, &config(), "b1:token-b1").unwrap();
            assert!(btrfs.snapshots().is_empty() && list(host).is_empty());
        },
    );
    assert!(effects > 4, "{effects}");
}

#[test]
fn the_token_alone_removes_what_a_killed_restore_has_made() {
    let effects = at_each_effect(
        |host| drop(create(host, "b1").unwrap()),
        |host| drop(restore(host, "b1:token-b1")),
        |host, btrfs| {
            Btrfs::release(host, &config(), "r1").unwrap();
            assert_eq!(btrfs.snapshots(), ["/fast/snaps/b1.0", "/srv/snaps/b1.1"]);
        },
    );
    assert!(effects > 3, "{effects}");
}
