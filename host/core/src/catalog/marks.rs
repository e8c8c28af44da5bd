//! The small records beside a sentinel that say one thing each, as they are stored.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark {
    pub(super) format_version: u32,
    pub(super) permanent: bool,
    pub(super) marked_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Standalone {
    pub(super) format_version: u32,
    pub(super) since: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condemned {
    pub(super) format_version: u32,
    pub(super) condemned_at: Timestamp,
}
