//! What a test lets go wrong goes wrong as told, and nothing else does.

use std::time::{Duration, Instant};

use serde_json::json;
use stillframe_tests::{Boto, Ec2, Fault};

#[test]
fn throttling_and_internal_errors_are_met_as_often_as_told_and_do_nothing() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let volume = json!({"VolumeId": ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 1)});
    ec2.fail("CreateSnapshot", 2, Fault::Throttled).fail("CreateSnapshot", 1, Fault::Internal);
    client.succeed("describe_volumes", &json!({}));
    let throttled = ("RequestLimitExceeded".to_owned(), 503);
    for expected in [throttled.clone(), throttled, ("InternalError".to_owned(), 500)] {
        assert_eq!(client.call("create_snapshot", &volume).unwrap_err(), expected);
    }
    assert!(ec2.snapshots().is_empty() && ec2.pending_faults() == 0);
    client.succeed("create_snapshot", &volume);
    assert_eq!(ec2.snapshots().len(), 1);
}

#[test]
fn an_answer_can_be_lost_after_its_effect_and_a_connection_before_it() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let volume = json!({"VolumeId": ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 1)});
    ec2.fail("CreateSnapshot", 1, Fault::Reset).fail("CreateSnapshot", 1, Fault::LostAnswer);
    for snapshots in [0, 1] {
        assert_eq!(client.refused("create_snapshot", &volume), "no answer");
        assert_eq!(ec2.snapshots().len(), snapshots);
    }
}

#[test]
fn an_answer_can_be_slow() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    client.succeed("describe_volumes", &json!({}));
    let delay = Duration::from_millis(300);
    ec2.fail("*", 1, Fault::Slow(delay));
    let begin = Instant::now();
    client.succeed("describe_volumes", &json!({}));
    assert!(begin.elapsed() >= delay);
}

#[test]
fn a_set_can_be_cut_in_part() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let instance = ec2.add_instance();
    ec2.add_attached_volume(&instance, "/dev/sdf", 1);
    ec2.fail("CreateSnapshots", 1, Fault::Partial);
    let refused = client.refused("create_snapshots", &json!({"InstanceSpecification": {"InstanceId": instance}}));
    assert_eq!((refused.as_str(), ec2.snapshots().len()), ("InternalError", 1));
}
