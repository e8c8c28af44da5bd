//! What each operation does: convert, call a fresh instance, convert back, check the answer.

use std::sync::Arc;

use jiff::Timestamp;
use stillframe_core::provider::{
    CreateRequest, DataPath, Deletion, Features, LockMode, ProviderDescription, ProviderFault, ProviderName, RestoreRequest,
    Restored, SetReference, SnapshotSet, Volume,
};

use crate::answer::{self, Listing};
use crate::bindings::exports::stillframe::provider::{lock, restore};
use crate::bounds::bad;
use crate::call::{Call, Setting};
use crate::convert;
use crate::deadline::Deadline;
use crate::link::Linked;
use crate::provider::{Operation, WasmProvider};
use crate::roots;
use crate::tree::TreeRoot;
use crate::work::Leftovers;

/// Asks a component what it is, with every capability off.
pub(crate) async fn describe(
    provider: &ProviderName,
    linked: &Linked,
    memory_bytes: u64,
    deadline: Deadline,
) -> Result<ProviderDescription, ProviderFault> {
    let setting = Setting { provider, memory_bytes, deadline, leftovers: &Leftovers::default(), roots: None, access: None };
    let mut call = Call::begin(linked, setting).await?;
    let returned = deadline.limit(call.guest.call_describe(&mut call.store)).await;
    let description = convert::description(call.returned(returned)?)?;
    check_features(description.features, linked.restore.is_some(), linked.lock.is_some())?;
    Ok(description)
}

/// What it claims to be able to do, it must export.
fn check_features(features: Features, has_restore: bool, has_lock: bool) -> Result<(), ProviderFault> {
    for (name, is_claimed, is_exported) in [("restore", features.restore, has_restore), ("lock", features.lock, has_lock)] {
        if is_claimed && !is_exported {
            return Err(bad(format!("it has the feature `{name}`, but does not export that interface")));
        }
    }
    Ok(())
}

impl WasmProvider {
    pub(super) async fn call_check(&self) -> Result<Vec<String>, ProviderFault> {
        let mut call = self.begin(Operation::Check, self.configured()).await?;
        let returned = call.deadline.limit(call.guest.call_check(&mut call.store, &self.config)).await;
        convert::warnings(call.answered(returned)?)
    }

    pub(super) async fn call_resolve(&self, paths: &[DataPath]) -> Result<Vec<Volume>, ProviderFault> {
        let grant = self.tree.as_ref();
        let asked = paths.iter().map(|path| convert::data_path(path, grant)).collect::<Result<Vec<_>, _>>()?;
        let mut call = self.begin(Operation::Resolve, grant.map(|grant| roots::for_resolving(grant, paths))).await?;
        let returned = call.deadline.limit(call.guest.call_resolve(&mut call.store, &self.config, &asked)).await;
        answer::resolved(convert::resolved(call.answered(returned)?)?, paths)
    }

    pub(super) async fn call_create(&self, request: &CreateRequest) -> Result<SnapshotSet, ProviderFault> {
        let grant = self.tree.as_ref();
        let asked = convert::create_request(request, grant)?;
        let paths = request.volumes.iter().flat_map(|volume| &volume.paths);
        let mut call = self.begin(Operation::Create, grant.map(|grant| roots::for_creating(grant, paths))).await?;
        let returned = call.deadline.limit(call.guest.call_create_set(&mut call.store, &self.config, &asked)).await;
        let has_shared = call.store.data().has_shared_a_source;
        let set = answer::created(convert::snapshot_set(call.answered(returned)?)?, request)?;
        // Here the host knows better than the provider's word.
        if set.isolated && has_shared {
            return Err(bad("it calls the set isolated, and has hard-linked it to the live files"));
        }
        Ok(set)
    }

    pub(super) async fn call_get(&self, reference: &SetReference) -> Result<Option<SnapshotSet>, ProviderFault> {
        let asked = convert::set_reference(reference);
        let mut call = self.begin(Operation::Get, self.configured()).await?;
        let returned = call.deadline.limit(call.guest.call_get_set(&mut call.store, &self.config, &asked)).await;
        answer::found(call.answered(returned)?.map(convert::snapshot_set).transpose()?, reference)
    }

    /// The deadline is that of the whole listing, however many pages it has.
    pub(super) async fn call_list(&self, owner: &str) -> Result<Vec<SnapshotSet>, ProviderFault> {
        let deadline = self.deadline(Operation::List);
        let mut listing = Listing::new(owner);
        let mut cursor: Option<String> = None;
        loop {
            let mut call = self.begin_until(deadline, self.configured()).await?;
            let page = call.guest.call_list_sets(&mut call.store, &self.config, owner, cursor.as_deref());
            let returned = deadline.limit(page).await;
            cursor = listing.add(convert::page(call.answered(returned)?)?)?;
            if cursor.is_none() {
                return Ok(listing.end());
            }
        }
    }

    pub(super) async fn call_delete(&self, handle: &str) -> Result<Deletion, ProviderFault> {
        let mut call = self.begin(Operation::Delete, self.configured()).await?;
        let returned = call.deadline.limit(call.guest.call_delete_set(&mut call.store, &self.config, handle)).await;
        Ok(convert::deletion(call.answered(returned)?))
    }

    pub(super) async fn call_restore(&self, request: &RestoreRequest) -> Result<Restored, ProviderFault> {
        let grant = self.tree.as_ref();
        let asked = convert::restore_request(request, grant)?;
        let roots = grant.map(|grant| roots::for_restoring(grant, &request.directories));
        let mut call = self.begin(Operation::Restore, roots).await?;
        let guest = exported(call.restore.take())?;
        let returned = call.deadline.limit(guest.call_restore_set(&mut call.store, &self.config, &asked)).await;
        answer::restored(convert::restored(call.answered(returned)?)?, request, &self.restore_below)
    }

    pub(super) async fn call_release(&self, handle: &str) -> Result<(), ProviderFault> {
        let mut call = self.begin(Operation::Release, self.configured()).await?;
        let guest = exported(call.restore.take())?;
        let returned = call.deadline.limit(guest.call_release(&mut call.store, &self.config, handle)).await;
        call.answered(returned)
    }

    pub(super) async fn call_lock(&self, handle: &str, mode: LockMode, until: Timestamp) -> Result<(), ProviderFault> {
        let until_ms = convert::milliseconds(until);
        let mode = convert::lock_mode(mode);
        let mut call = self.begin(Operation::Lock, self.configured()).await?;
        let guest = exported_lock(call.lock.take())?;
        let returned = call.deadline.limit(guest.call_lock_set(&mut call.store, &self.config, handle, mode, until_ms)).await;
        call.answered(returned)
    }

    pub(super) async fn call_unlock(&self, handle: &str) -> Result<(), ProviderFault> {
        let mut call = self.begin(Operation::Unlock, self.configured()).await?;
        let guest = exported_lock(call.lock.take())?;
        let returned = call.deadline.limit(guest.call_unlock_set(&mut call.store, &self.config, handle)).await;
        call.answered(returned)
    }

    async fn begin(&self, operation: Operation, roots: Option<Vec<TreeRoot>>) -> Result<Call, ProviderFault> {
        self.begin_until(self.deadline(operation), roots).await
    }

    async fn begin_until(&self, deadline: Deadline, roots: Option<Vec<TreeRoot>>) -> Result<Call, ProviderFault> {
        let memory_bytes = self.limits.memory_bytes;
        let access = Some(Arc::clone(&self.access));
        let setting = Setting { provider: &self.name, memory_bytes, deadline, leftovers: &self.leftovers, roots, access };
        Call::begin(&self.operations, setting).await
    }

    fn configured(&self) -> Option<Vec<TreeRoot>> {
        self.tree.as_ref().map(roots::configured)
    }
}

fn exported_lock(guest: Option<lock::Guest>) -> Result<lock::Guest, ProviderFault> {
    guest.ok_or_else(|| ProviderFault::Unsupported("`lock`: it does not export that interface".to_owned()))
}

fn exported(guest: Option<restore::Guest>) -> Result<restore::Guest, ProviderFault> {
    guest.ok_or_else(|| ProviderFault::Unsupported("`restore`: it does not export that interface".to_owned()))
}

#[cfg(test)]
mod tests {
    use stillframe_core::provider::{Features, ProviderFault};

    use super::check_features;

    #[test]
    fn refuses_a_claim_without_the_export() {
        let (restore, lock) = (Features { restore: true, ..Features::default() }, Features { lock: true, ..Features::default() });
        for (features, has_restore, has_lock, missing) in [
            (Features::default(), false, false, None),
            (restore, true, false, None),
            (lock, false, true, None),
            (restore, false, true, Some("restore")),
            (lock, true, false, Some("lock")),
        ] {
            let expected = missing.map(|name| format!("it has the feature `{name}`, but does not export that interface"));
            let found = check_features(features, has_restore, has_lock).err();
            assert_eq!(found, expected.map(ProviderFault::BadAnswer));
        }
    }
}
