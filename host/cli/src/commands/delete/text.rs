//! The plan of a deletion, and what came of it, for people.

use stillframe_core::error::chain;
use stillframe_core::flows::DeleteReport;
use stillframe_core::retention::{Decision, DeletePlan, Leftover, WalRun};

use super::window;
use crate::output::{bytes, count, or_dash, table};

/// Why WAL goes.
pub const NOT_NEEDED: &str = "no backup needs it";

/// The plan, and how to apply it.
pub fn describe(plan: &DeletePlan) -> String {
    let text = decisions(plan);
    if plan.is_empty() {
        return format!("{text}\n\nnothing to delete");
    }
    let wal: Vec<u64> = plan.removed_wal().map(|file| file.size_bytes).collect();
    let (backups, files) = (count(plan.removed_backups().count(), "backup"), count(wal.len(), "WAL file"));
    let alone = match plan.standalone_backups().count() {
        0 => String::new(),
        number => format!("; {} from now on with its own WAL only", count(number, "backup")),
    };
    format!("{text}\n\nto delete: {backups}, {files} of {}{alone}; add --confirm to do it", bytes(wal.iter().sum()))
}

/// A row for each backup and leftover, and one for each run of WAL files that share a fate: there can be a million of them.
pub fn decisions(plan: &DeletePlan) -> String {
    let leftovers = plan.leftovers.iter().map(|found| row(false, leftover(found), None, "nobody needs it".to_owned()));
    let rows: Vec<Vec<String>> = plan.backups.iter().map(backup_row).chain(leftovers).chain(plan.wal.runs().map(wal_row)).collect();
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
        (true, true, _) => "; keeps its own WAL only from now on",
        (true, false, true) => "; keeps its own WAL only",
        _ => "",
    };
    row(reason.keeps(), backup.sentinel.name.to_string(), backup.sentinel.size_bytes(), format!("{reason}{alone}"))
}

fn wal_row(run: WalRun<'_>) -> Vec<String> {
    let name = |place: Option<&stillframe_core::catalog::ArchivedFile>| or_dash(place.map(|file| file.name.to_string()));
    let (first, last) = (name(run.files.first()), name(run.files.last()));
    let range = if first == last { first } else { format!("{first} … {last}") };
    let why = run.kept_for.map_or_else(|| NOT_NEEDED.to_owned(), ToString::to_string);
    row(run.kept_for.is_some(), range, Some(run.size_bytes()), why)
}

/// What an interrupted run left, in words.
pub fn leftover(leftover: &Leftover) -> String {
    match leftover {
        Leftover::Intent(intent) => format!("interrupted backup {}", intent.name),
        Leftover::Remnant(name) => format!("rest of the deleted backup {name}"),
    }
}

/// What was done, and what was not.
pub fn describe_report(report: &DeleteReport) -> String {
    let deleted = format!(
        "deleted: {}, {}, {} of {}",
        count(report.backups.len(), "backup"),
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
    let standalone = report.standalone.iter().map(|name| format!("kept: {name}: from now on with its own WAL only"));
    let failed = report.failures.iter().map(|(name, error)| format!("failed: {name}: {}", chain(error)));
    std::iter::once(deleted).chain(pending).chain(spared).chain(standalone).chain(failed).collect::<Vec<_>>().join("\n")
}
