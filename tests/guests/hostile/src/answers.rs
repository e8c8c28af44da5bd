//! Answers: correct ones, and each with the one fault that it is named after.

use crate::bindings::exports::stillframe::provider::provider::{CreateRequest, SetPage};
use crate::bindings::exports::stillframe::provider::restore::{RestoreDirectory, RestoreRequest, Restored, RestoredDirectory};
use crate::bindings::stillframe::provider::host;
use crate::bindings::stillframe::provider::types::{DataPath, Member, MemberState, SetReference, SnapshotSet, Volume};
use crate::probes;

/// The label that a listing selects by.
const OWNER: &str = "stillframe-owner";

/// One volume for each path.
pub(crate) fn volumes(fault: &str, paths: Vec<DataPath>) -> Vec<Volume> {
    let volume = |path: DataPath| Volume { id: format!("vol-{}", path.name), paths: vec![path], attributes: Vec::new() };
    let mut volumes: Vec<Volume> = paths.into_iter().map(volume).collect();
    match fault {
        "forgets-a-path" => drop(volumes.pop()),
        "doubles-a-path" => {
            let again = volumes[0].paths[0].clone();
            volumes[0].paths.push(again);
        }
        "invents-a-path" => volumes[0].paths[0].name = "tablespace-666".into(),
        "moves-a-path" => volumes[0].paths[0].path = "/etc".into(),
        "doubles-a-volume" => volumes[1].id = "vol-data".into(),
        "empty-volume" => volumes.push(Volume { id: "vol-empty".to_owned(), paths: Vec::new(), attributes: Vec::new() }),
        "tells-roots" => {
            let roots = volumes.iter().map(|volume| format!("{:?}", volume.paths[0].root)).collect::<Vec<_>>().join(" ");
            volumes[0].attributes = vec![("fields".to_owned(), roots), ("roots".to_owned(), probes::tree_roots())];
        }
        _ => {}
    }
    volumes
}

/// A complete set, with the roots that were reachable as an attribute.
pub(crate) fn created(fault: &str, request: CreateRequest) -> SnapshotSet {
    let mut set = set(&request.token, request.labels);
    set.name = request.name;
    set.members = request.volumes.iter().map(|volume| member(&volume.id)).collect();
    match fault {
        "long-handle" => set.handle = "h".repeat(1_025),
        "empty-handle" => set.handle = String::new(),
        "control-handle" => set.handle = "a\u{1b}b".into(),
        "huge-handle" => set.handle = "h".repeat(40 << 20),
        "forgets-a-member" => drop(set.members.pop()),
        "doubles-a-member" => set.members.push(member(&request.volumes[0].id)),
        "invents-a-member" => set.members.push(member("vol-invented")),
        "not-cut" => set.members[0].state = MemberState::Cutting,
        "failed-member" => set.members[0].state = MemberState::Failed("no".to_owned()),
        "much-percent" => set.members[0].percent = Some(101),
        "other-token" => set.token = "other".into(),
        "other-name" => set.name = "other".into(),
        "no-date" => set.cut_end_ms = u64::MAX,
        "backwards" => set.cut_end_ms = 0,
        "loses-a-label" => set.labels.clear(),
        "many-labels" => set.labels.extend((0..41).map(|number| (format!("key-{number}"), String::new()))),
        "double-label" => set.labels.extend(set.labels.first().cloned()),
        "long-label" => set.labels.push(("key".to_owned(), "v".repeat(257))),
        "tells-roots" => {
            let field = request.volumes.first().map(|volume| format!("{:?}", volume.paths[0].root)).unwrap_or_default();
            set.members[0].attributes = vec![("field".to_owned(), field), ("roots".to_owned(), probes::tree_roots())];
        }
        _ => {}
    }
    set
}

/// The set that is meant.
pub(crate) fn found(fault: &str, reference: SetReference) -> Option<SnapshotSet> {
    let mut set = set("some", Vec::new());
    match reference {
        SetReference::Token(token) => set.token = token,
        SetReference::Handle(handle) => set.handle = handle,
    }
    match fault {
        "finds-nothing" => return None,
        "finds-another" => {
            set.token = "other".into();
            set.handle = "other".into();
        }
        _ => {}
    }
    Some(set)
}

/// Two pages of one set each.
pub(crate) fn page(fault: &str, owner: &str, cursor: Option<&str>) -> SetPage {
    let number: u32 = cursor.and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let owner = if fault == "foreign-set" { "somebody-else" } else { owner };
    let one = |number: u32| set(&format!("token-{number}"), vec![(OWNER.to_owned(), owner.to_owned())]);
    if fault == "endless-slow-pages" {
        host::sleep_ms(100);
    }
    let next = match fault {
        "same-cursor" => Some("0".to_owned()),
        "endless-pages" | "endless-slow-pages" => Some((number + 1).to_string()),
        _ => (number == 0).then(|| "1".to_owned()),
    };
    let sets = match fault {
        "long-page" => (0..101).map(one).collect(),
        "same-set" => vec![one(0)],
        "same-cursor" | "endless-pages" | "endless-slow-pages" => Vec::new(),
        _ => vec![one(number)],
    };
    SetPage { sets, next }
}

/// Every directory where it was wanted.
pub(crate) fn restored(fault: &str, request: RestoreRequest) -> Restored {
    let directory = |wanted: RestoreDirectory| RestoredDirectory { name: wanted.name, path: wanted.path };
    let root = request.directories.first().and_then(|directory| directory.root.clone());
    let mut directories: Vec<RestoredDirectory> = request.directories.into_iter().map(directory).collect();
    let mut handle = "restored".to_owned();
    match fault {
        "forgets-a-directory" => drop(directories.pop()),
        "relative-directory" => directories[0].path = "data".into(),
        "upward-directory" => directories[0].path = "/srv/../etc".into(),
        "elsewhere" => directories[0].path = "/run/elsewhere/data".into(),
        "tells-roots" => handle = format!("{root:?} {}", probes::tree_roots()),
        _ => {}
    }
    Restored { handle, directories }
}

fn set(token: &str, labels: Vec<(String, String)>) -> SnapshotSet {
    SnapshotSet {
        handle: format!("handle-{token}"),
        token: token.to_owned(),
        name: "set".to_owned(),
        atomic: false,
        isolated: true,
        cut_begin_ms: 1_700_000_000_000,
        cut_end_ms: 1_700_000_001_000,
        members: Vec::new(),
        labels,
    }
}

fn member(volume: &str) -> Member {
    Member {
        volume: volume.to_owned(),
        id: format!("snap-{volume}"),
        state: MemberState::Ready,
        percent: Some(100),
        size_bytes: Some(1),
        attributes: Vec::new(),
    }
}
