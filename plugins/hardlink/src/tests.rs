//! Tests of the provider on a fake host; what they share is here.

mod crash;
mod create;
mod describe;
mod find;
mod marker;
mod restore;

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{
    CreateRequest, DataPath, DataRole, Deletion, Error, MemberState, Provider, RestoreDirectory, SetReference, SnapshotSet,
    parse_config,
};

use crate::layout::MARKER;
use crate::{Config, Hardlink};

/// A cluster with a tablespace and `pg_wal` elsewhere, and an empty root for snapshots.
fn host() -> FakeHost {
    let host = FakeHost::new();
    host.add_root("snapshots");
    for root in ["data-data", "data-wal", "data-tablespace-16384"] {
        host.add_source(root);
    }
    host.put("data-data", "PG_VERSION", "15");
    host.put("data-data", "base/1/1259", "rows");
    host.put("data-data", "pg_stat_tmp/x", "temporary");
    host.put("data-data", "global/pg_control", "control 1");
    host.put("data-wal", "000000010000000000000001", "wal");
    host.put("data-tablespace-16384", "PG_15/5/16385", "more rows");
    host.advance_ms(60_000);
    host
}

fn config(json: &str) -> Config {
    parse_config(json).unwrap()
}

fn defaults() -> Config {
    config(r#"{"root":"/var/lib/stillframe/snapshots"}"#)
}

fn cp_al() -> Config {
    config(r#"{"method":"cp-al","allow_not_isolated":true}"#)
}

fn path(name: &str, role: DataRole) -> DataPath {
    let data = role == DataRole::Data;
    DataPath {
        role,
        name: name.to_owned(),
        path: format!("/cluster/{name}"),
        mount_point: "/".to_owned(),
        fs_type: "ext4".to_owned(),
        mount_source: "/dev/vda".to_owned(),
        devices: Vec::new(),
        root: Some(format!("data-{name}")),
        skip: if data { vec!["pg_stat_tmp/*".to_owned()] } else { Vec::new() },
        last: if data { vec!["global/pg_control".to_owned()] } else { Vec::new() },
    }
}

fn paths() -> Vec<DataPath> {
    vec![path("data", DataRole::Data), path("wal", DataRole::Wal), path("tablespace-16384", DataRole::Tablespace)]
}

fn request(name: &str) -> CreateRequest {
    CreateRequest {
        token: format!("token-{name}"),
        name: name.to_owned(),
        volumes: Hardlink::resolve(&FakeHost::new(), &defaults(), paths()).unwrap(),
        labels: vec![("stillframe-owner".to_owned(), "main".to_owned()), ("backup".to_owned(), name.to_owned())],
        previous: None,
    }
}

fn create(host: &FakeHost, name: &str) -> Result<SnapshotSet, Error> {
    Hardlink::create_set(host, &defaults(), request(name))
}

fn by_token(host: &FakeHost, name: &str) -> Option<SnapshotSet> {
    Hardlink::get_set(host, &defaults(), SetReference::Token(format!("token-{name}"))).unwrap()
}

fn by_handle(host: &FakeHost, set: &SnapshotSet) -> Option<SnapshotSet> {
    Hardlink::get_set(host, &defaults(), SetReference::Handle(set.handle.clone())).unwrap()
}

fn delete(host: &FakeHost, handle: &str) -> Result<Deletion, Error> {
    Hardlink::delete_set(host, &defaults(), handle)
}

fn is_ready(set: &SnapshotSet) -> bool {
    set.members.iter().all(|member| member.state == MemberState::Ready)
}

/// Every path under the root `snapshots` but the marker.
fn sets(host: &FakeHost) -> Vec<String> {
    let mut paths = host.paths("snapshots");
    paths.retain(|path| path != MARKER);
    paths
}

fn is_root(error: &Error) -> bool {
    matches!(error, Error::Invalid(argument) if argument.field == "root")
}

/// What a complete set looks like under the root `snapshots`.
fn complete(name: &str) -> Vec<String> {
    [
        "/",
        "/data/",
        "/data/PG_VERSION",
        "/data/base/",
        "/data/base/1/",
        "/data/base/1/1259",
        "/data/global/",
        "/data/global/pg_control",
        "/data/pg_stat_tmp/",
        "/set.json",
        "/tablespace-16384/",
        "/tablespace-16384/PG_15/",
        "/tablespace-16384/PG_15/5/",
        "/tablespace-16384/PG_15/5/16385",
        "/wal/",
    ]
    .iter()
    .map(|path| format!("{name}{path}"))
    .collect()
}

/// Empty, writable targets for a restore of everything.
fn targets(host: &FakeHost) -> Vec<RestoreDirectory> {
    let target = |data: DataPath| {
        let root = format!("target-{}", data.name);
        host.add_target(&root);
        let path = format!("/restored/{}", data.name);
        RestoreDirectory { name: data.name, role: data.role, path, root: Some(root), last: data.last }
    };
    paths().into_iter().map(target).collect()
}
