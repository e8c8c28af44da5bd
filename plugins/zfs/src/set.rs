//! A set as it is: its record, held against the snapshots that are there.

use std::collections::BTreeMap;

use stillframe_sdk::command::Command;
use stillframe_sdk::{Error, Member, MemberState, SnapshotSet};

use crate::config::Config;
use crate::name;
use crate::record::Record;
use crate::zfs::{Snapshot, Zfs};

/// A set, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) record: Record,
    /// Every snapshot with its token, wherever it is now.
    pub(crate) snapshots: Vec<Snapshot>,
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
    let mut sets: BTreeMap<String, Vec<(Record, Snapshot)>> = BTreeMap::new();
    for snapshot in zfs.snapshots(snapshots)? {
        // It was destroyed between the two questions.
        let Some(properties) = records.get(&snapshot.name) else { continue };
        let record = Record::from_properties(properties).ok_or_else(|| {
            Error::Internal(format!("the properties `stillframe:...` of `{}` were changed: they cannot be read", snapshot.name))
        })?;
        sets.entry(record.handle.token.clone()).or_default().push((record, snapshot));
    }
    Ok(sets.into_values().filter_map(Set::of).collect())
}

impl Set {
    /// None for nothing. The newest attempt is the set.
    fn of(found: Vec<(Record, Snapshot)>) -> Option<Self> {
        let record = found.iter().map(|(record, _)| record).max_by_key(|record| record.begin_ms)?.clone();
        let given_up = found.iter().filter(|(other, _)| *other != record);
        let outdated = given_up.map(|(other, snapshot)| (snapshot.name.clone(), other.clone())).collect();
        let snapshots = found.into_iter().map(|(_, snapshot)| snapshot).collect();
        Some(Self { record, snapshots, outdated })
    }

    /// A set of one attempt.
    pub(crate) fn whole(record: Record, snapshots: Vec<Snapshot>) -> Self {
        Self { record, snapshots, outdated: BTreeMap::new() }
    }

    /// What one attempt has cut.
    pub(crate) fn only_attempt(&self, record: &Record) -> Self {
        let of = |snapshot: &&Snapshot| self.outdated.get(&snapshot.name).unwrap_or(&self.record) == record;
        Self::whole(record.clone(), self.snapshots.iter().filter(of).cloned().collect())
    }

    /// Whether every attempt was at this request.
    pub(crate) fn is_of_request(&self, record: &Record) -> bool {
        self.outdated.values().chain([&self.record]).all(|attempt| attempt.is_same_request(record))
    }

    /// Whether there is a snapshot of every volume, all of one attempt.
    pub(crate) fn is_complete(&self) -> bool {
        self.outdated.is_empty() && (0..self.record.volumes.len()).all(|volume| self.snapshot_of(volume).is_some())
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
        SnapshotSet {
            handle: record.handle.text(),
            token: record.handle.token.clone(),
            name: record.handle.name.clone(),
            atomic: is_one_pool(&record.volumes),
            isolated: true,
            cut_begin_ms: record.begin_ms,
            cut_end_ms: latest.unwrap_or_default().max(record.begin_ms),
            members: (0..record.volumes.len()).map(|volume| self.member(volume, config)).collect(),
            labels: record.labels.clone(),
        }
    }

    fn member(&self, volume: usize, config: &Config) -> Member {
        let dataset = self.record.volumes[volume].as_str();
        let home = format!("{dataset}@{}", self.record.handle.name);
        let member = |id: String, state| Member {
            volume: dataset.to_owned(),
            id,
            state,
            percent: None,
            size_bytes: None,
            attributes: Vec::new(),
        };
        let Some(snapshot) = self.snapshot_of(volume) else { return member(home.clone(), self.why_absent(&home, dataset, config)) };
        Member {
            size_bytes: Some(snapshot.referenced_bytes),
            attributes: vec![
                ("guid".to_owned(), snapshot.guid.clone()),
                ("createtxg".to_owned(), snapshot.txg.clone()),
                ("used-bytes".to_owned(), snapshot.used_bytes.to_string()),
            ],
            ..member(snapshot.name.clone(), MemberState::Ready)
        }
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

/// Whether one command can cut all these volumes.
pub(crate) fn is_one_pool(volumes: &[String]) -> bool {
    volumes.windows(2).all(|pair| name::pool(&pair[0]) == name::pool(&pair[1]))
}
