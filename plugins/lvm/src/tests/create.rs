//! Making a set: what it holds and remembers, in which order, and that a failure leaves nothing.

use stillframe_sdk::{Error, Level, MemberState, Provider};

use super::fake::Failure;
use super::{Lvm, config, defaults, is_ready, machine, paths};

#[test]
fn a_set_is_ready_at_once_and_tells_everything_again() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    assert!(is_ready(&set) && set.isolated && !set.atomic);
    assert_eq!((set.handle.as_str(), set.name.as_str(), set.token.as_str()), ("b1:token-b1", "b1", "token-b1"));
    assert_eq!(set.labels, machine.request("b1").labels);
    let members: Vec<(&str, &str)> =
        set.members.iter().map(|member| (member.volume.as_str(), member.attributes[0].1.as_str())).collect();
    assert_eq!(members, [("vg-a/thin-pg", "thin"), ("vg1/wal", "classic"), ("vg-a/ts", "classic")]);
    assert_eq!((machine.by_token("b1"), machine.by_handle(&set)), (Some(set.clone()), Some(set.clone())));
    assert_eq!(machine.listed(), [set]);
    machine.origins_are_unharmed();
}

#[test]
fn a_set_of_one_volume_is_atomic() {
    let machine = machine();
    let request = machine.request_of("b1", vec![paths().remove(0)]);
    assert!(Lvm::create_set(&machine.host, &defaults(), request).unwrap().atomic);
}

#[test]
fn the_volume_with_the_control_file_is_cut_last_and_carries_the_mark() {
    let machine = machine();
    machine.host.forget_calls();
    machine.create("b1").unwrap();
    let cuts: Vec<String> =
        machine.host.calls().into_iter().filter(|call| call.contains("lvcreate") || call.contains("lvchange")).collect();
    let ends = |call: &str, end: &str| assert!(call.ends_with(end), "{call}");
    ends(&cuts[0], " vg1/wal");
    ends(&cuts[1], " vg-a/ts");
    ends(&cuts[2], " vg-a/thin-pg");
    assert!(cuts[3].contains("lvchange --addtag=stillframe.cut-end=") && cuts.len() == 4, "{cuts:?}");
    ends(&cuts[3], "/stillframe_backup.b1.f2fa9ea4.0");
    assert!(cuts[0].contains(&format!("--size={}b", (2u64 << 30) / 100 * 20)), "{}", cuts[0]);
}

#[test]
fn the_mode_decides_which_kind_is_made() {
    let machine = machine();
    let request = machine.request_of("b1", vec![paths().remove(0)]);
    let classic = config(r#"{"volume_groups":["vg-a","vg1"],"mode":"classic","classic_size":"1G"}"#);
    let set = Lvm::create_set(&machine.host, &classic, request.clone()).unwrap();
    assert_eq!(set.members[0].attributes[0].1, "classic");
    assert!(set.members[0].attributes.contains(&("room".to_owned(), (1u64 << 30).to_string())));
    let thin = config(r#"{"volume_groups":["vg-a","vg1"],"mode":"thin"}"#);
    let refused = Lvm::create_set(&machine.host, &thin, machine.request("b2"));
    assert!(matches!(refused, Err(Error::Invalid(argument)) if argument.field == "volumes"));
    assert_eq!(machine.by_token("b2"), None);
}

#[test]
fn the_same_request_gives_the_same_set_and_another_one_is_a_conflict() {
    let machine = machine();
    let set = machine.create("b1").unwrap();
    machine.host.advance_ms(5_000);
    assert_eq!(machine.create("b1").unwrap(), set);
    let mut other = machine.request("b1");
    other.volumes.pop();
    assert!(matches!(Lvm::create_set(&machine.host, &defaults(), other), Err(Error::Conflict(_))));
    let mut other = machine.request("b1");
    other.name = "b2".to_owned();
    assert!(matches!(Lvm::create_set(&machine.host, &defaults(), other), Err(Error::Conflict(_))));
    assert_eq!(machine.by_token("b1"), Some(set));
}

#[test]
fn two_providers_may_share_the_name_of_a_backup() {
    let machine = machine();
    let first = machine.create("b1").unwrap();
    let mut second = machine.request("b1");
    second.token = "another".to_owned();
    assert!(is_ready(&Lvm::create_set(&machine.host, &defaults(), second).unwrap()));
    assert_eq!(machine.by_handle(&first), Some(first));
    assert_eq!(machine.listed().len(), 2);
}

#[test]
fn a_failure_removes_what_was_cut_and_nothing_else() {
    for (fails, failure) in [
        ("vg-a/ts", Failure::Says(5, "  Volume group \"vg-a\" has insufficient free space (1 extents): 2 required.")),
        ("vg-a/thin-pg", Failure::Says(5, "  Cannot create new thin volume, free space in thin pool vg-a/pool reached threshold.")),
        ("lvchange", Failure::Says(5, "  Volume group vg-a metadata archive failed.")),
        ("lvcreate --snapshot", Failure::HalfMade),
        ("--name=stillframe_backup.b2.", Failure::HalfMade),
        ("lvchange", Failure::Denied),
    ] {
        let machine = machine();
        let kept = machine.create("b1").unwrap();
        machine.lvm.borrow_mut().fail(fails, failure.clone());
        let error = machine.create("b2").unwrap_err();
        assert!(!matches!(error, Error::NotFound(_)), "{error:?}");
        assert_eq!(machine.by_token("b2"), None, "{fails} {failure:?}");
        assert_eq!(machine.ours().len(), 3);
        assert_eq!(machine.by_handle(&kept), Some(kept));
        machine.origins_are_unharmed();
        assert!(is_ready(&machine.create("b2").unwrap()));
    }
}

#[test]
fn what_cannot_be_removed_after_a_failure_is_logged_and_stays_known_as_incomplete() {
    let machine = machine();
    machine.lvm.borrow_mut().fail("lvchange", Failure::Says(5, "  failed"));
    machine.lvm.borrow_mut().fail("lvremove", Failure::Says(5, "  failed"));
    assert!(machine.create("b1").is_err());
    assert!(machine.host.messages().iter().any(|(level, text)| *level == Level::Warn && text.contains("could not be removed")));
    let left = machine.by_token("b1").unwrap();
    assert!(left.members.iter().all(|member| matches!(member.state, MemberState::Cutting | MemberState::Absent)), "{left:?}");
    assert_eq!(machine.listed(), [left]);
    assert!(is_ready(&machine.create("b1").unwrap()), "it is cut anew");
}

#[test]
fn nothing_is_cut_when_the_room_is_short() {
    let machine = machine();
    let exhausted = |settings: &str| match Lvm::create_set(&machine.host, &config(settings), machine.request("b1")) {
        Err(Error::Exhausted(text)) => text,
        other => panic!("{other:?}"),
    };
    let large = exhausted(r#"{"volume_groups":["vg-a","vg1"],"classic_size":"11G"}"#);
    assert!(large.contains("`vg1`") && large.contains("vg1/wal"), "{large}");
    machine.lvm.borrow_mut().find_mut("vg-a/pool").data_percent = "95.00".to_owned();
    assert!(exhausted(r#"{"volume_groups":["vg-a","vg1"]}"#).contains("95.00 % of the data"));
    machine.lvm.borrow_mut().find_mut("vg-a/pool").data_percent = "94.99".to_owned();
    machine.lvm.borrow_mut().find_mut("vg-a/pool").metadata_percent = "97.1".to_owned();
    assert!(exhausted(r#"{"volume_groups":["vg-a","vg1"]}"#).contains("97.10 % of the metadata"));
    machine.lvm.borrow_mut().find_mut("vg-a/pool").health = "out_of_data".to_owned();
    assert!(exhausted(r#"{"volume_groups":["vg-a","vg1"]}"#).contains("out_of_data"));
    assert!(machine.ours().is_empty() && !machine.host.calls().iter().any(|call| call.contains("lvcreate")));
}

#[test]
fn a_volume_that_was_replaced_since_is_not_cut() {
    let machine = machine();
    let request = machine.request("b1");
    machine.lvm.borrow_mut().find_mut("vg-a/ts").uuid = "another".to_owned();
    assert!(matches!(Lvm::create_set(&machine.host, &defaults(), request), Err(Error::Conflict(_))));
    assert!(machine.ours().is_empty());
}

#[test]
fn refuses_requests_that_it_cannot_keep() {
    let machine = machine();
    let refused = |change: &dyn Fn(&mut stillframe_sdk::CreateRequest), field: &str| {
        let mut request = machine.request("b1");
        change(&mut request);
        let error = Lvm::create_set(&machine.host, &defaults(), request).unwrap_err();
        assert!(matches!(&error, Error::Invalid(argument) if argument.field == field), "{error:?}");
        assert!(machine.ours().is_empty());
    };
    refused(&|request| request.volumes.clear(), "volumes");
    refused(&|request| request.volumes.push(request.volumes[0].clone()), "volumes");
    refused(&|request| request.volumes[0].id = "vg-a/gone".to_owned(), "volumes");
    refused(&|request| request.volumes[0].id = "vg-a/pool/../x".to_owned(), "volumes");
    refused(&|request| request.volumes[1].paths.clear(), "volumes");
    refused(&|request| request.name = "../b1".to_owned(), "name");
    refused(&|request| request.name = "-".repeat(64), "name");
    refused(&|request| request.token = String::new(), "token");
}

#[test]
fn a_name_that_is_taken_is_a_conflict_and_its_holder_stays() {
    let machine = machine();
    machine.lvm.borrow_mut().add_linear("vg-a", "stillframe_backup.b1.f2fa9ea4.2", 1 << 30, "precious");
    assert!(matches!(machine.create("b1"), Err(Error::Conflict(_))));
    assert_eq!(machine.lvm.borrow().find("vg-a/stillframe_backup.b1.f2fa9ea4.2").unwrap().content, "precious");
    assert_eq!((machine.by_token("b1"), machine.ours().len()), (None, 1));
}

#[test]
fn paths_and_labels_of_any_length_are_kept() {
    let machine = machine();
    let mut request = machine.request("b1");
    request.labels = (0..40).map(|number| (format!("{number:ü>63}"), "=&!, \u{1F600}".repeat(20))).collect();
    request.labels[0] = ("stillframe-owner".to_owned(), "main & ä".to_owned());
    request.volumes[0].paths[0].path = format!("/srv/data/{}", "ä ".repeat(1_000));
    let set = Lvm::create_set(&machine.host, &defaults(), request.clone()).unwrap();
    assert_eq!(set.labels, request.labels);
    let lvm = machine.lvm.borrow();
    for volume in lvm.volumes.iter().filter(|volume| !volume.tags.is_empty()) {
        assert!(volume.tags.len() < 200);
        assert!(volume.tags.iter().all(|tag| tag.len() <= 1_024 && tag.starts_with("stillframe.")), "{:?}", volume.tags);
    }
}

#[test]
fn a_full_pool_is_seen_in_every_locale_and_an_unreadable_share_is_an_error() {
    for (share, expected) in [("99,10", "Exhausted"), ("99.10", "Exhausted"), ("full", "Internal"), ("1.2.3", "Internal")] {
        let machine = machine();
        let request = machine.request("b1");
        machine.lvm.borrow_mut().find_mut("vg-a/pool").data_percent = share.to_owned();
        let refused = Lvm::create_set(&machine.host, &defaults(), request).unwrap_err();
        assert!(format!("{refused:?}").contains(expected), "{share}: {refused:?}");
        assert!(machine.ours().is_empty());
    }
}
