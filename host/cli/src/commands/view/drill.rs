//! What a drill found, in JSON and in words.

use std::time::Duration;

use serde::Serialize;
use stillframe_core::catalog::{CheckFinding, DrillCheck, DrillOutcome, DrillRecord};

/// The last drill of a backup, in JSON.
#[derive(Serialize)]
pub struct DrillView {
    /// `proven` or `failed`.
    outcome: &'static str,
    /// Why it failed; null when it did not.
    reason: Option<String>,
    at: String,
    hostname: String,
    target: String,
    reached_lsn: Option<String>,
    restore_seconds: f64,
    recovery_seconds: f64,
    checks: Vec<CheckView>,
}

#[derive(Serialize)]
struct CheckView {
    check: String,
    /// `passed`, `failed` or `skipped`.
    finding: &'static str,
    /// Why it failed or was skipped; null when it passed.
    reason: Option<String>,
    seconds: f64,
}

impl From<&DrillRecord> for DrillView {
    fn from(record: &DrillRecord) -> Self {
        let (outcome, reason) = match &record.outcome {
            DrillOutcome::Proven => ("proven", None),
            DrillOutcome::Failed(reason) => ("failed", Some(reason.clone())),
        };
        Self {
            outcome,
            reason,
            at: record.at.to_string(),
            hostname: record.hostname.clone(),
            target: record.target.clone(),
            reached_lsn: record.reached.map(|position| position.to_string()),
            restore_seconds: record.restore_time.as_secs_f64(),
            recovery_seconds: record.recovery_time.as_secs_f64(),
            checks: record.checks.iter().map(CheckView::from).collect(),
        }
    }
}

impl From<&DrillCheck> for CheckView {
    fn from(check: &DrillCheck) -> Self {
        let (finding, reason) = in_words(&check.finding);
        Self { check: check.name.clone(), finding, reason: reason.cloned(), seconds: check.time.as_secs_f64() }
    }
}

fn in_words(finding: &CheckFinding) -> (&'static str, Option<&String>) {
    match finding {
        CheckFinding::Passed => ("passed", None),
        CheckFinding::Failed(reason) => ("failed", Some(reason)),
        CheckFinding::Skipped(reason) => ("skipped", Some(reason)),
    }
}

/// The drill in a few words, for a list.
pub fn remark(record: &DrillRecord) -> String {
    let day = record.at.strftime("%Y-%m-%d");
    match record.outcome {
        DrillOutcome::Proven => format!("proven {day} (recovered in {})", duration(record.recovery_time)),
        DrillOutcome::Failed(_) => format!("failed its drill {day}"),
    }
}

/// All of it: names in front, as `backup-show` has them.
pub fn lines(record: &DrillRecord) -> Vec<String> {
    let outcome = match &record.outcome {
        DrillOutcome::Proven => "proven".to_owned(),
        DrillOutcome::Failed(reason) => format!("failed: {reason}"),
    };
    let reached = record.reached.map_or_else(|| "nothing".to_owned(), |position| position.to_string());
    let mut lines = vec![
        format!("drill              {outcome}"),
        format!("drilled            {} on {}", record.at, record.hostname),
        format!("drill target       {}; reached {reached}", record.target),
        format!("restore time       {}", duration(record.restore_time)),
        format!("recovery time      {}", duration(record.recovery_time)),
    ];
    lines.extend(record.checks.iter().map(|check| {
        let (finding, reason) = in_words(&check.finding);
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("check              {} {finding}{reason} ({})", check.name, duration(check.time))
    }));
    lines
}

/// Seconds with a tenth up to a minute, and whole ones beyond: `0.4 s`, `75 s`.
fn duration(time: Duration) -> String {
    if time < Duration::from_mins(1) { format!("{:.1} s", time.as_secs_f64()) } else { format!("{} s", time.as_secs()) }
}
