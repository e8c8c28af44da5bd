//! What changes something.

use std::collections::BTreeMap;

use stillframe_sdk::command::Output;

use super::{Dataset, Snapshot, State, failure, output, success};
use crate::name;

impl State {
    pub(super) fn snapshot(&mut self, args: &[&str]) -> Output {
        let (options, names): (Vec<&str>, Vec<&str>) = args.iter().copied().partition(|arg| arg.starts_with('-'));
        assert!(!names.is_empty());
        let local = read_options(&options);
        for snapshot in &names {
            let (dataset, short) = snapshot.split_once('@').unwrap();
            assert!(!short.is_empty() && short.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)));
            if !self.datasets.contains_key(dataset) {
                return output(2, "", &format!("cannot open '{dataset}': dataset does not exist\nusage:\n\tsnapshot ...\n"));
            }
            if name::pool(snapshot) != name::pool(names[0]) {
                return failure("cannot create snapshots : operation crosses datasets or pools\nno snapshots were created");
            }
            if !self.may(dataset, "snapshot") || (!local.is_empty() && !self.may(dataset, "userprop")) {
                return failure("cannot create snapshots : permission denied\nno snapshots were created");
            }
        }
        if let Some(taken) = names.iter().find(|snapshot| self.snapshots.contains_key(**snapshot)) {
            return failure(&format!("cannot create snapshot '{taken}': dataset already exists\nno snapshots were created"));
        }
        let (txg, creation_secs) = (self.txg(), self.now_secs);
        for snapshot in names {
            let guid = self.guid();
            let made = Snapshot { guid, txg, creation_secs, local: local.clone(), ..Snapshot::default() };
            self.snapshots.insert(snapshot.to_owned(), made);
        }
        success()
    }

    pub(super) fn hold(&mut self, tag: &str, snapshots: &[&str]) -> Output {
        assert!(!snapshots.is_empty() && !tag.starts_with(['-', '.']));
        let mut errors = Vec::new();
        for snapshot in snapshots {
            let is_allowed = self.may(name::dataset(snapshot), "hold");
            match self.snapshots.get_mut(*snapshot) {
                None => errors.push(format!("cannot hold snapshot '{snapshot}': dataset does not exist")),
                Some(_) if !is_allowed => errors.push("cannot hold: permission denied".to_owned()),
                Some(held) => {
                    if !held.holds.insert(tag.to_owned()) {
                        errors.push(format!("cannot hold snapshot '{snapshot}': tag already exists on this dataset"));
                    }
                }
            }
        }
        if errors.is_empty() { success() } else { failure(&errors.join("\n")) }
    }

    pub(super) fn release(&mut self, tag: &str, snapshot: &str) -> Output {
        let is_allowed = self.may(name::dataset(snapshot), "release");
        let error = |what: &str| failure(&format!("cannot release hold from snapshot '{snapshot}': {what}"));
        match self.snapshots.get_mut(snapshot) {
            None => error("dataset does not exist"),
            Some(_) if !is_allowed => failure("cannot release: permission denied"),
            Some(held) => {
                if held.holds.remove(tag) {
                    success()
                } else {
                    error("no such tag on this dataset")
                }
            }
        }
    }

    pub(super) fn destroy(&mut self, name: &str) -> Output {
        assert!(!name.starts_with('-') && !name.contains(['%', ',', '#']), "{name}");
        if name.contains('@') { self.destroy_snapshot(name) } else { self.destroy_dataset(name) }
    }

    fn destroy_snapshot(&mut self, name: &str) -> Output {
        let dataset = name::dataset(name);
        if !self.datasets.contains_key(dataset) {
            return failure(&format!("cannot open '{dataset}': dataset does not exist"));
        }
        let Some(snapshot) = self.snapshots.get(name) else {
            return failure("could not find any snapshots to destroy; check snapshot names.");
        };
        let clones = self.clones_of(name);
        if !clones.is_empty() {
            let clones = clones.join("\n");
            let hint = "use '-R' to destroy the following datasets:";
            return failure(&format!("cannot destroy '{name}': snapshot has dependent clones\n{hint}\n{clones}"));
        }
        if !self.may(dataset, "destroy") || !self.may(dataset, "mount") {
            return failure("cannot destroy snapshots: permission denied");
        }
        if !snapshot.holds.is_empty() {
            return failure(&format!("cannot destroy snapshot {name}: dataset is busy"));
        }
        self.snapshots.remove(name);
        success()
    }

    fn destroy_dataset(&mut self, name: &str) -> Output {
        let Some(dataset) = self.datasets.get(name) else {
            return failure(&format!("cannot open '{name}': dataset does not exist"));
        };
        let children = self.datasets.keys().filter(|other| *other != name && name::is_under(other, name));
        let snapshots = self.snapshots.keys().filter(|snapshot| name::dataset(snapshot) == name);
        let below: Vec<&str> = children.chain(snapshots).map(String::as_str).collect();
        if !below.is_empty() {
            let below = below.join("\n");
            return failure(&format!(
                "cannot destroy '{name}': filesystem has children\nuse '-r' to destroy the following datasets:\n{below}"
            ));
        }
        if dataset.is_mounted && dataset.is_used {
            return failure(&format!("cannot unmount '{name}': pool or dataset is busy"));
        }
        if !self.may(name, "destroy") || !self.may(name, "mount") {
            return failure(&format!("cannot destroy '{name}': permission denied"));
        }
        self.datasets.remove(name);
        success()
    }

    pub(super) fn clone(&mut self, options: &[&str], snapshot: &str, clone: &str) -> Output {
        let local = read_options(options);
        let parent = clone.rsplit_once('/').unwrap().0;
        if !self.snapshots.contains_key(snapshot) {
            return failure(&format!("cannot open '{snapshot}': dataset does not exist"));
        }
        let error = |what: &str| failure(&format!("cannot create '{clone}': {what}"));
        if !self.datasets.contains_key(parent) {
            return error("parent does not exist");
        }
        if self.datasets.contains_key(clone) {
            return error("dataset already exists");
        }
        if name::pool(snapshot) != name::pool(clone) {
            return error("source and target pools differ");
        }
        if !self.may(parent, "create") || !self.may(parent, "mount") || !self.may(name::dataset(snapshot), "clone") {
            return error("permission denied");
        }
        let guid = self.guid();
        let is_locked_away = self.datasets[name::dataset(snapshot)].is_locked_away;
        // `canmount=noauto`: it is not mounted by this.
        assert_eq!(local.get("canmount").map(String::as_str), Some("noauto"));
        let made = Dataset { guid, local, origin: Some(snapshot.to_owned()), is_locked_away, ..Dataset::default() };
        self.datasets.insert(clone.to_owned(), made);
        success()
    }

    pub(super) fn mount(&mut self, name: &str) -> Output {
        let is_root = self.rights.is_none();
        let Some(dataset) = self.datasets.get_mut(name) else {
            return failure(&format!("cannot open '{name}': dataset does not exist"));
        };
        if dataset.is_locked_away {
            return failure(&format!("cannot mount '{name}': encryption key not loaded"));
        }
        if dataset.is_mounted {
            return failure(&format!("cannot mount '{name}': filesystem already mounted"));
        }
        if !is_root {
            return failure(&format!("cannot mount '{name}': Insufficient privileges"));
        }
        dataset.is_mounted = true;
        success()
    }

    pub(super) fn unmount(&mut self, name: &str) -> Output {
        let is_root = self.rights.is_none();
        let Some(dataset) = self.datasets.get_mut(name) else {
            return failure(&format!("cannot open '{name}': dataset does not exist"));
        };
        if !dataset.is_mounted {
            return failure(&format!("cannot unmount '{name}': not currently mounted"));
        }
        if !is_root {
            return failure(&format!("cannot unmount '{name}': permission denied"));
        }
        if dataset.is_used {
            return failure(&format!("cannot unmount '{name}': pool or dataset is busy"));
        }
        dataset.is_mounted = false;
        success()
    }

    /// The clone takes the snapshots of its origin that are not newer than the one it was made of.
    pub(super) fn promote(&mut self, name: &str) -> Output {
        let origin = self.datasets[name].origin.clone().unwrap();
        let (old, txg) = (name::dataset(&origin).to_owned(), self.snapshots[&origin].txg);
        let is_moved = |snapshot: &String, facts: &Snapshot| name::dataset(snapshot) == old && facts.txg <= txg;
        let moved: Vec<String> = self
            .snapshots
            .iter()
            .filter(|(snapshot, facts)| is_moved(snapshot, facts))
            .map(|(snapshot, _)| snapshot.clone())
            .collect();
        for snapshot in moved {
            let short = snapshot.split_once('@').unwrap().1;
            self.move_snapshot(&snapshot, &format!("{name}@{short}"));
        }
        let short = origin.split_once('@').unwrap().1;
        self.datasets.get_mut(name).unwrap().origin = None;
        self.datasets.get_mut(&old).unwrap().origin = Some(format!("{name}@{short}"));
        success()
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Output {
        let dataset = self.datasets.remove(from).unwrap();
        assert!(self.datasets.insert(to.to_owned(), dataset).is_none());
        let snapshots: Vec<String> = self.snapshots.keys().filter(|snapshot| name::dataset(snapshot) == from).cloned().collect();
        for snapshot in snapshots {
            let short = snapshot.split_once('@').unwrap().1;
            self.move_snapshot(&snapshot, &format!("{to}@{short}"));
        }
        success()
    }

    fn move_snapshot(&mut self, from: &str, to: &str) {
        let facts = self.snapshots.remove(from).unwrap();
        self.snapshots.insert(to.to_owned(), facts);
        for dataset in self.datasets.values_mut().filter(|dataset| dataset.origin.as_deref() == Some(from)) {
            dataset.origin = Some(to.to_owned());
        }
    }
}

/// `-oname=value`, by the rules of ZFS for user properties.
fn read_options(options: &[&str]) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for option in options {
        let (name, value) = option.strip_prefix("-o").and_then(|option| option.split_once('=')).unwrap();
        if name.contains(':') {
            let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":+._-".contains(&byte);
            assert!(name.len() < 256 && name.bytes().all(legal) && !name.starts_with('-'), "{name}");
            assert!(value.len() < 8_192 && value.bytes().all(|byte| byte.is_ascii_graphic()), "{value}");
        }
        assert!(read.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice");
    }
    read
}
