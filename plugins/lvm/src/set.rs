//! Sets, put together from what their snapshots tell.

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Host, Labels, Level, Member, MemberState, SetHandle, SnapshotSet};

use crate::Config;
use crate::record::{Part, Plan, Record};
use crate::report::{self, LogicalVolume, percent_text};

/// Hundredths of a percent at which a classic snapshot has no room left.
const FULL: u32 = 10_000;

/// What is there of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) plan: Plan,
    /// Absent for a set whose creation was killed, and for one that is being made.
    pub(crate) cut_end_ms: Option<u64>,
    /// Those that are there, in the order of the plan.
    pub(crate) snapshots: Vec<Snapshot>,
}

/// One snapshot of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) part: Part,
    pub(crate) volume: LogicalVolume,
    /// Whether it has the mark that the set is whole.
    pub(crate) is_marked: bool,
}

/// All that the groups hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inventory {
    pub(crate) volumes: Vec<LogicalVolume>,
    /// Oldest first.
    pub(crate) sets: Vec<Set>,
    /// Snapshots whose tags cannot be read, with the token of their set.
    damaged: Vec<Damaged>,
}

/// A snapshot of ours of which nobody can tell what it was: somebody has changed its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Damaged {
    token: String,
    reason: String,
}

impl Inventory {
    pub(crate) fn take<H: Command>(host: &H, config: &Config) -> Result<Self, Error> {
        let volumes = report::volumes(host, config)?;
        let mut sets: Vec<Set> = Vec::new();
        let mut damaged = Vec::new();
        for volume in &volumes {
            let Some(token) = Record::token_of(volume) else { continue };
            let Some(record) = Record::of(volume) else {
                let reason = format!("the tags of `{}` are damaged, or of a later version", volume.id());
                damaged.push(Damaged { token, reason });
                continue;
            };
            let is_marked = record.cut_end_ms.is_some();
            let snapshot = Snapshot { part: record.part, volume: volume.clone(), is_marked };
            match sets.iter_mut().find(|set| set.plan.handle == record.plan.handle) {
                Some(set) => {
                    set.cut_end_ms = set.cut_end_ms.or(record.cut_end_ms);
                    set.snapshots.push(snapshot);
                }
                None => sets.push(Set { plan: record.plan, cut_end_ms: record.cut_end_ms, snapshots: vec![snapshot] }),
            }
        }
        for set in &mut sets {
            set.snapshots.sort_by_key(|snapshot| snapshot.part.index);
        }
        sets.sort_by_key(Set::place);
        Ok(Self { volumes, sets, damaged })
    }

    /// Only the volumes.
    pub(crate) fn without_sets(volumes: Vec<LogicalVolume>) -> Self {
        Self { volumes, sets: Vec::new(), damaged: Vec::new() }
    }

    /// The set of the request with this token. One with a damaged snapshot is an error; those of others do not matter.
    pub(crate) fn by_token(&self, token: &str) -> Result<Option<&Set>, Error> {
        match self.damaged.iter().find(|damaged| damaged.token == token) {
            Some(damaged) => Err(Error::Internal(damaged.reason.clone())),
            None => Ok(self.sets.iter().find(|set| set.plan.handle.token == token)),
        }
    }

    /// The set with this handle.
    pub(crate) fn by_handle(&self, handle: &SetHandle) -> Result<Option<&Set>, Error> {
        self.by_token(&handle.token)?;
        Ok(self.sets.iter().find(|set| set.plan.handle == *handle))
    }

    /// What is wrong with damaged snapshots.
    pub(crate) fn damages(&self) -> impl Iterator<Item = &str> {
        self.damaged.iter().map(|damaged| damaged.reason.as_str())
    }

    /// All sets. Whose a damaged snapshot is, nobody can tell, so that any owner's listing would lack it.
    pub(crate) fn all(&self) -> Result<&[Set], Error> {
        match self.damaged.first() {
            Some(damaged) => Err(Error::Internal(damaged.reason.clone())),
            None => Ok(&self.sets),
        }
    }

    /// The volume of this id, `vg/lv`.
    pub(crate) fn volume(&self, id: &str) -> Option<&LogicalVolume> {
        self.volumes.iter().find(|volume| volume.id() == id)
    }

    /// The thin pool that a volume lies in.
    pub(crate) fn pool(&self, volume: &LogicalVolume) -> Option<&LogicalVolume> {
        let name = volume.pool.as_deref()?;
        self.volumes.iter().find(|pool| pool.group == volume.group && pool.name == name)
    }

    /// What the host is told of a set.
    pub(crate) fn describe<H: Host>(&self, host: &H, config: &Config, set: &Set) -> SnapshotSet {
        let members = (0..set.plan.volumes.len()).map(|index| match set.snapshot(index) {
            Some(snapshot) => {
                self.warn(host, config, snapshot);
                self.member(set, snapshot)
            }
            None => Member {
                volume: set.plan.volumes[index].clone(),
                id: format!("{} of {}", index + 1, set.plan.handle.name),
                state: why_absent(config, &set.plan.volumes[index]),
                percent: None,
                size_bytes: None,
                attributes: Vec::new(),
            },
        });
        SnapshotSet {
            handle: set.plan.handle.to_string(),
            token: set.plan.handle.token.clone(),
            name: set.plan.handle.name.clone(),
            // LVM suspends one volume at a time.
            atomic: set.plan.volumes.len() == 1,
            isolated: true,
            cut_begin_ms: set.plan.cut_begin_ms,
            cut_end_ms: set.cut_end_ms.unwrap_or(set.plan.cut_begin_ms),
            members: members.collect(),
            labels: set.plan.labels.clone(),
        }
    }

    fn member(&self, set: &Set, snapshot: &Snapshot) -> Member {
        Member {
            volume: set.plan.volumes[snapshot.part.index].clone(),
            id: snapshot.volume.id(),
            state: if set.cut_end_ms.is_none() { MemberState::Cutting } else { self.state(&snapshot.volume) },
            percent: None,
            size_bytes: None,
            attributes: self.attributes(snapshot),
        }
    }

    /// How it is with a snapshot of a whole set.
    pub(crate) fn state(&self, volume: &LogicalVolume) -> MemberState {
        let pool_failed = self.pool(volume).is_some_and(|pool| pool.health == "failed");
        if pool_failed || volume.health == "partial" {
            // A missing disk may come back, and a pool can be repaired: no reason to give up what is there for good.
            return MemberState::Cut;
        }
        if volume.is_thin() {
            // A full pool stops the origin's writes, and takes nothing away from a snapshot.
            return MemberState::Ready;
        }
        if !volume.is_classic_snapshot() {
            return MemberState::Failed(format!("`{}` is not a snapshot any more", volume.id()));
        }
        if volume.is_invalid || volume.data_hundredths.is_some_and(|hundredths| hundredths >= FULL) {
            return MemberState::Failed(format!(
                "the room for changes of the classic snapshot `{}` was used up, and with it the snapshot was lost: use a larger \
                 `classic_size`, or let LVM extend snapshots (`snapshot_autoextend_threshold`)",
                volume.id()
            ));
        }
        if volume.data_hundredths.is_none() {
            // Not active: LVM knows again that it has run full, if it has, when it is.
            return MemberState::Cut;
        }
        MemberState::Ready
    }

    fn warn<H: Host>(&self, host: &H, config: &Config, snapshot: &Snapshot) {
        let volume = &snapshot.volume;
        let nearly_full = volume.data_hundredths.is_some_and(|share| (config.full_percent.hundredths()..FULL).contains(&share));
        if volume.is_classic_snapshot() && !volume.is_invalid && nearly_full {
            let share = percent_text(volume.data_hundredths.unwrap_or_default());
            host.log(
                Level::Warn,
                &format!("{share} % of the classic snapshot `{}` are used up: extend it, or it is lost", volume.id()),
            );
        }
        if let Some(pool) = self.pool(volume).filter(|pool| !pool.health.is_empty()) {
            host.log(Level::Warn, &format!("the thin pool `{}` is not well: {}", pool.id(), pool.health));
        }
    }

    fn attributes(&self, snapshot: &Snapshot) -> Labels {
        let volume = &snapshot.volume;
        let kind = if volume.is_thin() { "thin" } else { "classic" };
        let mut attributes = vec![
            ("kind".to_owned(), kind.to_owned()),
            ("uuid".to_owned(), volume.uuid.clone()),
            ("origin-uuid".to_owned(), snapshot.part.origin_uuid.clone()),
            ("size".to_owned(), volume.origin_bytes.unwrap_or(volume.size_bytes).to_string()),
        ];
        let mut add = |key: &str, value: String| attributes.push((key.to_owned(), value));
        if volume.is_classic_snapshot() {
            add("room", volume.size_bytes.to_string());
            if let Some(share) = volume.data_hundredths {
                add("data-percent", percent_text(share));
            }
        }
        if !volume.health.is_empty() {
            add("health", volume.health.clone());
        }
        if let Some(pool) = self.pool(volume) {
            add("pool", pool.name.clone());
            for (key, share) in [("pool-data-percent", pool.data_hundredths), ("pool-metadata-percent", pool.metadata_hundredths)] {
                if let Some(share) = share {
                    add(key, percent_text(share));
                }
            }
            if !pool.health.is_empty() {
                add("pool-health", pool.health.clone());
            }
        }
        attributes
    }
}

/// Where nobody has looked, nothing is known to be absent.
fn why_absent(config: &Config, volume: &str) -> MemberState {
    match group(volume) {
        group if config.volume_groups.names().iter().any(|name| name == group) => MemberState::Absent,
        group => MemberState::Failed(format!("`{group}` is not in `volume_groups` any more: it cannot be looked at")),
    }
}

/// The group of a volume's id.
fn group(volume: &str) -> &str {
    volume.split_once('/').map_or(volume, |(group, _)| group)
}

impl Set {
    /// Oldest first; the handle decides between two of the same millisecond.
    pub(crate) fn place(&self) -> (u64, String) {
        (self.plan.cut_begin_ms, self.plan.handle.to_string())
    }

    pub(crate) fn snapshot(&self, index: usize) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.part.index == index)
    }

    /// The first group of its volumes that the configuration does not name any more.
    pub(crate) fn unseen_group(&self, config: &Config) -> Option<&str> {
        let mut groups = self.plan.volumes.iter().map(|volume| group(volume));
        groups.find(|group| !config.volume_groups.names().iter().any(|name| name == group))
    }

    /// Whether everything was cut and is still there.
    pub(crate) fn is_whole(&self) -> bool {
        self.cut_end_ms.is_some() && self.snapshots.len() == self.plan.volumes.len()
    }
}
