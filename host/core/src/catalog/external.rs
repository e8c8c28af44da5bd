//! WAL that another tool keeps in a place of its own: which tool, where, and how much of it was proven.
//!
//! It is recorded for people and for later commands. The place is the name of a store, which holds no secret.

use serde::{Deserialize, Serialize};

use super::{ClusterName, Layout};

/// The name below which a reader of WAL-G's layout finds everything: there is no cluster in it.
const ANY_CLUSTER: &str = "external";

/// The archive in which the WAL of a backup is, when it is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalArchive {
    /// Who keeps it.
    pub kind: ExternalKind,
    /// Where, as far as it is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// How much was proven before the backup was published.
    pub proof: ExternalProof,
}

/// Which tool keeps WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalKind {
    /// WAL-G, whose layout can be read here.
    WalG,
    /// Another one, such as pgBackRest.
    Other,
}

/// What is known of the WAL of a backup that another tool keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExternalProof {
    /// Every segment was read there, and is this cluster's.
    Contents,
    /// The server says that its archiver has come as far.
    Archiver,
    /// Nothing: the operator took the backup all the same.
    Unproven,
}

impl ExternalArchive {
    /// Where it is, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let tool = match self.kind {
            ExternalKind::WalG => "WAL-G",
            ExternalKind::Other => "another tool",
        };
        match &self.place {
            Some(place) => format!("{tool} in {place}"),
            None => tool.to_owned(),
        }
    }

    /// What was proven of it, in words.
    #[must_use]
    pub fn proof_in_words(&self) -> &'static str {
        match self.proof {
            ExternalProof::Contents => "every segment was read there",
            ExternalProof::Archiver => "by the word of the server's archiver only",
            ExternalProof::Unproven => "not proven",
        }
    }
}

/// The layout under which WAL-G's place is read: its own keys, below one name that only a reader of such a place knows.
#[must_use]
pub fn external_layout() -> Layout {
    Layout::new(ClusterName::fixed(ANY_CLUSTER))
}
