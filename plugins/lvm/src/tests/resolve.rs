//! Mapping data paths to logical volumes, and what is refused.

use stillframe_sdk::{BlockDevice, DataPath, DataRole, Error, Provider};

use super::fake::{FakeKind, FakeVolume};
use super::{Lvm, Machine, config, defaults, machine, path, paths};

fn refused(machine: &Machine, settings: &str, path: DataPath) -> String {
    match Lvm::resolve(&machine.host, &config(settings), vec![path]) {
        Err(Error::UnmanagedPath(text)) => text,
        other => panic!("{other:?}"),
    }
}

const DEFAULTS: &str = r#"{"volume_groups":["vg-a","vg1"]}"#;

fn data(minor: u32, source: &str, fs_type: &str) -> DataPath {
    path("data", DataRole::Data, minor, source, fs_type)
}

fn layered(kinds: &[(&str, &str)]) -> DataPath {
    let mut path = data(1, "/dev/mapper/luks-pg", "ext4");
    let device =
        |(name, kind): &(&str, &str)| BlockDevice { name: (*name).to_owned(), kind: (*kind).to_owned(), serial: None, model: None };
    path.devices = kinds.iter().map(device).collect();
    path
}

#[test]
fn every_path_is_in_the_volume_that_holds_it() {
    let machine = machine();
    let mut paths = paths();
    paths.push(path("tablespace-9", DataRole::Tablespace, 1, "/dev/vg-a/thin-pg[/sub]", "xfs"));
    paths.push(path("tablespace-8", DataRole::Tablespace, 1, "/dev/dm-1", "xfs"));
    paths.push(path("tablespace-7", DataRole::Tablespace, 1, "/dev/root", "xfs"));
    let volumes = Lvm::resolve(&machine.host, &defaults(), paths).unwrap();
    let found: Vec<(&str, Vec<&str>)> =
        volumes.iter().map(|volume| (volume.id.as_str(), volume.paths.iter().map(|path| path.name.as_str()).collect())).collect();
    assert_eq!(
        found,
        [
            ("vg-a/thin-pg", vec!["data", "tablespace-9", "tablespace-8", "tablespace-7"]),
            ("vg1/wal", vec!["wal"]),
            ("vg-a/ts", vec!["tablespace-16384"]),
        ]
    );
    let thin = [("group", "vg-a"), ("uuid", "uuid-1"), ("layout", "thin,sparse"), ("size", "21474836480"), ("pool", "pool")];
    assert_eq!(volumes[0].attributes, thin.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn what_does_not_lie_on_a_volume_of_the_groups_is_refused_with_its_reason() {
    let machine = machine();
    for (path, reason) in [
        (layered(&[("dm-7", "crypt"), ("dm-1", "lvm"), ("vda", "disk")]), "put the encryption below LVM"),
        (layered(&[("md0", "raid1"), ("dm-1", "lvm")]), "lies between the file system and the logical volume"),
        (layered(&[("dm-9", "part"), ("dm-1", "lvm")]), "lies between the file system and the logical volume"),
        (layered(&[("vda1", "part"), ("vda", "disk")]), "`vda1` (part) is not a logical volume"),
        (layered(&[("dm-3", "crypt"), ("vda", "disk")]), "`dm-3` (crypt) is not a logical volume"),
        (layered(&[]), "is no block device"),
        (data(77, "/dev/mapper/other-pg", "ext4"), "is not a logical volume of vg-a, vg1"),
        (data(2, "/dev/mapper/vg--a-thin--pg", "ext4"), "but its device `dm-2` is `vg-a/ts`"),
        (data(2, "/dev/vg-a/thin-pg", "ext4"), "but its device `dm-2` is `vg-a/ts`"),
        (data(2, "/dev/dm-1", "ext4"), "but its device `dm-2` is `vg-a/ts`"),
        (data(1, "/dev/mapper/vg--a-thin--pg", "btrfs"), "use the provider btrfs"),
        (data(1, "/dev/mapper/vg--a-thin--pg", "vfat"), "`vfat` are not known"),
    ] {
        let text = refused(&machine, DEFAULTS, path);
        assert!(text.starts_with("/srv/data/15/ä: ") && text.contains(reason), "{text}");
    }
    assert!(refused(&machine, r#"{"volume_groups":["vg1"]}"#, data(1, "/dev/vg-a/thin-pg", "xfs")).contains("of vg1"));
}

#[test]
fn a_volume_that_can_have_no_snapshot_is_refused() {
    let machine = machine();
    let snapshot = FakeVolume { kind: FakeKind::ClassicSnapshot, origin: "ts".to_owned(), ..FakeVolume::default() };
    machine.lvm.borrow_mut().add(FakeVolume { group: "vg-a".to_owned(), name: "old".to_owned(), ..snapshot });
    assert!(refused(&machine, DEFAULTS, data(4, "/dev/vg-a/old", "ext4")).contains("is itself a classic snapshot"));
    let thin_only = r#"{"volume_groups":["vg-a"],"mode":"thin"}"#;
    assert!(refused(&machine, thin_only, data(2, "/dev/vg-a/ts", "ext4")).contains("is not a thin volume"));
    machine.lvm.borrow_mut().add_linear("vg-a", "+odd", 1 << 30, "");
    assert!(refused(&machine, DEFAULTS, data(5, "/dev/vg-a/+odd", "ext4")).contains("does not allow"));
}

#[test]
fn a_missing_group_is_an_error_and_no_absence() {
    let missing = Lvm::resolve(&machine().host, &config(r#"{"volume_groups":["vg-a","gone"]}"#), paths());
    assert!(matches!(missing, Err(Error::Invalid(argument)) if argument.field == "volume_groups"));
}
