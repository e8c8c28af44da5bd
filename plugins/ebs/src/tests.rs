//! Tests of the provider on a small EC2 in memory; what they share is here.

mod check;
mod cloud;
mod crash;
mod create;
mod delete;
mod find;
mod lock;
mod policy;
mod resolve;
mod restore;
mod wire;

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{
    BlockDevice, CreateRequest, DataPath, DataRole, Error, MemberState, Provider, RestoreDirectory, RestoreRequest, SetReference,
    SnapshotSet, parse_config,
};

use crate::{Config, Ebs};
use cloud::{Cloud, volume};

fn config(json: &str) -> Config {
    parse_config(json).unwrap()
}

fn defaults() -> Config {
    config(r#"{"region":"eu-central-1"}"#)
}

/// A disk of a Nitro instance that is this volume.
fn nvme(letter: &str) -> BlockDevice {
    BlockDevice {
        name: format!("nvme{}n1", u64::from_str_radix(letter, 16).unwrap()),
        kind: "disk".to_owned(),
        serial: Some(volume(letter).replace('-', "")),
        model: Some("Amazon Elastic Block Store".to_owned()),
    }
}

fn device(name: &str, kind: &str) -> BlockDevice {
    BlockDevice { name: name.to_owned(), kind: kind.to_owned(), serial: None, model: None }
}

/// A directory `main` on a file system that has a volume for itself.
fn path(name: &str, role: DataRole, devices: Vec<BlockDevice>) -> DataPath {
    DataPath {
        role,
        name: name.to_owned(),
        path: format!("/srv/{name}/main"),
        mount_point: format!("/srv/{name}"),
        fs_type: "xfs".to_owned(),
        mount_source: format!("/dev/{}", devices.first().map_or("none", |device| &device.name)),
        devices,
        root: None,
        skip: Vec::new(),
        last: Vec::new(),
    }
}

/// A cluster on volume `a`, with its WAL on volume `b`.
fn paths() -> Vec<DataPath> {
    vec![path("data", DataRole::Data, vec![nvme("a")]), path("wal", DataRole::Wal, vec![nvme("b")])]
}

fn request(host: &FakeHost, name: &str, paths: Vec<DataPath>) -> CreateRequest {
    CreateRequest {
        token: format!("token-{name}"),
        name: name.to_owned(),
        volumes: Ebs::resolve(host, &defaults(), paths).unwrap(),
        labels: vec![("stillframe-owner".to_owned(), "main/74".to_owned()), ("stillframe-token".to_owned(), "flow".to_owned())],
        previous: None,
    }
}

fn create(host: &FakeHost, name: &str) -> Result<SnapshotSet, Error> {
    Ebs::create_set(host, &defaults(), request(host, name, paths()))
}

fn by_token(host: &FakeHost, name: &str) -> Option<SnapshotSet> {
    Ebs::get_set(host, &defaults(), SetReference::Token(format!("token-{name}"))).unwrap()
}

fn by_handle(host: &FakeHost, set: &SnapshotSet) -> Option<SnapshotSet> {
    Ebs::get_set(host, &defaults(), SetReference::Handle(set.handle.clone())).unwrap()
}

fn states(set: &SnapshotSet) -> Vec<MemberState> {
    set.members.iter().map(|member| member.state.clone()).collect()
}

/// A restore of everything but the WAL.
fn restore_request(set: &SnapshotSet) -> RestoreRequest {
    let directory = RestoreDirectory {
        name: "data".to_owned(),
        role: DataRole::Data,
        path: "/restored/data".to_owned(),
        root: None,
        last: vec!["global/pg_control".to_owned()],
    };
    RestoreRequest { handle: set.handle.clone(), token: "r-1".to_owned(), directories: vec![directory] }
}

/// A cloud, its host, and a complete set.
fn with_set(cloud: &Cloud) -> (FakeHost, SnapshotSet) {
    let host = cloud.host();
    let set = create(&host, "b1").unwrap();
    (host, set)
}
