//! A provider in its sandbox: the domain's operations, each one call of the component.
//!
//! This file is the list of operations with their names and deadlines; `operations` has what each of them does.

mod operations;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use stillframe_core::provider::{
    CreateRequest, DataPath, Deletion, LockMode, Provider, ProviderDescription, ProviderError, ProviderFault, ProviderName,
    RestoreRequest, Restored, SetReference, SnapshotSet, Volume,
};

use crate::capability::{Access, Capability, CredentialSource};
use crate::deadline::Deadline;
use crate::link::Linked;
use crate::preflight::Survey;
use crate::settings::{Limits, ProviderSettings, TreeGrant};
use crate::work::Leftovers;

/// What only asks, or maps names: a storage system answers within seconds, and retries need their share.
const SHORT_DEADLINE_SECS: u64 = 60;

/// A cut; a copy of a whole tree takes as long as it takes to read it.
const CREATE_DEADLINE_SECS: u64 = 600;

/// What moves or frees all data of a set.
const LONG_DEADLINE_SECS: u64 = 3_600;

/// A loaded provider.
pub struct WasmProvider {
    name: ProviderName,
    config: String,
    limits: Limits,
    /// None also when the component does not import the capability.
    tree: Option<TreeGrant>,
    access: Arc<Access>,
    restore_below: Vec<PathBuf>,
    operations: Linked,
    description: Linked,
    leftovers: Leftovers,
}

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Describe,
    Check,
    Resolve,
    Create,
    Get,
    List,
    Delete,
    Restore,
    Release,
    Lock,
    Unlock,
}

impl Operation {
    /// Ends the sentence "provider `x` cannot ...".
    fn phrase(self) -> &'static str {
        match self {
            Self::Describe => "describe itself",
            Self::Check => "check its configuration",
            Self::Resolve => "map the data paths to volumes",
            Self::Create => "create the snapshot set",
            Self::Get => "tell the state of the snapshot set",
            Self::List => "list its snapshot sets",
            Self::Delete => "delete the snapshot set",
            Self::Restore => "restore the snapshot set",
            Self::Release => "release the restored directories",
            Self::Lock => "lock the snapshot set",
            Self::Unlock => "unlock the snapshot set",
        }
    }

    fn deadline_secs(self) -> u64 {
        match self {
            Self::Describe | Self::Check | Self::Resolve | Self::Get | Self::List | Self::Lock | Self::Unlock => {
                SHORT_DEADLINE_SECS
            }
            Self::Create => CREATE_DEADLINE_SECS,
            Self::Delete | Self::Restore | Self::Release => LONG_DEADLINE_SECS,
        }
    }
}

impl WasmProvider {
    pub(crate) fn new(
        settings: ProviderSettings,
        survey: &Survey,
        operations: Linked,
        description: Linked,
        credentials: Option<Arc<dyn CredentialSource>>,
    ) -> Self {
        let imports_tree = survey.capabilities().contains(&Capability::Tree);
        let mut grants = settings.grants;
        let tree = grants.tree.take().filter(|_| imports_tree);
        let restore_below = std::mem::take(&mut grants.restore_below);
        Self {
            name: settings.name,
            config: serde_json::Value::Object(settings.config).to_string(),
            limits: settings.limits,
            tree,
            access: Arc::new(Access::new(grants, settings.command_prefix, credentials)),
            restore_below,
            operations,
            description,
            leftovers: Leftovers::default(),
        }
    }

    fn deadline(&self, operation: Operation) -> Deadline {
        Deadline::begin(self.limits.deadline_secs.unwrap_or_else(|| operation.deadline_secs()))
    }

    fn named<T>(&self, operation: Operation, outcome: Result<T, ProviderFault>) -> Result<T, ProviderError> {
        outcome.map_err(|fault| ProviderError { provider: self.name.clone(), operation: operation.phrase(), fault })
    }
}

#[async_trait]
impl Provider for WasmProvider {
    fn name(&self) -> &ProviderName {
        &self.name
    }

    async fn describe(&self) -> Result<ProviderDescription, ProviderError> {
        let deadline = self.deadline(Operation::Describe);
        let outcome = operations::describe(&self.name, &self.description, self.limits.memory_bytes, deadline).await;
        self.named(Operation::Describe, outcome)
    }

    async fn check(&self) -> Result<Vec<String>, ProviderError> {
        self.named(Operation::Check, self.call_check().await)
    }

    async fn resolve(&self, paths: &[DataPath]) -> Result<Vec<Volume>, ProviderError> {
        self.named(Operation::Resolve, self.call_resolve(paths).await)
    }

    async fn create(&self, request: &CreateRequest) -> Result<SnapshotSet, ProviderError> {
        self.named(Operation::Create, self.call_create(request).await)
    }

    async fn get(&self, reference: &SetReference) -> Result<Option<SnapshotSet>, ProviderError> {
        self.named(Operation::Get, self.call_get(reference).await)
    }

    async fn list(&self, owner: &str) -> Result<Vec<SnapshotSet>, ProviderError> {
        self.named(Operation::List, self.call_list(owner).await)
    }

    async fn delete(&self, handle: &str) -> Result<Deletion, ProviderError> {
        self.named(Operation::Delete, self.call_delete(handle).await)
    }

    async fn restore(&self, request: &RestoreRequest) -> Result<Restored, ProviderError> {
        self.named(Operation::Restore, self.call_restore(request).await)
    }

    async fn release(&self, handle: &str) -> Result<(), ProviderError> {
        self.named(Operation::Release, self.call_release(handle).await)
    }

    async fn lock(&self, handle: &str, mode: LockMode, until: Timestamp) -> Result<(), ProviderError> {
        self.named(Operation::Lock, self.call_lock(handle, mode, until).await)
    }

    async fn unlock(&self, handle: &str) -> Result<(), ProviderError> {
        self.named(Operation::Unlock, self.call_unlock(handle).await)
    }
}

impl fmt::Debug for WasmProvider {
    /// Without the configuration: an operator may have written a secret there.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WasmProvider").field("name", &self.name).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Describes a component, for `inspect`: it need not be loaded.
pub(crate) async fn describe(name: &ProviderName, linked: &Linked, limits: Limits) -> Result<ProviderDescription, ProviderFault> {
    let deadline = Deadline::begin(limits.deadline_secs.unwrap_or_else(|| Operation::Describe.deadline_secs()));
    operations::describe(name, linked, limits.memory_bytes, deadline).await
}
