//! A clone that becomes the primary storage: `zfs promote` moves the snapshots, and they stay ours.

use stillframe_sdk::{Deletion, Error, MemberState, Provider, RestoreRequest};

use super::{TOKEN, ZfsProvider, by_handle, create, create_of_two, defaults, delete, is_ready, listed, pools, release, restore};

#[test]
fn a_promoted_clone_is_never_released_and_the_moved_snapshot_is_found() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let later = create(&host, "b2").unwrap();
    restore(&host, &set).unwrap();
    let clone = format!("tank/stillframe/{TOKEN}-1");
    fake.by_hand(&format!("promote {clone}"));
    let error = release(&host, TOKEN).unwrap_err();
    assert!(matches!(&error, Error::InUse(text) if text.contains("promoted") && text.contains("zfs inherit")), "{error:?}");
    let moved = by_handle(&host, &set).unwrap();
    assert!(is_ready(&moved));
    assert_eq!(moved.members[1].id, format!("{clone}@b1"));
    assert!(is_ready(&by_handle(&host, &later).unwrap()));
    assert_eq!(listed(&host).len(), 2);
    let error = delete(&host, &set).unwrap_err();
    assert!(matches!(&error, Error::InUse(text) if text.contains("tank/pg")), "{error:?}");
}

#[test]
fn after_the_swap_of_names_every_set_is_restored_from_its_own_snapshot() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    let later = create(&host, "b2").unwrap();
    restore(&host, &set).unwrap();
    fake.by_hand(&format!("promote tank/stillframe/{TOKEN}-1"));
    fake.by_hand("rename tank/pg tank/wal/old");
    fake.by_hand(&format!("rename tank/stillframe/{TOKEN}-1 tank/pg"));
    release(&host, TOKEN).unwrap();
    assert_eq!(by_handle(&host, &set).unwrap().members[1].id, "tank/pg@b1");
    assert_eq!(by_handle(&host, &later).unwrap().members[1].id, "tank/wal/old@b2");
    let directories = vec![super::directory("data", stillframe_sdk::DataRole::Data)];
    let request = RestoreRequest { handle: later.handle.clone(), token: "second".to_owned(), directories };
    ZfsProvider::restore_set(&host, &defaults(), request).unwrap();
    let origin = fake.state(|state| state.datasets["tank/stillframe/second-1"].origin.clone());
    assert_eq!(origin.as_deref(), Some("tank/wal/old@b2"));
    release(&host, "second").unwrap();
    assert_eq!(delete(&host, &later), Ok(Deletion::Deleted));
}

#[test]
fn when_two_were_moved_nobody_guesses_which_is_which_and_all_are_deleted() {
    let (fake, host) = pools();
    let set = create(&host, "b1").unwrap();
    fake.by_hand("rename tank/pg tank/stillframe/a");
    fake.by_hand("rename tank/wal tank/stillframe/b");
    fake.state(|state| {
        state.add("tank/pg");
        state.add("tank/wal");
    });
    let found = by_handle(&host, &set).unwrap();
    for member in &found.members {
        let MemberState::Failed(reason) = &member.state else { panic!("{member:?}") };
        assert!(reason.contains("tank/stillframe/a@b1") && reason.contains("tank/stillframe/b@b1"), "{reason}");
    }
    assert!(matches!(restore(&host, &set), Err(Error::Invalid(argument)) if argument.field == "handle"));
    assert_eq!(delete(&host, &set), Ok(Deletion::Deleted));
    assert!(fake.snapshots().is_empty());
}

#[test]
fn a_restore_of_a_moved_snapshot_clones_it_where_it_is() {
    let (fake, host) = pools();
    let set = create_of_two(&host, "b1").unwrap();
    restore(&host, &set).unwrap();
    fake.by_hand(&format!("promote tank/stillframe/{TOKEN}-2"));
    let directories = vec![
        super::directory("data", stillframe_sdk::DataRole::Data),
        super::directory("tablespace-16384", stillframe_sdk::DataRole::Tablespace),
    ];
    let request = RestoreRequest { handle: set.handle, token: "second".to_owned(), directories };
    ZfsProvider::restore_set(&host, &defaults(), request).unwrap();
    let origin = fake.state(|state| state.datasets["tank/stillframe/second-2"].origin.clone());
    assert_eq!(origin, Some(format!("tank/stillframe/{TOKEN}-2@b1")));
}
