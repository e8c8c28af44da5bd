//! Snapshots: sets, states over time, tags, and who sees them.

use serde_json::{Value, json};
use stillframe_tests::{Boto, Completion, Ec2};

fn states(answer: &Value) -> Vec<String> {
    answer["Snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["State"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_set_holds_the_volumes_of_the_instance_but_for_those_that_are_excluded() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let (instance, other) = (ec2.add_instance(), ec2.add_instance());
    let wanted = ec2.add_attached_volume(&instance, "/dev/sdf", 1);
    let excluded = ec2.add_attached_volume(&instance, "/dev/sdg", 2);
    let elsewhere = ec2.add_attached_volume(&other, "/dev/sdf", 3);
    let specification = json!({"InstanceId": instance, "ExcludeBootVolume": true, "ExcludeDataVolumeIds": [excluded]});
    let tags = json!([{"ResourceType": "snapshot", "Tags": [{"Key": "stillframe:token", "Value": "a b+c&d=<é>"}]}]);
    let parameters = json!({"InstanceSpecification": specification, "Description": "of a test", "TagSpecifications": tags});
    let set = client.succeed("create_snapshots", &parameters);
    assert_eq!(states(&set), ["pending"]);
    let made = &set["Snapshots"][0];
    assert_eq!((made["VolumeId"].as_str(), made["VolumeSize"].as_u64()), (Some(wanted.as_str()), Some(1)));
    let filters = json!([{"Name": "tag:stillframe:token", "Values": ["a b+c&d=<é>"]}]);
    let found = client.succeed("describe_snapshots", &json!({"OwnerIds": ["self"], "Filters": filters}));
    assert_eq!(found["Snapshots"][0]["SnapshotId"], made["SnapshotId"]);
    assert_eq!(found["Snapshots"][0]["Tags"][0]["Value"], "a b+c&d=<é>");

    let all = client.succeed("create_snapshots", &json!({"InstanceSpecification": {"InstanceId": instance}}));
    assert_eq!(all["Snapshots"].as_array().unwrap().len(), 3, "with the root volume");
    let foreign = json!({"InstanceSpecification": {"InstanceId": instance, "ExcludeDataVolumeIds": [elsewhere]}});
    assert_eq!(client.refused("create_snapshots", &foreign), "InvalidParameterValue");
}

#[test]
fn a_snapshot_goes_on_with_every_look_to_whatever_end_the_test_chose() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let volume = ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 1);
    ec2.complete_next_snapshots([Completion::AfterLooks(2), Completion::Error("no room".to_owned()), Completion::Never]);
    let mut ends = Vec::new();
    for _ in 0..3 {
        let id = client.succeed("create_snapshot", &json!({"VolumeId": volume}))["SnapshotId"].clone();
        let looks: Vec<Value> =
            (0..4).map(|_| client.succeed("describe_snapshots", &json!({"SnapshotIds": [id]}))["Snapshots"][0].clone()).collect();
        let seen: Vec<&str> = looks.iter().map(|look| look["State"].as_str().unwrap()).collect();
        ends.push(seen.join(" "));
        if looks[1]["State"] == "error" {
            assert_eq!(looks[1]["StateMessage"], "no room");
        }
    }
    let expected = ["pending pending completed completed", "pending error error error", "pending pending pending pending"];
    assert_eq!(ends, expected);
    ec2.complete_all_snapshots();
    let all = client.succeed("describe_snapshots", &json!({"OwnerIds": ["self"]}));
    assert_eq!(states(&all).iter().filter(|state| *state == "completed").count(), 2);
}

#[test]
fn a_new_snapshot_can_be_hidden_and_a_strangers_is_never_ours() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let volume = ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 1);
    ec2.hide_new_snapshots(2);
    let id = client.succeed("create_snapshot", &json!({"VolumeId": volume}))["SnapshotId"].clone();
    let own = json!({"OwnerIds": ["self"], "Filters": [{"Name": "volume-id", "Values": [volume]}]});
    assert_eq!(client.refused("describe_snapshots", &json!({"SnapshotIds": [id]})), "InvalidSnapshot.NotFound");
    assert!(states(&client.succeed("describe_snapshots", &own)).is_empty());
    assert_eq!(states(&client.succeed("describe_snapshots", &own)).len(), 1);

    let everybodys = client.succeed("describe_snapshots", &json!({}));
    let stranger = everybodys["Snapshots"].as_array().unwrap().iter().find(|found| found["SnapshotId"] != id).unwrap();
    let stranger = json!({"SnapshotId": stranger["SnapshotId"]});
    assert_eq!(client.refused("delete_snapshot", &stranger), "InvalidSnapshot.NotFound");
    client.succeed("delete_snapshot", &json!({"SnapshotId": id}));
    assert_eq!(client.refused("delete_snapshot", &json!({"SnapshotId": id})), "InvalidSnapshot.NotFound");
}

#[test]
fn more_than_fifty_tags_and_those_of_amazon_are_refused() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let volume = ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 1);
    let tags = |number: usize| -> Vec<Value> { (0..number).map(|tag| json!({"Key": format!("k{tag}"), "Value": "v"})).collect() };
    client.succeed("create_tags", &json!({"Resources": [volume], "Tags": tags(50)}));
    let one_more = json!({"Resources": [volume], "Tags": [{"Key": "another", "Value": ""}]});
    assert_eq!(client.refused("create_tags", &one_more), "TagLimitExceeded");
    let reserved = json!({"Resources": [volume], "Tags": [{"Key": "aws:x", "Value": ""}]});
    assert_eq!(client.refused("create_tags", &reserved), "InvalidParameterValue");
    let specification = json!([{"ResourceType": "snapshot", "Tags": tags(51)}]);
    let refused = client.refused("create_snapshot", &json!({"VolumeId": volume, "TagSpecifications": specification}));
    assert_eq!(refused, "TagLimitExceeded");
    assert!(ec2.snapshots().is_empty());
}
