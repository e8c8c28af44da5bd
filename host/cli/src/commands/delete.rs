//! `delete`: shows what a rule would delete and why; with `--confirm`, deletes it.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use stillframe_core::catalog::BackupName;
use stillframe_core::error::chain;
use stillframe_core::flows::{AnyBackupName, DeleteReport, apply_delete, plan_delete};
use stillframe_core::retention::{Cutoff, DeletePlan, Leftover, Reason, RetentionRule};

use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, count, print, table};
use crate::parse;
use crate::progress::ProgressOptions;
use crate::wiring::{World, lease_request};

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    rule: Rule,
    /// Delete; without it, only show what would be deleted
    #[arg(long, global = true)]
    confirm: bool,
    #[command(flatten)]
    pub progress: ProgressOptions,
}

#[derive(Debug, Subcommand)]
enum Rule {
    /// Keep the newest N ordinary backups
    Retain {
        /// How many; WAL-G's words FULL and `FIND_FULL` may stand before it
        #[arg(value_name = "N", num_args = 1..=2, value_parser = retain_word, required = true)]
        count: Vec<RetainWord>,
        /// Keep also what is not older than this backup or moment
        #[arg(long, short, value_parser = cutoff)]
        after: Option<Cutoff>,
    },
    /// Delete ordinary backups that are older than a backup or a moment
    Before {
        /// Name or moment; WAL-G's word `FIND_FULL` may stand before it
        #[arg(value_name = "NAME|TIME", num_args = 1..=2, value_parser = before_word, required = true)]
        cutoff: Vec<BeforeWord>,
    },
    /// Delete one ordinary backup
    Target {
        /// Its name
        #[arg(value_parser = parse::any_backup)]
        name: AnyBackupName,
    },
    /// Delete every ordinary backup, and all WAL that no permanent one needs
    Everything,
    /// Delete what interrupted runs left, and WAL that no backup needs
    Garbage,
}

/// Every backup here is a full one, so that WAL-G's modifiers change nothing; scripts may go on saying them.
#[derive(Debug, Clone)]
enum RetainWord {
    Modifier,
    Count(usize),
}

#[derive(Debug, Clone)]
enum BeforeWord {
    Modifier,
    Cutoff(Cutoff),
}

fn retain_word(text: &str) -> Result<RetainWord, String> {
    match text {
        "FULL" | "FIND_FULL" => Ok(RetainWord::Modifier),
        number => number.parse().map(RetainWord::Count).map_err(|_| format!("`{number}` is not a number of backups")),
    }
}

fn before_word(text: &str) -> Result<BeforeWord, String> {
    if text == "FIND_FULL" { Ok(BeforeWord::Modifier) } else { cutoff(text).map(BeforeWord::Cutoff) }
}

fn cutoff(text: &str) -> Result<Cutoff, String> {
    if let Ok(name) = text.parse::<BackupName>() {
        return Ok(Cutoff::Backup(name));
    }
    parse::moment(text).map(Cutoff::Time).map_err(|_| format!("`{text}` is neither the name of a backup nor a moment"))
}

/// A rule whose words do not fit together.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadRule(&'static str);

impl stillframe_core::error::Classify for BadRule {
    fn class(&self) -> stillframe_core::error::ErrorClass {
        stillframe_core::error::ErrorClass::Usage
    }
}

impl Rule {
    fn parsed(&self) -> Result<RetentionRule, Failure> {
        Ok(match self {
            Self::Retain { count, after } => match count.as_slice() {
                [RetainWord::Count(count)] | [RetainWord::Modifier, RetainWord::Count(count)] => {
                    RetentionRule::Retain { count: *count, after: after.clone() }
                }
                _ => return Err(BadRule("`retain` takes one number, and FULL or FIND_FULL before it if need be").into()),
            },
            Self::Before { cutoff } => match cutoff.as_slice() {
                [BeforeWord::Cutoff(cutoff)] | [BeforeWord::Modifier, BeforeWord::Cutoff(cutoff)] => {
                    RetentionRule::Before(cutoff.clone())
                }
                _ => return Err(BadRule("`before` takes one name or moment, and FIND_FULL before it if need be").into()),
            },
            Self::Target { name } => RetentionRule::Target(name.ours("delete target")?.clone()),
            Self::Everything => RetentionRule::Everything,
            Self::Garbage => RetentionRule::Garbage,
        })
    }
}

#[derive(Serialize)]
struct PlanView {
    is_dry_run: bool,
    backups: Vec<BackupDecision>,
    wal: Vec<WalDecision>,
    leftovers: Vec<String>,
    deleted: Option<DeletedView>,
}

#[derive(Serialize)]
struct BackupDecision {
    backup_name: String,
    start_time: Timestamp,
    is_deleted: bool,
    reason: String,
    size_bytes: Option<u64>,
}

#[derive(Serialize)]
struct WalDecision {
    file: String,
    is_deleted: bool,
    reason: String,
    size_bytes: u64,
}

#[derive(Serialize)]
struct DeletedView {
    backups: Vec<String>,
    pending: Vec<String>,
    spared: Vec<String>,
    settled: Vec<String>,
    wal: Vec<String>,
    wal_bytes: u64,
    failed: Vec<String>,
}

/// Shows the plan, and applies it if the operator confirms.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let rule = options.rule.parsed()?;
    let world = World::open(common).await?;
    let plan = plan_delete(&world.ports(), &rule).await?;
    if !options.confirm {
        print(json, &view(&plan, None), || describe(&plan));
        return Ok(ExitCode::SUCCESS);
    }
    if !json {
        print(false, &(), || decisions(&plan));
    }
    let report = apply_delete(&world.ports(), &rule, &plan, &lease_request("delete")).await;
    print(json, &view(&plan, Some(&report)), || describe_report(&report));
    report.into_result().map_err(|(_, error)| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}

fn view(plan: &DeletePlan, report: Option<&DeleteReport>) -> PlanView {
    let names = |names: &[BackupName]| names.iter().map(ToString::to_string).collect();
    PlanView {
        is_dry_run: report.is_none(),
        backups: plan
            .backups
            .iter()
            .map(|decision| BackupDecision {
                backup_name: decision.backup.sentinel.name.to_string(),
                start_time: decision.backup.sentinel.started_at,
                is_deleted: matches!(decision.reason, Reason::Remove(_)),
                reason: decision.reason.to_string(),
                size_bytes: decision.backup.sentinel.size_bytes(),
            })
            .collect(),
        wal: plan
            .wal
            .iter()
            .map(|decision| WalDecision {
                file: decision.file.name.to_string(),
                is_deleted: decision.kept_for.is_none(),
                reason: decision.kept_for.as_ref().map_or_else(|| NOT_NEEDED.to_owned(), ToString::to_string),
                size_bytes: decision.file.size_bytes,
            })
            .collect(),
        leftovers: plan.leftovers.iter().map(leftover).collect(),
        deleted: report.map(|report| DeletedView {
            backups: names(&report.backups),
            pending: names(&report.pending),
            spared: names(&report.spared),
            settled: names(&report.settled),
            wal: report.wal.iter().map(ToString::to_string).collect(),
            wal_bytes: report.wal_bytes,
            failed: report.failures.iter().map(|(name, error)| format!("{name}: {}", chain(error))).collect(),
        }),
    }
}

const NOT_NEEDED: &str = "no backup needs it";

fn leftover(leftover: &Leftover) -> String {
    match leftover {
        Leftover::Intent(intent) => format!("interrupted backup {}", intent.name),
        Leftover::Remnant(name) => format!("rest of the deleted backup {name}"),
    }
}

/// The plan, and how to apply it.
fn describe(plan: &DeletePlan) -> String {
    let text = decisions(plan);
    if plan.is_empty() {
        return format!("{text}\n\nnothing to delete");
    }
    let wal: Vec<u64> = plan.removed_wal().map(|file| file.size_bytes).collect();
    let (backups, files) = (count(plan.removed_backups().count(), "backup"), count(wal.len(), "WAL file"));
    format!("{text}\n\nto delete: {backups}, {files} of {}; add --confirm to do it", bytes(wal.iter().sum()))
}

fn decisions(plan: &DeletePlan) -> String {
    let mut rows: Vec<Vec<String>> = plan
        .backups
        .iter()
        .map(|decision| {
            let verdict = if matches!(decision.reason, Reason::Remove(_)) { "delete" } else { "keep" };
            vec![verdict.to_owned(), decision.backup.sentinel.name.to_string(), decision.reason.to_string()]
        })
        .collect();
    rows.extend(plan.leftovers.iter().map(|found| vec!["delete".to_owned(), leftover(found), "nobody needs it".to_owned()]));
    rows.extend(wal_rows(plan));
    if rows.is_empty() { "nothing there".to_owned() } else { table(&["", "WHAT", "WHY"], &rows) }
}

/// WAL files that share verdict and reason, as one row from the first to the last: there can be a hundred thousand of them.
fn wal_rows(plan: &DeletePlan) -> Vec<Vec<String>> {
    let mut rows: Vec<(String, String, String, String)> = Vec::new();
    for decision in &plan.wal {
        let name = decision.file.name.to_string();
        let (verdict, reason) = match &decision.kept_for {
            None => ("delete", NOT_NEEDED.to_owned()),
            Some(reason) => ("keep", reason.to_string()),
        };
        match rows.last_mut() {
            Some(last) if last.0 == verdict && last.3 == reason => last.2 = name,
            _ => rows.push((verdict.to_owned(), name.clone(), name, reason)),
        }
    }
    let range = |first: String, last: String| if first == last { first } else { format!("{first} … {last}") };
    rows.into_iter().map(|(verdict, first, last, reason)| vec![verdict, range(first, last), reason]).collect()
}

fn describe_report(report: &DeleteReport) -> String {
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
    let failed = report.failures.iter().map(|(name, error)| format!("failed: {name}: {}", chain(error)));
    std::iter::once(deleted).chain(pending).chain(spared).chain(failed).collect::<Vec<_>>().join("\n")
}
