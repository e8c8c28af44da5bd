//! The same provider against moto, whose reading of EC2's API is not ours; it checks signatures and rights.
//!
//! Behind its volumes there is nothing, so nothing is restored, and it knows no locks. It cuts volumes that were excluded as well.

use serde_json::{Value, json};
use stillframe_tests::{Boto, Disks, ObjectStoreServer, ScratchDirectory, Site, tested_major, with_own_mounts};

use crate::machine::{Mounted, PREFIX, allow_sudo, flush, text};

const REGION: &str = "us-east-1";
const SIZE_GIB: u64 = 4;
/// The third is none of the database's.
const DEVICES: [&str; 3] = ["/dev/sdf", "/dev/sdg", "/dev/sdh"];
/// Without the snapshots.
const OTHER_ACTIONS: [&str; 5] =
    ["ec2:RunInstances", "ec2:CreateVolume", "ec2:AttachVolume", "ec2:Describe*", "sts:GetCallerIdentity"];

/// An installation whose volumes are known to moto. The server goes before its file systems.
struct MotoSite {
    site: Site,
    _mounted: [Mounted; 2],
    _disks: Disks,
    volumes: Vec<String>,
    client: Boto,
    _moto: ObjectStoreServer,
    _scratch: ScratchDirectory,
}

impl MotoSite {
    fn start(actions: &[&str]) -> Self {
        let mut disks = Disks::create();
        let scratch = ScratchDirectory::create();
        allow_sudo(&scratch);
        let moto = ObjectStoreServer::moto_that_allows(actions);
        let mut client = Boto::at(moto.endpoint(), REGION, moto.access_key(), moto.secret_key());
        let started = client.succeed("run_instances", &json!({"ImageId": "ami-12c6146b", "MinCount": 1, "MaxCount": 1}));
        let (instance, zone) =
            (started["Instances"][0]["InstanceId"].clone(), started["Instances"][0]["Placement"]["AvailabilityZone"].clone());
        let mut attach = |device: &str| {
            let made = client.succeed("create_volume", &json!({"AvailabilityZone": zone, "Size": SIZE_GIB}));
            let volume = made["VolumeId"].as_str().unwrap().to_owned();
            client.succeed("attach_volume", &json!({"VolumeId": volume, "InstanceId": instance, "Device": device}));
            disks.attach_blank(&volume, device, SIZE_GIB);
            volume
        };
        let volumes = DEVICES.map(&mut attach).to_vec();
        let mounted =
            [("/dev/sdf", "pgdata"), ("/dev/sdg", "pg_wal")].map(|(device, name)| Mounted::new(device, "ext4", scratch.join(name)));
        let mut builder = Site::builder(tested_major())
            .cluster(|cluster| cluster.data_at(mounted[0].join("main")).wal_at(mounted[1].join("wal")).setting("fsync", "on"))
            .value("provider.ebs", "region", REGION)
            .value("provider.ebs", "endpoint", moto.endpoint())
            .value("provider.ebs", "mount_root", text(&scratch.join("mnt")))
            .value("provider.ebs", "command_prefix", PREFIX.map(str::to_owned).to_vec());
        for (name, value) in moto.environment() {
            builder = builder.variable(name, &value);
        }
        let site = builder.start();
        flush(&mounted);
        Self { site, _mounted: mounted, _disks: disks, volumes, client, _moto: moto, _scratch: scratch }
    }

    /// The volumes of the snapshots that there are of ours.
    fn cut(&mut self) -> Vec<String> {
        let ours = json!([{"Name": "tag-key", "Values": ["stillframe:token"]}]);
        let found = self.client.succeed("describe_snapshots", &json!({"OwnerIds": ["self"], "Filters": ours}));
        let volume = |snapshot: &Value| snapshot["VolumeId"].as_str().unwrap().to_owned();
        let mut volumes: Vec<String> = found["Snapshots"].as_array().unwrap().iter().map(volume).collect();
        volumes.sort();
        volumes
    }
}

#[test]
fn a_backup_is_taken_shown_and_deleted_against_another_reading_of_the_api() {
    with_own_mounts("moto::a_backup_is_taken_shown_and_deleted_against_another_reading_of_the_api", || {
        let mut moto = MotoSite::start(&["ec2:*", "sts:GetCallerIdentity"]);
        let name = moto.site.backup_by("ebs", &[]);
        let mut wanted = moto.volumes[..2].to_vec();
        wanted.sort();
        assert_eq!(moto.cut(), wanted, "what was cut beyond the database is deleted again");
        let shown = moto.site.show(&name);
        assert_eq!((shown["state"].as_str(), shown["provider"].as_str()), (Some("ready"), Some("ebs")));
        assert_eq!(moto.site.backups(), [name]);
        // What is known is no garbage.
        moto.site.stillframe.succeed(["delete", "garbage", "--confirm"]);
        assert_eq!(moto.cut(), wanted);
        moto.site.stillframe.succeed(["delete", "everything", "--confirm"]);
        assert!(moto.cut().is_empty() && moto.site.backups().is_empty());
    });
}

#[test]
fn a_right_that_is_missing_is_named_by_its_action() {
    with_own_mounts("moto::a_right_that_is_missing_is_named_by_its_action", || {
        let mut moto = MotoSite::start(&OTHER_ACTIONS);
        let refused = moto.site.stillframe.run(["snapshot-push", "--provider", "ebs"]);
        assert!(!refused.is_success() && refused.stderr.contains("CreateSnapshots"), "{refused}");
        assert!(moto.cut().is_empty() && moto.site.backups().is_empty() && moto.site.intents().is_empty());
    });
}

#[test]
fn a_wrong_secret_is_told_clearly() {
    with_own_mounts("moto::a_wrong_secret_is_told_clearly", || {
        let moto = MotoSite::start(&["ec2:*", "sts:GetCallerIdentity"]);
        let wrong = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let stranger = moto.site.stillframe.clone().env("AWS_SECRET_ACCESS_KEY", wrong);
        let refused = stranger.run(["-vv", "snapshot-push", "--provider", "ebs"]);
        assert!(!refused.is_success() && refused.stderr.contains("AuthFailure") && !refused.says(wrong), "{refused}");
    });
}
