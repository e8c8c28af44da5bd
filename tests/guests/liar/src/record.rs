//! What it remembers of a set: a record beside the clones, under the token.

use serde::{Deserialize, Serialize};
use stillframe_sdk::tree::{EntryKind, Location, Tree, TreeError, location};
use stillframe_sdk::{Error, Member, MemberState, SnapshotSet, read_record, write_record};

/// The root of its own that it is granted.
pub(crate) const ROOT: &str = "snapshots";

/// What the directory of a set holds besides the record; other directories of the root are not its own.
const RECORD: &str = "record.json";

/// One set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) handle: String,
    pub(crate) token: String,
    pub(crate) name: String,
    pub(crate) cut_ms: u64,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) members: Vec<Recorded>,
}

/// One snapshot of a set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) volume: String,
    pub(crate) id: String,
    pub(crate) size_bytes: u64,
}

impl Record {
    pub(crate) fn tree(token: &str, volume: &str) -> Location {
        location(ROOT, &format!("{token}/trees/{volume}"))
    }

    pub(crate) fn write(&self, host: &impl Tree) -> Result<(), Error> {
        write_record(host, &location(ROOT, &format!("{}/{RECORD}", self.token)), self)
    }

    pub(crate) fn of_token(host: &impl Tree, token: &str) -> Result<Option<Self>, Error> {
        read_record(host, &location(ROOT, &format!("{token}/{RECORD}")), "a record")
    }

    pub(crate) fn of_handle(host: &impl Tree, handle: &str) -> Result<Option<Self>, Error> {
        Ok(Self::all(host)?.into_iter().find(|record| record.handle == handle))
    }

    pub(crate) fn all(host: &impl Tree) -> Result<Vec<Self>, Error> {
        let entries = match host.list_entries(&location(ROOT, "")) {
            Ok(entries) => entries,
            Err(TreeError::NotFound(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut records = Vec::new();
        for entry in entries.into_iter().filter(|entry| entry.kind == EntryKind::Directory) {
            records.extend(Self::of_token(host, &entry.name)?);
        }
        Ok(records)
    }

    pub(crate) fn tell(&self) -> SnapshotSet {
        let member = |member: &Recorded| Member {
            volume: member.volume.clone(),
            id: member.id.clone(),
            state: MemberState::Ready,
            percent: None,
            size_bytes: Some(member.size_bytes),
            attributes: Vec::new(),
        };
        SnapshotSet {
            handle: self.handle.clone(),
            token: self.token.clone(),
            name: self.name.clone(),
            atomic: false,
            isolated: true,
            cut_begin_ms: self.cut_ms,
            cut_end_ms: self.cut_ms,
            members: self.members.iter().map(member).collect(),
            labels: self.labels.clone(),
        }
    }
}
