//! `can-restore`: answers whether a target can be reached; the exit code tells.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::data_directory::RecoveryTarget;
use stillframe_core::flows::{BackupSelector, CanRestoreReport, CanRestoreRequest, RestoreAnswer, SEGMENTS_TO_READ, can_restore};

use super::target::{TargetOptions, any_target, selector_or_increment};
use super::view::RangeView;
use super::window::describe_ranges;
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, count, print};
use crate::wiring::World;

#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is restored. The calculation is the one by which `snapshot-fetch` chooses. A moment is reached when the \
    archived WAL holds a transaction that ended after it; a restore point or a transaction is searched in the WAL, from its end.\n\
    Exit codes: 0 yes; 1 no; 3 not proven (no private key, or too much WAL to read); 4 there is no such backup; 5 the store failed; \
    6 damaged."
)]
pub struct Options {
    /// Name of the backup or of a restore point that continues one, or LATEST [default: the newest from which the target can be reached]
    #[arg(value_parser = selector_or_increment)]
    backup: Option<BackupSelector>,
    /// A moment, a WAL position or the name of a restore point, told apart by its form
    #[arg(long, value_name = "TARGET", value_parser = any_target, group = "target")]
    to: Option<RecoveryTarget>,
    #[command(flatten)]
    target: TargetOptions,
    /// Segments of WAL that are read at most, to find the target in them
    #[arg(long, value_name = "N", default_value_t = SEGMENTS_TO_READ)]
    scan: u64,
}

/// The target cannot be reached. No error has this code.
const NO: u8 = 1;

/// It was not proven: the same code as that of a `wal-verify` that could not verify everything.
const NOT_PROVEN: u8 = 3;

#[derive(Serialize)]
struct AnswerView {
    answer: &'static str,
    reason: Option<String>,
    backup_name: Option<String>,
    backup_finish_time: Option<String>,
    timeline: Option<u32>,
    replay: Vec<RangeView>,
    replay_segments: u64,
    replay_stored_bytes: u64,
    replay_end_lsn: Option<String>,
    found_lsn: Option<String>,
    found_time: Option<String>,
    missing: Vec<RangeView>,
    missing_left_out: usize,
    unreadable: Vec<String>,
}

/// Answers.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let request = CanRestoreRequest {
        target: options.to.clone().unwrap_or_else(|| options.target.target()),
        inclusion: options.target.inclusion(),
        timeline: options.target.target_timeline,
        selector: options.backup.clone().unwrap_or(BackupSelector::Automatic),
        scan: options.scan,
    };
    let report = can_restore(&world.ports(), &request).await?;
    let view = view(&report);
    print(json, &view, || describe(&view, &report));
    Ok(match report.answer {
        RestoreAnswer::Yes => ExitCode::SUCCESS,
        RestoreAnswer::No(_) => ExitCode::from(NO),
        RestoreAnswer::NotProven(_) => ExitCode::from(NOT_PROVEN),
    })
}

fn view(report: &CanRestoreReport) -> AnswerView {
    let size = report.segment_size;
    let (missing, missing_left_out) = RangeView::listed(&report.missing, size);
    let (answer, reason) = match &report.answer {
        RestoreAnswer::Yes => ("yes", None),
        RestoreAnswer::No(reason) => ("no", Some(reason.clone())),
        RestoreAnswer::NotProven(reason) => ("not-proven", Some(reason.clone())),
    };
    let route = report.route.as_ref();
    AnswerView {
        answer,
        reason,
        backup_name: route.map(|route| route.backup.to_string()),
        backup_finish_time: report.backup.as_ref().map(|backup| backup.sentinel.finished_at.to_string()),
        timeline: route.map(|route| route.followed.get()),
        replay: route.iter().flat_map(|route| &route.replay).map(|range| RangeView::new(*range, size)).collect(),
        replay_segments: report.replay_segments,
        replay_stored_bytes: report.replay_stored_bytes,
        replay_end_lsn: route.map(|route| route.end.to_string()),
        found_lsn: report.found.as_ref().map(|mark| mark.begin.to_string()),
        found_time: report.found.as_ref().map(|mark| mark.at.to_string()),
        missing,
        missing_left_out,
        unreadable: report.unreadable.iter().map(ToString::to_string).collect(),
    }
}

fn describe(view: &AnswerView, report: &CanRestoreReport) -> String {
    let mut lines = vec![match &view.reason {
        None => view.answer.to_owned(),
        Some(reason) => format!("{}: {reason}", view.answer.replace('-', " ")),
    }];
    if let Some(name) = &view.backup_name {
        let finished = view.backup_finish_time.as_ref().map(|time| format!(", finished at {time}")).unwrap_or_default();
        lines.push(format!("backup {name}{finished}"));
    }
    if let (Some(position), Some(time)) = (&view.found_lsn, &view.found_time) {
        lines.push(format!("found at {position}, written at {time}"));
    }
    lines.extend(view.replay.iter().map(|range| format!("replay on timeline {}: {}", range.timeline, range.describe())));
    if view.replay_segments > 0 {
        let segments = count(usize::try_from(view.replay_segments).unwrap_or(usize::MAX), "segment");
        lines.push(format!("at most {segments}, {} in the archive", bytes(view.replay_stored_bytes)));
    }
    if !report.missing.is_empty() {
        lines.push(format!("missing: {}", describe_ranges(&report.missing, report.segment_size)));
    }
    lines.extend(view.unreadable.iter().map(|error| format!("not looked at, since it cannot be read: {error}")));
    lines.join("\n")
}
