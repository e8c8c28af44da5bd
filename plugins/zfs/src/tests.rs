//! Tests of the provider on a `zfs` in memory; what they share is here.

mod argv;
mod check;
mod crash;
mod create;
mod delete;
mod fake;
mod find;
mod lock;
mod promote;
mod resolve;
mod restore;

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{
    CreateRequest, DataPath, DataRole, Deletion, Error, MemberState, Provider, RestoreDirectory, RestoreRequest, Restored,
    SetReference, SnapshotSet, parse_config,
};

use crate::{Config, ZfsProvider};
use fake::Fake;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Two pools: the data directory and WAL in the first, a tablespace in the second.
fn pools() -> (Fake, FakeHost) {
    Fake::new(&["tank/pg", "tank/wal", "fast/ts", "tank/stillframe", "fast/stillframe", "tank/home"])
}

fn config(json: &str) -> Config {
    parse_config(json).unwrap()
}

fn defaults() -> Config {
    config(r#"{"datasets":["tank/pg","tank/wal","fast/ts"],"clones":["tank/stillframe","fast/stillframe"]}"#)
}

fn path(name: &str, role: DataRole, source: &str, path: &str) -> DataPath {
    let dataset = source.split('[').next().unwrap();
    DataPath {
        role,
        name: name.to_owned(),
        path: path.to_owned(),
        mount_point: format!("/srv/{dataset}"),
        fs_type: "zfs".to_owned(),
        mount_source: source.to_owned(),
        devices: Vec::new(),
        root: None,
        skip: Vec::new(),
        last: if role == DataRole::Data { vec!["global/pg_control".to_owned()] } else { Vec::new() },
    }
}

fn data() -> DataPath {
    path("data", DataRole::Data, "tank/pg", "/srv/tank/pg/15/main")
}

fn wal() -> DataPath {
    path("wal", DataRole::Wal, "tank/wal", "/srv/tank/wal")
}

fn tablespace() -> DataPath {
    path("tablespace-16384", DataRole::Tablespace, "fast/ts", "/srv/fast/ts/blue whale")
}

fn resolved(host: &FakeHost, paths: Vec<DataPath>) -> Vec<stillframe_sdk::Volume> {
    ZfsProvider::resolve(host, &defaults(), paths).unwrap()
}

/// A backup of one pool, so of one instant.
fn request(host: &FakeHost, name: &str) -> CreateRequest {
    request_of(host, name, vec![wal(), data()])
}

/// A backup of both pools.
fn request_of_two(host: &FakeHost, name: &str) -> CreateRequest {
    request_of(host, name, vec![tablespace(), wal(), data()])
}

fn request_of(host: &FakeHost, name: &str, paths: Vec<DataPath>) -> CreateRequest {
    let volumes = resolved(host, paths);
    host.forget_calls();
    let labels = [("stillframe-owner", "main cluster"), ("backup", name), ("note", "it's \"100 %\",\tok\n=")];
    CreateRequest {
        token: token(name),
        name: name.to_owned(),
        volumes,
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        previous: None,
    }
}

fn token(name: &str) -> String {
    format!("{TOKEN}{name}")
}

/// Cuts a set, and looks at it as the host does before it publishes it.
fn create(host: &FakeHost, name: &str) -> Result<SnapshotSet, Error> {
    create_and_look(host, request(host, name))
}

fn create_of_two(host: &FakeHost, name: &str) -> Result<SnapshotSet, Error> {
    create_and_look(host, request_of_two(host, name))
}

fn create_and_look(host: &FakeHost, request: CreateRequest) -> Result<SnapshotSet, Error> {
    let cut = ZfsProvider::create_set(host, &defaults(), request)?;
    Ok(ZfsProvider::get_set(host, &defaults(), SetReference::Handle(cut.handle))?.unwrap())
}

fn by_token(host: &FakeHost, name: &str) -> Option<SnapshotSet> {
    ZfsProvider::get_set(host, &defaults(), SetReference::Token(token(name))).unwrap()
}

fn by_handle(host: &FakeHost, set: &SnapshotSet) -> Option<SnapshotSet> {
    ZfsProvider::get_set(host, &defaults(), SetReference::Handle(set.handle.clone())).unwrap()
}

fn delete(host: &FakeHost, set: &SnapshotSet) -> Result<Deletion, Error> {
    ZfsProvider::delete_set(host, &defaults(), &set.handle)
}

fn listed(host: &FakeHost) -> Vec<SnapshotSet> {
    ZfsProvider::list_sets(host, &defaults(), "main cluster", None).unwrap().sets
}

fn is_ready(set: &SnapshotSet) -> bool {
    set.members.iter().all(|member| member.state == MemberState::Ready)
}

fn is_cut(set: &SnapshotSet) -> bool {
    set.members.iter().all(|member| member.state == MemberState::Cut)
}

fn directory(name: &str, role: DataRole) -> RestoreDirectory {
    RestoreDirectory { name: name.to_owned(), role, path: format!("/restored/{name}"), root: None, last: Vec::new() }
}

fn restore(host: &FakeHost, set: &SnapshotSet) -> Result<Restored, Error> {
    let mut directories = vec![directory("data", DataRole::Data)];
    if set.members.iter().any(|member| member.volume == "fast/ts") {
        directories.push(directory("tablespace-16384", DataRole::Tablespace));
    }
    let request = RestoreRequest { handle: set.handle.clone(), token: TOKEN.to_owned(), directories };
    ZfsProvider::restore_set(host, &defaults(), request)
}

fn release(host: &FakeHost, handle: &str) -> Result<(), Error> {
    ZfsProvider::release(host, &defaults(), handle)
}

/// What it did, without what it only asked.
fn changes(host: &FakeHost) -> Vec<String> {
    let asks = ["get ", "list ", "holds ", "allow "];
    let calls = host.calls().into_iter().map(|call| call.replacen("command.run zfs ", "", 1));
    calls.filter(|call| !asks.iter().any(|ask| call.starts_with(ask))).collect()
}

/// A call without its properties.
fn short(call: &str) -> String {
    call.split(' ').filter(|arg| !arg.starts_with("-ostillframe:")).collect::<Vec<_>>().join(" ")
}
