//! Making sets: what is requested, and what is left when something goes wrong.

use stillframe_sdk::{DataRole, Error, MemberState, Provider};

use super::cloud::{INSTANCE, Mishap};
use super::{Cloud, Ebs, by_handle, by_token, config, create, defaults, device, nvme, path, paths, request, states, volume};

#[test]
fn several_volumes_of_an_instance_are_cut_by_one_request_and_no_others() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.world(|world| world.work = 3);
    let set = create(&host, "b1").unwrap();
    assert!(set.atomic && set.isolated);
    assert_eq!(states(&set), [MemberState::Cut, MemberState::Cut]);
    assert_eq!(set.members.iter().map(|member| member.volume.clone()).collect::<Vec<_>>(), [volume("a"), volume("b")]);
    assert!(set.labels.contains(&("stillframe-token".to_owned(), "flow".to_owned())), "a label is not the token");
    assert!(set.cut_end_ms >= set.cut_begin_ms);
    let asked = cloud.last("CreateSnapshots");
    assert_eq!(asked["InstanceSpecification.InstanceId"], INSTANCE);
    assert_eq!(asked["InstanceSpecification.ExcludeBootVolume"], "true");
    assert_eq!(asked["InstanceSpecification.ExcludeDataVolumeId.1"], volume("c"));
    assert!(!asked.contains_key("InstanceSpecification.ExcludeDataVolumeId.2"));
    assert_eq!(cloud.cut(), [volume("a"), volume("b")]);
}

#[test]
fn the_root_volume_is_cut_when_the_cluster_is_on_it() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let on_root = vec![path("data", DataRole::Data, vec![nvme("0")]), path("wal", DataRole::Wal, vec![nvme("b")])];
    Ebs::create_set(&host, &defaults(), request(&host, "b1", on_root)).unwrap();
    assert_eq!(cloud.last("CreateSnapshots")["InstanceSpecification.ExcludeBootVolume"], "false");
    assert_eq!(cloud.cut(), [volume("0"), volume("b")]);
}

#[test]
fn one_volume_is_cut_by_itself_with_the_whole_record_in_its_tags() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let mut asked = request(&host, "b1", vec![path("data", DataRole::Data, vec![nvme("a")])]);
    let odd = "ä=%*?\\ x ".to_owned();
    asked.labels.extend([
        ("Name".to_owned(), odd.clone()),
        ("a:b+2".to_owned(), "ü".repeat(128)),
        ("empty".to_owned(), String::new()),
    ]);
    let labels = asked.labels.clone();
    let settings = config(r#"{"region":"eu-central-1","tags":{"Name":"pg","team":"db"}}"#);
    let set = Ebs::create_set(&host, &settings, asked).unwrap();
    assert!(set.atomic);
    for found in [Some(set.clone()), by_token(&host, "b1"), by_handle(&host, &set)] {
        let mut found = found.unwrap().labels;
        let mut expected = labels.clone();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    let tags = cloud.world(|world| world.snapshots.values().next().unwrap().tags.clone());
    assert_eq!(tags["stillframe:paths"], "data:0:xfs:disk:/main");
    assert_eq!((tags["Name"].as_str(), tags["team"].as_str()), ("pg", "db"));
    assert!(!cloud.actions().contains(&"CreateSnapshots".to_owned()));
}

#[test]
fn the_same_request_gives_the_same_set() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let first = create(&host, "b1").unwrap();
    host.advance_ms(5_000);
    assert_eq!(create(&host, "b1"), Ok(first.clone()));
    assert_eq!(cloud.cut().len(), 2);
    let mut other = request(&host, "b1", paths());
    other.volumes.truncate(1);
    assert!(matches!(Ebs::create_set(&host, &defaults(), other), Err(Error::Conflict(_))));
    assert_eq!(by_token(&host, "b1"), Some(first));
}

#[test]
fn strays_are_deleted_at_once() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.world(|world| world.ignores_excludes = true);
    let set = create(&host, "b1").unwrap();
    assert_eq!(set.members.len(), 2);
    assert_eq!(cloud.cut(), [volume("a"), volume("b")]);
    assert!(host.messages().iter().any(|(_, text)| text.contains(&volume("c"))));
}

#[test]
fn a_lost_answer_is_looked_up_by_the_tag_and_nothing_is_cut_twice() {
    for lag in [0, 3] {
        let cloud = Cloud::default();
        let host = cloud.host();
        cloud.world(|world| world.lag = lag);
        cloud.mishap("CreateSnapshots", Mishap::Lost);
        let set = create(&host, "b1").unwrap();
        assert_eq!(set.members.len(), 2);
        assert_eq!(cloud.cut().len(), 2, "lag {lag}");
        assert_eq!(by_token(&host, "b1").unwrap().handle, set.handle);
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_no_answer() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.mishap("CreateSnapshots", Mishap::Refused(200, "InternalError"));
    assert_eq!(create(&host, "b1"), Err(Error::Indeterminate("token-b1".to_owned())));
}

#[test]
fn what_may_have_happened_and_cannot_be_seen_is_indeterminate_and_never_tried_again() {
    for mishap in [Mishap::Vanished, Mishap::Refused(500, "InternalError"), Mishap::Refused(503, "Unavailable")] {
        let cloud = Cloud::default();
        let host = cloud.host();
        cloud.mishap("CreateSnapshots", mishap);
        assert_eq!(create(&host, "b1"), Err(Error::Indeterminate("token-b1".to_owned())));
        assert_eq!(cloud.actions().iter().filter(|action| *action == "CreateSnapshots").count(), 1);
    }
}

#[test]
fn what_was_cut_before_it_could_be_seen_is_told_later_and_is_deleted_by_its_token() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.world(|world| world.lag = 40);
    cloud.mishap("CreateSnapshots", Mishap::Lost);
    assert_eq!(create(&host, "b1"), Err(Error::Indeterminate("token-b1".to_owned())));
    cloud.world(|world| world.snapshots.values_mut().for_each(|snap| *snap = super::cloud::visible(snap)));
    // The host gave up and tries again: the first cut is the set.
    let set = create(&host, "b1").unwrap();
    assert_eq!(cloud.cut().len(), 2);
    Ebs::delete_set(&host, &defaults(), &set.handle).unwrap();
    assert!(cloud.cut().is_empty());
}

#[test]
fn a_limit_on_the_rate_is_waited_for_but_not_for_ever() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.mishap("CreateSnapshots", Mishap::Refused(503, "RequestLimitExceeded"));
    cloud.mishap("CreateSnapshots", Mishap::Refused(400, "SnapshotCreationPerVolumeRateExceeded"));
    let begin = stillframe_sdk::Host::now_ms(&host);
    assert!(create(&host, "b1").is_ok());
    assert!(stillframe_sdk::Host::now_ms(&host) - begin >= 7_500, "EC2 asks for 15 s, of which a part is chance");
    for _ in 0..10 {
        cloud.mishap("CreateSnapshots", Mishap::Refused(503, "RequestLimitExceeded"));
    }
    assert!(matches!(create(&host, "b2"), Err(Error::Throttled(Some(_)))));
    assert_eq!(by_token(&host, "b2"), None);
    host.set_remaining_ms(100);
    assert!(matches!(create(&host, "b3"), Err(Error::Throttled(_))), "never beyond the deadline");
}

#[test]
fn a_refusal_leaves_nothing() {
    for (code, expected) in [
        ("UnauthorizedOperation", "Denied"),
        ("AuthFailure", "Unauthenticated"),
        ("SnapshotLimitExceeded", "Exhausted"),
        ("ConcurrentSnapshotLimitExceeded", "Busy"),
        ("InvalidVolume.NotFound", "Invalid"),
        ("TagPolicyViolation", "Invalid"),
    ] {
        let cloud = Cloud::default();
        let host = cloud.host();
        cloud.mishap("CreateSnapshots", Mishap::Refused(400, code));
        let error = format!("{:?}", create(&host, "b1").unwrap_err());
        assert!(error.starts_with(&format!("Error::{expected}")) || error.starts_with(expected), "{code}: {error}");
        assert!(cloud.cut().is_empty());
    }
}

#[test]
fn volumes_that_no_instance_has_in_common_are_cut_one_by_one_in_order() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let asked = request(&host, "b1", paths());
    cloud.add_volume("b", None);
    let set = Ebs::create_set(&host, &defaults(), asked.clone()).unwrap();
    assert!(!set.atomic);
    let order: Vec<String> = cloud.world(|world| {
        world.requests.iter().filter(|(action, _)| action == "CreateSnapshot").map(|(_, asked)| asked["VolumeId"].clone()).collect()
    });
    assert_eq!(order, [volume("a"), volume("b")]);
    assert!(!by_handle(&host, &set).unwrap().atomic);
}

#[test]
fn when_the_second_of_two_fails_the_first_is_removed() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let asked = request(&host, "b1", paths());
    cloud.add_volume("b", None);
    host.forget_calls();
    for code in ["SnapshotLimitExceeded", "UnauthorizedOperation"] {
        cloud.world(|world| world.mishaps = vec![("CreateSnapshot".to_owned(), Mishap::Lost)]);
        cloud.mishap("CreateSnapshot", Mishap::Refused(400, code));
        assert!(Ebs::create_set(&host, &defaults(), asked.clone()).is_err());
        assert!(cloud.cut().is_empty(), "{code}");
    }
}

#[test]
fn one_file_system_on_several_volumes_is_cut_at_one_instant_or_not_at_all() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let striped = || vec![path("data", DataRole::Data, vec![device("md0", "raid0"), nvme("a"), nvme("b")])];
    let set = Ebs::create_set(&host, &defaults(), request(&host, "b1", striped())).unwrap();
    assert!(set.atomic);
    assert_eq!(set.members.len(), 1);
    assert_eq!(set.members[0].volume, format!("{}+{}", volume("a"), volume("b")));
    assert_eq!(set.members[0].id.matches("snap-").count(), 2);
    let asked = request(&host, "b2", striped());
    cloud.add_volume("b", None);
    let Err(Error::Unsupported(text)) = Ebs::create_set(&host, &defaults(), asked) else { panic!("a torn file system") };
    assert!(text.contains("one instant"), "{text}");
    assert_eq!(by_token(&host, "b2"), None);
}

#[test]
fn more_volumes_than_can_be_excluded_do_not_stop_a_backup() {
    let cloud = Cloud::default();
    let host = cloud.host();
    for number in 0..41 {
        let id = format!("vol-{number:017x}ff");
        let attached = Some((INSTANCE.to_owned(), format!("/dev/xvdc{number}")));
        cloud.world(|world| world.volumes.insert(id, super::cloud::Vol { attached, ..Default::default() }));
    }
    let set = create(&host, "b1").unwrap();
    assert!(!set.atomic);
    assert!(host.messages().iter().any(|(_, text)| text.contains("one by one")));
}

#[test]
fn many_paths_have_room_in_the_tags() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let mut all = vec![path("data", DataRole::Data, vec![nvme("a")])];
    for oid in 0..60 {
        all.push(path(&format!("tablespace-{}", 16_384 + oid), DataRole::Tablespace, vec![nvme("a")]));
    }
    let set = Ebs::create_set(&host, &defaults(), request(&host, "b1", all)).unwrap();
    let placed = cloud.world(|world| {
        let tags = &world.snapshots.values().next().unwrap().tags;
        crate::placement::Placement::parse(&tags["stillframe:volumes"], &crate::tags::take(tags, "stillframe:paths").unwrap())
    });
    assert_eq!(placed.unwrap().paths.len(), 61);
    assert_eq!(by_handle(&host, &set).unwrap().members.len(), 1);
    let mut many = vec![path("data", DataRole::Data, vec![nvme("a")])];
    many[0].path = format!("/srv/data/{}", "x".repeat(16_000));
    let refused = Ebs::create_set(&host, &defaults(), request(&host, "b2", many));
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    assert_eq!(cloud.cut().len(), 1, "refused before anything is cut");
}

#[test]
fn what_was_not_resolved_here_is_refused() {
    let host = Cloud::default().host();
    let good = request(&host, "b1", paths());
    for change in ["", "vol-a b", "tank/pg", "vol-1+"] {
        let mut bad = good.clone();
        change.clone_into(&mut bad.volumes[0].id);
        assert!(matches!(Ebs::create_set(&host, &defaults(), bad), Err(Error::Invalid(_))), "{change}");
    }
    let mut twice = good.clone();
    twice.volumes[1].id.clone_from(&good.volumes[0].id);
    let mut empty = good;
    empty.volumes.clear();
    for bad in [twice, empty] {
        assert!(matches!(Ebs::create_set(&host, &defaults(), bad), Err(Error::Invalid(_))));
    }
}

#[test]
fn what_is_taken_back_is_deleted_even_if_ec2_does_not_know_it_yet() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.world(|world| (world.lag, world.hides_from_deletion, world.ignores_excludes) = (3, true, true));
    create(&host, "b1").unwrap();
    assert!(!cloud.cut().contains(&volume("c")), "{:?}", cloud.cut());
}
