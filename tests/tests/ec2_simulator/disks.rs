//! Real disks behind the volumes: what is cut is cut at one instant, and nothing outlives the test.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use stillframe_tests::{Boto, Completion, Disks, Ec2, with_own_mounts};

const CUTS: usize = 10;

/// Writes a number to the first disk and then to the second, each through to the disk, until told to end.
fn count_up(end: &AtomicBool) {
    let open = |name: &str| File::options().write(true).open(name).unwrap();
    let disks = [open("/dev/sdf"), open("/dev/sdg")];
    for number in 1_u64.. {
        for disk in &disks {
            disk.write_all_at(&number.to_le_bytes(), 0).unwrap();
            disk.sync_data().unwrap();
        }
        if end.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// The number on a new volume of this snapshot.
fn number_in(client: &mut Boto, instance: &str, snapshot: &Value) -> u64 {
    client.succeed("describe_snapshots", &json!({"SnapshotIds": [snapshot]}));
    let made = client.succeed("create_volume", &json!({"AvailabilityZone": "eu-central-1a", "SnapshotId": snapshot}));
    let volume = json!({"VolumeId": made["VolumeId"]});
    let look = json!({"VolumeIds": [made["VolumeId"]]});
    for _ in 0..2 {
        client.succeed("describe_volumes", &look);
    }
    client.succeed("attach_volume", &json!({"VolumeId": made["VolumeId"], "InstanceId": instance, "Device": "/dev/sdh"}));
    let mut number = [0; 8];
    File::open("/dev/sdh").unwrap().read_exact_at(&mut number, 0).unwrap();
    client.succeed("detach_volume", &volume);
    for _ in 0..2 {
        client.succeed("describe_volumes", &look);
    }
    assert!(!Path::new("/dev/sdh").exists());
    client.succeed("delete_volume", &volume);
    u64::from_le_bytes(number)
}

/// The second disk can never be ahead in a set, and it is in snapshots that are made one after the other.
#[test]
fn a_set_is_from_one_instant_and_single_snapshots_are_not() {
    with_own_mounts("disks::a_set_is_from_one_instant_and_single_snapshots_are_not", || {
        let ec2 = Ec2::with_disks(Disks::create());
        ec2.complete_snapshots(Completion::AfterLooks(0)).slow_volumes(0);
        let instance = ec2.add_instance();
        let volumes = ["/dev/sdf", "/dev/sdg"].map(|device| ec2.add_attached_volume(&instance, device, 1));
        let mut client = Boto::of(&ec2);
        let (mut sets, mut singles) = (Vec::new(), Vec::new());
        let end = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| count_up(&end));
            for _ in 0..CUTS {
                let instance = json!({"InstanceId": instance, "ExcludeBootVolume": true});
                let set = client.succeed("create_snapshots", &json!({"InstanceSpecification": instance}));
                let snapshot_of = |volume: &String| {
                    let members = set["Snapshots"].as_array().unwrap();
                    members.iter().find(|member| member["VolumeId"] == **volume).unwrap()["SnapshotId"].clone()
                };
                sets.push([snapshot_of(&volumes[0]), snapshot_of(&volumes[1])]);
                singles.push(
                    [0, 1].map(|disk| client.succeed("create_snapshot", &json!({"VolumeId": volumes[disk]}))["SnapshotId"].clone()),
                );
            }
            end.store(true, Ordering::SeqCst);
        });
        let mut numbers = |pair: &[Value; 2]| [0, 1].map(|disk: usize| number_in(&mut client, &instance, &pair[disk]));
        for [first, second] in sets.iter().map(&mut numbers) {
            assert!(first == second || first == second + 1, "{first} and {second} are from two instants");
        }
        let is_apart = |[first, second]: [u64; 2]| second > first;
        assert!(singles.iter().map(&mut numbers).any(is_apart), "the test of sets could not fail");
    });
}

#[test]
fn a_volume_in_use_is_not_detached_and_a_device_name_is_given_once() {
    with_own_mounts("disks::a_volume_in_use_is_not_detached_and_a_device_name_is_given_once", || {
        let ec2 = Ec2::with_disks(Disks::create());
        let (instance, other) = (ec2.add_instance(), ec2.add_instance());
        let volume = ec2.add_attached_volume(&instance, "/dev/sdf", 1);
        let mut client = Boto::of(&ec2);
        let point = tempfile::tempdir().unwrap();
        run("mkfs.ext4", &["-q", "/dev/sdf"]);
        run("mount", &["/dev/sdf", point.path().to_str().unwrap()]);

        let serial = fs::canonicalize("/dev/sdf").unwrap();
        let serial = Path::new("/sys/block").join(serial.file_name().unwrap()).join("device/serial");
        assert_eq!(fs::read_to_string(serial).unwrap().trim(), volume.replace('-', ""), "as NVMe shows it");

        client.succeed("detach_volume", &json!({"VolumeId": volume}));
        let look = |client: &mut Boto| {
            let found = client.succeed("describe_volumes", &json!({"VolumeIds": [volume]}))["Volumes"][0].clone();
            found["Attachments"].as_array().unwrap().first().map(|attachment| attachment["State"].clone())
        };
        assert_eq!([look(&mut client), look(&mut client)], [Some(json!("detaching")), Some(json!("busy"))]);
        assert_eq!(ec2.loops().len(), 1);
        run("umount", &[point.path().to_str().unwrap()]);
        assert_eq!(look(&mut client), None);
        assert!(ec2.loops().is_empty() && !Path::new("/dev/sdf").exists());

        // The name is the instance's own in EC2; here two instances are one machine.
        ec2.add_attached_volume(&other, "/dev/sdf", 1);
        let attach = json!({"VolumeId": volume, "InstanceId": instance, "Device": "/dev/sdf"});
        assert_eq!(client.refused("attach_volume", &attach), "InvalidParameterValue");
    });
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}
