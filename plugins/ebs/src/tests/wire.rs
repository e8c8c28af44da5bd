//! EC2's own answers, in the form of its reference: what is read from them, and what each error becomes.

use stillframe_sdk::aws::{AwsError, Response};
use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{Error, Host};

use super::{config, defaults};
use crate::ec2::{Ec2, LockState, State};

fn host(status: u16, body: &'static str) -> FakeHost {
    let host = FakeHost::new();
    host.on_aws(move |_| Ok(Response { status, request_id: None, body: body.to_owned() }));
    host
}

#[test]
fn reads_snapshots() {
    let host = host(200, include_str!("golden/describe_snapshots.xml"));
    let found = Ec2::new(&host, &defaults()).snapshots_tagged("Stack", "prod").unwrap();
    assert_eq!(found.len(), 2);
    let (one, two) = (&found[0], &found[1]);
    assert_eq!(
        (one.id.as_str(), one.volume.as_str(), one.owner.as_str()),
        ("snap-1234567890abcdef0", "vol-1234567890abcdef0", "111122223333")
    );
    assert_eq!(
        (one.state, one.percent, one.volume_gib, one.encrypted, one.archived),
        (State::Pending, Some(30), Some(15), true, false)
    );
    assert_eq!(one.start_ms, Some(1_393_512_671_000));
    assert_eq!(one.tags["Purpose"], "demo & <test>");
    assert_eq!(one.tags["empty"], "");
    assert_eq!(
        (two.state, two.archived, two.full_bytes, two.message.as_str()),
        (State::Error, true, Some(4_194_304), "the key is disabled")
    );
}

#[test]
fn reads_what_create_snapshots_answers() {
    let host = host(200, include_str!("golden/create_snapshots.xml"));
    let made = Ec2::new(&host, &defaults()).create_snapshots("i-1", true, &[], "x", &[]).unwrap();
    let facts: Vec<_> = made.iter().map(|snapshot| (snapshot.volume.as_str(), snapshot.state)).collect();
    assert_eq!(facts, [("vol-0aaaaaaaaaaaaaaaa", State::Pending), ("vol-0bbbbbbbbbbbbbbbb", State::Completed)]);
}

#[test]
fn reads_volumes_and_instances() {
    let volumes = host(200, include_str!("golden/describe_volumes.xml"));
    let found = Ec2::new(&volumes, &defaults()).visible_volumes(&["vol-1234567890abcdef0"]).unwrap();
    assert_eq!((found[0].status.as_str(), found[0].zone.as_str(), found[0].kind.as_str()), ("in-use", "us-east-1a", "gp3"));
    assert_eq!(found[0].attachment_to("i-1234567890abcdef0").unwrap().device, "/dev/sdh");
    assert_eq!((found[1].attachments.len(), found[1].snapshot.as_str()), (0, ""));
    let instances = host(200, include_str!("golden/describe_instances.xml"));
    let instance = Ec2::new(&instances, &defaults()).instance("i-1234567890abcdef0").unwrap();
    assert_eq!((instance.zone.as_str(), instance.root_volume()), ("us-west-2c", Some("vol-1234567890abcdef0")));
    assert_eq!(instance.devices.len(), 2);
}

#[test]
fn reads_locks_and_the_account() {
    let locks = host(200, include_str!("golden/describe_locked_snapshots.xml"));
    let found = Ec2::new(&locks, &defaults()).locks(&["snap-1"]).unwrap();
    let states: Vec<LockState> = found.iter().map(|lock| lock.state).collect();
    assert_eq!(states, [LockState::Governance, LockState::CoolingOff, LockState::Expired, LockState::Compliance]);
    assert_eq!(found[0].until_ms, Some(1_800_000_000_000));
    let identity = host(200, include_str!("golden/get_caller_identity.xml"));
    assert_eq!(Ec2::new(&identity, &defaults()).account().unwrap(), "123456789012");
}

#[test]
fn every_code_becomes_the_error_that_the_host_acts_on() {
    let table = include_str!("golden/errors.txt");
    for line in table.lines() {
        let [status, code, expected] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let body = include_str!("golden/error.xml").replace("CODE", code);
        let host = FakeHost::new();
        let status = status.parse().unwrap();
        host.on_aws(move |_| Ok(Response { status, request_id: Some("r-1".to_owned()), body: body.clone() }));
        let fault = Ec2::impatient(&host, &defaults()).snapshots_tagged("x", "y").unwrap_err();
        assert!(
            fault.text.contains(code) && fault.text.contains("r-1") && fault.text.contains("DescribeSnapshots"),
            "{}",
            fault.text
        );
        let error = format!("{:?}", Error::from(fault));
        assert!(error.trim_start_matches("Error::").starts_with(expected), "{line}: {error}");
    }
}

#[test]
fn what_is_no_answer_of_ec2_is_judged_by_its_status() {
    for (status, body, expected) in [
        (404, "<html>not found</html>", "Unsupported"),
        (501, "", "Unsupported"),
        (500, "<html>", "Transient"),
        (502, "Bad Gateway", "Transient"),
        (408, "<html>request timeout</html>", "Transient"),
        (429, "", "Throttled"),
        (403, "", "Denied"),
        (401, "", "Unauthenticated"),
        (400, "", "Internal"),
        (200, "", "Transient"),
        (200, "<DescribeSnapshotsResponse><snapshotSet><item/></snapshotSet></DescribeSnapshotsResponse>", "Transient"),
        (200, "<!DOCTYPE x [<!ENTITY a \"b\">]><x>&a;</x>", "Transient"),
    ] {
        let host = host(status, body);
        let fault = Ec2::impatient(&host, &defaults()).snapshots_tagged("x", "y").unwrap_err();
        let error = format!("{:?}", Error::from(fault));
        assert!(error.trim_start_matches("Error::").starts_with(expected), "{status} {body}: {error}");
    }
}

#[test]
fn what_the_host_refuses_keeps_its_meaning() {
    for (error, expected) in [
        (AwsError::Denied("no rule".to_owned()), "Denied"),
        (AwsError::NoCredentials("none".to_owned()), "Unauthenticated"),
        (AwsError::TimedOut, "Transient"),
        (AwsError::Failed("reset".to_owned()), "Transient"),
    ] {
        let host = FakeHost::new();
        host.on_aws(move |_| Err(error.clone()));
        let fault = Ec2::impatient(&host, &defaults()).snapshots_tagged("x", "y").unwrap_err();
        assert!(format!("{:?}", Error::from(fault)).trim_start_matches("Error::").starts_with(expected));
    }
}

#[test]
fn a_listing_that_does_not_end_is_a_fault() {
    let host = host(200, include_str!("golden/endless.xml"));
    let fault = Ec2::new(&host, &config(r#"{"region":"eu-central-1"}"#)).snapshots_tagged("x", "y").unwrap_err();
    assert!(fault.text.contains("does not end"), "{}", fault.text);
}

#[test]
fn pauses_grow_and_stay_within_the_deadline() {
    let host = host(503, "");
    host.set_remaining_ms(5_000);
    let begin = host.now_ms();
    assert!(Ec2::new(&host, &defaults()).snapshots_tagged("x", "y").is_err());
    let slept = host.now_ms() - begin;
    assert!((1_000..=5_000).contains(&slept), "{slept}");
    assert!(host.calls().len() >= 3);
}
