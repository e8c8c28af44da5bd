//! A provider whose storage is a map, which records every call and can fail before or after a call takes effect.
//!
//! Only what it restores is in real directories, when a test gives it some: links and their targets cannot be made up.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::When;
use crate::flows::ProviderSource;
use crate::provider::{
    CreateRequest, DataPath, DataPathName, Deletion, Features, LockMode, Member, MemberState, OWNER_LABEL, Provider,
    ProviderDescription, ProviderError, ProviderFault, ProviderName, RestoreRequest, Restored, SetReference, SnapshotSet, Volume,
};

/// A call that a test may count or let fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderCall {
    /// `check`
    Check,
    /// `resolve`
    Resolve,
    /// `create`
    Create,
    /// `get`
    Get,
    /// `list`
    List,
    /// `delete`
    Delete,
    /// `restore`
    Restore,
    /// `release`
    Release,
    /// `lock`
    Lock,
    /// `unlock`
    Unlock,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderFailure {
    /// With an error, before or after it took effect.
    Error(When),
    /// It never answers, before or after it took effect.
    Hang(When),
}

/// A provider in memory.
pub struct FakeProvider {
    name: ProviderName,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sets: BTreeMap<String, SnapshotSet>,
    calls: Vec<ProviderCall>,
    failures: Vec<(ProviderCall, ProviderFailure)>,
    refusals: Vec<(ProviderCall, ProviderFault)>,
    /// Ids of volumes of whose snapshots `get` tells nothing.
    hidden: BTreeSet<String>,
    listing: Listing,
    /// States that `get` gives one after the other, the last one for ever.
    states: Vec<MemberState>,
    is_isolated: bool,
    deletes_slowly: bool,
    restored: Vec<String>,
    on_create: Option<Box<dyn FnOnce() + Send>>,
    /// Below this it restores elsewhere.
    mount_root: Option<PathBuf>,
    fill: Option<Fill>,
    /// Token of each restore that lies elsewhere and is not released, with the handle of its set.
    in_use: BTreeMap<String, String>,
    released: Vec<String>,
    locks: BTreeMap<String, Timestamp>,
    atomic: bool,
}

/// When `get` finds by its token what was made.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Listing {
    #[default]
    AtOnce,
    Late,
}

/// Writes the content of a directory that is restored.
type Fill = Box<dyn Fn(&DataPathName, &Path) + Send>;

impl FakeProvider {
    /// Makes one whose sets are isolated and ready at once.
    #[must_use]
    pub fn new(name: ProviderName) -> Self {
        Self { name, state: Mutex::new(State { is_isolated: true, ..State::default() }) }
    }

    /// Lets the next call of this kind fail.
    pub fn fail_next(&self, call: ProviderCall, failure: ProviderFailure) {
        self.state().failures.push((call, failure));
    }

    /// Lets the next call of this kind be refused for this reason, before it takes effect.
    pub fn refuse_next(&self, call: ProviderCall, fault: ProviderFault) {
        self.state().refusals.push((call, fault));
    }

    /// Tells nothing any more of the snapshot of this volume.
    pub fn hide_volume(&self, id: &str) {
        self.state().hidden.insert(id.to_owned());
    }

    /// Finds no set by its token: the storage system does not list yet what it has made.
    pub fn list_late(&self) {
        self.state().listing = Listing::Late;
    }

    /// Sets the states that a new set goes through, one a `get`.
    pub fn set_states(&self, states: Vec<MemberState>) {
        self.state().states = states;
    }

    /// Runs this while the next set is cut.
    pub fn on_create(&self, act: impl FnOnce() + Send + 'static) {
        self.state().on_create = Some(Box::new(act));
    }

    /// Makes sets that change with their source.
    pub fn share_with_source(&self) {
        self.state().is_isolated = false;
    }

    /// Handles of the sets that exist.
    #[must_use]
    pub fn handles(&self) -> Vec<String> {
        self.state().sets.keys().cloned().collect()
    }

    /// All sets that exist.
    #[must_use]
    pub fn sets(&self) -> Vec<SnapshotSet> {
        self.state().sets.values().cloned().collect()
    }

    /// Puts a set there that nobody has asked for, or changes one.
    pub fn put(&self, set: SnapshotSet) {
        self.state().sets.insert(set.handle.clone(), set);
    }

    /// Loses a set.
    pub fn lose(&self, handle: &str) {
        self.state().sets.remove(handle);
    }

    /// Lets the next deletion be accepted only, and be done by the one after it.
    pub fn delete_slowly(&self) {
        self.state().deletes_slowly = true;
    }

    /// Handle of the set that was restored last; empty before the first.
    #[must_use]
    pub fn last_restored(&self) -> String {
        self.state().restored.last().cloned().unwrap_or_default()
    }

    /// Says of new sets that all members are from one instant.
    pub fn cut_at_once(&self) {
        self.state().atomic = true;
    }

    /// Restores into directories of its own below this one, and not where it is asked to.
    pub fn restore_below(&self, mount_root: &Path) {
        self.state().mount_root = Some(mount_root.to_owned());
    }

    /// Writes this into each directory that is restored.
    pub fn fill_restores(&self, fill: impl Fn(&DataPathName, &Path) + Send + 'static) {
        self.state().fill = Some(Box::new(fill));
    }

    /// Tokens of the restores that lie elsewhere and are not released.
    #[must_use]
    pub fn active_restores(&self) -> BTreeSet<String> {
        self.state().in_use.keys().cloned().collect()
    }

    /// What it was given to release.
    #[must_use]
    pub fn released(&self) -> Vec<String> {
        self.state().released.clone()
    }

    /// The end of the lock on this set.
    #[must_use]
    pub fn locked_until(&self, handle: &str) -> Option<Timestamp> {
        self.state().locks.get(handle).copied()
    }

    /// All that a later call depends on, in words, for comparing; but for the labels.
    #[must_use]
    pub fn condition(&self) -> String {
        let state = self.state();
        let sets: Vec<SnapshotSet> =
            state.sets.values().map(|set| SnapshotSet { labels: BTreeMap::new(), ..set.clone() }).collect();
        let next = (&state.failures, &state.refusals, &state.states, state.deletes_slowly);
        format!("{sets:?} {next:?} {:?} {:?}", state.in_use, state.locks)
    }

    /// Calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<ProviderCall> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform<T>(&self, call: ProviderCall, effect: impl FnOnce(&mut State) -> T) -> Result<T, ProviderError> {
        let failure = {
            let mut state = self.state();
            state.calls.push(call);
            if let Some(place) = state.refusals.iter().position(|(refused, _)| *refused == call) {
                let fault = state.refusals.remove(place).1;
                return Err(self.error("do what was asked", fault));
            }
            let place = state.failures.iter().position(|(failing, _)| *failing == call);
            place.map(|place| state.failures.remove(place).1)
        };
        let value = match failure {
            Some(ProviderFailure::Error(When::Before) | ProviderFailure::Hang(When::Before)) => None,
            _ => Some(effect(&mut self.state())),
        };
        match (failure, value) {
            (Some(ProviderFailure::Hang(_)), _) => std::future::pending().await,
            (None, Some(value)) => Ok(value),
            (Some(ProviderFailure::Error(_)) | None, _) => {
                Err(self.error("do what was asked", ProviderFault::Transient("injected fault".to_owned())))
            }
        }
    }

    fn error(&self, operation: &'static str, fault: ProviderFault) -> ProviderError {
        ProviderError { provider: self.name.clone(), operation, fault }
    }
}

#[async_trait]
impl Provider for FakeProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn describe(&self) -> Result<ProviderDescription, ProviderError> {
        Ok(ProviderDescription {
            name: self.name.to_string(),
            version: "1.0.0".to_owned(),
            summary: "keeps sets in memory".to_owned(),
            features: Features { isolated: true, restore: true, lock: true, immediate: true, ..Features::default() },
            config_schema: "{}".to_owned(),
            needs: Vec::new(),
        })
    }

    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        self.perform(ProviderCall::Check, |_| Vec::new()).await
    }

    async fn resolve(&self, paths: &[DataPath]) -> Result<Vec<Volume>, ProviderError> {
        let volume = |path: &DataPath| Volume { id: path.name.to_string(), paths: vec![path.clone()], attributes: BTreeMap::new() };
        self.perform(ProviderCall::Resolve, |_| paths.iter().map(volume).collect()).await
    }

    async fn create(&self, request: &CreateRequest) -> Result<SnapshotSet, ProviderError> {
        self.perform(ProviderCall::Create, |state| {
            if let Some(act) = state.on_create.take() {
                act();
            }
            let handle = format!("{}:{}", self.name, request.name);
            let member = |volume: &Volume| Member {
                volume: volume.id.clone(),
                id: format!("{handle}/{}", volume.id),
                state: state.states.first().cloned().unwrap_or(MemberState::Ready),
                percent: None,
                size_bytes: Some(1),
                attributes: BTreeMap::new(),
            };
            let set = SnapshotSet {
                handle: handle.clone(),
                token: request.token.clone(),
                name: request.name.to_string(),
                atomic: state.atomic,
                isolated: state.is_isolated,
                cut_begin: Timestamp::UNIX_EPOCH,
                cut_end: Timestamp::UNIX_EPOCH,
                members: request.volumes.iter().map(member).collect(),
                labels: request.labels.clone(),
            };
            state.sets.entry(handle).or_insert(set).clone()
        })
        .await
    }

    async fn get(&self, reference: &SetReference) -> Result<Option<SnapshotSet>, ProviderError> {
        self.perform(ProviderCall::Get, |state| {
            if state.states.len() > 1 {
                state.states.remove(0);
            }
            let now = state.states.first().cloned().unwrap_or(MemberState::Ready);
            let listing = state.listing;
            let found = state.sets.values_mut().find(|set| match reference {
                SetReference::Token(token) => &set.token == token && listing == Listing::AtOnce,
                SetReference::Handle(handle) => &set.handle == handle,
            })?;
            found.members.iter_mut().for_each(|member| member.state = now.clone());
            let mut told = found.clone();
            told.members.retain(|member| !state.hidden.contains(&member.volume));
            Some(told)
        })
        .await
    }

    async fn list(&self, owner: &str) -> Result<Vec<SnapshotSet>, ProviderError> {
        let ours = |set: &&SnapshotSet| set.labels.get(OWNER_LABEL).is_some_and(|label| label == owner);
        self.perform(ProviderCall::List, |state| state.sets.values().filter(ours).cloned().collect()).await
    }

    async fn delete(&self, handle: &str) -> Result<Deletion, ProviderError> {
        let deleted = self.perform(ProviderCall::Delete, |state| {
            if let Some(until) = state.locks.get(handle) {
                return Err(ProviderFault::Locked { until: *until });
            }
            if let Some((token, _)) = state.in_use.iter().find(|(_, used)| *used == handle) {
                return Err(ProviderFault::InUse(token.clone()));
            }
            if std::mem::take(&mut state.deletes_slowly) {
                return Ok(Deletion::Pending);
            }
            Ok(if state.sets.remove(handle).is_some() { Deletion::Deleted } else { Deletion::Absent })
        });
        deleted.await?.map_err(|fault| self.error("delete the snapshot set", fault))
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<Restored, ProviderError> {
        self.perform(ProviderCall::Restore, |state| {
            state.restored.push(request.handle.clone());
            let mut directories = Vec::new();
            for directory in &request.directories {
                let path = match &state.mount_root {
                    Some(root) => root.join(&request.token.0).join(directory.name.to_string()),
                    None => directory.path.clone(),
                };
                std::fs::create_dir_all(&path).expect("a test gives a place that can be written");
                if let Some(fill) = &state.fill {
                    fill(&directory.name, &path);
                }
                directories.push((directory.name.clone(), path));
            }
            if state.mount_root.is_some() {
                state.in_use.insert(request.token.0.clone(), request.handle.clone());
            }
            Restored { handle: format!("restore:{}", request.token.0), directories }
        })
        .await
    }

    async fn release(&self, handle: &str) -> Result<(), ProviderError> {
        self.perform(ProviderCall::Release, |state| {
            state.released.push(handle.to_owned());
            let token = handle.strip_prefix("restore:").unwrap_or(handle);
            if let (Some(_), Some(root)) = (state.in_use.remove(token), &state.mount_root) {
                std::fs::remove_dir_all(root.join(token)).expect("what was restored is there");
            }
        })
        .await
    }

    async fn lock(&self, handle: &str, _mode: LockMode, until: Timestamp) -> Result<(), ProviderError> {
        self.perform(ProviderCall::Lock, |state| {
            state.locks.insert(handle.to_owned(), until);
        })
        .await
    }

    async fn unlock(&self, handle: &str) -> Result<(), ProviderError> {
        self.perform(ProviderCall::Unlock, |state| {
            state.locks.remove(handle);
        })
        .await
    }
}

/// A configuration with some providers.
pub struct FakeProviders(pub Vec<Arc<FakeProvider>>);

#[async_trait]
impl ProviderSource for FakeProviders {
    async fn open(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        if let Some(provider) = self.0.iter().find(|provider| provider.name() == name) {
            return Ok(provider.clone());
        }
        let fault = ProviderFault::Unusable("it is not configured".to_owned());
        Err(ProviderError { provider: name.clone(), operation: "be loaded", fault })
    }
}
