//! Restores: what is mounted is what was cut, and a failure leaves nothing.

use stillframe_sdk::mount::FakeMounts;
use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{DataRole, Error, Provider, RestoreDirectory, Restored, SnapshotSet};

use super::cloud::{INSTANCE, Mishap};
use super::{Cloud, Ebs, config, defaults, device, nvme, path, request, restore_request, volume, with_set};

fn restore(host: &FakeHost, set: &SnapshotSet) -> Result<Restored, Error> {
    Ebs::restore_set(host, &defaults(), restore_request(set))
}

/// Nothing of a restore is there.
fn is_clean(cloud: &Cloud) -> bool {
    cloud.restored().is_empty()
        && cloud.world(|world| world.mounts.mounts.is_empty() && world.mounts.directories.iter().all(|path| !path.contains("r-1")))
}

#[test]
fn a_restore_makes_a_volume_attaches_and_mounts_it_and_release_takes_it_back() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let restored = restore(&host, &set).unwrap();
    assert_eq!(restored.directories[0].path, "/run/stillframe/mnt/r-1/0/main");
    let made = cloud.restored();
    assert_eq!(made.len(), 1, "the WAL comes from the archive");
    let asked = cloud.last("CreateVolume");
    assert_eq!((asked["AvailabilityZone"].as_str(), asked["VolumeType"].as_str()), ("eu-central-1a", "gp3"));
    assert_eq!(format!("snap-{}", &asked["SnapshotId"][5..]), set.members[0].id);
    assert_eq!(cloud.last("AttachVolume")["Device"], "/dev/sdi", "the first that is free");
    cloud.world(|world| {
        assert_eq!(world.mounts.mounts.len(), 1);
        assert_eq!(world.mounts.mounts[0].fs_type, "xfs");
        assert_eq!(world.volumes[&made[0]].tags["stillframe:restore"], "r-1");
        assert_eq!(world.volumes[&made[0]].tags["stillframe-owner"], "main/74");
    });
    assert_eq!(restore(&host, &set), Ok(restored.clone()), "the same request is the same restore");
    assert_eq!(cloud.restored(), made);
    Ebs::release(&host, &defaults(), &restored.handle).unwrap();
    assert!(is_clean(&cloud));
    assert_eq!(cloud.cut().len(), 2, "the set stays");
    for handle in [restored.handle.as_str(), "unknown", "../etc", ""] {
        Ebs::release(&host, &defaults(), handle).unwrap();
    }
    assert!(restore(&host, &set).is_ok(), "EC2 remembers the volume that was deleted");
    assert_eq!(cloud.restored().len(), 1);
}

#[test]
fn a_volume_that_was_made_of_something_else_is_never_mounted() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let mut foreign = super::cloud::Vol { snapshot: "snap-0bad".to_owned(), ..Default::default() };
    foreign.tags.extend([("stillframe:restore".to_owned(), "r-1".to_owned()), ("stillframe:member".to_owned(), "0".to_owned())]);
    cloud.world(|world| world.volumes.insert("vol-0000000000000bad0".to_owned(), foreign));
    assert!(matches!(restore(&host, &set), Err(Error::Conflict(text)) if text.contains("snap-0bad")));
    cloud.world(|world| assert!(!world.programs.iter().any(|program| program.starts_with("mount "))));
}

#[test]
fn a_partition_is_found_on_the_new_disk() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let on_partition = vec![path("data", DataRole::Data, vec![device("nvme10n1p2", "part"), nvme("a")])];
    let set = Ebs::create_set(&host, &defaults(), request(&host, "b1", on_partition)).unwrap();
    cloud.world(|world| world.new_volumes_have_partitions = 2);
    restore(&host, &set).unwrap();
    cloud.world(|world| assert!(world.mounts.mounts[0].source.ends_with("n1p2"), "{:?}", world.mounts.mounts));
}

#[test]
fn without_serial_numbers_the_new_device_is_taken_and_no_old_one() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.is_xen = true);
    assert!(matches!(restore(&host, &set), Err(Error::Invalid(argument)) if argument.field == "instance_id"));
    let settings = |more: &str| config(&format!(r#"{{"region":"eu-central-1","instance_id":"{INSTANCE}"{more}}}"#));
    Ebs::restore_set(&host, &settings(""), restore_request(&set)).unwrap();
    cloud.world(|world| assert_eq!(world.mounts.mounts[0].source, "/dev/xvdi"));
    Ebs::release(&host, &settings(""), "r-1").unwrap();
    // A mapping that is wrong leads to a disk that was there before.
    let wrong = settings(r#","devices":{"/dev/sdi":"/dev/xvdf"}"#);
    assert!(
        matches!(Ebs::restore_set(&host, &wrong, restore_request(&set)), Err(Error::Transient(text)) if text.contains("`devices`"))
    );
    assert!(is_clean(&cloud));
}

#[test]
fn what_cannot_be_mounted_here_says_how_to_do_it_by_hand() {
    for (case, fs_type, devices) in [
        ("lvm", "xfs", vec![device("dm-0", "lvm"), nvme("a")]),
        ("several volumes", "xfs", vec![device("md0", "raid0"), nvme("a"), nvme("b")]),
        ("btrfs", "btrfs", vec![nvme("a")]),
        ("crypt", "ext4", vec![device("dm-1", "crypt"), device("nvme10n1p1", "part"), nvme("a")]),
    ] {
        let cloud = Cloud::default();
        let host = cloud.host();
        let mut data = path("data", DataRole::Data, devices);
        fs_type.clone_into(&mut data.fs_type);
        let set = Ebs::create_set(&host, &defaults(), request(&host, "b1", vec![data])).unwrap();
        let Err(Error::Unsupported(text)) = restore(&host, &set) else { panic!("{case}") };
        assert!(text.contains(case) && text.contains("snap-") && text.contains(&volume("a")), "{text}");
        assert!(cloud.restored().is_empty());
    }
}

#[test]
fn a_cluster_is_restored_whole_and_its_own_directory_comes_last() {
    let cloud = Cloud::default();
    let host = cloud.host();
    let both = vec![path("data", DataRole::Data, vec![nvme("a")]), path("tablespace-1", DataRole::Tablespace, vec![nvme("b")])];
    let set = Ebs::create_set(&host, &defaults(), request(&host, "b1", both)).unwrap();
    assert!(matches!(restore(&host, &set), Err(Error::Invalid(argument)) if argument.message.contains("tablespace-1")));
    let mut asked = restore_request(&set);
    let tablespace =
        RestoreDirectory { name: "tablespace-1".to_owned(), role: DataRole::Tablespace, ..asked.directories[0].clone() };
    asked.directories.push(tablespace);
    let restored = Ebs::restore_set(&host, &defaults(), asked.clone()).unwrap();
    let order: Vec<&str> = restored.directories.iter().map(|directory| directory.name.as_str()).collect();
    assert_eq!(order, ["tablespace-1", "data"]);
    asked.directories[1].name = "tablespace-2".to_owned();
    assert!(matches!(Ebs::restore_set(&host, &defaults(), asked), Err(Error::Invalid(_))));
}

#[test]
fn an_unfinished_or_failed_set_is_not_restored() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.snapshots.values_mut().for_each(|snap| snap.error = true));
    assert!(matches!(restore(&host, &set), Err(Error::Invalid(argument)) if argument.field == "handle"));
    cloud.world(|world| world.work = 50);
    let pending = super::create(&host, "b2").unwrap();
    assert!(matches!(restore(&host, &pending), Err(Error::Busy(Some(_)))));
    assert!(cloud.restored().is_empty());
    host.advance_ms(700_000);
    cloud.world(|world| world.snapshots.clear());
    assert!(matches!(restore(&host, &set), Err(Error::NotFound(_))));
}

#[test]
fn a_failure_at_any_step_takes_everything_back() {
    for (action, mishap) in [
        ("CreateVolume", Mishap::Refused(400, "VolumeLimitExceeded")),
        ("AttachVolume", Mishap::Refused(400, "AttachmentLimitExceeded")),
        ("AttachVolume", Mishap::Refused(403, "UnauthorizedOperation")),
    ] {
        let cloud = Cloud::default();
        let (host, set) = with_set(&cloud);
        cloud.mishap(action, mishap);
        assert!(restore(&host, &set).is_err());
        assert!(is_clean(&cloud), "{action}");
    }
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.world(|world| world.nothing_can_be_mounted = true);
    assert!(restore(&host, &set).is_err());
    assert!(is_clean(&cloud));
}

#[test]
fn faults_that_pass_are_lived_through() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    for action in ["CreateVolume", "AttachVolume", "DescribeVolumes", "DetachVolume", "DeleteVolume"] {
        cloud.mishap(action, Mishap::Refused(503, "RequestLimitExceeded"));
        cloud.mishap(action, Mishap::Lost);
        cloud.mishap(action, Mishap::Refused(500, "InternalError"));
    }
    cloud.mishap("AttachVolume", Mishap::Refused(400, "IncorrectState"));
    cloud.world(|world| world.lag = 3);
    restore(&host, &set).unwrap();
    assert_eq!(cloud.restored().len(), 1, "a lost answer makes no second volume");
    Ebs::release(&host, &defaults(), "r-1").unwrap();
    assert!(is_clean(&cloud));
}

#[test]
fn a_key_that_cannot_be_used_is_suspected_when_volumes_vanish() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let encrypted = config(r#"{"region":"eu-central-1","kms_key_id":"disabled","volume_type":"io2","iops":4000}"#);
    let refused = Ebs::restore_set(&host, &encrypted, restore_request(&set));
    assert!(matches!(&refused, Err(Error::Transient(text)) if text.contains("key")), "{refused:?}");
    let asked = cloud.last("CreateVolume");
    assert_eq!((asked["VolumeType"].as_str(), asked["Iops"].as_str(), asked["Encrypted"].as_str()), ("io2", "4000", "true"));
    assert!(is_clean(&cloud));
}

#[test]
fn a_client_token_that_ec2_knows_for_something_else_is_not_used_again() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    cloud.mishap("CreateVolume", Mishap::Refused(400, "IdempotentParameterMismatch"));
    restore(&host, &set).unwrap();
    assert_eq!(cloud.restored().len(), 1);
}

#[test]
fn what_is_in_use_is_not_released() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    restore(&host, &set).unwrap();
    cloud.world(|world| world.mounts.busy.insert("/run/stillframe/mnt/r-1/0".to_owned()));
    assert!(matches!(Ebs::release(&host, &defaults(), "r-1"), Err(Error::InUse(_))));
    assert_eq!(cloud.restored().len(), 1);
    cloud.world(|world| {
        world.mounts = FakeMounts::default();
        world.volumes.values_mut().filter(|vol| !vol.snapshot.is_empty()).for_each(|vol| {
            vol.attached = Some(("i-0000000000000000f".to_owned(), "/dev/sdf".to_owned()));
        });
    });
    assert!(matches!(Ebs::release(&host, &defaults(), "r-1"), Err(Error::InUse(text)) if text.contains("i-0000000000000000f")));
    assert_eq!(cloud.restored().len(), 1, "another host works with it");
}

#[test]
fn a_volume_that_is_mounted_elsewhere_as_well_is_not_torn_away() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    restore(&host, &set).unwrap();
    cloud.world(|world| {
        let mut moved = world.mounts.mounts[0].clone();
        moved.point = "/srv/pg".to_owned();
        world.mounts.mounts.push(moved);
    });
    for _ in 0..2 {
        assert!(matches!(Ebs::release(&host, &defaults(), "r-1"), Err(Error::InUse(text)) if text.contains("`/srv/pg`")));
    }
    cloud.world(|world| world.mounts.mounts.clear());
    Ebs::release(&host, &defaults(), "r-1").unwrap();
    assert!(is_clean(&cloud));
}

#[test]
fn what_somebody_mounted_within_a_restore_is_left_to_him() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    restore(&host, &set).unwrap();
    cloud.world(|world| {
        let (mut within, device) = (world.mounts.mounts[0].clone(), "/dev/nvme99n1");
        (within.point, within.source) = ("/run/stillframe/mnt/r-1/0/archive".to_owned(), device.to_owned());
        world.mounts.mounts.push(within);
    });
    assert!(matches!(Ebs::release(&host, &defaults(), "r-1"), Err(Error::InUse(text)) if text.contains("r-1/0/archive")));
    cloud.world(|world| assert_eq!(world.mounts.mounts.len(), 2));
}

#[test]
fn nothing_is_released_in_the_wrong_place() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let handle = restore(&host, &set).unwrap().handle;
    let elsewhere = config(r#"{"region":"us-east-1"}"#);
    assert!(matches!(Ebs::release(&host, &elsewhere, &handle), Err(Error::Invalid(argument)) if argument.field == "region"));
    Ebs::release(&host, &defaults(), &handle).unwrap();
    cloud.world(|world| world.account = Some("444455556666".to_owned()));
    assert!(matches!(Ebs::release(&host, &defaults(), &handle), Err(Error::Unauthenticated(_))));
    cloud.world(|world| world.account = None);
    Ebs::release(&host, &defaults(), &handle).unwrap();
}

#[test]
fn a_volume_that_is_not_visible_yet_is_released() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    restore(&host, &set).unwrap();
    cloud.world(|world| {
        world.mounts = FakeMounts::default();
        world.volumes.values_mut().filter(|vol| !vol.snapshot.is_empty()).for_each(|vol| (vol.attached, vol.hidden) = (None, 3));
    });
    Ebs::release(&host, &defaults(), "r-1").unwrap();
    assert!(is_clean(&cloud));
}

#[test]
fn a_token_that_cannot_name_a_directory_is_refused() {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    for token in ["", "..", "a/b", "a b", &"x".repeat(41)] {
        let mut asked = restore_request(&set);
        token.clone_into(&mut asked.token);
        assert!(matches!(Ebs::restore_set(&host, &defaults(), asked), Err(Error::Invalid(argument)) if argument.field == "token"));
    }
}
