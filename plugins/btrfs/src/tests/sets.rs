//! Sets: made once, told, deleted.

use stillframe_sdk::{Deletion, Error, MemberState, Provider, SetReference, parse_config};

use super::{Btrfs, Config, config, create, list, machine, request, volumes};

#[test]
fn a_set_is_one_read_only_snapshot_of_each_subvolume_in_cutting_order() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    assert_eq!(btrfs.snapshots(), ["/fast/snaps/b1.0", "/srv/snaps/b1.1"]);
    assert!(btrfs.0.borrow().subvolumes["/srv/snaps/b1.1"].is_read_only);
    let members: Vec<_> = set.members.iter().map(|member| (member.volume.as_str(), &member.state)).collect();
    assert_eq!(members, [("/fast/space", &MemberState::Ready), ("/srv/pg", &MemberState::Ready)]);
    assert!(set.isolated && !set.atomic, "two subvolumes are two instants");
    assert_eq!(list(&host), [set]);
}

#[test]
fn one_subvolume_is_atomic() {
    let (host, _) = machine();
    let mut request = request(&host, "b1");
    request.volumes.remove(0);
    assert!(Btrfs::create_set(&host, &config(), request).unwrap().atomic);
}

#[test]
fn the_same_request_again_is_the_same_set_and_another_one_of_its_name_a_conflict() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    let taken = btrfs.snapshots();
    assert_eq!(create(&host, "b1").unwrap(), set);
    let mut other = request(&host, "b1");
    other.token = "another".to_owned();
    assert_eq!(Btrfs::create_set(&host, &config(), other), Err(Error::Conflict("b1".to_owned())));
    assert_eq!(btrfs.snapshots(), taken);
}

#[test]
fn never_makes_a_snapshot_inside_a_directory_of_the_same_name() {
    let (host, btrfs) = machine();
    btrfs.directory("/srv/snaps/b1.1");
    assert_eq!(create(&host, "b1"), Err(Error::Conflict("/srv/snaps/b1.1".to_owned())));
    assert!(btrfs.snapshots().is_empty() && list(&host).is_empty());
}

#[test]
fn a_snapshot_that_fails_takes_the_others_with_it() {
    let (host, btrfs) = machine();
    let request = request(&host, "b1");
    btrfs.fail("snapshot -r /srv/pg", "ERROR: cannot snapshot '/srv/pg': No space left on device");
    let error = Btrfs::create_set(&host, &config(), request).unwrap_err();
    assert!(matches!(error, Error::Exhausted(_)), "{error:?}");
    assert!(btrfs.snapshots().is_empty() && list(&host).is_empty());
}

#[test]
fn a_deleted_set_leaves_nothing_and_is_absent_afterwards() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    assert_eq!(Btrfs::delete_set(&host, &config(), &set.handle), Ok(Deletion::Deleted));
    assert!(btrfs.snapshots().is_empty());
    assert_eq!(Btrfs::delete_set(&host, &config(), &set.handle), Ok(Deletion::Absent));
    assert_eq!(Btrfs::get_set(&host, &config(), SetReference::Token(set.token)), Ok(None));
}

#[test]
fn a_user_without_the_right_to_delete_is_told_what_to_do_and_the_set_stays() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    btrfs.fail("delete", "ERROR: Could not destroy subvolume/snapshot: Operation not permitted");
    let Err(Error::Denied(text)) = Btrfs::delete_set(&host, &config(), &set.handle) else { panic!("deleted") };
    assert!(text.contains("user_subvol_rm_allowed"), "{text}");
    assert_eq!(list(&host).len(), 1);
    assert_eq!(Btrfs::delete_set(&host, &config(), &set.handle), Ok(Deletion::Deleted));
}

#[test]
fn a_snapshot_that_somebody_removed_is_failed() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    btrfs.0.borrow_mut().subvolumes.remove("/fast/snaps/b1.0");
    let found = Btrfs::get_set(&host, &config(), SetReference::Handle(set.handle)).unwrap().unwrap();
    assert!(matches!(found.members[0].state, MemberState::Failed(_)));
    assert_eq!(found.members[1].state, MemberState::Ready);
}

#[test]
fn a_file_system_that_is_not_mounted_proves_no_absence() {
    let (host, btrfs) = machine();
    let set = create(&host, "b1").unwrap();
    let hidden = |prefix: &str| btrfs.0.borrow_mut().subvolumes.retain(|path, _| !path.starts_with(prefix));
    hidden("/fast/snaps");
    let Err(Error::Invalid(argument)) = Btrfs::get_set(&host, &config(), SetReference::Handle(set.handle.clone())) else {
        panic!("told of a set that cannot be seen")
    };
    assert!(argument.message.contains("`/fast/snaps`"), "{}", argument.message);
    assert!(Btrfs::delete_set(&host, &config(), &set.handle).is_err());
    hidden("/srv/snaps");
    host.remove_root("snapshots");
    host.add_root("snapshots");
    assert!(Btrfs::get_set(&host, &config(), SetReference::Token(set.token)).is_err());
    assert!(Btrfs::delete_set(&host, &config(), &set.handle).is_err());
    assert!(Btrfs::list_sets(&host, &config(), "main/42", None).is_err());
}

#[test]
fn a_later_backup_onto_a_root_without_its_marker_is_refused() {
    let (host, btrfs) = machine();
    create(&host, "b1").unwrap();
    let volumes = volumes(&host);
    btrfs.0.borrow_mut().subvolumes.remove("/fast/snaps/stillframe-snapshots");
    let mut later = request(&host, "b2");
    later.volumes = volumes;
    assert!(matches!(Btrfs::create_set(&host, &config(), later), Err(Error::Invalid(_))));
}

#[test]
fn a_clock_that_was_set_back_during_a_cut_does_not_hide_the_set() {
    let (host, _) = machine();
    let set = create(&host, "b1").unwrap();
    let record = host.content("snapshots", "records/b1.json").unwrap();
    let (begin, end) = (format!("\"cut_begin_ms\": {}", set.cut_begin_ms), format!("\"cut_begin_ms\": {}", set.cut_end_ms + 5_000));
    assert!(record.contains(&begin));
    host.put("snapshots", "records/b1.json", &record.replace(&begin, &end));
    let [found] = &list(&host)[..] else { panic!("hidden") };
    assert!(found.cut_begin_ms <= found.cut_end_ms);
}

#[test]
fn no_answer_about_a_set_breaks_a_bound_however_long_the_root_is() {
    let (host, btrfs) = machine();
    let root = format!("/srv/{}", "x".repeat(251));
    btrfs.directory(&root);
    let at = |root: &str| parse_config::<Config>(&format!(r#"{{"root":"{root}","other_roots":["/fast/snaps"]}}"#)).unwrap();
    let volumes = Btrfs::resolve(&host, &at(&root), super::paths()).unwrap();
    let request = stillframe_sdk::CreateRequest { volumes, ..request(&host, "b1") };
    let set = Btrfs::create_set(&host, &at(&root), request).unwrap();
    let values = set.members.iter().flat_map(|member| &member.attributes).map(|(_, value)| value.len());
    assert!(values.chain(set.labels.iter().map(|(_, value)| value.len())).all(|length| length <= 256));
    assert!(matches!(Btrfs::check(&host, &at(&format!("{root}x"))), Err(Error::Invalid(argument)) if argument.field == "root"));
}
