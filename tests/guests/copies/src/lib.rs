//! The provider of `docs/writing-a-provider.md`: plain copies of directories, in a directory of its own.
//!
//! It is as small as a whole provider can be, and keeps every rule of the interface: a record before the first effect, one set for one
//! token, nothing left of a failure, and deletions that can be repeated.

use serde::{Deserialize, Serialize};
use stillframe_sdk::tree::{CloneMethod, CloneOptions, EntryKind, Location, Tree, location};
use stillframe_sdk::{
    CapabilityNeed, CreateRequest, DataPath, DataRole, Deletion, Error, Features, Host, Member, MemberState, OWNER_LABEL, Provider,
    ProviderInfo, RestoreRequest, Restored, RestoredDirectory, SetHandle, SetPage, SetReference, SnapshotSet, Volume, page,
    read_record, write_record,
};

/// Plain copies of directories.
#[derive(Debug, Clone, Copy)]
pub struct Copies;

stillframe_sdk::export_provider!(Copies, restore);

/// What stands in the operator's section, without the host's own keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "root")]
    _root: String,
}

/// The only memory between two calls: a file beside the copies.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    name: String,
    token: String,
    labels: Vec<(String, String)>,
    begin_ms: u64,
    /// None until everything is copied.
    end_ms: Option<u64>,
    /// Each volume, and its size once it is copied.
    volumes: Vec<(String, Option<u64>)>,
}

const ROOT: &str = "snapshots";

fn file(name: &str) -> Location {
    location(ROOT, &format!("{name}/record.json"))
}

fn copy_of(name: &str, volume: &str) -> Location {
    location(ROOT, &format!("{name}/{volume}"))
}

impl Record {
    fn write(&self, host: &impl Tree) -> Result<(), Error> {
        write_record(host, &file(&self.name), self)
    }

    fn all(host: &impl Tree) -> Result<Vec<Self>, Error> {
        let entries = host.list_entries(&location(ROOT, ""))?;
        let directories = entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        let records = directories.map(|entry| read_record(host, &file(&entry.name), "a record"));
        records.filter_map(Result::transpose).collect()
    }

    fn of_handle(host: &impl Tree, handle: &str) -> Result<Option<Self>, Error> {
        let handle = SetHandle::parse(handle)?;
        let record: Option<Self> = read_record(host, &file(&handle.name), "a record")?;
        Ok(record.filter(|record| record.token == handle.token))
    }

    fn describe(&self) -> Result<SnapshotSet, Error> {
        let state =
            || if self.end_ms.is_some() { MemberState::Ready } else { MemberState::Failed("it was interrupted".to_owned()) };
        let member = |(volume, size): &(String, Option<u64>)| Member {
            volume: volume.clone(),
            id: format!("{}/{volume}", self.name),
            state: state(),
            percent: None,
            size_bytes: *size,
            attributes: Vec::new(),
        };
        Ok(SnapshotSet {
            handle: SetHandle::new(&self.name, &self.token)?.to_string(),
            token: self.token.clone(),
            name: self.name.clone(),
            atomic: false,
            isolated: true,
            cut_begin_ms: self.begin_ms,
            cut_end_ms: self.end_ms.unwrap_or(self.begin_ms),
            members: self.volumes.iter().map(member).collect(),
            labels: self.labels.clone(),
        })
    }
}

impl<H: Host + Tree> Provider<H> for Copies {
    type Config = Config;

    fn describe() -> ProviderInfo {
        ProviderInfo {
            name: "copies".to_owned(),
            version: "1.0.0".to_owned(),
            summary: "Copies directories into one of its own.".to_owned(),
            features: Features::ISOLATED | Features::RESTORE | Features::IMMEDIATE,
            config_schema: r#"{"type":"object","required":["root"],"properties":{"root":{"type":"string"}}}"#.to_owned(),
            needs: vec![CapabilityNeed { capability: "tree".to_owned(), reason: "Copies the cluster's directories.".to_owned() }],
        }
    }

    fn check(host: &H, _: &Config) -> Result<Vec<String>, Error> {
        Record::all(host).map(|_| Vec::new())
    }

    fn resolve(_: &H, _: &Config, paths: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        let volume = |path: DataPath| Volume { id: path.name.clone(), paths: vec![path], attributes: Vec::new() };
        Ok(paths.into_iter().map(volume).collect())
    }

    fn create_set(host: &H, _: &Config, request: CreateRequest) -> Result<SnapshotSet, Error> {
        let handle = SetHandle::new(&request.name, &request.token)?;
        if let Some(made) = Record::of_handle(host, &handle.to_string())?.filter(|record| record.end_ms.is_some()) {
            return made.describe();
        }
        let volumes = request.volumes.iter().map(|volume| (volume.id.clone(), None)).collect();
        let (name, token, labels) = (request.name, request.token, request.labels);
        let mut record = Record { name, token, labels, begin_ms: host.now_ms(), end_ms: None, volumes };
        record.write(host)?;
        match copy_all(host, &request.volumes, &mut record) {
            Ok(()) => record.describe(),
            Err(error) => {
                // What cannot be removed now is listed as failed, and deleted by the host.
                let _left = host.remove_tree(&location(ROOT, &record.name));
                Err(error)
            }
        }
    }

    fn get_set(host: &H, _: &Config, reference: SetReference) -> Result<Option<SnapshotSet>, Error> {
        let record = match reference {
            SetReference::Handle(handle) => Record::of_handle(host, &handle)?,
            SetReference::Token(token) => Record::all(host)?.into_iter().find(|record| record.token == token),
        };
        record.map(|record| record.describe()).transpose()
    }

    fn list_sets(host: &H, _: &Config, owner: &str, cursor: Option<String>) -> Result<SetPage, Error> {
        let has_owner = |record: &Record| record.labels.iter().any(|(key, value)| key == OWNER_LABEL && value == owner);
        let found = Record::all(host)?.into_iter().filter(has_owner).collect();
        let (records, next) = page(found, cursor.as_deref(), |record: &Record| (record.begin_ms, &record.name))?;
        Ok(SetPage { sets: records.iter().map(Record::describe).collect::<Result<_, _>>()?, next })
    }

    fn delete_set(host: &H, _: &Config, handle: &str) -> Result<Deletion, Error> {
        let Some(mut record) = Record::of_handle(host, handle)? else { return Ok(Deletion::Absent) };
        // From here on nobody takes it for a backup, even if this call is killed.
        record.end_ms = None;
        record.write(host)?;
        for (volume, _) in &record.volumes {
            host.remove_tree(&copy_of(&record.name, volume))?;
        }
        host.remove_tree(&location(ROOT, &record.name))?;
        Ok(Deletion::Deleted)
    }

    fn restore_set(host: &H, _: &Config, request: RestoreRequest) -> Result<Restored, Error> {
        let record = Record::of_handle(host, &request.handle)?.ok_or_else(|| Error::NotFound(request.handle.clone()))?;
        for directory in &request.directories {
            let target = directory.root.as_deref().ok_or_else(|| Error::Denied(directory.path.clone()))?;
            let options = CloneOptions { method: CloneMethod::Copy, base: None, skip: Vec::new(), last: directory.last.clone() };
            host.clone_tree(&copy_of(&record.name, &directory.name), &location(target, ""), &options)?;
        }
        let restored = |directory: &stillframe_sdk::RestoreDirectory| RestoredDirectory {
            name: directory.name.clone(),
            path: directory.path.clone(),
        };
        Ok(Restored { handle: request.handle, directories: request.directories.iter().map(restored).collect() })
    }

    fn release(_: &H, _: &Config, _: &str) -> Result<(), Error> {
        // What was filled belongs to the operator.
        Ok(())
    }
}

/// Copies each directory; files that must come last come last, so that half a copy cannot start.
fn copy_all(host: &(impl Host + Tree), volumes: &[Volume], record: &mut Record) -> Result<(), Error> {
    for (volume, (_, size)) in volumes.iter().zip(&mut record.volumes) {
        let [path] = volume.paths.as_slice() else { return Err(Error::UnmanagedPath(volume.id.clone())) };
        let root = path.root.as_deref().ok_or_else(|| Error::UnmanagedPath(path.path.clone()))?;
        let mut skip = path.skip.clone();
        if path.role == DataRole::Wal {
            skip.push("*".to_owned());
        }
        let options = CloneOptions { method: CloneMethod::Copy, base: None, skip, last: path.last.clone() };
        let stats = host.clone_tree(&location(root, ""), &copy_of(&record.name, &volume.id), &options)?;
        *size = Some(stats.bytes_total);
    }
    record.end_ms = Some(host.now_ms());
    record.write(host)
}
