//! The record of a set, `set.json`: what the set is, and how far it has come.
//!
//! It is written before the first tree and rewritten after the last, so that a set without the word `ready` is known to be
//! incomplete, wherever the provider was killed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stillframe_sdk::tree::{EntryKind, Tree, TreeError};
use stillframe_sdk::{Error, Member, MemberState, SetHandle, SnapshotSet, read_record, write_record};

use crate::layout;

/// The one version of the format so far.
const FORMAT_VERSION: u32 = 1;

/// A set's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) format_version: u32,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) state: State,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    pub(crate) isolated: bool,
    pub(crate) cut_begin_ms: u64,
    pub(crate) cut_end_ms: u64,
    /// In the order of the request.
    pub(crate) members: Vec<RecordedMember>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// How far a set has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Its trees are being made, or the provider was killed meanwhile.
    Cutting,
    /// All trees are complete and durable.
    Ready,
    /// It could not be made, and not all of it could be removed.
    Failed,
    /// It is being removed, or the provider was killed meanwhile.
    Deleting,
}

/// One tree of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedMember {
    /// Name of the data path, which is the volume's id and the tree's name as well.
    pub(crate) path: String,
    /// Whether the data path holds only WAL, which is not part of a set.
    pub(crate) wal: bool,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Record {
    pub(crate) fn begin(
        handle: &SetHandle,
        isolated: bool,
        now_ms: u64,
        members: Vec<RecordedMember>,
        labels: BTreeMap<String, String>,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            name: handle.name.clone(),
            token: handle.token.clone(),
            state: State::Cutting,
            failure: None,
            isolated,
            cut_begin_ms: now_ms,
            cut_end_ms: now_ms,
            members,
            labels,
        }
    }

    /// Reads the record of the set of this name; none when there is none, which proves something only in a root with its marker.
    ///
    /// A damaged one is an error: the writing is atomic, so somebody else has changed it, and nobody can tell what it was.
    pub(crate) fn read(host: &impl Tree, name: &str) -> Result<Option<Self>, Error> {
        let Some(record) = read_record::<Self>(host, &layout::record(name), &format!("the record `{name}/{}`", layout::RECORD))?
        else {
            return Ok(None);
        };
        if record.format_version != FORMAT_VERSION || record.name != name {
            return Err(Error::Internal(format!(
                "the record `{name}/{}` is of version {} and for the set `{}`",
                layout::RECORD,
                record.format_version,
                record.name
            )));
        }
        Ok(Some(record))
    }

    /// Writes the record, atomically and durably.
    pub(crate) fn write(&self, host: &impl Tree) -> Result<(), Error> {
        write_record(host, &layout::record(&self.name), self)
    }

    pub(crate) fn handle(&self) -> Result<SetHandle, Error> {
        SetHandle::new(&self.name, &self.token)
    }

    /// What the host is told: the record, held against the trees that are there.
    pub(crate) fn describe(&self, host: &impl Tree) -> Result<SnapshotSet, Error> {
        let entries = match host.list_entries(&layout::set(&self.name)) {
            Ok(entries) => entries,
            Err(TreeError::NotFound(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let exists = |path: &str| entries.iter().any(|entry| entry.kind == EntryKind::Directory && entry.name == path);
        let members = self.members.iter().map(|member| Member {
            volume: member.path.clone(),
            id: format!("{}/{}", self.name, member.path),
            state: self.member_state(exists(&member.path)),
            percent: None,
            size_bytes: member.size_bytes,
            attributes: member.attributes.clone().into_iter().collect(),
        });
        Ok(SnapshotSet {
            handle: self.handle()?.to_string(),
            token: self.token.clone(),
            name: self.name.clone(),
            atomic: false,
            isolated: self.isolated,
            cut_begin_ms: self.cut_begin_ms,
            cut_end_ms: self.cut_end_ms,
            members: members.collect(),
            labels: self.labels.clone().into_iter().collect(),
        })
    }

    fn member_state(&self, exists: bool) -> MemberState {
        match (self.state, exists) {
            (State::Cutting, _) => MemberState::Cutting,
            (State::Ready, true) => MemberState::Ready,
            (State::Ready, false) => MemberState::Failed("its tree is not there any more".to_owned()),
            (State::Failed, _) => MemberState::Failed(self.failure.clone().unwrap_or_else(|| "unknown".to_owned())),
            (State::Deleting, true) => MemberState::Deleting,
            (State::Deleting, false) => MemberState::Absent,
        }
    }
}
