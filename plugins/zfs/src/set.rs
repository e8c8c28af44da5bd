//! A set as it is: its record, held against the snapshots that are there.

use std::collections::BTreeMap;

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Member, MemberState, SnapshotSet};

use crate::config::Config;
use crate::holds::Owner;
use crate::name::{self, Handle};
use crate::record::Record;
use crate::zfs::{Hold, Snapshot, Zfs};

/// A set, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) record: Record,
    /// Every snapshot with its token, wherever it is now.
    pub(crate) snapshots: Vec<Snapshot>,
    /// Every hold on them.
    pub(crate) holds: Vec<Hold>,
    /// The set that was cut before it with the same token, which is for one set only.
    rival: Option<Handle>,
    /// Snapshots of an attempt that was given up, with its record: they carry the token, and another beginning.
    outdated: BTreeMap<String, Record>,
}

/// Reads everything about these snapshots, and puts the sets together.
pub(crate) fn read<H: Command>(zfs: &Zfs<'_, H>, snapshots: &[String]) -> Result<Vec<Set>, Error> {
    if snapshots.is_empty() {
        return Ok(Vec::new());
    }
    let mut records: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for property in zfs.records(snapshots)? {
        if property.name.starts_with(name::PROPERTY_PREFIX) {
            records.entry(property.of).or_default().insert(property.name, property.value);
        }
    }
    let mut found: BTreeMap<String, Vec<(Record, Snapshot)>> = BTreeMap::new();
    for snapshot in zfs.snapshots(snapshots)? {
        // It was destroyed between the two questions.
        let Some(properties) = records.get(&snapshot.name) else { continue };
        let record = Record::from_properties(properties).ok_or_else(|| {
            Error::Internal(format!("the properties `stillframe:...` of `{}` were changed: they cannot be read", snapshot.name))
        })?;
        found.entry(record.handle.text()).or_default().push((record, snapshot));
    }
    let mut sets: Vec<Set> = found.into_values().filter_map(Set::of).collect();
    for hold in zfs.holds(snapshots)? {
        if let Some(set) = sets.iter_mut().find(|set| set.names().contains(&hold.snapshot)) {
            set.holds.push(hold);
        }
    }
    find_rivals(&mut sets);
    Ok(sets)
}

/// A token with two names is a fault of whoever asked for the second. That shows only here: to look for it before the cut would
/// lengthen backup mode. The first set keeps the token.
fn find_rivals(sets: &mut [Set]) {
    let mut firsts: BTreeMap<String, (u64, Handle)> = BTreeMap::new();
    for Record { handle, begin_ms, .. } in sets.iter().map(|set| &set.record) {
        let first = firsts.entry(handle.token.clone()).or_insert_with(|| (*begin_ms, handle.clone()));
        if (*begin_ms, &handle.name) < (first.0, &first.1.name) {
            *first = (*begin_ms, handle.clone());
        }
    }
    for set in sets {
        set.rival =
            firsts.get(&set.record.handle.token).map(|(_, first)| first.clone()).filter(|first| *first != set.record.handle);
    }
}

/// What the host is told of a set that was just cut.
pub(crate) fn just_cut(record: &Record, end_ms: u64) -> SnapshotSet {
    let member = |volume: &String| blank(volume.clone(), format!("{volume}@{}", record.handle.name), MemberState::Cut);
    told(record, end_ms, record.volumes.iter().map(member).collect())
}

impl Set {
    /// None for nothing. The newest attempt is the set.
    fn of(found: Vec<(Record, Snapshot)>) -> Option<Self> {
        let record = found.iter().map(|(record, _)| record).max_by_key(|record| record.begin_ms)?.clone();
        let given_up = found.iter().filter(|(other, _)| *other != record);
        let outdated = given_up.map(|(other, snapshot)| (snapshot.name.clone(), other.clone())).collect();
        let snapshots = found.into_iter().map(|(_, snapshot)| snapshot).collect();
        Some(Self { record, snapshots, holds: Vec::new(), rival: None, outdated })
    }

    /// What one attempt has cut.
    pub(crate) fn only_attempt(&self, record: &Record) -> Self {
        let of = |snapshot: &&Snapshot| self.outdated.get(&snapshot.name).unwrap_or(&self.record) == record;
        let snapshots = self.snapshots.iter().filter(of).cloned().collect();
        Self { record: record.clone(), snapshots, outdated: BTreeMap::new(), ..self.clone() }
    }

    /// Whether every attempt was at this request.
    pub(crate) fn is_of_request(&self, record: &Record) -> bool {
        self.outdated.values().chain([&self.record]).all(|attempt| attempt.is_same_request(record))
    }

    /// Whether there is a snapshot of every volume, all of one attempt.
    pub(crate) fn is_complete(&self) -> bool {
        self.outdated.is_empty() && (0..self.record.volumes.len()).all(|volume| self.snapshot_of(volume).is_some())
    }

    /// Whether it can be restored.
    pub(crate) fn is_usable(&self) -> bool {
        self.is_complete() && self.rival.is_none() && self.snapshots.iter().all(|snapshot| self.is_cut_together(snapshot))
    }

    /// Whether another set has its token.
    pub(crate) fn has_rival(&self) -> bool {
        self.rival.is_some()
    }

    /// Whether a snapshot has our hold.
    pub(crate) fn is_held(&self, snapshot: &str) -> bool {
        self.holds.iter().any(|hold| hold.snapshot == snapshot && hold.owner() == Owner::Set)
    }

    /// Whether all of its pool are from the same transaction group.
    fn is_cut_together(&self, snapshot: &Snapshot) -> bool {
        let valid = self.snapshots.iter().filter(|other| !self.outdated.contains_key(&other.name));
        let mut beside = valid.filter(|other| name::pool(&other.name) == name::pool(&snapshot.name));
        beside.all(|other| other.txg == snapshot.txg)
    }

    /// The snapshot of a volume. `zfs promote` and `zfs rename` move snapshots to other datasets; when just one volume is without,
    /// and one snapshot elsewhere, they belong together.
    pub(crate) fn snapshot_of(&self, volume: usize) -> Option<&Snapshot> {
        let valid: Vec<&Snapshot> = self.snapshots.iter().filter(|snapshot| !self.outdated.contains_key(&snapshot.name)).collect();
        let at_home = |dataset: &str| valid.iter().copied().find(|snapshot| name::dataset(&snapshot.name) == dataset);
        let dataset = &self.record.volumes[volume];
        at_home(dataset).or_else(|| {
            let moved = self.moved();
            let lost = self.record.volumes.iter().filter(|volume| at_home(volume).is_none()).count();
            valid.iter().copied().find(|snapshot| moved.len() == 1 && lost == 1 && snapshot.name == moved[0])
        })
    }

    /// Snapshots on datasets that are none of the set's volumes.
    fn moved(&self) -> Vec<&str> {
        let is_volume = |snapshot: &str| self.record.volumes.iter().any(|volume| volume == name::dataset(snapshot));
        let names = self.snapshots.iter().map(|snapshot| snapshot.name.as_str());
        names.filter(|snapshot| !is_volume(snapshot) && !self.outdated.contains_key(*snapshot)).collect()
    }

    /// Volumes that the configuration does not cover any more: nobody can tell whether their snapshots are there.
    pub(crate) fn uncovered(&self, config: &Config) -> Vec<&str> {
        let volumes = self.record.volumes.iter().enumerate();
        let unknown = volumes.filter(|(index, volume)| !config.covers(volume) && self.snapshot_of(*index).is_none());
        unknown.map(|(_, volume)| volume.as_str()).collect()
    }

    /// Names of all snapshots.
    pub(crate) fn names(&self) -> Vec<String> {
        self.snapshots.iter().map(|snapshot| snapshot.name.clone()).collect()
    }

    /// What the host is told.
    ///
    /// ZFS tells whole seconds, so the cut has ended by the end of the latest one.
    pub(crate) fn describe(&self, config: &Config) -> SnapshotSet {
        let record = &self.record;
        let latest = self.snapshots.iter().map(|snapshot| snapshot.creation_secs.saturating_mul(1_000).saturating_add(999)).max();
        let end_ms = latest.unwrap_or_default().max(record.begin_ms);
        told(record, end_ms, (0..record.volumes.len()).map(|volume| self.member(volume, config)).collect())
    }

    fn member(&self, volume: usize, config: &Config) -> Member {
        let dataset = self.record.volumes[volume].as_str();
        let home = format!("{dataset}@{}", self.record.handle.name);
        let Some(snapshot) = self.snapshot_of(volume) else {
            return blank(dataset.to_owned(), home.clone(), self.why_absent(&home, dataset, config));
        };
        Member {
            size_bytes: Some(snapshot.referenced_bytes),
            attributes: vec![
                ("guid".to_owned(), snapshot.guid.clone()),
                ("createtxg".to_owned(), snapshot.txg.clone()),
                ("used-bytes".to_owned(), snapshot.used_bytes.to_string()),
            ],
            ..blank(dataset.to_owned(), snapshot.name.clone(), self.state_of(snapshot))
        }
    }

    /// Before it is held, somebody else may destroy it: nobody is told that it is ready.
    fn state_of(&self, snapshot: &Snapshot) -> MemberState {
        if let Some(rival) = &self.rival {
            return MemberState::Failed(format!("its token belongs to the set `{}`, which was cut before it", rival.text()));
        }
        if !self.is_cut_together(snapshot) {
            return MemberState::Failed("it was not cut together with the others of its pool".to_owned());
        }
        if self.is_held(&snapshot.name) { MemberState::Ready } else { MemberState::Cut }
    }

    fn why_absent(&self, home: &str, dataset: &str, config: &Config) -> MemberState {
        if self.outdated.contains_key(home) {
            return MemberState::Failed("it is of an attempt that was given up".to_owned());
        }
        if !config.covers(dataset) {
            return MemberState::Failed(format!("`{dataset}` is not in `datasets` any more: it cannot be looked at"));
        }
        match self.moved()[..] {
            [] => MemberState::Absent,
            ref moved => MemberState::Failed(format!("it was moved: one of `{}`", moved.join("`, `"))),
        }
    }
}

fn told(record: &Record, end_ms: u64, members: Vec<Member>) -> SnapshotSet {
    SnapshotSet {
        handle: record.handle.text(),
        token: record.handle.token.clone(),
        name: record.handle.name.clone(),
        atomic: is_one_pool(&record.volumes),
        isolated: true,
        cut_begin_ms: record.begin_ms,
        cut_end_ms: end_ms.max(record.begin_ms),
        members,
        labels: record.labels.clone(),
    }
}

fn blank(volume: String, id: String, state: MemberState) -> Member {
    Member { volume, id, state, percent: None, size_bytes: None, attributes: Vec::new() }
}

/// Whether one command can cut all these volumes.
fn is_one_pool(volumes: &[String]) -> bool {
    volumes.windows(2).all(|pair| name::pool(&pair[0]) == name::pool(&pair[1]))
}
