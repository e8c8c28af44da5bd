//! Restores: writable, beside the set, and released by handle or token.

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{DataRole, Error, Provider, RestoreDirectory, RestoreRequest, Restored};

use super::{Btrfs, config, create, list, machine};

pub(super) fn restore(host: &FakeHost, handle: &str) -> Result<Restored, Error> {
    let directory = |name: &str, role: DataRole| RestoreDirectory {
        name: name.to_owned(),
        role,
        path: format!("/asked/{name}"),
        root: None,
        last: Vec::new(),
    };
    let directories = vec![directory("data", DataRole::Data), directory("tablespace-16384", DataRole::Tablespace)];
    Btrfs::restore_set(host, &config(), RestoreRequest { handle: handle.to_owned(), token: "r1".to_owned(), directories })
}

#[test]
fn a_restore_is_writable_and_tells_where_each_directory_is() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    let restored = restore(&host, &set.handle).unwrap();
    let paths: Vec<&str> = restored.directories.iter().map(|directory| directory.path.as_str()).collect();
    assert_eq!(paths, ["/srv/snaps/restored-r1.1/15/main", "/fast/snaps/restored-r1.0/a"]);
    assert!(!btrfs.0.borrow().subvolumes["/srv/snaps/restored-r1.1"].is_read_only);
    assert_eq!(restore(&host, &set.handle).unwrap(), restored, "the same token again is the same restore");
    for _ in 0..2 {
        Btrfs::release(&host, &config(), &restored.handle).unwrap();
        assert_eq!(btrfs.snapshots(), ["/fast/snaps/b1.0", "/srv/snaps/b1.1"]);
    }
}

#[test]
fn a_restore_that_fails_leaves_the_set_and_nothing_else() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    btrfs.fail("snapshot /fast/snaps/b1.0", "ERROR: No space left on device");
    assert!(matches!(restore(&host, &set.handle), Err(Error::Exhausted(_))));
    assert_eq!(btrfs.snapshots(), ["/fast/snaps/b1.0", "/srv/snaps/b1.1"]);
}

#[test]
fn refuses_to_leave_out_a_tablespace_or_to_invent_one() {
    let (host, _) = machine();
    let set = create(&host, "b1").unwrap();
    let ask = |names: &[&str]| {
        let directory = |name: &&str| RestoreDirectory {
            name: (*name).to_owned(),
            role: DataRole::Tablespace,
            path: format!("/asked/{name}"),
            root: None,
            last: Vec::new(),
        };
        let directories = names.iter().map(directory).collect();
        Btrfs::restore_set(&host, &config(), RestoreRequest { handle: set.handle.clone(), token: "r1".to_owned(), directories })
    };
    assert!(matches!(ask(&["data"]), Err(Error::Invalid(_))));
    assert!(matches!(ask(&["data", "tablespace-16384", "tablespace-9"]), Err(Error::Invalid(_))));
}

#[test]
fn a_wal_directory_that_was_a_subvolume_is_not_left_as_one_that_nobody_can_write() {
    let (host, btrfs) = machine();
    btrfs.subvolume("/srv/pg/15/main/pg_wal");
    let set = create(&host, "b1").unwrap();
    assert!(btrfs.0.borrow().placeholders.contains("/srv/snaps/b1.1/15/main/pg_wal"));
    restore(&host, &set.handle).unwrap();
    let placeholders = btrfs.0.borrow().placeholders.clone();
    assert!(placeholders.iter().all(|place| place.starts_with("/srv/snaps/b1.1/")), "{placeholders:?}");
}

#[test]
fn a_restore_never_takes_a_place_that_is_taken_and_never_removes_what_is_there() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    let other = create(&host, "restored-r1").unwrap();
    let there = btrfs.snapshots();
    assert_eq!(restore(&host, &set.handle), Err(Error::Conflict("/srv/snaps/restored-r1.1".to_owned())));
    Btrfs::release(&host, &config(), "r1").unwrap();
    assert_eq!(btrfs.snapshots(), there);
    assert_eq!(list(&host), [set, other]);
}

#[test]
fn a_subvolume_that_was_made_within_a_restore_is_in_use() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    restore(&host, &set.handle).unwrap();
    btrfs.subvolume("/srv/snaps/restored-r1.1/mine");
    assert!(matches!(Btrfs::release(&host, &config(), "r1"), Err(Error::InUse(_))));
}
