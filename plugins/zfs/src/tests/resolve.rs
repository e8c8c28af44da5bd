//! Mapping data paths to datasets.

use stillframe_sdk::{DataRole, Error, Provider};

use super::{ZfsProvider, config, data, defaults, path, pools, tablespace, wal};

#[test]
fn paths_of_one_dataset_are_one_volume_with_facts_for_a_person() {
    let (_, host) = pools();
    let nested = path("tablespace-1", DataRole::Tablespace, "tank/pg", "/srv/tank/pg/ts1");
    let volumes = ZfsProvider::resolve(&host, &defaults(), vec![data(), wal(), nested, tablespace()]).unwrap();
    let ids: Vec<(&str, usize)> = volumes.iter().map(|volume| (volume.id.as_str(), volume.paths.len())).collect();
    assert_eq!(ids, [("tank/pg", 2), ("tank/wal", 1), ("fast/ts", 1)]);
    let facts: Vec<&str> = volumes[0].attributes.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(facts, ["pool", "dataset-guid", "recordsize", "mountpoint"]);
    assert_eq!(ZfsProvider::resolve(&host, &defaults(), Vec::new()).unwrap(), Vec::new());
}

#[test]
fn a_bind_mount_is_its_dataset() {
    let (_, host) = pools();
    let bound = path("data", DataRole::Data, "tank/pg[/clusters]", "/srv/tank/pg/15/main");
    assert_eq!(ZfsProvider::resolve(&host, &defaults(), vec![bound]).unwrap()[0].id, "tank/pg");
}

#[test]
fn a_dataset_below_a_granted_one_is_covered_and_one_beside_it_is_not() {
    let (fake, host) = pools();
    fake.state(|state| state.add("tank/pg/ts2"));
    fake.state(|state| state.add("tank/pg2"));
    let of = |source: &str| {
        let path = path("data", DataRole::Data, source, &format!("/srv/{source}/x"));
        ZfsProvider::resolve(&host, &defaults(), vec![path])
    };
    assert_eq!(of("tank/pg/ts2").unwrap()[0].id, "tank/pg/ts2");
    for foreign in ["tank/pg2", "tank", "tank/home", "fast"] {
        assert_eq!(of(foreign), Err(Error::UnmanagedPath(format!("/srv/{foreign}/x"))), "{foreign}");
    }
}

#[test]
fn other_file_systems_snapshots_and_strange_names_are_refused_by_name() {
    let (fake, host) = pools();
    let refused = |change: &dyn Fn(&mut stillframe_sdk::DataPath)| {
        let mut path = data();
        change(&mut path);
        let named = path.path.clone();
        let error = ZfsProvider::resolve(&host, &defaults(), vec![wal(), path]).unwrap_err();
        assert!(matches!(&error, Error::UnmanagedPath(text) if text.contains(&named)), "{error:?}");
    };
    refused(&|path| path.fs_type = "ext4".to_owned());
    refused(&|path| path.mount_source = "tank/pg@b1".to_owned());
    refused(&|path| path.path = "/srv/tank/pg/.zfs/snapshot/b1/15/main".to_owned());
    refused(&|path| path.mount_source = "tank/pg x".to_owned());
    refused(&|path| path.mount_point = "/elsewhere".to_owned());
    assert!(host.messages().iter().any(|(_, text)| text.contains("it lies in a snapshot")));
    fake.by_hand("destroy tank/pg");
    refused(&|_| ());
}

#[test]
fn a_configuration_that_grants_more_than_it_says_is_refused() {
    let (_, host) = pools();
    for (json, field) in [
        (r#"{"datasets":[]}"#, "datasets"),
        (r#"{"datasets":["-r"]}"#, "datasets"),
        (r#"{"datasets":["tank/pg@x"]}"#, "datasets"),
        (r#"{"datasets":["tank/../x"]}"#, "datasets"),
        (r#"{"datasets":["tank/my pg"]}"#, "datasets"),
        (r#"{"datasets":["tank/pg"],"clones":["tank"]}"#, "clones"),
        (r#"{"datasets":["tank/pg"],"clones":["tank/pg"]}"#, "clones"),
        (r#"{"datasets":["tank/pg/a"],"clones":["tank/pg"]}"#, "clones"),
        (r#"{"datasets":["tank/pg"],"clones":["tank/a","tank/b"]}"#, "clones"),
        (r#"{"datasets":["tank/pg"],"mount_root":"mnt"}"#, "mount_root"),
        (r#"{"datasets":["tank/pg"],"mount_root":"/mnt/../etc"}"#, "mount_root"),
        (r#"{"datasets":["tank/pg"],"mount_root":"/"}"#, "mount_root"),
    ] {
        let Err(Error::Invalid(argument)) = ZfsProvider::resolve(&host, &config(json), vec![data()]) else { panic!("{json}") };
        assert_eq!(argument.field, field, "{json}");
    }
    assert!(host.calls().is_empty());
}
