//! The smallest provider on the SDK: no capability but `host`, no storage system, and an answer to every question.
//!
//! It exists to be kept as a compiled component of each version of the interface, so that a test sees whether later hosts still
//! understand it. So it returns every part of every record once: what it says of a set follows from the set's token alone.

use serde::de::IgnoredAny;
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Features, Host, Level, Member, MemberState, Provider, ProviderInfo, SetPage,
    SetReference, SnapshotSet, Volume,
};

/// Begins every handle.
const HANDLE: &str = "set:";

/// The label that a listing selects by.
const OWNER_LABEL: &str = "stillframe-owner";

/// A provider without a storage system.
#[derive(Debug, Clone, Copy)]
pub struct Minimal;

stillframe_sdk::export_provider!(Minimal);

impl<H: Host> Provider<H> for Minimal {
    type Config = IgnoredAny;

    fn describe() -> ProviderInfo {
        ProviderInfo {
            name: "minimal".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Answers every question and keeps nothing.".to_owned(),
            features: Features::ISOLATED,
            config_schema: r#"{"type":"object"}"#.to_owned(),
            needs: Vec::new(),
        }
    }

    fn check(host: &H, _: &IgnoredAny) -> Result<Vec<String>, Error> {
        host.log(Level::Info, "checking");
        host.progress(1, Some(2), "half");
        let time_passes = host.sleep_ms(1) && host.now_ms() > 0 && host.remaining_ms() > 0;
        Ok(vec![if time_passes { "time passes".to_owned() } else { "time stands still".to_owned() }])
    }

    fn resolve(_: &H, _: &IgnoredAny, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        let volume = |path: DataPath| Volume { id: path.name.clone(), paths: vec![path], attributes: Vec::new() };
        Ok(paths.into_iter().map(volume).collect())
    }

    fn create_set(host: &H, _: &IgnoredAny, request: CreateRequest) -> Result<SnapshotSet, Error> {
        let mut set = set(&request.token);
        set.cut_end_ms = host.now_ms();
        set.members = request.volumes.iter().map(|volume| member((&volume.id, MemberState::Cut))).collect();
        (set.name, set.labels) = (request.name, request.labels);
        Ok(set)
    }

    fn get_set(_: &H, _: &IgnoredAny, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        match reference {
            SetReference::Token(token) => Ok((token != "unknown").then(|| set(&token))),
            SetReference::Handle(handle) => Ok(handle.strip_prefix(HANDLE).map(set)),
        }
    }

    fn list_sets(_: &H, _: &IgnoredAny, owner: &str, cursor: Option<String>) -> Result<SetPage, Error> {
        let mut set = set(cursor.as_deref().unwrap_or("first"));
        set.labels.push((OWNER_LABEL.to_owned(), owner.to_owned()));
        Ok(SetPage { sets: vec![set], next: cursor.is_none().then(|| "second".to_owned()) })
    }

    fn delete_set(_: &H, _: &IgnoredAny, handle: &str) -> Result<Deletion, Error> {
        match handle.strip_prefix(HANDLE) {
            Some("pending") => Ok(Deletion::Pending),
            Some("absent") => Ok(Deletion::Absent),
            Some("busy") => Err(Error::Busy(Some(1_000))),
            Some(_) => Ok(Deletion::Deleted),
            None => Err(Error::NotFound(handle.to_owned())),
        }
    }
}

/// The set of this token, with one member in each state.
fn set(token: &str) -> SnapshotSet {
    let states = [
        MemberState::Cutting,
        MemberState::Cut,
        MemberState::Ready,
        MemberState::Failed("it ran full".to_owned()),
        MemberState::Deleting,
        MemberState::Absent,
    ];
    SnapshotSet {
        handle: format!("{HANDLE}{token}"),
        token: token.to_owned(),
        name: format!("name-{token}"),
        atomic: true,
        isolated: true,
        cut_begin_ms: 1_700_000_000_000,
        cut_end_ms: 1_700_000_001_000,
        members: ["vol-a", "vol-b", "vol-c", "vol-d", "vol-e", "vol-f"].into_iter().zip(states).map(member).collect(),
        labels: Vec::new(),
    }
}

fn member((volume, state): (&str, MemberState)) -> Member {
    Member {
        volume: volume.to_owned(),
        id: format!("snap-{volume}"),
        state,
        percent: Some(50),
        size_bytes: Some(4_096),
        attributes: vec![("pool".to_owned(), "tank".to_owned())],
    }
}
