//! A provider whose storage is a map, which records every call and can fail before or after a call takes effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::When;
use crate::flows::ProviderSource;
use crate::provider::{
    CreateRequest, DataPath, Deletion, Features, LockMode, Member, MemberState, OWNER_LABEL, Provider, ProviderDescription,
    ProviderError, ProviderFault, ProviderName, RestoreRequest, Restored, SetReference, SnapshotSet, Volume,
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
    /// States that `get` gives one after the other, the last one for ever.
    states: Vec<MemberState>,
    is_isolated: bool,
    deletes_slowly: bool,
    restored: Vec<String>,
    on_create: Option<Box<dyn FnOnce() + Send>>,
}

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

    /// Lets the next deletion be accepted only, and be done by the one after it.
    pub fn delete_slowly(&self) {
        self.state().deletes_slowly = true;
    }

    /// Handle of the set that was restored last; empty before the first.
    #[must_use]
    pub fn last_restored(&self) -> String {
        self.state().restored.last().cloned().unwrap_or_default()
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
            (Some(ProviderFailure::Error(_)) | None, _) => Err(ProviderError {
                provider: self.name.clone(),
                operation: "do what was asked",
                fault: ProviderFault::Transient("injected fault".to_owned()),
            }),
        }
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
            features: Features { isolated: true, restore: true, immediate: true, ..Features::default() },
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
            let handle = format!("fake:{}", request.name);
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
                atomic: false,
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
            let found = state.sets.values_mut().find(|set| match reference {
                SetReference::Token(token) => &set.token == token,
                SetReference::Handle(handle) => &set.handle == handle,
            })?;
            found.members.iter_mut().for_each(|member| member.state = now.clone());
            Some(found.clone())
        })
        .await
    }

    async fn list(&self, owner: &str) -> Result<Vec<SnapshotSet>, ProviderError> {
        let ours = |set: &&SnapshotSet| set.labels.get(OWNER_LABEL).is_some_and(|label| label == owner);
        self.perform(ProviderCall::List, |state| state.sets.values().filter(ours).cloned().collect()).await
    }

    async fn delete(&self, handle: &str) -> Result<Deletion, ProviderError> {
        self.perform(ProviderCall::Delete, |state| {
            if std::mem::take(&mut state.deletes_slowly) {
                return Deletion::Pending;
            }
            if state.sets.remove(handle).is_some() { Deletion::Deleted } else { Deletion::Absent }
        })
        .await
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<Restored, ProviderError> {
        let directories = request.directories.iter().map(|directory| (directory.name.clone(), directory.path.clone())).collect();
        self.perform(ProviderCall::Restore, |state| {
            state.restored.push(request.handle.clone());
            Restored { handle: request.handle.clone(), directories }
        })
        .await
    }

    async fn release(&self, _handle: &str) -> Result<(), ProviderError> {
        self.perform(ProviderCall::Release, |_| ()).await
    }

    async fn lock(&self, _handle: &str, _mode: LockMode, _until: Timestamp) -> Result<(), ProviderError> {
        self.perform(ProviderCall::Lock, |_| ()).await
    }

    async fn unlock(&self, _handle: &str) -> Result<(), ProviderError> {
        self.perform(ProviderCall::Unlock, |_| ()).await
    }
}

/// A configuration with one provider.
pub struct FakeProviders(pub Arc<FakeProvider>);

#[async_trait]
impl ProviderSource for FakeProviders {
    async fn open(&self, name: &ProviderName) -> Result<Arc<dyn Provider>, ProviderError> {
        if name == self.0.name() {
            return Ok(self.0.clone());
        }
        let fault = ProviderFault::Unusable("it is not configured".to_owned());
        Err(ProviderError { provider: name.clone(), operation: "be loaded", fault })
    }
}
