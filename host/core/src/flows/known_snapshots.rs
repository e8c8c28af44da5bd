//! The snapshots that recorded backups are made of: none of them may become a part of another backup, or go with one.
//!
//! A provider that gives one of them for a new set, by mistake or on purpose, would have two backups share it, and the deletion of
//! either would cost the other.

use std::collections::BTreeMap;

use crate::catalog::{BackupName, CatalogContents};
use crate::provider::{ProviderError, ProviderFault, ProviderName, SnapshotSet, Token};

/// Whose each handle and each snapshot is.
#[derive(Debug, Default)]
pub(super) struct KnownSnapshots(BTreeMap<(ProviderName, String), (BackupName, Token)>);

impl KnownSnapshots {
    /// Those of all backups of the catalog, whatever their state.
    pub(super) fn of(contents: &CatalogContents) -> Self {
        let mut known = BTreeMap::new();
        for sentinel in contents.backups.iter().map(|backup| &backup.sentinel) {
            for set in &sentinel.sets {
                let owner = (sentinel.name.clone(), set.snapshot.token.clone());
                for id in ids(&set.snapshot) {
                    known.insert((set.provider.clone(), id.to_owned()), owner.clone());
                }
            }
        }
        Self(known)
    }

    /// The backup to which the set belongs by its handle, or one of its snapshots, though another request has made that.
    pub(super) fn other_owner(&self, provider: &ProviderName, set: &SnapshotSet) -> Option<&BackupName> {
        let owner = |id: &str| self.0.get(&(provider.clone(), id.to_owned()));
        ids(set).filter_map(owner).find(|(_, token)| *token != set.token).map(|(name, _)| name)
    }

    /// Refuses such a set.
    pub(super) fn refuse_other(
        &self,
        provider: &ProviderName,
        operation: &'static str,
        set: &SnapshotSet,
    ) -> Result<(), ProviderError> {
        let Some(owner) = self.other_owner(provider, set) else { return Ok(()) };
        let fault = ProviderFault::BadAnswer(format!("the set `{}` is, or holds, a snapshot of the backup `{owner}`", set.handle));
        Err(ProviderError { provider: provider.clone(), operation, fault })
    }
}

fn ids(set: &SnapshotSet) -> impl Iterator<Item = &str> {
    set.members.iter().map(|member| member.id.as_str()).chain([set.handle.as_str()])
}
