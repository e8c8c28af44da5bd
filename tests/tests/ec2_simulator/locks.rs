//! Locks: who may lift them, and when.

use std::time::Duration;

use serde_json::{Value, json};
use stillframe_tests::{Boto, Ec2};

const DAY: Duration = Duration::from_hours(24);

fn snapshot(ec2: &Ec2, client: &mut Boto) -> Value {
    let volume = ec2.add_attached_volume(&ec2.add_instance(), "/dev/sdf", 1);
    client.succeed("create_snapshot", &json!({"VolumeId": volume}))["SnapshotId"].clone()
}

#[test]
fn a_lock_in_governance_mode_keeps_the_snapshot_until_it_is_lifted_or_over() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let id = snapshot(&ec2, &mut client);
    let lock = json!({"SnapshotId": id, "LockMode": "governance", "LockDuration": 2});
    assert_eq!(client.succeed("lock_snapshot", &lock)["LockState"], "governance");
    assert_eq!(client.refused("delete_snapshot", &json!({"SnapshotId": id})), "SnapshotLocked");
    client.succeed("unlock_snapshot", &json!({"SnapshotId": id}));
    assert_eq!(client.refused("unlock_snapshot", &json!({"SnapshotId": id})), "IncorrectState");
    client.succeed("lock_snapshot", &lock);
    ec2.advance(DAY * 3);
    let described = client.succeed("describe_locked_snapshots", &json!({"SnapshotIds": [id]}));
    assert_eq!(described["Snapshots"][0]["LockState"], "expired");
    client.succeed("delete_snapshot", &json!({"SnapshotId": id}));
}

#[test]
fn a_lock_in_compliance_mode_can_only_be_prolonged() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let id = snapshot(&ec2, &mut client);
    let lock = |days: u32, mode: &str| json!({"SnapshotId": id, "LockMode": mode, "LockDuration": days});
    assert_eq!(client.succeed("lock_snapshot", &lock(5, "compliance"))["LockState"], "compliance");
    assert_eq!(client.refused("unlock_snapshot", &json!({"SnapshotId": id})), "SnapshotLocked");
    assert_eq!(client.refused("lock_snapshot", &lock(4, "compliance")), "SnapshotLocked");
    assert_eq!(client.refused("lock_snapshot", &lock(9, "governance")), "SnapshotLocked");
    client.succeed("lock_snapshot", &lock(6, "compliance"));
    ec2.advance(DAY * 5);
    assert_eq!(client.refused("delete_snapshot", &json!({"SnapshotId": id})), "SnapshotLocked");
    ec2.advance(DAY * 2);
    client.succeed("delete_snapshot", &json!({"SnapshotId": id}));
}

#[test]
fn within_its_cooling_off_period_a_lock_in_compliance_mode_can_be_lifted() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let id = snapshot(&ec2, &mut client);
    let lock = json!({"SnapshotId": id, "LockMode": "compliance", "LockDuration": 5, "CoolOffPeriod": 24});
    assert_eq!(client.succeed("lock_snapshot", &lock)["LockState"], "compliance-cooloff");
    client.succeed("unlock_snapshot", &json!({"SnapshotId": id}));
    client.succeed("lock_snapshot", &lock);
    ec2.advance(DAY + Duration::from_mins(1));
    assert_eq!(client.refused("unlock_snapshot", &json!({"SnapshotId": id})), "SnapshotLocked");
}

#[test]
fn a_lock_that_says_its_end_twice_or_not_at_all_or_in_the_past_is_refused() {
    let ec2 = Ec2::in_memory();
    let mut client = Boto::of(&ec2);
    let id = snapshot(&ec2, &mut client);
    for (ends, code) in [
        (json!({}), "InvalidParameterCombination"),
        (json!({"LockDuration": 1, "ExpirationDate": "2099-01-01T00:00:00.000Z"}), "InvalidParameterCombination"),
        (json!({"ExpirationDate": "2020-01-01T00:00:00.000Z"}), "InvalidParameterValue"),
        (json!({"LockDuration": 1, "CoolOffPeriod": 1}), "InvalidParameterValue"),
    ] {
        let mut lock = json!({"SnapshotId": id, "LockMode": "governance"});
        lock.as_object_mut().unwrap().extend(ends.as_object().unwrap().clone());
        assert_eq!(client.refused("lock_snapshot", &lock), code, "{lock}");
    }
}
