//! A wire in memory: objects, faults in their order, and a record of what was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::store::PutOutcome;

use crate::remote::{Fault, Page, Reason, Wire};

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strikes {
    /// Nothing was done.
    Before,
    /// It was done, and the answer is lost.
    After,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Bytes>,
    faults: VecDeque<(Strikes, Fault)>,
    requests: Vec<String>,
}

/// The wire; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct ScriptedWire(Arc<Mutex<State>>);

impl ScriptedWire {
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub(super) fn fail(&self, strikes: Strikes, fault: Fault) {
        self.with(|state| state.faults.push_back((strikes, fault)));
    }

    pub(super) fn holding(self, name: &str, body: &'static [u8]) -> Self {
        self.with(|state| state.objects.insert(name.to_owned(), Bytes::from_static(body)));
        self
    }

    pub(super) fn take_requests(&self) -> Vec<String> {
        self.with(|state| std::mem::take(&mut state.requests))
    }

    fn request<T>(&self, operation: &str, name: &str, work: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> Result<T, Fault> {
        self.with(|state| {
            state.requests.push(format!("{operation} {name}"));
            match state.faults.pop_front() {
                Some((Strikes::Before, fault)) => Err(fault),
                Some((Strikes::After, fault)) => {
                    work(&mut state.objects);
                    Err(fault)
                }
                None => Ok(work(&mut state.objects)),
            }
        })
    }
}

pub(super) fn broken() -> Fault {
    Fault::Broken { source: Reason::new("told by the test") }
}

#[async_trait]
impl Wire for ScriptedWire {
    fn name(&self) -> String {
        "s3://bucket/prefix".to_owned()
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        self.request("get", name, |objects| objects.get(name).cloned())
    }

    async fn put(&self, name: &str, body: Bytes) -> Result<(), Fault> {
        self.request("put", name, |objects| drop(objects.insert(name.to_owned(), body)))
    }

    async fn put_if_absent(&self, name: &str, body: Bytes) -> Result<PutOutcome, Fault> {
        self.request("put-if-absent", name, |objects| {
            if objects.contains_key(name) {
                return PutOutcome::AlreadyExists;
            }
            objects.insert(name.to_owned(), body);
            PutOutcome::Created
        })
    }

    async fn head(&self, name: &str) -> Result<Option<u64>, Fault> {
        self.request("head", name, |objects| objects.get(name).map(|body| body.len() as u64))
    }

    async fn delete(&self, name: &str) -> Result<(), Fault> {
        self.request("delete", name, |objects| drop(objects.remove(name)))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, Fault> {
        self.request("list", prefix, |objects| {
            let is_meant = |name: &String| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after);
            let mut found = objects.iter().filter(|(name, _)| is_meant(name));
            let entries = found.by_ref().take(limit).map(|(name, body)| (name.clone(), body.len() as u64)).collect();
            Page { entries, is_last: found.next().is_none() }
        })
    }
}
