//! Holds the catalog against what every provider lists, both ways: a plan that people can read, then, if they say so, the deed.
//!
//! A provider is asked before the catalog is read: an intent is written before the cut and a sentinel before the intent goes, so
//! that whatever is listed and is in no record by then is in nobody's hands. What can be finished is finished, what was condemned
//! or never published is deleted, a backup whose sentinel was lost is entered again from what its snapshots carry. What a
//! provider does not answer, or a record that cannot be read, decides nothing.

mod act;
mod discrepancy;
mod error;
mod evidence;
pub(super) mod labels;
mod plan;
mod rebuild;

use std::collections::BTreeSet;
use std::time::Duration;

pub use discrepancy::{Action, Case, Discrepancy, Remedy};
pub use error::ReconcileError;

use crate::catalog::{BackupName, Lease, LeaseRequest};
use crate::flows::{Phase, Ports, Step};
use crate::postgres::SystemIdentifier;
use crate::provider::{ProviderError, ProviderName};
use evidence::Evidence;

/// What to compare, and what the operator knows.
#[derive(Debug, Clone)]
pub struct ReconcileRequest {
    /// The configured providers.
    pub providers: Vec<ProviderName>,
    /// Clusters whose snapshots are looked for besides those that the catalog knows.
    pub clusters: BTreeSet<SystemIdentifier>,
    /// This host.
    pub hostname: String,
    /// The processes among which this one runs, where it is known.
    pub process_space: Option<String>,
    /// A snapshot that is in no record is deleted only when it is older than this.
    pub min_age: Duration,
    /// Snapshots of these names are this catalog's, whatever they say.
    pub claimed: BTreeSet<BackupName>,
}

impl ReconcileRequest {
    /// How old a snapshot must be unless the operator says otherwise: longer than any listing lags behind.
    pub const MIN_AGE: Duration = Duration::from_hours(1);
}

/// What was found.
#[derive(Debug)]
pub struct ReconcilePlan {
    /// Everything that is not as it should be, or not settled yet.
    pub findings: Vec<Discrepancy>,
    /// Providers about whose snapshots nothing is known, and why.
    pub unknown: Vec<ProviderError>,
    /// Sets that the providers listed, each counted once.
    pub listed: usize,
}

/// What became of one finding.
#[derive(Debug)]
pub struct Deed {
    /// The finding.
    pub finding: Discrepancy,
    /// What was done.
    pub outcome: Result<Outcome, ReconcileError>,
}

/// What became of an action that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is settled.
    Done,
    /// The storage system is still at it; the next run finishes.
    Pending,
    /// By now it is another case, or none: nothing was done.
    Changed,
}

/// What was done.
#[derive(Debug, Default)]
pub struct ReconcileReport {
    /// One for each action of the plan, as far as it came.
    pub deeds: Vec<Deed>,
    /// Why it came no further.
    pub stopped: Option<ReconcileError>,
}

/// Finds what catalog and storage do not agree about. Changes nothing.
pub async fn plan_reconcile(ports: &Ports<'_>, request: &ReconcileRequest) -> Result<ReconcilePlan, ReconcileError> {
    Ok(look(ports, request).await?.0)
}

/// Does what the plan says, as the only one that deletes or announces. What fails stands in the report, beside what was done.
pub async fn apply_reconcile(
    ports: &Ports<'_>,
    request: &ReconcileRequest,
    plan: &ReconcilePlan,
    lease: &LeaseRequest,
) -> ReconcileReport {
    let mut report = ReconcileReport::default();
    if plan.actions().next().is_none() {
        return report;
    }
    match ports.lease(lease).await {
        Ok(held) => {
            if let Err(lost) = held.during(act_on_all(ports, request, plan, lease, &held, &mut report)).await {
                report.stopped = Some(lost.into());
            }
            held.release().await;
        }
        Err(error) => report.stopped = Some(error.into()),
    }
    report
}

async fn look(ports: &Ports<'_>, request: &ReconcileRequest) -> Result<(ReconcilePlan, Evidence), ReconcileError> {
    let mut evidence = Evidence::gather(ports, request).await?;
    let findings = plan::judge(&evidence, request);
    let unknown = std::mem::take(&mut evidence.unknown);
    let plan = ReconcilePlan { findings, unknown, listed: evidence.listed() };
    Ok((plan, evidence))
}

/// Does what was shown and still holds: the plan may be old, and others may have been at it.
async fn act_on_all(
    ports: &Ports<'_>,
    request: &ReconcileRequest,
    shown: &ReconcilePlan,
    asked: &LeaseRequest,
    lease: &Lease<'_>,
    report: &mut ReconcileReport,
) {
    let mut now = match look(ports, request).await {
        Ok((plan, _)) => plan,
        Err(error) => return report.stopped = Some(error),
    };
    // What cannot be read this time, or is not answered, is not settled because it is not found.
    report.stopped = now.take_unjudged();
    let total = shown.actions().count() as u64;
    for (done, finding) in shown.actions().enumerate() {
        ports.progress.report(&Step {
            subject: Some(finding.subject.clone()),
            done: Some(done as u64),
            total: Some(total),
            ..Step::begun(Phase::Reconcile)
        });
        let Some(action) = now.actions().find(|other| other.is_same(finding)).and_then(Discrepancy::action) else {
            report.deeds.push(Deed { finding: finding.clone(), outcome: Ok(Outcome::Changed) });
            continue;
        };
        let outcome = act::act(ports, asked, lease, action).await;
        // Without the lease nothing else may go; for everything else, the others do not wait for this one.
        let is_lost = outcome.as_ref().is_err_and(ReconcileError::is_lost_lease);
        report.deeds.push(Deed { finding: finding.clone(), outcome });
        if is_lost {
            return;
        }
    }
}

impl ReconcilePlan {
    /// What would be done.
    pub fn actions(&self) -> impl Iterator<Item = &Discrepancy> {
        self.findings.iter().filter(|finding| finding.action().is_some())
    }

    /// Fails when a backup that is listed has lost a snapshot, or when not everything could be judged.
    pub fn into_result(mut self) -> Result<(), ReconcileError> {
        let lost = self.findings.iter().filter(|finding| finding.is_loss()).count();
        if lost > 0 {
            return Err(ReconcileError::Lost { count: lost });
        }
        self.take_unjudged().map_or(Ok(()), Err)
    }

    /// Why not everything could be judged, if so.
    fn take_unjudged(&mut self) -> Option<ReconcileError> {
        if let Some(unreadable) = self.findings.iter().find(|finding| finding.case == Case::Unreadable) {
            return Some(ReconcileError::Unreadable { record: unreadable.subject.clone() });
        }
        let count = self.unknown.len();
        let first = std::mem::take(&mut self.unknown).into_iter().next();
        first.map(|source| ReconcileError::Unknown { count, source })
    }
}

impl ReconcileReport {
    /// Fails if anything failed, after all that could be done was done.
    pub fn into_result(self) -> Result<(), ReconcileError> {
        let total = self.deeds.len();
        if let Some(error) = self.stopped {
            return Err(error);
        }
        let mut failed = self.deeds.into_iter().filter_map(|deed| deed.outcome.err());
        match failed.next() {
            None => Ok(()),
            Some(first) => Err(ReconcileError::Partly { failed: 1 + failed.count(), total, first: Box::new(first) }),
        }
    }
}
