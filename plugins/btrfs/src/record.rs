//! The record of a set: what it is, and how far it has come.
//!
//! It is written before the first snapshot and rewritten after the last, so that a set without the word `ready` is known to be
//! incomplete, wherever the provider was killed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stillframe_sdk::command::Command;
use stillframe_sdk::tree::Tree;
use stillframe_sdk::{Error, Member, MemberState, SetHandle, SnapshotSet, read_record, write_record};

use crate::layout;
use crate::{marker, program};

/// The one version of the format so far.
const FORMAT_VERSION: u32 = 1;

/// A set's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    format_version: u32,
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) state: State,
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
    /// Its snapshots are being made, or the provider was killed meanwhile.
    Cutting,
    /// All snapshots are there.
    Ready,
    /// It is being removed, or the provider was killed meanwhile.
    Deleting,
}

/// One snapshot of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedMember {
    /// The subvolume, which is the volume's id.
    pub(crate) subvolume: String,
    /// Directory that holds the snapshot.
    pub(crate) root: String,
    /// Absolute path of the snapshot.
    pub(crate) snapshot: String,
    /// What lies in it.
    pub(crate) paths: Vec<RecordedPath>,
}

/// A data path in a subvolume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedPath {
    /// Its name.
    pub(crate) name: String,
    /// Whether it holds only WAL, which nobody restores from a set.
    pub(crate) wal: bool,
    /// The directory, from the root of the subvolume; empty for the root itself.
    pub(crate) within: String,
}

impl Record {
    pub(crate) fn begin(handle: &SetHandle, now_ms: u64, members: Vec<RecordedMember>, labels: BTreeMap<String, String>) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            name: handle.name.clone(),
            token: handle.token.clone(),
            state: State::Cutting,
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
        let Some(record) = read_record::<Self>(host, &layout::record(name), &format!("the record of `{name}`"))? else {
            return Ok(None);
        };
        if record.format_version != FORMAT_VERSION || record.name != name {
            let (version, other) = (record.format_version, record.name);
            return Err(Error::Internal(format!("the record of `{name}` is of version {version} and for the set `{other}`")));
        }
        Ok(Some(record))
    }

    /// Writes the record, atomically and durably.
    pub(crate) fn write(&self, host: &impl Tree) -> Result<(), Error> {
        write_record(host, &layout::record(&self.name), self)
    }

    /// Removes every snapshot, and the record last: while anything is left, something tells of it.
    pub(crate) fn erase<H: Tree + Command>(&self, host: &H) -> Result<(), Error> {
        for member in &self.members {
            if member.exists(host)? {
                program::delete(host, &member.snapshot)?;
            }
        }
        Ok(host.remove_tree(&layout::record(&self.name))?)
    }

    /// What the host is told: the record, held against the snapshots that are there.
    pub(crate) fn describe<H: Tree + Command>(&self, host: &H) -> Result<SnapshotSet, Error> {
        let members = self.members.iter().map(|member| {
            Ok(Member {
                volume: member.subvolume.clone(),
                id: member.snapshot.clone(),
                state: self.member_state(member.exists(host)?),
                percent: None,
                size_bytes: None,
                attributes: Vec::new(),
            })
        });
        Ok(SnapshotSet {
            members: members.collect::<Result<_, Error>>()?,
            handle: SetHandle::new(&self.name, &self.token)?.to_string(),
            token: self.token.clone(),
            name: self.name.clone(),
            atomic: self.members.len() == 1,
            isolated: true,
            cut_begin_ms: self.cut_begin_ms,
            // A clock may be set back meanwhile; an end before the begin would make the set one that nobody can look at.
            cut_end_ms: self.cut_end_ms.max(self.cut_begin_ms),
            labels: self.labels.clone().into_iter().collect(),
        })
    }

    fn member_state(&self, exists: bool) -> MemberState {
        match (self.state, exists) {
            (State::Cutting, _) => MemberState::Cutting,
            (State::Ready, true) => MemberState::Ready,
            (State::Ready, false) => MemberState::Failed("its snapshot is not there any more".to_owned()),
            (State::Deleting, true) => MemberState::Deleting,
            (State::Deleting, false) => MemberState::Absent,
        }
    }
}

impl RecordedMember {
    /// Whether the snapshot is there. On a file system that may not be mounted, nobody knows.
    pub(crate) fn exists(&self, host: &impl Command) -> Result<bool, Error> {
        if program::subvolume_id(host, &self.snapshot)?.is_some() {
            return Ok(true);
        }
        marker::require(host, &self.root).map(|()| false)
    }
}
