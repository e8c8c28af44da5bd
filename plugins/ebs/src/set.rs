//! Snapshots put together to sets.
//!
//! Each snapshot carries the record of its whole set, so one that is visible tells of those that are not yet. A request that was
//! repeated after a lost answer may have cut twice: the two differ in their begin, one is taken, and a deletion takes both.

use std::collections::BTreeMap;

use stillframe_sdk::{Error, Member, MemberState, SnapshotSet};

use crate::Config;
use crate::ec2::{Snapshot, State};
use crate::handle::Handle;
use crate::placement::Placement;
use crate::tags::{self, IN_VALUE, encode};

/// Tag with the token of the request.
pub(crate) const TOKEN: &str = "stillframe:token";
const NAME: &str = "stillframe:name";
const BEGIN: &str = "stillframe:begin";
const CUT: &str = "stillframe:cut";
const VOLUMES: &str = "stillframe:volumes";
const PATHS: &str = "stillframe:paths";

/// Age below which a snapshot that cannot be seen may only not be seen yet: EC2 is consistent in the end, mostly within seconds.
const SETTLING_MS: u64 = 600_000;

/// In place of the id of a snapshot that has not been seen.
const UNKNOWN_ID: &str = "unknown";

/// The facts of a set that do not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) token: String,
    pub(crate) name: String,
    pub(crate) begin_ms: u64,
    /// Whether all was cut at one instant.
    pub(crate) together: bool,
    pub(crate) placement: Placement,
    pub(crate) labels: Vec<(String, String)>,
}

/// A set as it is: for each disk of each volume its snapshot, if it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) record: Record,
    pub(crate) snapshots: Vec<Vec<Option<Snapshot>>>,
}

impl Record {
    /// The tags for every snapshot of the set, with the operator's own.
    pub(crate) fn tags(&self, config: &Config) -> Result<Vec<(String, String)>, Error> {
        let mut all = Vec::new();
        tags::put(&mut all, TOKEN, &encode(&self.token, IN_VALUE))?;
        tags::put(&mut all, NAME, &encode(&self.name, IN_VALUE))?;
        tags::put(&mut all, BEGIN, &self.begin_ms.to_string())?;
        tags::put(&mut all, CUT, if self.together { "together" } else { "one by one" })?;
        tags::put(&mut all, VOLUMES, &self.placement.volumes_text())?;
        tags::put(&mut all, PATHS, &self.placement.paths_text())?;
        for (key, value) in &self.labels {
            tags::put(&mut all, &tags::label_key(key), &encode(value, IN_VALUE))?;
        }
        all.extend(config.tags.clone());
        if all.len() > tags::MAX_TAGS {
            let text = format!("a set whose record needs {} tags: EC2 takes {} on a snapshot", all.len(), tags::MAX_TAGS);
            return Err(Error::Unsupported(text));
        }
        Ok(all)
    }

    /// Reads the tags of a snapshot; none when they are not, or not all, ours.
    fn read(snapshot: &Snapshot) -> Option<Self> {
        let take = |key| tags::take(&snapshot.tags, key);
        Some(Self {
            token: tags::decode(&take(TOKEN)?)?,
            name: tags::decode(&take(NAME)?)?,
            begin_ms: take(BEGIN)?.parse().ok()?,
            together: take(CUT)? == "together",
            placement: Placement::parse(&take(VOLUMES)?, &take(PATHS)?)?,
            labels: tags::labels(&snapshot.tags),
        })
    }
}

/// Whether a snapshot carries the whole record of its set.
pub(crate) fn is_readable(snapshot: &Snapshot) -> bool {
    Record::read(snapshot).is_some()
}

/// The token that a snapshot carries.
pub(crate) fn token_of(snapshot: &Snapshot) -> Option<String> {
    tags::decode(&tags::take(&snapshot.tags, TOKEN)?)
}

impl Set {
    /// A set of which nothing has been seen.
    pub(crate) fn new(record: Record) -> Self {
        let snapshots = record.placement.volumes.iter().map(|disks| vec![None; disks.len()]).collect();
        Self { record, snapshots }
    }

    /// Puts a snapshot at its place; gives back one that has none.
    pub(crate) fn add(&mut self, snapshot: Snapshot) -> Option<Snapshot> {
        for (disks, places) in self.record.placement.volumes.iter().zip(&mut self.snapshots) {
            for (disk, place) in disks.iter().zip(places) {
                if *disk == snapshot.volume && place.is_none() {
                    *place = Some(snapshot);
                    return None;
                }
            }
        }
        Some(snapshot)
    }

    /// How many snapshots were seen.
    pub(crate) fn seen(&self) -> usize {
        self.all().count()
    }

    /// Whether all were.
    pub(crate) fn is_complete(&self) -> bool {
        self.snapshots.iter().flatten().all(Option::is_some)
    }

    /// The snapshots that were seen.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.iter().flatten().flatten()
    }

    /// When the request began that cut a snapshot.
    pub(crate) fn begin_of(snapshot: &Snapshot) -> Option<u64> {
        tags::take(&snapshot.tags, BEGIN)?.parse().ok()
    }

    /// Whether it is so young that what was not seen may only not be visible yet.
    pub(crate) fn may_settle(begin_ms: u64, now_ms: u64) -> bool {
        now_ms < begin_ms.saturating_add(SETTLING_MS)
    }

    pub(crate) fn handle(&self, region: &str) -> Handle {
        let id = |snapshot: &Option<Snapshot>| snapshot.as_ref().map(|snapshot| snapshot.id.clone());
        Handle {
            region: region.to_owned(),
            account: self.all().map(|snapshot| snapshot.owner.clone()).next().unwrap_or_default(),
            token: self.record.token.clone(),
            begin_ms: self.record.begin_ms,
            members: self.snapshots.iter().map(|disks| disks.iter().map(id).collect()).collect(),
        }
    }

    /// What the host is told. `unseen` is the state of what should be there and was not seen.
    pub(crate) fn describe(&self, handle: &Handle, unseen: &MemberState) -> SnapshotSet {
        let record = &self.record;
        let ids = |index: usize| {
            let disks = handle.members.get(index).into_iter().flatten();
            disks.map(|id| id.as_deref().unwrap_or(UNKNOWN_ID)).collect::<Vec<_>>().join("+")
        };
        let members = record.placement.volumes.iter().zip(&self.snapshots).enumerate();
        let members = members.map(|(index, (disks, snapshots))| member(disks.join("+"), ids(index), snapshots, unseen));
        SnapshotSet {
            handle: handle.text(),
            token: record.token.clone(),
            name: record.name.clone(),
            atomic: record.together,
            isolated: true,
            cut_begin_ms: record.begin_ms,
            // EC2's clock and the host's differ.
            cut_end_ms: self.all().filter_map(|snapshot| snapshot.start_ms).max().unwrap_or(0).max(record.begin_ms),
            members: members.collect(),
            labels: record.labels.clone(),
        }
    }
}

/// Puts snapshots together: for each token one set, the most complete one and of those the newest.
pub(crate) fn sets(snapshots: Vec<Snapshot>) -> Vec<Set> {
    let mut cuts: BTreeMap<(String, u64), Set> = BTreeMap::new();
    for snapshot in snapshots {
        let Some(record) = Record::read(&snapshot) else { continue };
        let set = cuts.entry((record.token.clone(), record.begin_ms)).or_insert_with(|| Set::new(record));
        set.add(snapshot);
    }
    let mut best: BTreeMap<String, Set> = BTreeMap::new();
    for ((token, _), set) in cuts {
        // They come in the order of their begin.
        if best.get(&token).is_none_or(|other| set.seen() >= other.seen()) {
            best.insert(token, set);
        }
    }
    best.into_values().filter(|set| set.seen() > 0).collect()
}

fn member(volume: String, id: String, snapshots: &[Option<Snapshot>], unseen: &MemberState) -> Member {
    let states: Vec<MemberState> = snapshots.iter().map(|one| one.as_ref().map_or_else(|| unseen.clone(), state)).collect();
    let seen = || snapshots.iter().flatten();
    let sum = |fact: fn(&Snapshot) -> Option<u64>| {
        let facts: Option<Vec<u64>> = snapshots.iter().map(|one| one.as_ref().and_then(fact)).collect();
        facts.map(|facts| facts.iter().sum::<u64>())
    };
    let mut attributes = Vec::new();
    if let Some(gib) = sum(|snapshot| snapshot.volume_gib) {
        attributes.push(("volume-gib".to_owned(), gib.to_string()));
    }
    if seen().next().is_some() {
        attributes.push(("encrypted".to_owned(), seen().all(|snapshot| snapshot.encrypted).to_string()));
    }
    Member {
        volume,
        id,
        state: together(states),
        percent: seen().map(|snapshot| snapshot.percent).min().flatten(),
        size_bytes: sum(|snapshot| snapshot.full_bytes),
        attributes,
    }
}

fn state(snapshot: &Snapshot) -> MemberState {
    let failed = |text: String| MemberState::Failed(format!("`{}` {text}", snapshot.id));
    match snapshot.state {
        State::Error => failed(format!("failed: {}", snapshot.message)),
        State::Recycled => failed("is in the Recycle Bin, from which it can be recovered".to_owned()),
        State::Completed if snapshot.archived => {
            failed("is in the archive tier, and must be restored to the standard tier first".to_owned())
        }
        State::Completed => MemberState::Ready,
        State::Pending => MemberState::Cut,
    }
}

/// A volume of several disks is worth what its worst disk is worth.
fn together(states: Vec<MemberState>) -> MemberState {
    let rank = |state: &MemberState| match state {
        MemberState::Failed(_) => 0,
        MemberState::Absent => 1,
        MemberState::Deleting => 2,
        MemberState::Cutting => 3,
        MemberState::Cut => 4,
        MemberState::Ready => 5,
    };
    states.into_iter().min_by_key(rank).unwrap_or(MemberState::Absent)
}
