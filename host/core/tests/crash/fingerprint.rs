//! What is there, as a number: two worlds of one number go on in the same way, so that one of them needs no second look.
//!
//! Each world lies in a directory of its own, whose name counts for nothing; nor do the labels of snapshots, in which it is compressed.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use serde_json::Value;
use stillframe_core::catalog::{Backup, CatalogContents};
use stillframe_core::clock::Clock;
use stillframe_core::store::Key;

use crate::world::World;

/// Numbers that were seen before, by one test: each has a thread of its own.
pub(crate) struct Seen(RefCell<BTreeSet<u64>>);

impl Seen {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(BTreeSet::new()))
    }

    /// Notes it; true for the first time.
    pub(crate) fn is_new(&self, number: u64) -> bool {
        self.0.borrow_mut().insert(number)
    }
}

/// Everything that a later run can find, and the time.
pub(crate) fn of_everything(world: &World) -> u64 {
    let mut print = Print::new(world);
    for (key, body) in world.store.snapshot() {
        print.add(key.as_str());
        print.add_object(&body);
    }
    for provider in &world.providers {
        print.add(&provider.condition());
    }
    print.add(&format!("{:?} {} {:?}", world.server.facts(), world.server.in_backup_mode(), world.clock.now()));
    print.add(&format!("{:?} {:?}", world.servers.lock().unwrap(), world.restoring.lock().unwrap()));
    print.add(&format!("{:?}", world.stopped.as_ref().map(|server| server.files().control.checkpoint())));
    print.add_files(&world.root());
    print.hasher.finish()
}

/// What a restore of any backup depends on.
pub(crate) fn of_backups(world: &World, contents: &CatalogContents) -> u64 {
    let mut print = Print::new(world);
    for Backup { permanence, state, is_condemned, is_standalone, .. } in &contents.backups {
        print.add(&format!("{permanence:?} {state:?} {is_condemned} {is_standalone}"));
    }
    let is_needed = |key: &Key| key.as_str().contains("/wal_005/") || ["sentinel.json", "shutdown-wal"].contains(&key.file_name());
    for (key, body) in world.store.snapshot().into_iter().filter(|(key, _)| is_needed(key)) {
        print.add(key.as_str());
        print.add_object(&body);
    }
    for provider in &world.providers {
        print.add(&provider.condition());
    }
    print.hasher.finish()
}

struct Print {
    root: String,
    hasher: DefaultHasher,
}

impl Print {
    fn new(world: &World) -> Self {
        Self { root: world.root().display().to_string(), hasher: DefaultHasher::new() }
    }

    fn add(&mut self, text: &str) {
        text.replace(&self.root, "").hash(&mut self.hasher);
    }

    fn add_object(&mut self, body: &[u8]) {
        match serde_json::from_slice::<Value>(body) {
            Ok(mut record) => {
                remove_labels(&mut record);
                self.add(&record.to_string());
            }
            Err(_) => crc32c::crc32c(body).hash(&mut self.hasher),
        }
    }

    fn add_files(&mut self, directory: &Path) {
        let mut paths: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            self.add(&path.display().to_string());
            if path.is_symlink() {
                self.add(&std::fs::read_link(&path).unwrap().display().to_string());
            } else if path.is_dir() {
                self.add_files(&path);
            } else {
                self.add(&String::from_utf8(std::fs::read(&path).unwrap()).unwrap_or_else(|error| {
                    let bytes = error.as_bytes();
                    format!("{} {}", bytes.len(), crc32c::crc32c(bytes))
                }));
            }
        }
    }
}

fn remove_labels(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.eq_ignore_ascii_case("labels"));
            fields.values_mut().for_each(remove_labels);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_labels),
        _ => {}
    }
}
