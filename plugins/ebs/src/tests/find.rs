//! What is told of sets, and when a set counts as gone.

use stillframe_sdk::{Error, MemberState, Provider, SetReference};

use super::cloud::Mishap;
use super::{Cloud, Ebs, by_handle, by_token, config, create, defaults, states, with_set};

fn get(host: &stillframe_sdk::testing::FakeHost, handle: &str) -> Result<Option<stillframe_sdk::SnapshotSet>, Error> {
    Ebs::get_set(host, &defaults(), SetReference::Handle(handle.to_owned()))
}

#[test]
fn a_set_is_cut_then_ready() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.world(|world| world.work = 3);
    let set = create(&host, "b1").unwrap();
    let seen = by_handle(&host, &set).unwrap();
    assert_eq!(states(&seen), [MemberState::Cut, MemberState::Cut]);
    assert_eq!(seen.members[0].percent, Some(40));
    by_token(&host, "b1").unwrap();
    let ready = by_handle(&host, &set).unwrap();
    assert_eq!(states(&ready), [MemberState::Ready, MemberState::Ready]);
    assert_eq!((ready.handle, ready.labels), (set.handle, set.labels));
}

#[test]
fn what_can_never_be_restored_says_why() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.snapshots.values_mut().next().unwrap().error = true);
    let failed = by_handle(&host, &set).unwrap();
    assert!(matches!(&failed.members[0].state, MemberState::Failed(why) if why.contains("the key is gone")));
    assert_eq!(failed.members[1].state, MemberState::Ready);
    cloud.world(|world| world.snapshots.values_mut().next().unwrap().error = false);
    cloud.world(|world| world.snapshots.values_mut().next().unwrap().archived = true);
    let archived = by_handle(&host, &set).unwrap();
    assert!(matches!(&archived.members[0].state, MemberState::Failed(why) if why.contains("archive tier")));
}

#[test]
fn a_snapshot_that_is_not_visible_yet_is_not_gone() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let set = create(&host, "b1").unwrap();
    cloud.world(|world| world.snapshots.values_mut().for_each(|snap| *snap = super::cloud::hidden(snap, 3)));
    assert_eq!(states(&by_handle(&host, &set).unwrap()), [MemberState::Ready, MemberState::Ready]);
    cloud.world(|world| world.snapshots.values_mut().take(1).for_each(|snap| *snap = super::cloud::hidden(snap, 3)));
    let partly = by_handle(&host, &set).unwrap();
    assert_eq!(states(&partly), [MemberState::Cut, MemberState::Ready], "its handle says that it was cut");
    assert_eq!(partly.members[0].id, set.members[0].id);
    cloud.world(|world| world.snapshots.values_mut().for_each(|snap| *snap = super::cloud::hidden(snap, 2)));
    assert!(by_token(&host, "b1").is_some());
}

#[test]
fn what_is_missing_of_an_old_set_is_absent() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.snapshots.pop_first());
    host.advance_ms(700_000);
    assert_eq!(states(&by_handle(&host, &set).unwrap()), [MemberState::Absent, MemberState::Ready]);
    assert_eq!(states(&by_token(&host, "b1").unwrap()), [MemberState::Absent, MemberState::Ready]);
    cloud.world(|world| world.snapshots.clear());
    assert_eq!(by_handle(&host, &set), None);
    assert_eq!(by_token(&host, "b1"), None);
}

#[test]
fn nothing_is_proven_gone_in_the_wrong_place() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    host.advance_ms(700_000);
    cloud.world(|world| world.account = Some("999999999999".to_owned()));
    assert!(matches!(get(&host, &set.handle), Err(Error::Unauthenticated(text)) if text.contains("999999999999")));
    assert!(matches!(Ebs::delete_set(&host, &defaults(), &set.handle), Err(Error::Unauthenticated(_))));
    let elsewhere = config(r#"{"region":"eu-west-1"}"#);
    for answer in [
        Ebs::get_set(&host, &elsewhere, SetReference::Handle(set.handle.clone())).map(|_| ()),
        Ebs::delete_set(&host, &elsewhere, &set.handle).map(|_| ()),
    ] {
        assert!(matches!(answer, Err(Error::Invalid(argument)) if argument.field == "region"));
    }
}

#[test]
fn a_poll_tells_of_a_limit_on_the_rate_and_does_not_wait() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    for (status, code) in [(503, "RequestLimitExceeded"), (400, "Throttling"), (429, "x")] {
        cloud.mishap("DescribeSnapshots", Mishap::Refused(status, code));
        let before = cloud.actions().len();
        assert!(matches!(get(&host, &set.handle), Err(Error::Throttled(Some(_)))), "{code}");
        assert_eq!(cloud.actions().len(), before + 1);
    }
    cloud.mishap("DescribeSnapshots", Mishap::Refused(500, "InternalError"));
    assert!(matches!(get(&host, &set.handle), Err(Error::Transient(_))));
}

#[test]
fn a_handle_of_somebody_else_is_refused() {
    let host = Cloud::default().host();
    for handle in [
        "",
        "b1:token",
        "eu-central-1:1:t:x:0a",
        "eu-central-1:1:t:5:",
        "eu-central-1:1:t:5:0a;",
        "eu-central-1:1:t:5:0a:b",
        "eu-central-1:1:t:5:-,-+-",
    ] {
        assert!(matches!(get(&host, handle), Err(Error::Invalid(_))), "{handle}");
    }
}

#[test]
fn a_listing_is_complete_oldest_first_and_of_one_owner() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let mut expected = Vec::new();
    for number in 0..103 {
        expected.push(create(&host, &format!("b{}", 200 - number)).unwrap().handle);
        host.advance_ms(1_000);
    }
    let first = Ebs::list_sets(&host, &defaults(), "main/74", None).unwrap();
    assert_eq!(first.sets.len(), 100);
    let second = Ebs::list_sets(&host, &defaults(), "main/74", first.next).unwrap();
    assert_eq!(second.next, None);
    let listed: Vec<String> = first.sets.into_iter().chain(second.sets).map(|set| set.handle).collect();
    assert_eq!(listed, expected);
    for owner in ["main/7", "main/*", "MAIN/74", ""] {
        assert!(Ebs::list_sets(&host, &defaults(), owner, None).unwrap().sets.is_empty(), "{owner}");
    }
    assert!(matches!(Ebs::list_sets(&host, &defaults(), "main/74", Some("x".to_owned())), Err(Error::Invalid(_))));
}

#[test]
fn a_snapshot_without_its_token_is_named_and_hides_nothing() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.snapshots.values_mut().next().unwrap().tags.remove("stillframe:token"));
    let listed = Ebs::list_sets(&host, &defaults(), "main/74", None).unwrap().sets;
    assert_eq!(listed.len(), 1);
    assert!(host.messages().iter().any(|(_, text)| text.contains("passed over")));
    assert!(matches!(get(&host, &set.handle), Err(Error::Conflict(_))));
}

#[test]
fn a_set_whose_tags_were_changed_is_not_told_to_be_absent() {
    let cloud = Cloud::default();
    let (host, _) = with_set(&cloud);
    cloud.world(|world| world.snapshots.values_mut().for_each(|snap| drop(snap.tags.remove("stillframe:volumes"))));
    let reference = SetReference::Token("token-b1".to_owned());
    assert!(matches!(Ebs::get_set(&host, &defaults(), reference), Err(Error::Conflict(_))));
    assert!(matches!(create(&host, "b1"), Err(Error::Conflict(_))));
    assert_eq!(cloud.cut().len(), 2, "nothing is cut beside it");
    assert!(Ebs::list_sets(&host, &defaults(), "main/74", None).unwrap().sets.is_empty());
    let ids: Vec<String> = cloud.world(|world| world.snapshots.keys().cloned().collect());
    assert!(ids.iter().all(|id| host.messages().iter().any(|(_, text)| text.contains(id) && text.contains("passed over"))));
}

#[test]
fn tags_that_somebody_changed_never_lead_out_of_the_mount() {
    use crate::placement::Placement;
    assert!(Placement::parse("vol-1", "data:0:xfs:disk:/main").is_some());
    for paths in [
        "data:0:xfs:disk:/../etc",
        "data:0:xfs:disk:main",
        "data:1:xfs:disk:/",
        "data:0:xfs:disk:/a//b",
        "data:0:xfs:disk:/=2E=2E",
        "",
    ] {
        assert_eq!(Placement::parse("vol-1", paths), None, "{paths}");
    }
    assert_eq!(Placement::parse("i-1", "data:0:xfs:disk:/main"), None);
}
