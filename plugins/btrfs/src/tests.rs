//! Tests of the provider on a fake host and a btrfs in memory; what they share is here.

mod crash;
mod fake;
mod resolve;
mod restore;
mod sets;

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{CreateRequest, DataPath, DataRole, Error, Provider, SnapshotSet, Volume, parse_config};

use crate::{Btrfs, Config};
use fake::FakeBtrfs;

/// A cluster whose PGDATA lies in the subvolume at `/srv/pg`, with a tablespace on another file system.
fn machine() -> (FakeHost, FakeBtrfs) {
    let (host, btrfs) = (FakeHost::new(), FakeBtrfs::default());
    host.add_root("snapshots");
    btrfs.attach(&host);
    btrfs.mount("/", "/dev/vda", "/@", "/@");
    btrfs.mount("/srv", "/dev/vdb", "/", "/");
    btrfs.mount("/fast", "/dev/vdc", "/", "/");
    btrfs.subvolume("/srv/pg");
    btrfs.subvolume("/fast/space");
    for directory in ["/srv/pg/15", "/srv/pg/15/main", "/srv/pg/wal", "/srv/snaps", "/fast/snaps", "/fast/space/a"] {
        btrfs.directory(directory);
    }
    (host, btrfs)
}

fn config() -> Config {
    parse_config(r#"{"root":"/srv/snaps","other_roots":["/fast/snaps"]}"#).unwrap()
}

fn path(name: &str, role: DataRole, directory: &str, mount: (&str, &str)) -> DataPath {
    DataPath {
        role,
        name: name.to_owned(),
        path: directory.to_owned(),
        mount_point: mount.0.to_owned(),
        fs_type: "btrfs".to_owned(),
        mount_source: mount.1.to_owned(),
        devices: Vec::new(),
        root: None,
        skip: Vec::new(),
        last: if role == DataRole::Data { vec!["global/pg_control".to_owned()] } else { Vec::new() },
    }
}

fn paths() -> Vec<DataPath> {
    vec![
        path("data", DataRole::Data, "/srv/pg/15/main", ("/srv", "/dev/vdb")),
        path("wal", DataRole::Wal, "/srv/pg/wal", ("/srv", "/dev/vdb")),
        path("tablespace-16384", DataRole::Tablespace, "/fast/space/a", ("/fast", "/dev/vdc")),
    ]
}

fn volumes(host: &FakeHost) -> Vec<Volume> {
    let mut volumes = Btrfs::resolve(host, &config(), paths()).unwrap();
    volumes.reverse();
    volumes
}

fn request(host: &FakeHost, name: &str) -> CreateRequest {
    CreateRequest {
        token: format!("token-{name}"),
        name: name.to_owned(),
        volumes: volumes(host),
        labels: vec![("stillframe-owner".to_owned(), "main/42".to_owned())],
        previous: None,
    }
}

fn create(host: &FakeHost, name: &str) -> Result<SnapshotSet, Error> {
    Btrfs::create_set(host, &config(), request(host, name))
}

fn list(host: &FakeHost) -> Vec<SnapshotSet> {
    Btrfs::list_sets(host, &config(), "main/42", None).unwrap().sets
}
