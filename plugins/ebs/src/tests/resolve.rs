//! Which volumes a path lies on, and what is refused.

use stillframe_sdk::{BlockDevice, DataPath, DataRole, Error, Provider};

use super::{Cloud, Ebs, config, defaults, device, nvme, path, paths, volume};

fn data(devices: Vec<BlockDevice>) -> DataPath {
    path("data", DataRole::Data, devices)
}

fn ids(paths: Vec<DataPath>) -> Result<Vec<String>, Error> {
    let volumes = Ebs::resolve(&Cloud::default().host(), &defaults(), paths)?;
    Ok(volumes.into_iter().map(|volume| volume.id).collect())
}

#[test]
fn a_disk_tells_its_volume_by_its_serial_number() {
    assert_eq!(ids(paths()), Ok(vec![volume("a"), volume("b")]));
    assert_eq!(ids(vec![data(vec![device("nvme10n1p1", "part"), nvme("a")])]), Ok(vec![volume("a")]));
    assert_eq!(ids(vec![data(vec![device("dm-3", "crypt"), device("nvme10n1p2", "part"), nvme("0")])]), Ok(vec![volume("0")]));
    assert_eq!(ids(Vec::new()), Ok(Vec::new()));
}

#[test]
fn paths_on_one_disk_share_a_volume() {
    let shared = vec![data(vec![nvme("a")]), path("tablespace-1", DataRole::Tablespace, vec![nvme("a")])];
    let volumes = Ebs::resolve(&Cloud::default().host(), &defaults(), shared).unwrap();
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0].paths.len(), 2);
    let has = |key: &str, value: &str| volumes[0].attributes.contains(&(key.to_owned(), value.to_owned()));
    assert!(has("type", "gp3") && has("encrypted", "true") && has("gib", "10"), "{:?}", volumes[0].attributes);
}

#[test]
fn several_disks_below_one_file_system_are_one_volume_in_any_order() {
    let stripe = |one, other| vec![device("md0", "raid0"), nvme(one), nvme(other)];
    let expected = format!("{}+{}", volume("a"), volume("b"));
    assert_eq!(ids(vec![data(stripe("a", "b")), path("wal", DataRole::Wal, stripe("b", "a"))]), Ok(vec![expected]));
}

#[test]
fn what_is_no_volume_is_refused_by_name() {
    let instance_store = BlockDevice {
        serial: Some("AWS1234567890".to_owned()),
        model: Some("Amazon EC2 NVMe Instance Storage".to_owned()),
        ..nvme("a")
    };
    let overlap = vec![data(vec![device("md0", "raid0"), nvme("a"), nvme("b")]), path("wal", DataRole::Wal, vec![nvme("b")])];
    for (case, paths, word) in [
        ("instance store", vec![data(vec![instance_store.clone()])], "instance store"),
        ("one of two", vec![data(vec![device("md0", "raid1"), nvme("a"), instance_store])], "instance store"),
        ("no disk", vec![data(Vec::new())], "no disk"),
        ("another NVMe disk", vec![data(vec![BlockDevice { serial: Some("S1".to_owned()), ..nvme("a") }])], "not an EBS volume"),
        ("a foreign volume", vec![data(vec![nvme("f")])], "not a volume of this account"),
        ("no serial, no instance", vec![data(vec![device("xvdf", "disk")])], "`instance_id`"),
        ("a shared disk", overlap, "only a part"),
    ] {
        let Err(Error::UnmanagedPath(text)) = ids(paths) else { panic!("{case} was accepted") };
        assert!(text.contains("/srv/") && text.contains(word), "{case}: {text}");
    }
}

#[test]
fn without_serial_numbers_the_instance_tells() {
    let host = Cloud::default().host();
    let resolve = |settings: &str, name: &str, kind: &str| {
        let settings = config(&format!(r#"{{"region":"eu-central-1","instance_id":"{}"{settings}}}"#, super::cloud::INSTANCE));
        Ebs::resolve(&host, &settings, vec![data(vec![device(name, kind)])]).map(|volumes| volumes[0].id.clone())
    };
    assert_eq!(resolve("", "xvdf", "disk"), Ok(volume("a")), "EC2 calls it `/dev/sdf`");
    assert_eq!(resolve("", "xvda", "disk"), Ok(volume("0")));
    assert_eq!(resolve(r#","devices":{"/dev/sdf":"/dev/loop7"}"#, "loop7", "loop"), Ok(volume("a")));
    assert!(matches!(resolve(r#","devices":{"/dev/sdf":"/dev/xvdj"}"#, "xvdf", "disk"), Err(Error::UnmanagedPath(_))));
    assert!(matches!(resolve("", "xvdz", "disk"), Err(Error::UnmanagedPath(_))));
}
