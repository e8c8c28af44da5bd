//! What the host asks of a provider in a seed: the same backup each time, by the first line of the input.

use std::fmt::Debug;

use stillframe_sdk::{
    CreateRequest, DataPath, DataRole, Deletion, Error, Host, LockMode, OWNER_LABEL, Provider, RestoreDirectory, RestoreRequest,
    SetReference, SnapshotSet, Volume,
};

use crate::Verdict;
use crate::store::BACKUP;

/// The token of the backup, and of the restore.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const RESTORE: &str = "fedcba9876543210fedcba9876543210";

/// Whose the backup is.
const OWNER: &str = "main/7000000000000000001";

/// A cluster on one provider's volumes.
pub(crate) struct Cluster {
    /// Its directories, and the volume that each lies on.
    pub(crate) paths: Vec<(DataPath, &'static str)>,
    /// What the provider gave for its snapshots.
    pub(crate) handle: String,
}

/// Asks the provider for what the word says, and looks at its answer.
pub(crate) fn run<P, H>(word: &str, host: &H, config: &P::Config, cluster: &Cluster) -> Verdict
where
    P: Provider<H>,
    H: Host,
{
    match word {
        "check" => seen(&P::check(host, config)),
        "resolve" => resolve::<P, H>(host, config, cluster),
        "create" => created(P::create_set(host, config, cluster.create())),
        "token" => found(P::get_set(host, config, SetReference::Token(TOKEN.to_owned()))),
        "handle" => found(P::get_set(host, config, SetReference::Handle(cluster.handle.clone()))),
        "list" => list::<P, H>(host, config),
        "delete" => delete(&P::delete_set(host, config, &cluster.handle)),
        "restore" => restore::<P, H>(host, config, cluster),
        "release" => seen(&P::release(host, config, RESTORE)),
        "lock" => seen(&P::lock_set(host, config, &cluster.handle, LockMode::Governance, 1_900_000_000_000)),
        "lock-compliance" => seen(&P::lock_set(host, config, &cluster.handle, LockMode::Compliance, 1_900_000_000_000)),
        "unlock" => seen(&P::unlock_set(host, config, &cluster.handle)),
        _ => Verdict::Refused,
    }
}

fn resolve<P: Provider<H>, H: Host>(host: &H, config: &P::Config, cluster: &Cluster) -> Verdict {
    let paths = cluster.paths.iter().map(|(path, _)| path.clone()).collect();
    let Ok(volumes) = P::resolve(host, config, paths) else { return Verdict::Refused };
    let names = |path: &DataPath| path.name.clone();
    let mut mapped: Vec<String> = volumes.iter().flat_map(|volume| volume.paths.iter().map(names)).collect();
    let mut asked: Vec<String> = cluster.paths.iter().map(|(path, _)| names(path)).collect();
    mapped.sort();
    asked.sort();
    assert_eq!(mapped, asked, "a directory on no volume, or on two");
    Verdict::Accepted
}

fn created(set: Result<SnapshotSet, Error>) -> Verdict {
    let Ok(set) = set else { return Verdict::Refused };
    assert_eq!((set.token.as_str(), set.name.as_str()), (TOKEN, BACKUP), "another set than the one that was asked for");
    assert!(!set.handle.is_empty() && set.handle.len() <= 1_024, "a handle that the host refuses: {:?}", set.handle);
    Verdict::Accepted
}

fn found(set: Result<Option<SnapshotSet>, Error>) -> Verdict {
    let Ok(Some(set)) = set else { return Verdict::Refused };
    assert_eq!(set.token, TOKEN, "another set than the one that was meant");
    look_at(&set);
    Verdict::Accepted
}

fn list<P: Provider<H>, H: Host>(host: &H, config: &P::Config) -> Verdict {
    let Ok(page) = P::list_sets(host, config, OWNER, None) else { return Verdict::Refused };
    assert!(page.sets.len() <= 100, "a page of {} sets", page.sets.len());
    for set in &page.sets {
        assert!(set.labels.iter().any(|(key, value)| key == OWNER_LABEL && value == OWNER), "a foreign set: {set:?}");
        look_at(set);
    }
    if page.sets.is_empty() { Verdict::Refused } else { Verdict::Accepted }
}

fn look_at(set: &SnapshotSet) {
    assert!(!set.handle.is_empty() && set.handle.len() <= 1_024, "a handle that the host refuses: {:?}", set.handle);
    for (place, member) in set.members.iter().enumerate() {
        assert!(member.percent.is_none_or(|percent| percent <= 100), "{member:?}");
        assert!(set.members[..place].iter().all(|other| other.volume != member.volume), "two snapshots of one volume");
    }
}

fn delete(deletion: &Result<Deletion, Error>) -> Verdict {
    match deletion {
        Ok(Deletion::Deleted | Deletion::Pending) => Verdict::Accepted,
        Ok(Deletion::Absent) | Err(_) => Verdict::Refused,
    }
}

fn restore<P: Provider<H>, H: Host>(host: &H, config: &P::Config, cluster: &Cluster) -> Verdict {
    let request = cluster.restore();
    let asked: Vec<String> = request.directories.iter().map(|directory| directory.name.clone()).collect();
    let Ok(restored) = P::restore_set(host, config, request) else { return Verdict::Refused };
    assert!(!restored.handle.is_empty() && restored.handle.len() <= 1_024);
    let names: Vec<String> = restored.directories.iter().map(|directory| directory.name.clone()).collect();
    assert_eq!(names, asked, "a directory was lost or invented");
    for directory in &restored.directories {
        let leads_out = directory.path.split('/').any(|part| part == "..");
        assert!(directory.path.starts_with('/') && !leads_out, "restored to `{}`", directory.path);
    }
    Verdict::Accepted
}

fn seen<T: Debug>(result: &Result<T, Error>) -> Verdict {
    Verdict::of(result)
}

impl Cluster {
    fn create(&self) -> CreateRequest {
        let mut volumes: Vec<Volume> = Vec::new();
        for (path, id) in &self.paths {
            match volumes.iter_mut().find(|volume| volume.id == *id) {
                Some(volume) => volume.paths.push(path.clone()),
                None => volumes.push(Volume { id: (*id).to_owned(), paths: vec![path.clone()], attributes: Vec::new() }),
            }
        }
        CreateRequest {
            token: TOKEN.to_owned(),
            name: BACKUP.to_owned(),
            volumes,
            labels: vec![(OWNER_LABEL.to_owned(), OWNER.to_owned()), ("backup".to_owned(), BACKUP.to_owned())],
            previous: None,
        }
    }

    /// Everything but WAL on a volume of its own.
    fn restore(&self) -> RestoreRequest {
        let restored = self.paths.iter().map(|(path, _)| path).filter(|path| path.role != DataRole::Wal);
        let directory = |path: &DataPath| RestoreDirectory {
            path: format!("/restored/{}", path.name),
            name: path.name.clone(),
            role: path.role,
            root: None,
            last: path.last.clone(),
        };
        RestoreRequest { handle: self.handle.clone(), token: RESTORE.to_owned(), directories: restored.map(directory).collect() }
    }
}

/// A directory on a device of its own.
pub(crate) fn path(name: &str, role: DataRole, source: &str, fs_type: &str) -> DataPath {
    DataPath {
        role,
        name: name.to_owned(),
        path: format!("/srv/{name}/main"),
        mount_point: format!("/srv/{name}"),
        fs_type: fs_type.to_owned(),
        mount_source: source.to_owned(),
        devices: Vec::new(),
        root: None,
        skip: Vec::new(),
        last: if role == DataRole::Data { vec!["global/pg_control".to_owned()] } else { Vec::new() },
    }
}
