//! The plan of a deletion, and what came of it, for people.

use stillframe_core::catalog::{ArchivedFile, Backup, Increment};
use stillframe_core::error::chain;
use stillframe_core::flows::DeleteReport;
use stillframe_core::retention::{Decision, DeletePlan, Leftover, WalRun};

use super::window;
use crate::output::{bytes, count, or_dash, table};

/// Length of a segment's name, with which the names of the files about it begin.
const SEGMENT_DIGITS: usize = 24;

/// Why WAL goes.
pub const NOT_NEEDED: &str = "no backup needs it";

/// The plan, and how to apply it.
pub fn describe(plan: &DeletePlan) -> String {
    let text = decisions(plan);
    if plan.is_empty() {
        return format!("{text}\n\nnothing to delete");
    }
    let alone = match plan.standalone_backups().count() {
        0 => String::new(),
        1 => "1 backup stands alone from now on: it can be restored to its own end and no further\n".to_owned(),
        number => format!("{number} backups stand alone from now on: each can be restored to its own end and no further\n"),
    };
    let (going, staying) = (total(plan.removed_backups(), plan.removed_wal()), total(plan.kept_backups(), plan.wal.kept()));
    let name = plan.fingerprint();
    let increments = match plan.removed_increments().count() {
        0 => String::new(),
        number => format!("{} cannot be restored any more\n", count(number, "restore point")),
    };
    format!(
        "{text}\n\nto keep:   {staying}\nto delete: {going}\n{increments}{alone}add --confirm to do it, and `--plan {name}` to do it only if this is still the plan"
    )
}

/// Numbers and bytes: of the data in the snapshots, where the storage says it, and of the files as stored.
fn total<'a>(backups: impl Iterator<Item = &'a Backup>, files: impl Iterator<Item = &'a ArchivedFile>) -> String {
    let sizes: Vec<Option<u64>> = backups.map(|backup| backup.sentinel.size_bytes()).collect();
    let wal: Vec<u64> = files.map(|file| file.size_bytes).collect();
    // What providers say; all of it together may be more than there is.
    let data = sizes.iter().flatten().fold(0u64, |total, size| total.saturating_add(*size));
    let data = if data > 0 { format!(" with {} of data", bytes(data)) } else { String::new() };
    format!("{}{data}, {} of {}", count(sizes.len(), "backup"), count(wal.len(), "WAL file"), bytes(wal.iter().sum()))
}

/// A row for each backup and leftover, and one for each run of WAL files that share a fate: there can be a million of them.
pub fn decisions(plan: &DeletePlan) -> String {
    let leftovers = plan.leftovers.iter().map(|found| row(false, leftover(found), None, "nobody needs it".to_owned()));
    let others = plan.bystanders.iter().map(|other| row(true, other.name(), other.size_bytes(), other.to_string()));
    let besides = leftovers.chain(others).chain(plan.wal.runs().map(wal_row));
    let with_increments = |decision| std::iter::once(backup_row(decision)).chain(increment_rows(decision));
    let rows: Vec<Vec<String>> = plan.backups.iter().flat_map(with_increments).chain(besides).collect();
    if rows.is_empty() {
        return "nothing there".to_owned();
    }
    format!("{}\n\n{}", table(&["", "WHAT", "SIZE", "WHY"], &rows), window::describe(&plan.outlook))
}

fn row(stays: bool, what: String, size: Option<u64>, why: String) -> Vec<String> {
    vec![if stays { "keep" } else { "delete" }.to_owned(), what, or_dash(size.map(bytes)), why]
}

fn backup_row(decision: &Decision) -> Vec<String> {
    let Decision { backup, reason, becomes_standalone } = decision;
    let alone = match (reason.keeps(), becomes_standalone, backup.is_standalone) {
        (true, true, _) => "; stands alone from now on",
        (true, false, true) => "; stands alone",
        _ => "",
    };
    let outside = match &backup.sentinel.outside {
        Some(copy) if !reason.keeps() => {
            format!("; the outside tool's copy stays, delete it there: {}", copy.snapshot_ids.join(", "))
        }
        _ => String::new(),
    };
    row(reason.keeps(), backup.sentinel.name.to_string(), backup.sentinel.size_bytes(), format!("{reason}{alone}{outside}"))
}

/// Below their parent, whose fate they share.
fn increment_rows(decision: &Decision) -> impl Iterator<Item = Vec<String>> {
    let stays = decision.reason.keeps();
    let what = |increment: &Increment| format!("  restore point {}", increment.name);
    decision.backup.increments.iter().map(move |increment| row(stays, what(increment), None, increment_reason(stays).to_owned()))
}

/// Why an increment stays or goes.
pub fn increment_reason(stays: bool) -> &'static str {
    if stays { "its backup stays" } else { "its backup goes" }
}

fn wal_row(run: WalRun<'_>) -> Vec<String> {
    let why = run.kept_for.map_or_else(|| NOT_NEEDED.to_owned(), ToString::to_string);
    row(run.kept_for.is_some(), files(run.files), Some(run.size_bytes()), why)
}

/// One file by its name, several by the segments that they are about.
fn files(files: &[ArchivedFile]) -> String {
    let (Some(first), Some(last)) = (files.first(), files.last()) else { return or_dash(None) };
    if files.len() == 1 {
        return first.name.to_string();
    }
    let segment = |file: &ArchivedFile| file.name.to_string().chars().take(SEGMENT_DIGITS).collect::<String>();
    let (from, to) = (segment(first), segment(last));
    let range = if from == to { from } else { format!("{from} … {to}") };
    format!("{range} ({} files)", files.len())
}

/// What an interrupted run left, in words.
pub fn leftover(leftover: &Leftover) -> String {
    match leftover {
        Leftover::Intent(intent) => format!("interrupted backup {}", intent.name),
        Leftover::Remnant(name) => format!("rest of the deleted backup {name}"),
        Leftover::Increment(stray) => format!("restore point {} of the backup {}, which is gone", stray.name, stray.parent),
    }
}

/// What was done, and what was not.
pub fn describe_report(report: &DeleteReport) -> String {
    let deleted = format!(
        "deleted: {}, {}{}, {} of {}",
        count(report.backups.len(), "backup"),
        if report.increments.is_empty() { String::new() } else { format!("{}, ", count(report.increments.len(), "restore point")) },
        count(report.settled.len(), "leftover"),
        count(report.wal.len(), "WAL file"),
        bytes(report.wal_bytes)
    );
    let pending =
        report.pending.iter().map(|name| format!("pending: {name}: the storage system still deletes it; run it again later"));
    let spared = report
        .spared
        .iter()
        .map(|name| format!("kept: {name}: it was marked as permanent or restored meanwhile, or others have gone"));
    let standalone = report.standalone.iter().map(|name| format!("kept: {name}: stands alone from now on"));
    let failed = report.failures.iter().map(|(name, error)| format!("failed: {name}: {}", chain(error)));
    std::iter::once(deleted).chain(pending).chain(spared).chain(standalone).chain(failed).collect::<Vec<_>>().join("\n")
}
