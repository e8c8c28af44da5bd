//! Volumes: client tokens, and the states that they pass through.

use serde_json::{Value, json};
use stillframe_tests::{Boto, Completion, Ec2};

fn snapshot(ec2: &Ec2, client: &mut Boto, instance: &str) -> Value {
    ec2.complete_snapshots(Completion::AfterLooks(0));
    let volume = ec2.add_attached_volume(instance, "/dev/sdf", 3);
    let id = client.succeed("create_snapshot", &json!({"VolumeId": volume}))["SnapshotId"].clone();
    client.succeed("describe_snapshots", &json!({"SnapshotIds": [id]}));
    id
}

#[test]
fn a_client_token_makes_one_volume_and_is_refused_for_another() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let instance = ec2.add_instance();
    let id = snapshot(&ec2, &mut client, &instance);
    let mut wanted = json!({"AvailabilityZone": "eu-central-1a", "SnapshotId": id, "ClientToken": "one"});
    let first = client.succeed("create_volume", &wanted);
    assert_eq!(first["Size"], 3, "as large as its snapshot");
    assert_eq!(client.succeed("create_volume", &wanted)["VolumeId"], first["VolumeId"]);
    wanted["VolumeType"] = json!("gp3");
    assert_eq!(client.refused("create_volume", &wanted), "IdempotentParameterMismatch");
    wanted["ClientToken"] = json!("two");
    assert_ne!(client.succeed("create_volume", &wanted)["VolumeId"], first["VolumeId"]);
}

#[test]
fn a_volume_is_made_of_a_completed_snapshot_in_the_zone_alone() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let volume = ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 3);
    let id = client.succeed("create_snapshot", &json!({"VolumeId": volume}))["SnapshotId"].clone();
    let pending = json!({"AvailabilityZone": "eu-central-1a", "SnapshotId": id});
    assert_eq!(client.refused("create_volume", &pending), "IncorrectState");
    let elsewhere = json!({"AvailabilityZone": "eu-central-1b", "Size": 1});
    assert_eq!(client.refused("create_volume", &elsewhere), "InvalidZone.NotFound");
}

#[test]
fn a_volume_passes_through_its_states_with_every_look() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let instance = ec2.add_instance();
    let id = snapshot(&ec2, &mut client, &instance);
    let made = client.succeed("create_volume", &json!({"AvailabilityZone": "eu-central-1a", "SnapshotId": id}));
    let volume = made["VolumeId"].clone();
    let attach = |device: &str| json!({"VolumeId": volume, "InstanceId": instance, "Device": device});
    let look = |client: &mut Boto| {
        let found = client.succeed("describe_volumes", &json!({"VolumeIds": [volume]}))["Volumes"][0].clone();
        let attachment = found["Attachments"].as_array().unwrap().first().map(|attachment| attachment["State"].clone());
        format!("{} {}", found["State"].as_str().unwrap(), attachment.as_ref().and_then(Value::as_str).unwrap_or("-"))
    };
    assert_eq!(made["State"], "creating");
    assert_eq!(client.refused("attach_volume", &attach("/dev/sdg")), "IncorrectState");
    assert_eq!([look(&mut client), look(&mut client)], ["creating -", "available -"]);
    for wrong in ["/dev/sdf", "/dev/nvme1n1"] {
        assert_eq!(client.refused("attach_volume", &attach(wrong)), "InvalidParameterValue");
    }
    client.succeed("attach_volume", &attach("/dev/sdg"));
    assert_eq!(client.refused("attach_volume", &attach("/dev/sdh")), "VolumeInUse");
    assert_eq!([look(&mut client), look(&mut client)], ["in-use attaching", "in-use attached"]);
    let named = json!({"VolumeId": volume});
    assert_eq!(client.refused("delete_volume", &named), "VolumeInUse");
    client.succeed("detach_volume", &named);
    assert_eq!([look(&mut client), look(&mut client)], ["in-use detaching", "available -"]);
    assert_eq!(client.refused("detach_volume", &named), "IncorrectState");
    client.succeed("delete_volume", &named);
    assert_eq!(look(&mut client), "deleting -");
    let gone = client.succeed("describe_volumes", &json!({"Filters": [{"Name": "volume-id", "Values": [volume]}]}));
    assert!(gone["Volumes"].as_array().unwrap().is_empty());
    assert_eq!(client.refused("describe_volumes", &json!({"VolumeIds": [volume]})), "InvalidVolume.NotFound");
}
