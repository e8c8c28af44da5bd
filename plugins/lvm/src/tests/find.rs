//! Finding sets, and how it is with them.

use stillframe_sdk::{Error, Level, MemberState, Provider, SetReference};

use super::fake::FakeVolume;
use super::{Lvm, config, defaults, is_ready, machine, paths};

#[test]
fn a_classic_snapshot_that_ran_full_has_failed_for_good() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().find_mut(&set.members[2].id).data_percent = "95.00".to_owned();
    let nearly = machine.by_handle(&set).unwrap();
    assert!(is_ready(&nearly), "it is whole until it is lost");
    assert!(nearly.members[2].attributes.contains(&("data-percent".to_owned(), "95.00".to_owned())));
    assert!(machine.host.messages().iter().any(|(level, text)| *level == Level::Warn && text.contains("95.00 %")));
    machine.lvm.borrow_mut().find_mut(&set.members[2].id).invalid = true;
    let failed = machine.by_handle(&set).unwrap();
    assert!(matches!(&failed.members[2].state, MemberState::Failed(reason) if reason.contains("classic_size")));
    assert_eq!((&failed.members[0].state, &failed.members[1].state), (&MemberState::Ready, &MemberState::Ready));
}

#[test]
fn a_snapshot_that_was_merged_or_split_has_failed() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().find_mut(&set.members[2].id).kind = super::fake::FakeKind::Linear;
    let failed = machine.by_handle(&set).unwrap();
    assert!(matches!(&failed.members[2].state, MemberState::Failed(reason) if reason.contains("not a snapshot any more")));
}

#[test]
fn a_full_pool_harms_no_snapshot_and_a_broken_one_gives_nothing_up() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().find_mut("vg-a/pool").health = "out_of_data".to_owned();
    assert!(is_ready(&machine.by_handle(&set).unwrap()));
    assert!(machine.host.messages().iter().any(|(level, text)| *level == Level::Warn && text.contains("out_of_data")));
    machine.lvm.borrow_mut().find_mut("vg-a/pool").health = "failed".to_owned();
    let unreadable = machine.by_handle(&set).unwrap();
    assert_eq!((&unreadable.members[0].state, &unreadable.members[1].state), (&MemberState::Cut, &MemberState::Ready));
    machine.lvm.borrow_mut().find_mut(&set.members[1].id).health = "partial".to_owned();
    assert_eq!(machine.by_handle(&set).unwrap().members[1].state, MemberState::Cut);
}

#[test]
fn a_listing_has_only_the_sets_of_its_owner() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    assert_eq!(machine.listed(), [set]);
    for owner in ["main", "main & ", "", "main !26 !C3!A4"] {
        assert!(Lvm::list_sets(&machine.host, &defaults(), owner, None).unwrap().sets.is_empty(), "{owner}");
    }
}

#[test]
fn pages_are_complete_and_in_order() {
    let machine = machine();
    let request = machine.request_of("b", vec![paths().remove(0)]);
    let set = Lvm::create_set(&machine.host, &defaults(), request).unwrap();
    let first = machine.lvm.borrow_mut().volumes.pop().unwrap();
    let mut names = Vec::new();
    for number in 0..205 {
        let name = format!("b{:03}", 204 - number);
        let mut copy = FakeVolume { name: format!("stillframe_backup.{name}.0"), ..first.clone() };
        // Pairs of them are of the same millisecond.
        let begin = format!("stillframe.cut-begin={}", set.cut_begin_ms - number / 2);
        copy.tags.retain(|tag| !["token=", "name=", "cut-begin="].iter().any(|key| tag.starts_with(&format!("stillframe.{key}"))));
        copy.tags.extend([format!("stillframe.token=token-{name}"), format!("stillframe.name={name}"), begin]);
        machine.lvm.borrow_mut().volumes.push(copy);
        names.push(name);
    }
    let (mut listed, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = Lvm::list_sets(&machine.host, &defaults(), "main & ä", cursor).unwrap();
        assert!(page.sets.len() <= 100);
        assert!(page.sets.is_sorted_by_key(|set| set.cut_begin_ms));
        listed.extend(page.sets.into_iter().map(|set| set.name));
        pages += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    listed.sort_unstable();
    names.sort_unstable();
    assert_eq!((pages, listed), (3, names));
    for cursor in ["", "x", "1"] {
        let refused = Lvm::list_sets(&machine.host, &defaults(), "main & ä", Some(cursor.to_owned()));
        assert!(matches!(refused, Err(Error::Invalid(argument)) if argument.field == "cursor"));
    }
}

#[test]
fn volumes_of_others_are_no_sets() {
    let machine = machine();
    machine.lvm.borrow_mut().add_linear("vg-a", "stillframe_backup.x.0", 1 << 30, "no tags");
    machine.lvm.borrow_mut().add_linear("vg-a", "elsewhere", 1 << 30, "");
    machine.lvm.borrow_mut().find_mut("vg-a/elsewhere").tags =
        vec!["stillframe.token=t".to_owned(), "stillframe.name=n".to_owned(), "backup".to_owned()];
    assert!(machine.listed().is_empty());
    assert_eq!(Lvm::get_set(&machine.host, &defaults(), SetReference::Token("t".to_owned())), Ok(None));
}

#[test]
fn damaged_tags_are_an_error_and_no_absence() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().find_mut(&set.members[0].id).tags.retain(|tag| !tag.starts_with("stillframe.name="));
    for answer in [
        Lvm::get_set(&machine.host, &defaults(), SetReference::Token("token-b1".to_owned())).map(|_| ()),
        Lvm::list_sets(&machine.host, &defaults(), "main & ä", None).map(|_| ()),
        machine.delete(&set.handle).map(|_| ()),
    ] {
        assert!(matches!(&answer, Err(Error::Internal(text)) if text.contains("damaged")), "{answer:?}");
    }
}

#[test]
fn tags_that_name_a_volume_twice_or_lead_out_of_a_mount_point_are_damaged() {
    for (fact, wrong) in [("volumes", "&vg1/wal"), ("paths", "/../.."), ("paths", "&x=y")] {
        let machine = machine();
        let set = machine.create("b1").unwrap();
        let changed = |tag: &String| {
            let is_meant = tag.starts_with(&format!("stillframe.{fact}="));
            if is_meant { format!("{tag}{wrong}") } else { tag.clone() }
        };
        for member in &set.members {
            let mut lvm = machine.lvm.borrow_mut();
            let volume = lvm.find_mut(&member.id);
            volume.tags = volume.tags.iter().map(changed).collect();
        }
        let answer = Lvm::list_sets(&machine.host, &defaults(), "main & ä", None);
        assert!(matches!(&answer, Err(Error::Internal(text)) if text.contains("damaged")), "{wrong}: {answer:?}");
    }
}

#[test]
fn a_group_that_is_missing_proves_no_absence() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let missing = config(r#"{"volume_groups":["vg-a","gone"]}"#);
    assert!(Lvm::get_set(&machine.host, &missing, SetReference::Handle(set.handle.clone())).is_err());
    assert!(Lvm::delete_set(&machine.host, &missing, &set.handle).is_err());
    for handle in ["", "b1", "b1:", "../b1:t"] {
        assert!(Lvm::get_set(&machine.host, &defaults(), SetReference::Handle(handle.to_owned())).is_err(), "{handle}");
    }
}

#[test]
fn what_somebody_removed_by_hand_is_told_as_absent() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.lvm.borrow_mut().volumes.retain(|volume| !volume.name.ends_with(".1"));
    let left = machine.by_handle(&set).unwrap();
    assert_eq!(left.members[1].state, MemberState::Absent);
    assert_eq!(left.members[1].volume, "vg1/wal");
    assert_eq!(left.members.len(), 3);
}

#[test]
fn what_lies_in_a_group_that_is_not_looked_at_is_neither_absent_nor_deleted() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    let fewer = config(r#"{"volume_groups":["vg-a"]}"#);
    let seen = Lvm::get_set(&machine.host, &fewer, SetReference::Handle(set.handle.clone())).unwrap().unwrap();
    assert!(matches!(&seen.members[1].state, MemberState::Failed(reason) if reason.contains("`vg1`")), "{seen:?}");
    let refused = Lvm::delete_set(&machine.host, &fewer, &set.handle);
    assert!(matches!(&refused, Err(Error::Invalid(argument)) if argument.field == "volume_groups"), "{refused:?}");
    assert_eq!(machine.by_handle(&set), Some(set));
}

#[test]
fn a_classic_snapshot_that_is_not_active_may_have_run_full_and_is_not_ready() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    {
        let mut lvm = machine.lvm.borrow_mut();
        let classic = lvm.find_mut(&set.members[2].id);
        (classic.invalid, classic.minor) = (true, None);
    }
    assert_eq!(machine.by_handle(&set).unwrap().members[2].state, MemberState::Cut);
    assert!(matches!(machine.restore(&set, "r1"), Err(Error::Transient(_))));
    machine.lvm.borrow_mut().find_mut(&set.members[2].id).minor = Some(77);
    assert!(matches!(machine.by_handle(&set).unwrap().members[2].state, MemberState::Failed(_)));
}
