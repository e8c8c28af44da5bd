//! What is there to restore from: backups, their WAL, and what nobody has cleaned up.

use std::time::Duration;

use jiff::Timestamp;

use super::{CheckRequest, Finding, Subject, Verdict};
use crate::catalog::age::oldest_first;
use crate::catalog::{Backup, BackupState, CatalogContents, DrillOutcome};
use crate::error::{Classify, ErrorClass};
use crate::flows::{Ports, VerifyError, VerifyRequest, plan_delete, settle_states, wal_verify};
use crate::postgres::ServerFacts;
use crate::retention::RetentionRule;
use crate::store::Store;

/// Restores that were made longer ago are told of: they cost storage, and keep their snapshots.
const OLD_RESTORE: Duration = Duration::from_hours(7 * 24);

/// So much may the clocks of a server and of this host differ.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(1);

/// Looks at the backups.
pub(super) async fn check_backups(
    ports: &Ports<'_>,
    request: &CheckRequest,
    external: Option<&dyn Store>,
    facts: Option<&ServerFacts>,
    findings: &mut Vec<Finding>,
) {
    // Why the store cannot be read is told of already.
    let Ok(mut contents) = ports.catalog().contents().await else { return };
    settle_states(ports, &mut contents).await;
    let now = ports.clock.now();
    findings.push(newest(&contents, request.max_backup_age, facts, now));
    findings.extend(contents.backups.iter().filter_map(defect));
    let given_up: Vec<&str> =
        contents.intents.iter().filter(|intent| intent.expires_at < now).map(|intent| intent.name.as_str()).collect();
    if !given_up.is_empty() {
        let finding = Finding::warning(Subject::Backups, format!("interrupted and not settled: {}", given_up.join(", ")));
        findings.push(finding.with_hint("`stillframe reconcile` shows what is left of them"));
    }
    if !contents.backups.is_empty() {
        findings.push(check_wal(ports, external).await);
    }
    if let Some(rule) = &request.retention {
        findings.push(check_retention(ports, rule).await);
    }
    findings.extend(old_restores(ports, now).await);
}

/// The newest backup of this cluster that can be restored.
fn newest(contents: &CatalogContents, max_age: Option<Duration>, facts: Option<&ServerFacts>, now: Timestamp) -> Finding {
    let is_ours = |backup: &&Backup| facts.is_none_or(|facts| facts.system_identifier == backup.sentinel.system_identifier);
    let usable = |backup: &&Backup| !backup.is_condemned && backup.state == BackupState::Ready;
    let ours = contents.backups.iter().filter(is_ours).filter(usable);
    let Some(newest) = oldest_first(ours, |backup| backup.sentinel.age(), now).pop() else {
        let finding = if max_age.is_some() { Finding::critical } else { Finding::warning };
        return finding(Subject::Backups, "there is no backup of this cluster that can be restored")
            .with_hint("take one: `stillframe snapshot-push`");
    };
    let since = now.duration_since(newest.sentinel.finished_at);
    let age = since.unsigned_abs();
    if since.is_negative() && age > CLOCK_TOLERANCE {
        let message = format!("the newest backup, {}, ends {} from now", newest.sentinel.name, in_words(age));
        return Finding::warning(Subject::Backups, message)
            .with_hint("the clock of its server was ahead, or this one is behind: nobody can tell how old it is");
    }
    let message = format!("the newest backup, {}, is {} old", newest.sentinel.name, in_words(age));
    match max_age {
        Some(max_age) if age > max_age => {
            Finding::critical(Subject::Backups, format!("{message}, more than {}", in_words(max_age)))
                .with_hint("look at what should have taken one, or take one: `stillframe snapshot-push`")
        }
        _ => Finding::ok(Subject::Backups, message),
    }
}

/// What is wrong with a backup that is listed.
fn defect(backup: &Backup) -> Option<Finding> {
    let name = &backup.sentinel.name;
    if let BackupState::Failed(reason) = &backup.state {
        let finding = Finding::warning(Subject::Backups, format!("the snapshots of {name} failed: {reason}"));
        return Some(finding.with_hint(format!("`stillframe delete target {name} --confirm` removes it")));
    }
    if let Some(drill) = &backup.drill
        && let DrillOutcome::Failed(reason) = &drill.outcome
    {
        let finding = Finding::critical(Subject::Backups, format!("the drill of {name} failed at {}: {reason}", drill.at));
        return Some(finding.with_hint(format!("`stillframe drill {name}` tries it again")));
    }
    None
}

async fn check_wal(ports: &Ports<'_>, external: Option<&dyn Store>) -> Finding {
    match wal_verify(ports, &VerifyRequest::default(), external, &|_| {}).await {
        Ok(report) => match report.verdict() {
            Ok(()) => Finding::ok(Subject::Wal, "every backup has its WAL, and recovery from them has no gap"),
            // Nothing is wrong with it, and nobody here can do anything about it.
            Err(error @ VerifyError::External { .. }) => Finding::skipped(Subject::Wal, error.to_string()),
            Err(error) if error.class() == ErrorClass::Config => {
                Finding { verdict: Verdict::Warning, ..Finding::failed(Subject::Wal, &error) }
            }
            Err(error) => Finding::failed(Subject::Wal, &error),
        },
        Err(error) => Finding::failed(Subject::Wal, &error),
    }
}

/// What a deletion by the configured rule would leave.
async fn check_retention(ports: &Ports<'_>, rule: &RetentionRule) -> Finding {
    match plan_delete(ports, rule).await {
        Ok(plan) => {
            let removed = plan.removed_backups().count();
            let kept = plan.backups.len() - removed;
            let message = format!("the configured rule keeps {kept} and would delete {removed}");
            if kept == 0 && removed > 0 {
                return Finding::critical(Subject::Retention, message).with_hint("the rule leaves no backup at all");
            }
            Finding::ok(Subject::Retention, message)
        }
        Err(error) => Finding::failed(Subject::Retention, &error),
    }
}

async fn old_restores(ports: &Ports<'_>, now: Timestamp) -> Option<Finding> {
    let (restores, unreadable) = match ports.restores().all().await {
        Ok(found) => found,
        Err(error) => return Some(Finding::failed(Subject::Restores, &error)),
    };
    if let Some(error) = unreadable.first() {
        return Some(Finding::failed(Subject::Restores, error));
    }
    let old = restores.iter().filter(|restore| now.duration_since(restore.begun_at).unsigned_abs() > OLD_RESTORE);
    let old: Vec<String> = old.map(|restore| format!("{} on {}", restore.destination.display(), restore.hostname)).collect();
    if old.is_empty() {
        return None;
    }
    let finding =
        Finding::warning(Subject::Restores, format!("restored more than 7 days ago and not given back: {}", old.join(", ")));
    Some(finding.with_hint("`stillframe snapshot-release DESTINATION` gives one back; until then its snapshot cannot be deleted"))
}

/// A duration for people, in its two largest units.
fn in_words(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
