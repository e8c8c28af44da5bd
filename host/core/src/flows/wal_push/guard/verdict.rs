//! What has happened to an instance whose WAL is refused, and what the operator can do about it.
//!
//! PostgreSQL keeps the file and tries again for ever, so that nothing is lost while somebody decides; but its disk fills up.

use std::fmt;

use thiserror::Error;

use crate::catalog::{ArchiveClaim, Instance};
use crate::error::{Classify, ErrorClass};
use crate::postgres::WalFileName;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Another instance archives the timeline: this one was cloned, or moved without telling.
    OtherInstance,
    /// Another cluster archives here.
    OtherCluster,
    /// The directory was made anew and is behind the archive: an old copy was put in its place.
    RolledBack,
    /// As far as its facts tell, this very instance has archived other content: it was rolled back as a whole, or a copy wrote it.
    RolledBackContent,
    /// Another instance has archived other content.
    OtherContent,
    /// Somebody has archived other content, before there were claims.
    Unclaimed,
    /// A standby replays other WAL than is archived.
    OtherPrimary,
    /// Another server has made a timeline of this number.
    OtherHistory,
    /// Another server was promoted from the same timeline, in the same segment.
    OtherPartial,
}

/// Why an instance may not archive a file here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Verdict {
    /// What was found.
    pub finding: Finding,
    /// The file.
    pub name: WalFileName,
    /// Who pushes it.
    pub instance: Instance,
    /// Who has claimed its timeline.
    pub claim: Option<ArchiveClaim>,
    /// The newest file that is archived of the timeline.
    pub newest: Option<WalFileName>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, ours, timeline) = (self.name, &self.instance.place, self.name.timeline());
        match self.finding {
            Finding::OtherInstance => write!(
                formatter,
                "`{name}` comes from {ours}, and timeline {timeline} is archived by {}, {}: this server is a clone of that one, or was \
                 moved",
                self.owner(),
                self.reach()
            ),
            Finding::OtherCluster => write!(
                formatter,
                "`{name}` is of the cluster {}, from {ours}, and this is the archive of the cluster {}, {}",
                self.instance.system_identifier,
                self.claim.as_ref().map_or_else(String::new, |claim| claim.system_identifier.to_string()),
                self.owner()
            ),
            Finding::RolledBack => write!(
                formatter,
                "{ours} is not the directory that archived timeline {timeline} before: it goes on at `{name}`, {}: it was rolled back to an \
                 older copy",
                self.reach()
            ),
            Finding::RolledBackContent => write!(
                formatter,
                "`{name}` from {ours} is in the archive with other content, {}: either this server was rolled back, by a snapshot of the \
                 machine or of its volume, or a copy of it, with the same host name and path or promoted elsewhere, has archived this \
                 file",
                self.reach()
            ),
            Finding::OtherContent => write!(
                formatter,
                "`{name}` from {ours} is in the archive with other content, {}, by {}: one of the two is a clone of the other",
                self.reach(),
                self.owner()
            ),
            Finding::Unclaimed => write!(
                formatter,
                "`{name}` from {ours} is in the archive with other content, {}, and nobody knows whose: either this server was rolled back, \
                 or a copy of it has archived this file",
                self.reach()
            ),
            Finding::OtherPrimary => write!(
                formatter,
                "the standby {ours} has replayed another `{name}` than is in the archive, {}: it does not follow the server that \
                 archives here",
                self.reach()
            ),
            Finding::OtherHistory => write!(
                formatter,
                "timeline {timeline} of {ours} is in the archive with another history: two servers were promoted to it"
            ),
            Finding::OtherPartial => write!(
                formatter,
                "`{name}` from {ours} is in the archive with other content: two servers were promoted from timeline {timeline}, in the \
                 same segment"
            ),
        }
    }
}

impl Verdict {
    fn owner(&self) -> String {
        self.claim.as_ref().map_or_else(
            || "nobody knows whom".to_owned(),
            |claim| format!("{} since {}", claim.place, claim.claimed_at.strftime("%Y-%m-%d %H:%M:%SZ")),
        )
    }

    fn reach(&self) -> String {
        self.newest.map_or_else(|| "of which nothing is there".to_owned(), |newest| format!("which is archived up to `{newest}`"))
    }
}

/// What ends it for a server that shall live on beside the archive.
const OF_ITS_OWN: &str = "give it a `name` of its own under `[cluster]`, run `stillframe store create` and take a backup at once, or turn \
                          its archiving off";

/// The same for a cluster, as after `pg_upgrade`.
pub(in crate::flows) const OF_ANOTHER_CLUSTER: &str = "the archive of another cluster is never taken over, as its histories would stop the standbys of this one: give the new cluster a \
     `name` of its own under `[cluster]`, run `stillframe store create` and take a backup at once, or turn its archiving off";

impl Classify for Verdict {
    fn class(&self) -> ErrorClass {
        ErrorClass::Refused
    }

    fn hint(&self) -> Option<String> {
        let moved =
            "if its host was renamed, or its volume moves between hosts, give all of them the same `instance` under `[archive]`";
        Some(match self.finding {
            Finding::OtherInstance => format!(
                "if it is a copy, {OF_ITS_OWN}; if it has replaced the other server for good, run `stillframe archive accept` on it; \
                 {moved}"
            ),
            Finding::OtherCluster => OF_ANOTHER_CLUSTER.to_owned(),
            Finding::RolledBack => format!(
                "to go on without the lost part, {OF_ITS_OWN}; if it was moved and has lost nothing, and the archive only lacks this file, \
                 run `stillframe archive accept` on it; to have the lost part back, restore with `stillframe snapshot-fetch`, which \
                 replaces the data of this server"
            ),
            Finding::RolledBackContent | Finding::Unclaimed => format!(
                "find out which before anything else: compare the server's own position, `SELECT pg_current_wal_lsn()`, and the age of \
                 the archived object with what you know, and look for a copy that archives here, with `stillframe wal-show` for timelines \
                 newer than this server's; if it is a copy, stop its archiving; then, whichever of the two it is, this server can go on: \
                 {OF_ITS_OWN}; only if it was rolled back, to have the lost part back, restore with `stillframe snapshot-fetch`, which \
                 replaces the data of this server"
            ),
            Finding::OtherContent => OF_ITS_OWN.to_owned(),
            Finding::OtherPrimary => {
                "build it anew from a backup of the server that archives here, or set archive_mode = on, so that it archives nothing \
                 before it is promoted"
                    .to_owned()
            }
            Finding::OtherHistory => format!("{OF_ITS_OWN}; or restore it again, which takes the next free timeline"),
            Finding::OtherPartial => {
                "both are kept, and no recovery asks for either; were both servers meant to be promoted?".to_owned()
            }
        })
    }
}
