//! Who is let in, and what is understood.

use std::collections::BTreeSet;

use serde_json::json;
use stillframe_tests::{Boto, Ec2};

use crate::raw::raw;

#[test]
fn a_signature_with_another_key_secret_or_region_is_refused_and_the_right_one_is_not() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    client.succeed("describe_volumes", &json!({}));
    for (option, wrong) in [
        ("aws_secret_access_key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("aws_access_key_id", "AKIAIOSFODNN7EXAMPLE"),
        ("region_name", "us-east-1"),
    ] {
        let refused = client.call_as(option, wrong, "describe_volumes").unwrap_err();
        assert_eq!(refused, ("AuthFailure".to_owned(), 401), "{option}");
    }
    assert_eq!(ec2.seen().len(), 4);
}

#[test]
fn a_request_that_is_unsigned_old_or_changed_on_the_way_is_refused() {
    let ec2 = Ec2::in_memory();
    let (volumes, instances) = ("Action=DescribeVolumes&Version=2016-11-15", "Action=DescribeInstances&Version=2016-11-15");
    for (signed, age_hours, status, code) in [
        (None, 0, 403, "MissingAuthenticationToken"),
        (Some(volumes), 24, 400, "RequestExpired"),
        (Some(instances), 0, 401, "AuthFailure"),
    ] {
        let (answered, document) = raw(&ec2, signed, volumes, age_hours);
        assert!(answered == status && document.contains(&format!("<Code>{code}</Code>")), "{answered} {document}");
    }
    let (answered, document) = raw(&ec2, Some(volumes), volumes, 0);
    assert_eq!(answered, 200, "the request itself is right: {document}");
}

#[test]
fn a_parameter_that_the_action_does_not_have_is_refused() {
    let ec2 = Ec2::in_memory();
    let misspelt = "Action=DescribeVolumes&Version=2016-11-15&VolumeIds.1=vol-1";
    let (status, document) = raw(&ec2, Some(misspelt), misspelt, 0);
    assert!(status == 400 && document.contains("<Code>UnknownParameter</Code>"), "{status} {document}");
}

#[test]
fn pages_hold_everything_once_and_may_be_empty_before_the_last() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let instance = ec2.add_instance();
    let volumes: Vec<String> =
        (b'b'..=b'o').map(|letter| ec2.add_attached_volume(&instance, &format!("/dev/sd{}", letter as char), 1)).collect();
    let last = volumes.iter().max().unwrap();
    let tag = json!([{"Key": "wanted", "Value": "yes"}]);
    client.succeed("create_tags", &json!({"Resources": [last], "Tags": tag}));

    let (mut found, mut sizes, mut token) = (BTreeSet::new(), Vec::new(), None);
    loop {
        let mut parameters = json!({"MaxResults": 5, "Filters": [{"Name": "tag:wanted", "Values": ["y*"]}]});
        if let Some(token) = &token {
            parameters["NextToken"] = json!(token);
        }
        let page = client.succeed("describe_volumes", &parameters);
        let ids: Vec<String> =
            page["Volumes"].as_array().unwrap().iter().map(|volume| volume["VolumeId"].as_str().unwrap().to_owned()).collect();
        sizes.push(ids.len());
        found.extend(ids);
        token = page["NextToken"].as_str().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, BTreeSet::from([last.clone()]));
    // Fourteen and a root volume, cut before they are filtered.
    assert_eq!(sizes, [0, 0, 1]);
    for wrong in [4, 1_001] {
        assert_eq!(client.refused("describe_volumes", &json!({"MaxResults": wrong})), "InvalidParameterValue");
    }
    let both = json!({"MaxResults": 5, "VolumeIds": [last]});
    assert_eq!(client.refused("describe_volumes", &both), "InvalidParameterCombination");
}

#[test]
fn a_dry_run_does_nothing_and_tells_whether_the_right_is_there() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let volume = ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 1);
    let parameters = json!({"VolumeId": volume, "DryRun": true});
    assert_eq!(client.call("create_snapshot", &parameters).unwrap_err(), ("DryRunOperation".to_owned(), 412));
    ec2.deny("CreateSnapshot");
    assert_eq!(client.call("create_snapshot", &parameters).unwrap_err(), ("UnauthorizedOperation".to_owned(), 403));
    assert!(ec2.snapshots().is_empty());
}

#[test]
fn every_request_is_recorded_with_its_parameters_and_its_error() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    client.refused("delete_snapshot", &json!({"SnapshotId": "snap-00000000000000000"}));
    let seen = ec2.seen();
    assert_eq!(seen[0].action, "DeleteSnapshot");
    assert_eq!(seen[0].parameters["SnapshotId"], "snap-00000000000000000");
    assert_eq!(seen[0].error.as_deref(), Some("InvalidSnapshot.NotFound"));
    assert_eq!((ec2.count("DeleteSnapshot"), ec2.count("DescribeSnapshots")), (1, 0));
}
