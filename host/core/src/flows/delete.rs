//! Deletes backups and the WAL that nobody needs any more: first a plan that people can read, then, if they say so, the deed.
//!
//! Per backup, in this order: condemn it in the catalog (from here on nobody restores from it), delete its snapshot, remove its
//! records. WAL goes after that, when the catalog has been read again: a backup that began meanwhile protects what it needs. The
//! marks of deletion go last, so that an interruption anywhere is finished by the same command. Planning calls no provider and
//! takes no lease; the deed is done under it, after planning again.

pub(super) mod backup;
mod error;

use std::collections::BTreeSet;
use std::slice::from_ref;

use jiff::Timestamp;

pub use error::DeleteError;

use backup::{Fate, delete_backup, forget, forget_stray, settle};

use crate::catalog::{
    ArchiveError, ArchivedFile, Backup, BackupName, CatalogError, Intent, Lease, LeaseRequest, RestorePointName, RestoreRecord,
    WalArchive, WalGContents,
};
use crate::flows::{Phase, Ports, Step};
use crate::postgres::{TimelineHistory, TimelineId, WalFileName};
use crate::retention::{
    Ancestry, Decision, DeletePlan, Holdings, KeepRecovery, Leftover, ProtectedWal, Reason, RetentionRule, WalPlan, plan,
    release_wal,
};
use crate::store::PutOutcome;

/// WAL files that are deleted on one proof of the lease: a few seconds' worth in an object store.
const WAL_BATCH: usize = 50;

/// What was deleted, and what could not be.
#[derive(Debug, Default)]
pub struct DeleteReport {
    /// Backups that are gone, with their snapshots.
    pub backups: Vec<BackupName>,
    /// Backups that the storage system still deletes; the next run finishes them.
    pub pending: Vec<BackupName>,
    /// Backups that stay, since they were marked as permanent or restored after the plan was made, or others have gone since.
    pub spared: Vec<BackupName>,
    /// Backups that keep their own WAL only from now on.
    pub standalone: Vec<BackupName>,
    /// Increments that are gone, with their parents or after them.
    pub increments: Vec<RestorePointName>,
    /// Interrupted backups that are settled.
    pub settled: Vec<BackupName>,
    /// WAL files that are gone.
    pub wal: Vec<WalFileName>,
    /// Bytes of them, as stored.
    pub wal_bytes: u64,
    /// What could not be deleted, and why; the next run tries it again.
    pub failures: Vec<(String, DeleteError)>,
}

/// Decides what goes. Reads everything or fails, and changes nothing.
pub async fn plan_delete(ports: &Ports<'_>, rule: &RetentionRule) -> Result<DeletePlan, DeleteError> {
    let holdings = holdings(ports).await?;
    Ok(plan(rule, holdings, ports.clock.now())?)
}

/// All that a decision needs, read as a whole.
async fn holdings(ports: &Ports<'_>) -> Result<Holdings, DeleteError> {
    let catalog = ports.catalog();
    let files = ports.archive().list().await?;
    let ancestry = ancestry(&ports.archive(), files.iter().map(|file| file.name)).await?;
    let walg = catalog.walg().await?;
    // Nothing is deleted on a partial view: one unreadable record stops all. The catalog is read last, so that what began while
    // the archive was listed is in it.
    let contents = catalog.contents().await?.complete()?;
    let restores = all_restores(ports).await?;
    Ok(Holdings { contents, restores, files, ancestry, walg })
}

/// Restores that are not released, and copies that may still recover. One that cannot be read may be of any backup.
async fn all_restores(ports: &Ports<'_>) -> Result<Vec<RestoreRecord>, CatalogError> {
    // A copy is recorded before the record of its restore goes.
    let (mut restores, mut unreadable) = ports.restores().all().await?;
    let (copies, unreadable_copies) = ports.restores().recoveries().await?;
    let now = ports.clock.now();
    restores.extend(copies.into_iter().filter(|copy| now < copy.recovers_until()));
    unreadable.extend(unreadable_copies);
    unreadable.pop().map_or(Ok(restores), Err)
}

/// Removes the records of copies that have long recovered.
async fn forget_old_copies(ports: &Ports<'_>) -> Result<(), CatalogError> {
    let (copies, _) = ports.restores().recoveries().await?;
    let now = ports.clock.now();
    for copy in copies.iter().filter(|copy| copy.recovers_until() <= now) {
        ports.restores().forget_recovery(copy).await?;
    }
    Ok(())
}

async fn ancestry(archive: &WalArchive<'_>, names: impl Iterator<Item = WalFileName>) -> Result<Ancestry, ArchiveError> {
    let timelines: BTreeSet<TimelineId> = names.map(WalFileName::timeline).collect();
    let mut histories: Vec<(TimelineId, TimelineHistory)> = Vec::new();
    for timeline in timelines {
        match archive.history(timeline).await {
            Ok(Some(history)) => histories.push((timeline, history)),
            // A host that archives has no private key: what descends from what is then unknown, and counts as needed.
            Ok(None) | Err(ArchiveError::Identity { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Ancestry::new(histories))
}

/// Deletes what the plan says, as the only one that deletes. What fails stands in the report, beside what was done.
///
/// Waits for another deletion, and for a backup that is just being announced. Stops as soon as it cannot be sure of its lease.
pub async fn apply_delete(ports: &Ports<'_>, rule: &RetentionRule, plan: &DeletePlan, request: &LeaseRequest) -> DeleteReport {
    let mut report = DeleteReport::default();
    if plan.is_empty() {
        return report;
    }
    match ports.lease(request).await {
        Ok(lease) => {
            let here = request.process_space.as_deref();
            if let Err(lost) = lease.during(delete_all(ports, rule, plan, &lease, here, &mut report)).await {
                report.failures.push(("what was left".to_owned(), lost.into()));
            }
            lease.release().await;
        }
        Err(error) => report.failures.push(("everything".to_owned(), error.into())),
    }
    report
}

/// Deletes what was planned and may still go, under the lease. `here` names the processes that can be seen.
async fn delete_all(
    ports: &Ports<'_>,
    rule: &RetentionRule,
    plan: &DeletePlan,
    lease: &Lease<'_>,
    here: Option<&str>,
    report: &mut DeleteReport,
) {
    let now = match plan_again(ports, rule, plan).await {
        Ok(now) => now,
        Err(error) => return report.failures.push(("everything".to_owned(), error)),
    };
    let (begun_at, total) = (ports.clock.now(), plan.removed_backups().count() as u64);
    for (done, backup) in plan.removed_backups().enumerate() {
        let name = &backup.sentinel.name;
        ports.progress.report(&Step {
            subject: Some(name.to_string()),
            done: Some(done as u64),
            total: Some(total),
            waited: ports.clock.now().duration_since(begun_at).unsigned_abs(),
            ..Step::begun(Phase::DeleteBackups)
        });
        match now.backups.iter().find(|decision| &decision.backup.sentinel.name == name) {
            // Nobody was shown that an increment goes which is younger than the plan.
            Some(Decision { reason: Reason::Remove(_), backup, .. }) if plan.removes_with_all_of(backup) => {}
            Some(_) => {
                report.spared.push(name.clone());
                continue;
            }
            // Another run was faster.
            None => continue,
        }
        match delete_backup(ports, lease, backup).await {
            Ok(Fate::Gone) => {
                report.backups.push(name.clone());
                report.increments.extend(backup.increments.iter().map(|increment| increment.name.clone()));
            }
            Ok(Fate::Pending) => report.pending.push(name.clone()),
            Ok(Fate::Spared) => report.spared.push(name.clone()),
            // The others do not wait for this one; without the lease none of them may go.
            Err(error) => {
                let is_lost = matches!(error, DeleteError::Lease(_));
                report.failures.push((name.to_string(), error));
                if is_lost {
                    return;
                }
            }
        }
    }
    let leftovers = || plan.leftovers.iter().filter(|leftover| now.leftovers.contains(leftover));
    for leftover in leftovers() {
        let Leftover::Intent(intent) = leftover else { continue };
        let settled = if intent.is_running(here) {
            Err(DeleteError::StillRunning(intent.name.clone()))
        } else {
            settle(ports, lease, intent).await
        };
        match settled {
            Ok(()) => report.settled.push(intent.name.clone()),
            Err(error) => report.failures.push((intent.name.to_string(), error)),
        }
    }
    for backup in plan.standalone_backups() {
        let name = &backup.sentinel.name;
        match give_up_recovery(ports, lease, name).await {
            Ok(true) => report.standalone.push(name.clone()),
            Ok(false) => report.spared.push(name.clone()),
            // Its WAL stays: what is recorded decides, and not what was planned.
            Err(error) => report.failures.push((name.to_string(), error)),
        }
    }
    if let Err(error) = delete_wal(ports, rule, plan, lease, here, report).await {
        return report.failures.push(("WAL".to_owned(), error));
    }
    // Last of all: as long as the mark of a deletion is there, the same command finds what it has begun, and finishes.
    for name in report.backups.clone() {
        if let Err(error) = forget(ports, lease, &name).await {
            report.failures.push((name.to_string(), error));
        }
    }
    if let Err(error) = forget_old_copies(ports).await {
        report.failures.push(("the records of old copies".to_owned(), error.into()));
    }
    for leftover in leftovers() {
        let forgotten = match leftover {
            Leftover::Intent(_) => continue,
            Leftover::Remnant(name) => forget(ports, lease, name).await.map(|()| report.settled.push(name.clone())),
            Leftover::Increment(stray) => {
                forget_stray(ports, lease, stray).await.map(|gone| report.increments.extend(gone.then(|| stray.name.clone())))
            }
        };
        if let Err(error) = forgotten {
            report.failures.push((leftover.name().to_owned(), error));
        }
    }
}

/// Plans again, under the lease: the plan may be hours old, and others may have deleted since.
///
/// An operator names what a rule of the command line takes. Of that, what still may go goes, and nothing else. What a policy takes
/// nobody has named, so that it must be what was shown. Both count ages from the same moment: only facts can tell them apart.
async fn plan_again(ports: &Ports<'_>, rule: &RetentionRule, shown: &DeletePlan) -> Result<DeletePlan, DeleteError> {
    if !matches!(rule, RetentionRule::Policy(_)) {
        return plan_delete(ports, rule).await;
    }
    let now = plan(rule, holdings(ports).await?, shown.made_at)?;
    if shown.takes_the_same(&now) { Ok(now) } else { Err(DeleteError::PlanChanged) }
}

/// Records that a backup keeps its own WAL only, before any other of it goes; not of one that is just being restored.
async fn give_up_recovery(ports: &Ports<'_>, lease: &Lease<'_>, name: &BackupName) -> Result<bool, DeleteError> {
    if all_restores(ports).await?.iter().any(|record| record.backup == *name) {
        return Ok(false);
    }
    lease.prove().await?;
    ports.catalog().make_standalone(name, ports.clock.now()).await?;
    Ok(true)
}

/// Deletes WAL, oldest first, that the plan released and that nobody has come to need since.
async fn delete_wal(
    ports: &Ports<'_>,
    rule: &RetentionRule,
    plan: &DeletePlan,
    lease: &Lease<'_>,
    here: Option<&str>,
    report: &mut DeleteReport,
) -> Result<(), DeleteError> {
    if plan.removed_wal().next().is_none() {
        return Ok(());
    }
    // Of the backups that were to go, some may still be there, and new ones may have begun: what is there now decides.
    let Holdings { mut contents, files, ancestry, walg, .. } = holdings(ports).await?;
    let kept: Vec<&Backup> = contents.backups.iter().filter(|backup| !backup.is_condemned).collect();
    let release = |intents: &[Intent], files: Vec<ArchivedFile>| {
        release_wal(rule, &kept, intents, files, &ancestry, &walg, ports.clock.now())
    };
    if contents.intents.iter().any(|intent| intent.expires_at < ports.clock.now()) {
        let released = release(&contents.intents, files.clone());
        give_up(ports, lease, here, &mut contents.intents, &released, &ancestry).await?;
    }
    let now = release(&contents.intents, files);
    let released: BTreeSet<&str> = now.removed().map(|file| file.key.as_str()).collect();
    let (begun_at, total) = (ports.clock.now(), released.len() as u64);
    for (number, file) in plan.removed_wal().filter(|file| released.contains(file.key.as_str())).enumerate() {
        // A backup that begins after the lease was lost was not in that second look.
        if number % WAL_BATCH == 0 {
            ports.progress.report(&Step {
                done: Some(number as u64),
                total: Some(total),
                waited: ports.clock.now().duration_since(begun_at).unsigned_abs(),
                ..Step::begun(Phase::DeleteWal)
            });
            lease.prove().await?;
        } else {
            lease.check_age().await?;
        }
        ports.archive().remove(file).await?;
        report.wal.push(file.name);
        report.wal_bytes += file.size_bytes;
    }
    Ok(())
}

/// Sees to it that no backup whose time is over, by this clock, is published without the WAL that is about to go.
///
/// Its own clock may say something else. Whoever publishes looks for the condemnation, before and after; one that is published all
/// the same, or whose process is seen to run, keeps its WAL.
async fn give_up(
    ports: &Ports<'_>,
    lease: &Lease<'_>,
    here: Option<&str>,
    intents: &mut [Intent],
    released: &WalPlan,
    ancestry: &Ancestry,
) -> Result<(), DeleteError> {
    let (catalog, now) = (ports.catalog(), ports.clock.now());
    for intent in intents.iter_mut().filter(|intent| intent.expires_at < now) {
        if !needs_any(intent, released, ancestry) {
            continue;
        }
        let goes_on = intent.is_running(here) || {
            lease.prove().await?;
            let condemned = catalog.condemn(&intent.name, now).await?;
            let is_published = catalog.is_published(&intent.name).await?;
            if is_published && condemned == PutOutcome::Created {
                catalog.pardon(&intent.name).await?;
            }
            is_published
        };
        if goes_on {
            intent.expires_at = Timestamp::MAX;
        }
    }
    Ok(())
}

/// Whether some of this WAL would be kept for a backup that is under way.
fn needs_any(intent: &Intent, released: &WalPlan, ancestry: &Ancestry) -> bool {
    let needed = ProtectedWal::new(&[], from_ref(intent), &WalGContents::default(), ancestry.clone(), KeepRecovery::No);
    released.runs().filter(|run| run.kept_for.is_none()).any(|run| {
        let timeline = needed.on(run.files[0].name.timeline());
        run.files.iter().any(|file| timeline.reason_to_keep(file.name).is_some())
    })
}

impl DeleteReport {
    /// Fails if anything failed, after all that could be done was done.
    pub fn into_result(mut self) -> Result<Self, (Self, DeleteError)> {
        if self.failures.is_empty() {
            return Ok(self);
        }
        let failed = self.failures.len();
        let done = [&self.backups, &self.pending, &self.spared, &self.standalone, &self.settled];
        let total = failed + done.into_iter().map(Vec::len).sum::<usize>();
        let (_, first) = self.failures.swap_remove(0);
        Err((self, DeleteError::Partly { failed, total, first: Box::new(first) }))
    }
}
