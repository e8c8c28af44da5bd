//! What a provider answers, between the sandbox and the flows: a line with the operation, and a line for each part of the answer.
//!
//! The host trusts no provider. So the answer is any that the interface's types can hold, and what comes through must be fit to be
//! published, compared, given back and shown.

use std::path::{Path, PathBuf};

use stillframe_core::catalog::{BackupPath, BackupSet, BackupVolume};
use stillframe_core::provider::{
    CreateRequest, DataPath, DataPathName, DataRole, Labels, OWNER_LABEL, ProviderFault, RestoreDirectory, RestoreRequest,
    SetReference, SnapshotSet, Token, Volume,
};
use stillframe_core::testing::published_backup;
use stillframe_runtime::testing as wire;

use crate::Verdict;
use crate::input::Input;
use crate::store::BACKUP;
use crate::terminal::assert_harmless;

/// What the host had asked for, in all seeds.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OWNER: &str = "main/7000000000000000001";
const MOUNTS: &str = "/run/stillframe/mnt";

/// Parts of a list that are read of an input, beyond what the host accepts.
const MANY: usize = 1_100;

/// What is accepted answers the question, and nothing of it misleads whoever is shown it.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    match input.text().as_ref() {
        "create" => created(&mut input),
        "get" => found(&mut input),
        "list" => listed(&mut input),
        "resolve" => resolved(&mut input),
        "restore" => restored(&mut input),
        "describe" => described(&mut input),
        "check" => warned(&mut input),
        "fail" => failed(&mut input),
        _ => Verdict::Refused,
    }
}

fn created(input: &mut Input<'_>) -> Verdict {
    let volume = |id: &str| Volume { id: id.to_owned(), paths: Vec::new(), attributes: Labels::new() };
    let request = CreateRequest {
        token: Token(TOKEN.to_owned()),
        name: BACKUP.parse().expect("the name is legal"),
        volumes: vec![volume("tank/pg"), volume("tank/wal")],
        labels: Labels::from([(OWNER_LABEL.to_owned(), OWNER.to_owned())]),
        previous: None,
    };
    let Some(set) = accepted(wire::created(set(input), &request)) else { return Verdict::Refused };
    assert!(set.token == request.token && set.name == BACKUP && set.cut_begin <= set.cut_end);
    let mut volumes: Vec<&str> = set.members.iter().map(|member| member.volume.as_str()).collect();
    volumes.sort_unstable();
    assert_eq!(volumes, ["tank/pg", "tank/wal"], "a backup without one of its volumes");
    look_at(&set);
    publish(set);
    Verdict::Accepted
}

fn found(input: &mut Input<'_>) -> Verdict {
    let reference =
        if input.flag() { SetReference::Token(Token(TOKEN.to_owned())) } else { SetReference::Handle("handle".to_owned()) };
    let Some(found) = accepted(wire::found(Some(set(input)), &reference)) else { return Verdict::Refused };
    let set = found.expect("an answer is not lost");
    match reference {
        SetReference::Token(token) => assert_eq!(set.token, token),
        SetReference::Handle(handle) => assert_eq!(set.handle, handle),
    }
    look_at(&set);
    Verdict::Accepted
}

fn listed(input: &mut Input<'_>) -> Verdict {
    let pages = (0..input.length(8))
        .map(|_| wire::SetPage { next: input.optional(), sets: (0..input.length(120)).map(|_| set(input)).collect() })
        .collect();
    let Some(Some(sets)) = accepted(wire::listed(pages, OWNER)) else { return Verdict::Refused };
    for (place, set) in sets.iter().enumerate() {
        assert_eq!(set.labels.get(OWNER_LABEL).map(String::as_str), Some(OWNER), "a foreign set, which reconcile would delete");
        assert!(sets[..place].iter().all(|other| other.handle != set.handle), "a set twice");
        look_at(set);
    }
    Verdict::Accepted
}

fn resolved(input: &mut Input<'_>) -> Verdict {
    let asked = [path(DataPathName::Data, DataRole::Data), path(DataPathName::Tablespace(16_384), DataRole::Tablespace)];
    let given = |name: String| wire::GivenPath {
        role: wire::DataRole::Data,
        name,
        path: String::new(),
        mount_point: String::new(),
        fs_type: String::new(),
        mount_source: String::new(),
        devices: Vec::new(),
        root: None,
        skip: Vec::new(),
        last: Vec::new(),
    };
    let volumes = (0..input.length(MANY))
        .map(|_| wire::Volume {
            id: input.text().into_owned(),
            paths: (0..input.length(8)).map(|_| given(input.text().into_owned())).collect(),
            attributes: pairs(input),
        })
        .collect();
    let Some(volumes) = accepted(wire::resolved(volumes, &asked)) else { return Verdict::Refused };
    let mut paths: Vec<&DataPath> = volumes.iter().flat_map(|volume| &volume.paths).collect();
    paths.sort_by_key(|path| &path.name);
    assert!(
        paths.len() == asked.len() && paths.iter().zip(&asked).all(|(found, asked)| *found == asked),
        "a path was lost or invented"
    );
    for volume in &volumes {
        assert!(!volume.paths.is_empty());
        assert_harmless("the id of a volume", &volume.id);
        look_at_labels(&volume.attributes);
    }
    Verdict::Accepted
}

fn restored(input: &mut Input<'_>) -> Verdict {
    let asked = |name, role| RestoreDirectory {
        name,
        role,
        path: format!("/restored/{name}", name = role_name(role)).into(),
        last: Vec::new(),
    };
    let request = RestoreRequest {
        handle: "handle".to_owned(),
        token: Token(TOKEN.to_owned()),
        directories: vec![asked(DataPathName::Data, DataRole::Data), asked(DataPathName::Tablespace(16_384), DataRole::Tablespace)],
    };
    let answer = wire::Restored {
        handle: input.text().into_owned(),
        directories: (0..input.length(MANY))
            .map(|_| wire::RestoredDirectory { name: input.text().into_owned(), path: input.text().into_owned() })
            .collect(),
    };
    let Some(restored) = accepted(wire::restored(answer, &request, &[PathBuf::from(MOUNTS)])) else { return Verdict::Refused };
    assert_harmless("a handle", &restored.handle);
    assert_eq!(restored.directories.len(), 2, "a directory was lost or invented");
    for (name, path) in &restored.directories {
        let asked = request.directories.iter().find(|directory| directory.name == *name).expect("only what was asked for");
        let is_below = path.strip_prefix(MOUNTS).is_ok_and(|rest| rest.components().next().is_some());
        assert!(*path == asked.path || is_below, "restored to `{}`, which nobody has granted", path.display());
        assert!(!leads_upwards(path), "`{}` leads out", path.display());
        assert_harmless("a path", path.to_str().expect("it was text"));
    }
    Verdict::Accepted
}

fn described(input: &mut Input<'_>) -> Verdict {
    let info = wire::ProviderInfo {
        name: input.text().into_owned(),
        version: input.text().into_owned(),
        summary: input.text().into_owned(),
        features: wire::Features::empty(),
        config_schema: input.text().into_owned(),
        needs: (0..input.length(MANY))
            .map(|_| wire::CapabilityNeed { capability: input.text().into_owned(), reason: input.text().into_owned() })
            .collect(),
    };
    let Some(description) = accepted(wire::described(info)) else { return Verdict::Refused };
    let needs = description.needs.iter().flat_map(|need| [&need.capability, &need.reason]);
    for text in [&description.name, &description.version, &description.summary].into_iter().chain(needs) {
        assert_harmless("a description", text);
    }
    assert!(serde_json::from_str::<serde_json::Value>(&description.config_schema).is_ok_and(|schema| schema.is_object()));
    Verdict::Accepted
}

fn warned(input: &mut Input<'_>) -> Verdict {
    let warnings = (0..input.length(MANY)).map(|_| input.text().into_owned()).collect();
    let Some(warnings) = accepted(wire::warned(warnings)) else { return Verdict::Refused };
    for warning in &warnings {
        assert_harmless("a warning", warning);
    }
    Verdict::Accepted
}

/// Every error comes through, in words that can be shown.
fn failed(input: &mut Input<'_>) -> Verdict {
    let (kind, number) = (input.text().into_owned(), input.number());
    let text = input.rest_text().into_owned();
    let error = match kind.as_str() {
        "invalid" => wire::Error::Invalid(wire::InvalidArgument { field: text.clone(), message: text }),
        "unsupported" => wire::Error::Unsupported(text),
        "unmanaged-path" => wire::Error::UnmanagedPath(text),
        "conflict" => wire::Error::Conflict(text),
        "denied" => wire::Error::Denied(text),
        "unauthenticated" => wire::Error::Unauthenticated(text),
        "not-found" => wire::Error::NotFound(text),
        "busy" => wire::Error::Busy(Some(number)),
        "throttled" => wire::Error::Throttled(Some(number)),
        "exhausted" => wire::Error::Exhausted(text),
        "locked" => wire::Error::Locked(number),
        "in-use" => wire::Error::InUse(text),
        "transient" => wire::Error::Transient(text),
        "indeterminate" => wire::Error::Indeterminate(text),
        _ => wire::Error::Internal(text),
    };
    let fault = wire::failed(error);
    assert_harmless("an error", &fault.to_string());
    if let ProviderFault::Busy { retry_after_ms: Some(wait) } | ProviderFault::Throttled { retry_after_ms: Some(wait) } = fault {
        assert!(wait <= 3_600_000, "a provider makes the host wait {wait} ms");
    }
    Verdict::Accepted
}

/// What was accepted; of a refusal the words are looked at.
fn accepted<T>(read: Result<T, ProviderFault>) -> Option<T> {
    if let Err(fault) = &read {
        assert!(matches!(fault, ProviderFault::BadAnswer(_)), "a wrong answer is told as {fault:?}");
        assert_harmless("a refusal", &fault.to_string());
    }
    read.ok()
}

fn look_at(set: &SnapshotSet) {
    for text in [&set.handle, &set.token.0, &set.name] {
        assert!(!text.is_empty());
        assert_harmless("a name of a set", text);
    }
    assert!(set.handle.len() <= 1_024);
    look_at_labels(&set.labels);
    for (place, member) in set.members.iter().enumerate() {
        assert!(member.percent.is_none_or(|percent| percent <= 100));
        assert!(set.members[..place].iter().all(|other| other.volume != member.volume), "two snapshots of one volume");
        assert_harmless("a member", &member.id);
        assert_harmless("a volume", &member.volume);
        look_at_labels(&member.attributes);
        if let stillframe_core::provider::MemberState::Failed(reason) = &member.state {
            assert_harmless("a reason", reason);
        }
    }
}

fn look_at_labels(labels: &Labels) {
    assert!(labels.len() <= 40);
    for (key, value) in labels {
        assert!(!key.is_empty() && key.len() <= 128);
        assert_harmless("a key", key);
        assert_harmless("a value", value);
    }
}

/// What was accepted becomes part of a record that is written and read again.
fn publish(set: SnapshotSet) {
    let mut sentinel = published_backup(7).sentinel;
    let volume =
        |(order, id): (u32, &str), paths| BackupVolume { id: id.to_owned(), paths, cut_order: order, attributes: Labels::new() };
    let volumes = vec![volume((1, "tank/pg"), vec![DataPathName::Data]), volume((2, "tank/wal"), vec![DataPathName::Wal])];
    sentinel.sets = vec![BackupSet { provider: sentinel.sets[0].provider.clone(), snapshot: set, volumes }];
    sentinel.paths.push(BackupPath { name: DataPathName::Wal, role: DataRole::Wal, path: "/srv/wal".into() });
    let _ = sentinel.size_bytes();
    crate::sentinel::write_and_read(&sentinel);
}

fn path(name: DataPathName, role: DataRole) -> DataPath {
    DataPath {
        role,
        name,
        path: Path::new("/srv").join(role_name(role)),
        mount_point: "/srv".into(),
        fs_type: "xfs".to_owned(),
        mount_source: "/dev/vda1".to_owned(),
        devices: Vec::new(),
        skip: Vec::new(),
        last: Vec::new(),
    }
}

fn role_name(role: DataRole) -> &'static str {
    match role {
        DataRole::Data => "data",
        DataRole::Wal => "wal",
        DataRole::Tablespace => "tablespace",
    }
}

fn leads_upwards(path: &Path) -> bool {
    !path.is_absolute() || path.components().any(|part| part.as_os_str() == "..")
}

fn set(input: &mut Input<'_>) -> wire::SnapshotSet {
    wire::SnapshotSet {
        handle: input.text().into_owned(),
        token: input.text().into_owned(),
        name: input.text().into_owned(),
        atomic: input.flag(),
        isolated: input.flag(),
        cut_begin_ms: input.number(),
        cut_end_ms: input.number(),
        labels: pairs(input),
        members: (0..input.length(MANY)).map(|_| member(input)).collect(),
    }
}

fn member(input: &mut Input<'_>) -> wire::Member {
    wire::Member {
        volume: input.text().into_owned(),
        id: input.text().into_owned(),
        state: match input.text().as_ref() {
            "cutting" => wire::MemberState::Cutting,
            "cut" => wire::MemberState::Cut,
            "ready" => wire::MemberState::Ready,
            "deleting" => wire::MemberState::Deleting,
            "absent" => wire::MemberState::Absent,
            reason => wire::MemberState::Failed(reason.to_owned()),
        },
        percent: input.optional().map(|text| text.parse().unwrap_or(u8::MAX)),
        size_bytes: input.optional().map(|text| text.parse().unwrap_or(u64::MAX)),
        attributes: pairs(input),
    }
}

fn pairs(input: &mut Input<'_>) -> Vec<(String, String)> {
    (0..input.length(50)).map(|_| (input.text().into_owned(), input.text().into_owned())).collect()
}
