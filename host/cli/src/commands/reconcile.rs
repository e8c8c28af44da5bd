//! `reconcile`: shows what catalog and storage do not agree about; with `--confirm`, settles it.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use stillframe_core::catalog::{BackupName, process_space};
use stillframe_core::error::chain;
use stillframe_core::flows::{
    Action, Deed, Discrepancy, Outcome, ReconcilePlan, ReconcileReport, ReconcileRequest, Remedy, apply_reconcile, plan_reconcile,
};
use stillframe_core::postgres::{PgControl, SystemIdentifier};
use stillframe_core::provider::total_bytes;

use crate::common::Common;
use crate::config::host_name;
use crate::exit::Failure;
use crate::output::{bytes, count, or_dash, print, table};
use crate::progress::ProgressOptions;
use crate::wiring::{World, lease_request};

#[derive(Debug, Args)]
pub struct Options {
    /// Settle what can be settled; without it, only show it
    #[arg(long)]
    confirm: bool,
    /// Take the snapshots of this name for this store's, although they do not say so; may be given more than once
    #[arg(long, value_name = "NAME")]
    claim: Vec<BackupName>,
    /// Leave snapshots that are in no record alone until they are so old
    #[arg(long, value_name = "SECONDS", default_value_t = ReconcileRequest::MIN_AGE.as_secs())]
    min_age: u64,
    #[command(flatten)]
    pub progress: ProgressOptions,
}

#[derive(Serialize)]
struct View {
    is_dry_run: bool,
    listed_sets: usize,
    findings: Vec<FindingView>,
    unknown_providers: Vec<UnknownView>,
    stopped: Option<String>,
}

#[derive(Serialize)]
struct FindingView {
    case: &'static str,
    subject: String,
    providers: Vec<String>,
    since: Option<Timestamp>,
    age_secs: Option<i64>,
    size_bytes: Option<u64>,
    reason: String,
    /// What would be done; none when nothing can be.
    action: Option<&'static str>,
    /// What the operator can decide.
    advice: Option<String>,
    /// `done`, `pending`, `changed` or `failed`; none when nothing was done.
    outcome: Option<&'static str>,
    error: Option<String>,
}

#[derive(Serialize)]
struct UnknownView {
    provider: String,
    reason: String,
}

/// Shows, and settles if the operator confirms.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let request = ReconcileRequest {
        providers: world.config.providers.keys().cloned().collect(),
        clusters: own_cluster(&world),
        hostname: host_name(),
        process_space: process_space(),
        min_age: Duration::from_secs(options.min_age),
        claimed: options.claim.iter().cloned().collect(),
    };
    let ports = world.ports();
    let plan = plan_reconcile(&ports, &request).await?;
    let report = if options.confirm {
        apply_reconcile(&ports, &request, &plan, &lease_request("reconcile")).await
    } else {
        ReconcileReport::default()
    };
    let now = Timestamp::now();
    print(json, &view(&plan, &report, options, now), || describe(&plan, &report, options, now));
    // What failed counts more than what could not be judged.
    let result = report.into_result().and_then(|()| plan.into_result());
    result.map_err(|error| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}

/// The cluster of the configured data directory, should the catalog have lost everything. Where there is none, the catalog must do.
fn own_cluster(world: &World) -> BTreeSet<SystemIdentifier> {
    let control = world.config.pgdata.as_ref().and_then(|pgdata| std::fs::read(pgdata.join(PgControl::PATH)).ok());
    control.and_then(|bytes| PgControl::parse(&bytes).ok()).map(|control| control.system_identifier()).into_iter().collect()
}

fn view(plan: &ReconcilePlan, report: &ReconcileReport, options: &Options, now: Timestamp) -> View {
    let finding = |finding: &Discrepancy| {
        let deed = deed(report, finding);
        FindingView {
            case: finding.case.as_str(),
            subject: finding.subject.clone(),
            providers: finding.providers.iter().map(ToString::to_string).collect(),
            since: finding.since,
            age_secs: finding.since.map(|since| now.duration_since(since).as_secs()),
            size_bytes: finding.size_bytes,
            reason: finding.reason.clone(),
            action: finding.action().map(Action::as_str),
            advice: advice(finding),
            outcome: deed.map(|deed| deed.outcome.as_ref().map_or("failed", |outcome| word(*outcome))),
            error: deed.and_then(|deed| deed.outcome.as_ref().err()).map(|error| chain(error)),
        }
    };
    View {
        is_dry_run: !options.confirm,
        listed_sets: plan.listed,
        findings: plan.findings.iter().map(finding).collect(),
        unknown_providers: plan
            .unknown
            .iter()
            .map(|error| UnknownView { provider: error.provider.to_string(), reason: chain(error) })
            .collect(),
        stopped: report.stopped.as_ref().map(|error| chain(error)),
    }
}

fn deed<'a>(report: &'a ReconcileReport, finding: &Discrepancy) -> Option<&'a Deed> {
    report.deeds.iter().find(|deed| deed.finding == *finding)
}

fn advice(finding: &Discrepancy) -> Option<String> {
    match &finding.remedy {
        Remedy::Decide(advice) => Some(advice.clone()),
        Remedy::Act(_) | Remedy::Wait => None,
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Pending => "pending",
        Outcome::Changed => "changed",
    }
}

fn describe(plan: &ReconcilePlan, report: &ReconcileReport, options: &Options, now: Timestamp) -> String {
    let mut text = Vec::new();
    if plan.findings.is_empty() {
        let answered = if plan.unknown.is_empty() { "catalog and storage agree" } else { "nothing else was found" };
        text.push(format!("{answered}: {}", count(plan.listed, "snapshot set")));
    } else {
        let rows: Vec<Vec<String>> = plan.findings.iter().map(|finding| row(report, finding, now)).collect();
        text.push(table(&["CASE", "WHAT", "PROVIDER", "AGE", "SIZE", "DO", "WHY"], &rows));
    }
    let failed = report.deeds.iter().filter_map(|deed| Some((deed, deed.outcome.as_ref().err()?)));
    let failed = failed.map(|(deed, error)| format!("failed: {}: {}", deed.finding.subject, chain(error)));
    let advice = plan.findings.iter().filter_map(|finding| Some(format!("{}: {}", finding.subject, advice(finding)?)));
    let unknown = plan.unknown.iter().map(|error| format!("not judged: {}", chain(error)));
    let stopped = report.stopped.iter().map(|error| format!("stopped: {}", chain(error)));
    let lines: Vec<String> = failed.chain(stopped).chain(advice).chain(unknown).collect();
    if !lines.is_empty() {
        text.push(lines.join("\n"));
    }
    let actions = plan.actions().count();
    if !options.confirm && actions > 0 {
        let size = total_bytes(plan.actions().filter(|finding| frees(finding)).map(|finding| finding.size_bytes));
        let freed = size.filter(|size| *size > 0).map_or_else(String::new, |size| format!(", which frees up to {}", bytes(size)));
        text.push(format!("to settle: {}{freed}; add --confirm to do it", count(actions, "finding")));
    }
    text.join("\n\n")
}

/// Whether snapshots go by it.
fn frees(finding: &Discrepancy) -> bool {
    matches!(finding.action(), Some(Action::Undo(_) | Action::Delete(_) | Action::FinishDeletion(_)))
}

fn row(report: &ReconcileReport, finding: &Discrepancy, now: Timestamp) -> Vec<String> {
    let action = finding.action().map(Action::as_str);
    let outcome = deed(report, finding).map(|deed| deed.outcome.as_ref().map_or("failed", |outcome| word(*outcome)));
    let doing = match (action, outcome) {
        (Some(action), Some(outcome)) => format!("{action}: {outcome}"),
        (Some(action), None) => action.to_owned(),
        (None, _) => "-".to_owned(),
    };
    vec![
        finding.case.as_str().to_owned(),
        finding.subject.clone(),
        or_dash(
            Some(finding.providers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
                .filter(|names| !names.is_empty()),
        ),
        or_dash(finding.since.map(|since| age(since, now))),
        or_dash(finding.size_bytes.map(bytes)),
        doing,
        finding.reason.clone(),
    ]
}

/// How long ago, in the largest unit that says something.
fn age(since: Timestamp, now: Timestamp) -> String {
    let secs = now.duration_since(since).as_secs().max(0);
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} d", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_unit_that_says_something() {
        let now: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        let ago = |secs: u64| age(now - Duration::from_secs(secs), now);
        assert_eq!([ago(0), ago(119), ago(120), ago(7_199)], ["0 s", "119 s", "2 min", "119 min"]);
        assert_eq!([ago(7_200), ago(172_799), ago(172_800)], ["2 h", "47 h", "2 d"]);
        assert_eq!(age(now + Duration::from_secs(5), now), "0 s", "a clock that is ahead");
    }
}
