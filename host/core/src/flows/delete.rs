//! Deletes backups and the WAL that nobody needs any more: first a plan that people can read, then, if they say so, the deed.
//!
//! Per backup, in this order: condemn it in the catalog (from here on nobody restores from it), delete its snapshot, forget it.
//! WAL goes last, after the catalog has been read again: a backup that began meanwhile protects what it needs. An interruption
//! anywhere is finished by the next run. Planning calls no provider.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::catalog::{ArchiveError, Backup, BackupName, CatalogError, Intent, WalArchive};
use crate::error::{Classify, ErrorClass};
use crate::flows::Ports;
use crate::postgres::{TimelineHistory, TimelineId, WalFileName};
use crate::provider::{Deletion, ProviderError, SetReference};
use crate::retention::{Ancestry, DeletePlan, Leftover, PlanError, RetentionRule, plan};

/// What was deleted, and what could not be.
#[derive(Debug, Default)]
pub struct DeleteReport {
    /// Backups that are gone, with their snapshots.
    pub backups: Vec<BackupName>,
    /// Backups that the storage system still deletes; the next run finishes them.
    pub pending: Vec<BackupName>,
    /// Interrupted backups that are settled.
    pub settled: Vec<BackupName>,
    /// WAL files that are gone.
    pub wal: Vec<WalFileName>,
    /// Bytes of them, as stored.
    pub wal_bytes: u64,
    /// Backups that could not be deleted; they stay condemned.
    pub failures: Vec<(BackupName, DeleteError)>,
}

/// Decides what goes. Reads everything or fails, and changes nothing.
pub async fn plan_delete(ports: &Ports<'_>, rule: &RetentionRule) -> Result<DeletePlan, DeleteError> {
    let catalog = ports.catalog();
    // Nothing is deleted on a partial view: one unreadable record stops all.
    let contents = catalog.contents().await?.complete()?;
    let files = ports.archive().list().await?;
    let ancestry = ancestry(&ports.archive(), files.iter().map(|file| file.name)).await?;
    let shared = catalog.shares_with_walg().await?;
    Ok(plan(rule, &contents, &files, ancestry, shared, ports.clock.now())?)
}

async fn ancestry(archive: &WalArchive<'_>, names: impl Iterator<Item = WalFileName>) -> Result<Ancestry, ArchiveError> {
    let timelines: BTreeSet<TimelineId> = names.map(WalFileName::timeline).collect();
    let mut histories: Vec<(TimelineId, TimelineHistory)> = Vec::new();
    for timeline in timelines {
        if let Some(history) = archive.history(timeline).await? {
            histories.push((timeline, history));
        }
    }
    Ok(Ancestry::new(histories))
}

/// Deletes what the plan says.
pub async fn apply_delete(ports: &Ports<'_>, rule: &RetentionRule, plan: &DeletePlan) -> Result<DeleteReport, DeleteError> {
    let mut report = DeleteReport::default();
    for backup in plan.removed_backups() {
        let name = &backup.sentinel.name;
        match delete_backup(ports, backup).await {
            Ok(Deletion::Deleted | Deletion::Absent) => report.backups.push(name.clone()),
            Ok(Deletion::Pending) => report.pending.push(name.clone()),
            // The others do not wait for this one; it stays condemned, and the next run tries again.
            Err(error) => report.failures.push((name.clone(), error)),
        }
    }
    for leftover in &plan.leftovers {
        let (name, settled) = match leftover {
            Leftover::Intent(intent) => (&intent.name, settle(ports, intent).await),
            Leftover::Remnant(name) => (name, ports.catalog().forget(name).await.map_err(DeleteError::from)),
        };
        match settled {
            Ok(()) => report.settled.push(name.clone()),
            Err(error) => report.failures.push((name.clone(), error)),
        }
    }
    delete_wal(ports, rule, plan, &mut report).await?;
    Ok(report)
}

async fn delete_backup(ports: &Ports<'_>, backup: &Backup) -> Result<Deletion, DeleteError> {
    let sentinel = &backup.sentinel;
    // Before the catalog changes: a provider that is not even configured must not cost the backup.
    let provider = ports.providers.open(&sentinel.provider).await?;
    ports.catalog().condemn(&sentinel.name, ports.clock.now()).await?;
    let outcome = provider.delete(&sentinel.snapshot.handle).await?;
    if outcome != Deletion::Pending {
        ports.catalog().forget(&sentinel.name).await?;
    }
    tracing::info!(backup = %sentinel.name, ?outcome, "snapshot deleted");
    Ok(outcome)
}

/// Ends a backup that was interrupted: by its token the provider knows what it cut.
async fn settle(ports: &Ports<'_>, intent: &Intent) -> Result<(), DeleteError> {
    let provider = ports.providers.open(&intent.provider).await?;
    if let Some(set) = provider.get(&SetReference::Token(intent.token.clone())).await?
        && provider.delete(&set.handle).await? == Deletion::Pending
    {
        return Err(DeleteError::StillDeleting(intent.name.clone()));
    }
    Ok(ports.catalog().remove_intent(&intent.name).await?)
}

/// Deletes WAL, oldest first, that the plan released and that nobody has come to need since.
async fn delete_wal(
    ports: &Ports<'_>,
    rule: &RetentionRule,
    plan: &DeletePlan,
    report: &mut DeleteReport,
) -> Result<(), DeleteError> {
    if plan.removed_wal().next().is_none() {
        return Ok(());
    }
    // Of the backups that were to go, some may still be there, and new ones may have begun: what is there now decides.
    let rule_now = match rule {
        RetentionRule::Everything => RetentionRule::Everything,
        _ => RetentionRule::Garbage,
    };
    let now = plan_delete(ports, &rule_now).await?;
    let released: BTreeSet<&str> = now.removed_wal().map(|file| file.key.as_str()).collect();
    for file in plan.removed_wal().filter(|file| released.contains(file.key.as_str())) {
        ports.archive().remove(file).await?;
        report.wal.push(file.name);
        report.wal_bytes += file.size_bytes;
    }
    Ok(())
}

/// Why a deletion stopped.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// The rule cannot be applied.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The catalog failed, or holds what cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive failed.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The storage system is still at it.
    #[error("the storage system still deletes what the interrupted backup `{0}` had cut")]
    StillDeleting(BackupName),
    /// Some of the backups could not be deleted.
    #[error("{failed} of {total} backups could not be deleted")]
    Partly {
        /// How many failed.
        failed: usize,
        /// How many were to go.
        total: usize,
        /// The first failure.
        #[source]
        first: Box<DeleteError>,
    },
}

impl DeleteReport {
    /// Fails if anything failed, after all that could be done was done.
    pub fn into_result(mut self) -> Result<Self, (Self, DeleteError)> {
        if self.failures.is_empty() {
            return Ok(self);
        }
        let failed = self.failures.len();
        let total = failed + self.backups.len() + self.pending.len() + self.settled.len();
        let (_, first) = self.failures.swap_remove(0);
        Err((self, DeleteError::Partly { failed, total, first: Box::new(first) }))
    }
}

impl Classify for DeleteError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Plan(error) => error.class(),
            Self::Catalog(error) => error.class(),
            Self::Archive(error) => error.class(),
            Self::Provider(error) => error.class(),
            Self::StillDeleting(_) => ErrorClass::Transient,
            Self::Partly { first, .. } => first.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Plan(error) => error.hint(),
            Self::Catalog(error) => error.hint(),
            Self::Archive(error) => error.hint(),
            Self::Provider(error) => error.hint(),
            Self::StillDeleting(_) => Some("run it again later".to_owned()),
            Self::Partly { first, .. } => {
                let advice = first.hint().map_or_else(String::new, |hint| format!("; {hint}"));
                Some(format!("they stay condemned, and running it again tries them again{advice}"))
            }
        }
    }
}
