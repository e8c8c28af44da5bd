//! The plan of a deletion for a program.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use stillframe_core::catalog::BackupName;
use stillframe_core::error::chain;
use stillframe_core::flows::DeleteReport;
use stillframe_core::retention::{Bystander, Decision, DeletePlan, WalPlan};

use super::text::{NOT_NEEDED, increment_reason, leftover};
use super::window::{self, OutlookView};

#[derive(Serialize)]
pub struct PlanView<'a> {
    is_dry_run: bool,
    made_at: Timestamp,
    /// What `--plan` takes.
    plan: String,
    backups: Vec<BackupDecision>,
    restore_points: Vec<IncrementDecision>,
    #[serde(serialize_with = "each_file")]
    wal: &'a WalPlan,
    leftovers: Vec<String>,
    others: Vec<OtherView>,
    totals: Totals,
    recoverable: OutlookView,
    deleted: Option<DeletedView>,
}

#[derive(Serialize)]
struct BackupDecision {
    backup_name: String,
    start_time: Timestamp,
    is_deleted: bool,
    reason: String,
    /// It stays, and from now on keeps its own WAL only.
    becomes_standalone: bool,
    is_standalone: bool,
    locked_until: Option<Timestamp>,
    size_bytes: Option<u64>,
}

/// An increment shares the fate of its backup.
#[derive(Serialize)]
struct IncrementDecision {
    name: String,
    backup_name: String,
    is_deleted: bool,
    reason: &'static str,
}

/// What is there and stays, whatever the rule.
#[derive(Serialize)]
struct OtherView {
    name: String,
    reason: String,
    size_bytes: Option<u64>,
}

#[derive(Serialize)]
struct WalDecision<'a> {
    file: String,
    is_deleted: bool,
    reason: &'a str,
    size_bytes: u64,
}

#[derive(Serialize)]
struct Totals {
    kept_backups: usize,
    deleted_backups: usize,
    /// Of those whose provider tells their size.
    deleted_backup_bytes: u64,
    kept_wal_files: usize,
    kept_wal_bytes: u64,
    deleted_wal_files: usize,
    deleted_wal_bytes: u64,
}

#[derive(Serialize)]
struct DeletedView {
    backups: Vec<String>,
    restore_points: Vec<String>,
    pending: Vec<String>,
    spared: Vec<String>,
    standalone: Vec<String>,
    settled: Vec<String>,
    wal: Vec<String>,
    wal_bytes: u64,
    failed: Vec<String>,
}

pub fn view<'a>(plan: &'a DeletePlan, report: Option<&DeleteReport>) -> PlanView<'a> {
    PlanView {
        is_dry_run: report.is_none(),
        made_at: plan.made_at,
        plan: plan.fingerprint(),
        backups: plan.backups.iter().map(|decision| backup(decision, plan.made_at)).collect(),
        restore_points: plan.backups.iter().flat_map(increments).collect(),
        wal: &plan.wal,
        leftovers: plan.leftovers.iter().map(leftover).collect(),
        others: plan.bystanders.iter().map(other).collect(),
        totals: totals(plan),
        recoverable: window::view(&plan.outlook),
        deleted: report.map(deleted),
    }
}

fn backup(decision: &Decision, now: Timestamp) -> BackupDecision {
    let Decision { backup, reason, becomes_standalone } = decision;
    BackupDecision {
        backup_name: backup.sentinel.name.to_string(),
        start_time: backup.sentinel.started_at,
        is_deleted: !reason.keeps(),
        reason: reason.to_string(),
        becomes_standalone: *becomes_standalone,
        is_standalone: backup.is_standalone,
        locked_until: backup.locked_until(now),
        size_bytes: backup.sentinel.size_bytes(),
    }
}

fn increments(decision: &Decision) -> impl Iterator<Item = IncrementDecision> {
    let stays = decision.reason.keeps();
    decision.backup.increments.iter().map(move |increment| IncrementDecision {
        name: increment.name.to_string(),
        backup_name: increment.parent.to_string(),
        is_deleted: !stays,
        reason: increment_reason(stays),
    })
}

fn other(bystander: &Bystander) -> OtherView {
    OtherView { name: bystander.name(), reason: bystander.to_string(), size_bytes: bystander.size_bytes() }
}

/// One entry for each file, without holding all of them: there can be a million.
fn each_file<S: Serializer>(wal: &WalPlan, serializer: S) -> Result<S::Ok, S::Error> {
    // Neighbours share their reason; it is spelled once for all of them.
    let runs = wal.runs().map(|run| (run, run.kept_for.map_or_else(|| NOT_NEEDED.to_owned(), ToString::to_string)));
    let runs: Vec<_> = runs.collect();
    serializer.collect_seq(runs.iter().flat_map(|(run, reason)| {
        run.files.iter().map(move |file| WalDecision {
            file: file.name.to_string(),
            is_deleted: run.kept_for.is_none(),
            reason,
            size_bytes: file.size_bytes,
        })
    }))
}

fn totals(plan: &DeletePlan) -> Totals {
    let bytes = |files: &mut dyn Iterator<Item = u64>| files.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size));
    let (kept_wal_files, kept_wal_bytes) = bytes(&mut plan.wal.kept().map(|file| file.size_bytes));
    let (deleted_wal_files, deleted_wal_bytes) = bytes(&mut plan.removed_wal().map(|file| file.size_bytes));
    let sizes = plan.removed_backups().map(|backup| backup.sentinel.size_bytes());
    Totals {
        kept_backups: plan.kept_backups().count(),
        deleted_backups: plan.removed_backups().count(),
        deleted_backup_bytes: sizes.flatten().fold(0, u64::saturating_add),
        kept_wal_files,
        kept_wal_bytes,
        deleted_wal_files,
        deleted_wal_bytes,
    }
}

fn deleted(report: &DeleteReport) -> DeletedView {
    let names = |names: &[BackupName]| names.iter().map(ToString::to_string).collect();
    DeletedView {
        backups: names(&report.backups),
        restore_points: report.increments.iter().map(ToString::to_string).collect(),
        pending: names(&report.pending),
        spared: names(&report.spared),
        standalone: names(&report.standalone),
        settled: names(&report.settled),
        wal: report.wal.iter().map(ToString::to_string).collect(),
        wal_bytes: report.wal_bytes,
        failed: report.failures.iter().map(|(name, error)| format!("{name}: {}", chain(error))).collect(),
    }
}
