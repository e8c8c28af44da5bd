//! What a snapshot's tags tell: all of its set, and its own place in it.
//!
//! Every snapshot carries the whole record, so that what is left of a set, wherever a creation or a deletion was killed, can be
//! listed by its owner and removed by its handle. LVM writes the tags with the first word of a new volume, before anything is cut.

use stillframe_sdk::{Error, OWNER_LABEL, SetHandle, invalid};

use crate::layout::SNAPSHOT_PREFIX;
use crate::report::LogicalVolume;
use crate::tags::{self, Facts};

/// The one version of the format so far.
const FORMAT_VERSION: u32 = 1;

/// Most tags of a snapshot: a program takes 256 arguments from the host.
const MAX_TAGS: usize = 200;

/// Key of the mark that a set is whole.
const CUT_END: &str = "cut-end";

/// The facts of a set that are known before it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) handle: SetHandle,
    /// `vg/lv` of every volume, in the order of the request.
    pub(crate) volumes: Vec<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) cut_begin_ms: u64,
}

/// One volume's part of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Its place in the plan's volumes.
    pub(crate) index: usize,
    pub(crate) origin_uuid: String,
    pub(crate) fs_type: String,
    /// Name of each data path, and its directory from the root of the file system.
    pub(crate) paths: Vec<(String, String)>,
}

/// What the tags of one snapshot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) plan: Plan,
    pub(crate) part: Part,
    /// When the last cut of the set was complete; one snapshot of a whole set tells it, and none of an incomplete one.
    pub(crate) cut_end_ms: Option<u64>,
}

impl Plan {
    pub(crate) fn owner(&self) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == OWNER_LABEL).map(|(_, value)| value.as_str())
    }

    /// The tags of the snapshot with this part.
    pub(crate) fn tags(&self, part: &Part) -> Result<Vec<String>, Error> {
        let pairs = |list: &[(String, String)], key: &str| {
            tags::pairs(key, list.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        };
        let tags = [
            tags::text("version", &FORMAT_VERSION.to_string()),
            tags::text("token", &self.handle.token),
            tags::text("name", &self.handle.name),
            tags::text("cut-begin", &self.cut_begin_ms.to_string()),
            tags::pairs("volumes", self.volumes.iter().map(|volume| (volume.as_str(), ""))),
            pairs(&self.labels, "labels"),
            tags::text("index", &part.index.to_string()),
            tags::text("origin", &part.origin_uuid),
            tags::text("fs", &part.fs_type),
            pairs(&part.paths, "paths"),
        ]
        .concat();
        if tags.len() > MAX_TAGS {
            let message =
                format!("`{}` holds so many data paths that their names need more than {MAX_TAGS} tags", self.volumes[part.index]);
            return Err(invalid("volumes", message));
        }
        Ok(tags)
    }
}

/// The tag that makes a set whole.
pub(crate) fn whole(cut_end_ms: u64) -> Vec<String> {
    tags::text(CUT_END, &cut_end_ms.to_string())
}

impl Record {
    /// The token of a snapshot's set; none for a volume that is not one of ours.
    pub(crate) fn token_of(volume: &LogicalVolume) -> Option<String> {
        Facts::of(&volume.tags).text("token").filter(|_| volume.name.starts_with(SNAPSHOT_PREFIX))
    }

    /// Reads the record of a snapshot of ours; none for one whose tags somebody has changed.
    pub(crate) fn of(volume: &LogicalVolume) -> Option<Self> {
        read(&Facts::of(&volume.tags))
    }
}

fn read(facts: &Facts) -> Option<Record> {
    if facts.number::<u32>("version")? != FORMAT_VERSION {
        return None;
    }
    let volumes: Vec<String> = facts.pairs("volumes")?.into_iter().map(|(volume, _)| volume).collect();
    // The host would refuse a set with two snapshots of one volume, and with it every listing, without naming the one to look at.
    if volumes.iter().enumerate().any(|(place, volume)| volume.is_empty() || volumes[..place].contains(volume)) {
        return None;
    }
    let index = facts.number("index").filter(|index| *index < volumes.len())?;
    let plan = Plan {
        handle: SetHandle::new(&facts.text("name")?, &facts.text("token")?).ok()?,
        volumes,
        labels: facts.pairs("labels")?,
        cut_begin_ms: facts.number("cut-begin")?,
    };
    let paths = facts.pairs("paths")?;
    // They will be joined to mount points.
    if !paths.iter().all(|(_, within)| within.starts_with('/') && !within.split('/').any(|part| part == "..")) {
        return None;
    }
    let part = Part { index, origin_uuid: facts.text("origin")?, fs_type: facts.text("fs")?, paths };
    Some(Record { plan, part, cut_end_ms: facts.number(CUT_END) })
}
