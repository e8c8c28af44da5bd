//! `wal-verify`: proves that the archive holds what restoring needs; the exit code tells.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::flows::{
    AnyBackupName, BackupCheck, ContentReport, Depth, HistoryProblem, IncrementCheck, KeptState, ReadingProgress, SegmentSizeFound,
    ServerPosition, VerifyReport, VerifyRequest, wal_verify,
};
use stillframe_core::postgres::{TimelineId, WalSegment, WalSegmentSize};

use super::view::{MAX_LISTED, RangeView};
use super::wal_show::{describe_size, history};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{count, print};
use crate::parse;
use crate::wiring::World;

#[derive(Debug, Args)]
#[command(
    after_help = "Looks at each backup's own WAL, and from the oldest ordinary backup on at everything up to the newest archived \
    segment of every timeline that continues it. Gaps that no backup can reach are no alarm.\n\
    Exit codes: 0 all there; 4 files are missing, or the newest timeline is not the server's, or there is no backup; 6 files or records are damaged; \
    5 the store failed, nothing is known; 3 not everything could be verified (no private key, no known segment size, or WAL in another \
    tool's place that `[external_archive]` does not name).\n\
    WAL-G: `wal-verify integrity` is this command, `wal-verify timeline` is this command with --allow-lag."
)]
pub struct Options {
    /// Read every needed object: digest, page header, system identifier
    #[arg(long)]
    deep: bool,
    /// Objects that are read at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64), requires = "deep")]
    workers: u8,
    /// Only the way to this timeline
    #[arg(long, value_name = "N", value_parser = parse::timeline)]
    timeline: Option<TimelineId>,
    /// Only what this backup needs, ours or WAL-G's
    #[arg(long, value_name = "NAME", value_parser = parse::any_backup)]
    backup: Option<AnyBackupName>,
    /// Connect to the server, and require what it has finished but its newest N segments
    #[arg(long, value_name = "N")]
    allow_lag: Option<u64>,
    /// Segment size in MiB [default: what backups and archived segments say]
    #[arg(long, value_name = "MIB", value_parser = parse::segment_size)]
    segment_size: Option<WalSegmentSize>,
}

#[derive(Serialize)]
struct VerifyView {
    is_whole: bool,
    segment_size_bytes: u64,
    segment_size_source: &'static str,
    needed: Vec<RangeView>,
    present_segments: u64,
    missing_segments: u64,
    missing: Vec<RangeView>,
    missing_left_out: usize,
    harmless_gaps: Vec<RangeView>,
    harmless_gaps_left_out: usize,
    backups: Vec<BackupView>,
    restore_points: Vec<IncrementView>,
    histories: Vec<HistoryView>,
    newer_timelines: Vec<u32>,
    lag_segments: Option<u64>,
    contents: Option<ContentsView>,
    problems: Vec<ProblemView>,
    problems_left_out: u64,
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct BackupView {
    backup_name: String,
    kind: &'static str,
    is_whole: Option<bool>,
    wal: Option<RangeView>,
    /// What was found of the WAL that a cold backup keeps for itself; null for any other.
    kept_wal: Option<&'static str>,
    /// Who keeps its WAL, when another tool does; null for any other.
    external_archive: Option<String>,
    /// What was found of its own segments there; null for any other.
    external_wal: Option<&'static str>,
    /// What is wrong with WAL that is not in the archive; null if nothing is.
    reason: Option<String>,
    missing: Vec<RangeView>,
    missing_left_out: usize,
}

#[derive(Serialize)]
struct IncrementView {
    name: String,
    backup_name: String,
    is_whole: bool,
    missing: Vec<RangeView>,
    missing_left_out: usize,
}

#[derive(Serialize)]
struct HistoryView {
    timeline: u32,
    history: &'static str,
}

#[derive(Serialize)]
struct ContentsView {
    proven_segments: u64,
    not_verified_segments: u64,
    damaged_segments: u64,
    vanished_segments: u64,
    stopped_by: Option<String>,
}

#[derive(Serialize)]
struct ProblemView {
    file: String,
    problem: &'static str,
    reason: String,
}

/// Verifies.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let server = match options.allow_lag {
        Some(allowed_lag) => Some(server_position(&world, allowed_lag).await?),
        None => None,
    };
    let request = VerifyRequest {
        segment_size: options.segment_size,
        timeline: options.timeline,
        backup: options.backup.clone(),
        server,
        depth: if options.deep { Depth::Contents { workers: options.workers.into() } } else { Depth::Names },
    };
    let external = world.external_archive().await?;
    let is_terminal = std::io::stderr().is_terminal();
    let report =
        wal_verify(&world.ports(), &request, external.as_deref(), &|progress| show_progress(is_terminal, progress)).await?;
    let view = view(&report);
    print(json, &view, || describe(&view, report.segment_size));
    report.verdict().map_err(|error| Failure::from(error).beside_a_result())?;
    Ok(ExitCode::SUCCESS)
}

async fn server_position(world: &World, allowed_lag: u64) -> Result<ServerPosition, Failure> {
    let facts = world.connect().await?.facts().await?;
    Ok(ServerPosition {
        system_identifier: facts.system_identifier,
        timeline: facts.timeline,
        position: facts.wal_position,
        segment_size: facts.segment_size,
        allowed_lag,
    })
}

fn show_progress(is_terminal: bool, progress: ReadingProgress) {
    if is_terminal {
        let end = if progress.done == progress.total { "\n" } else { "" };
        let mut output = std::io::stderr().lock();
        let _gone = write!(output, "\rread {} of {} segments{end}", progress.done, progress.total).and_then(|()| output.flush());
    }
}

fn view(report: &VerifyReport) -> VerifyView {
    let size = report.segment_size.size;
    let ((missing, missing_left_out), (harmless_gaps, harmless_gaps_left_out)) =
        (RangeView::listed(&report.missing, size), RangeView::listed(&report.harmless, size));
    let absent = report.missing.iter().flat_map(|range| range.segments());
    let mut problems: Vec<ProblemView> = absent.take(MAX_LISTED).map(|segment| missing_view(segment, size)).collect();
    let left_out = report.missing_count().saturating_sub(problems.len() as u64);
    let contents = report.contents.as_ref();
    problems.extend(contents.into_iter().flat_map(|contents| &contents.problems).map(|problem| ProblemView {
        file: problem.file.to_string(),
        problem: if problem.is_damaged { "damaged" } else { "not-verified" },
        reason: problem.reason.clone(),
    }));
    let found = contents.map_or(0, |contents| contents.damaged + contents.not_verified + contents.vanished);
    let listed = contents.map_or(0, |contents| contents.problems.len() as u64);
    VerifyView {
        is_whole: report.verdict().is_ok(),
        segment_size_bytes: size.bytes(),
        segment_size_source: report.segment_size.source.as_str(),
        needed: report.needed.iter().map(|range| RangeView::new(*range, size)).collect(),
        present_segments: report.present,
        missing_segments: report.missing_count(),
        missing,
        missing_left_out,
        harmless_gaps,
        harmless_gaps_left_out,
        backups: report.backups.iter().map(backup_view).collect(),
        restore_points: report.increments.iter().map(|check| increment_view(check, size)).collect(),
        histories: report.histories.iter().map(history_view).collect(),
        newer_timelines: report.newer_timelines.iter().map(|timeline| timeline.get()).collect(),
        lag_segments: report.lag,
        contents: contents.map(contents_view),
        problems,
        problems_left_out: left_out + found.saturating_sub(listed),
        unreadable: report.unreadable.iter().map(ToString::to_string).collect(),
    }
}

fn missing_view(segment: WalSegment, size: WalSegmentSize) -> ProblemView {
    ProblemView { file: segment.file_name(size).to_string(), problem: "missing", reason: "it is not in the archive".to_owned() }
}

fn backup_view(check: &BackupCheck) -> BackupView {
    let (missing, missing_left_out) = RangeView::listed(&check.missing, check.segment_size);
    BackupView {
        backup_name: check.name.clone(),
        kind: check.kind.as_str(),
        is_whole: check.is_whole(),
        kept_wal: check.kept.as_ref().map(kept_state),
        external_archive: check.external.as_ref().map(|external| external.archive.describe()),
        external_wal: check.external.as_ref().map(|external| external.state.as_ref().map_or("not-verified", kept_state)),
        reason: reason(check),
        wal: check.range.map(|range| RangeView::new(range, check.segment_size)),
        missing,
        missing_left_out,
    }
}

/// What was found in another tool's place.
fn in_words(state: &str) -> &'static str {
    match state {
        "present" => "its own segments are there",
        "proven" => "its own segments were read there",
        "missing" => "not all of its own segments are there",
        "damaged" => "what is there is damaged",
        _ => "was not verified",
    }
}

/// What is wrong with WAL that is not in the archive.
fn reason(check: &BackupCheck) -> Option<String> {
    match check.elsewhere()? {
        KeptState::Damaged(reason) | KeptState::NotVerified(reason) => Some(reason.clone()),
        KeptState::Present | KeptState::Proven | KeptState::Missing => None,
    }
}

fn kept_state(state: &KeptState) -> &'static str {
    match state {
        KeptState::Present => "present",
        KeptState::Proven => "proven",
        KeptState::Missing => "missing",
        KeptState::Damaged(_) => "damaged",
        KeptState::NotVerified(_) => "not-verified",
    }
}

fn increment_view(check: &IncrementCheck, size: WalSegmentSize) -> IncrementView {
    let (missing, missing_left_out) = RangeView::listed(&check.missing, size);
    IncrementView {
        name: check.name.to_string(),
        backup_name: check.parent.to_string(),
        is_whole: check.missing.is_empty(),
        missing,
        missing_left_out,
    }
}

fn history_view(problem: &HistoryProblem) -> HistoryView {
    HistoryView { timeline: problem.timeline.get(), history: history(&problem.origin) }
}

fn contents_view(contents: &ContentReport) -> ContentsView {
    ContentsView {
        proven_segments: contents.proven,
        not_verified_segments: contents.not_verified,
        damaged_segments: contents.damaged,
        vanished_segments: contents.vanished,
        stopped_by: contents.stopped_by.as_ref().map(|error| stillframe_core::error::chain(error)),
    }
}

fn describe(view: &VerifyView, size: SegmentSizeFound) -> String {
    let mut lines = Vec::new();
    // The records that cannot be read may be of one.
    if view.backups.is_empty() && view.unreadable.is_empty() {
        lines.push("there is no backup, and so nothing to verify against".to_owned());
    }
    lines.extend(view.needed.iter().map(|range| format!("needed on timeline {}: {}", range.timeline, range.describe())));
    for backup in &view.backups {
        let verdict = match backup.is_whole {
            Some(true) => "whole",
            Some(false) => "its own WAL is missing",
            None => "its record does not tell where it ends",
        };
        let verdict = backup.kept_wal.map_or_else(|| verdict.to_owned(), |kept| format!("cold, the WAL that it keeps is {kept}"));
        let elsewhere = backup.external_archive.as_ref().zip(backup.external_wal);
        let elsewhere = elsewhere.map(|(place, state)| format!("its WAL is kept by {place}, and {}", in_words(state)));
        let verdict = elsewhere.unwrap_or(verdict);
        let reason = backup.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        lines.push(format!("backup {}: {verdict}{reason}", backup.backup_name));
        if backup.external_wal.is_some() {
            lines.extend(backup.missing.iter().map(|range| format!("missing there: {}", range.describe())));
        }
    }
    let verdict = |is_whole| if is_whole { "whole" } else { "WAL up to it is missing" };
    lines.extend(view.restore_points.iter().map(|point| format!("restore point {}: {}", point.name, verdict(point.is_whole))));
    lines.extend(view.missing.iter().map(|range| format!("missing: {}", range.describe())));
    lines.extend(view.histories.iter().map(|found| format!("history of timeline {}: {}", found.timeline, found.history)));
    let contents = view.problems.iter().filter(|problem| problem.problem != "missing");
    lines.extend(contents.map(|problem| format!("{}: {}: {}", problem.problem, problem.file, problem.reason)));
    lines.extend(view.harmless_gaps.iter().map(|range| format!("no alarm, no backup can reach it: gap {}", range.describe())));
    let left_out = view.missing_left_out + view.harmless_gaps_left_out;
    if left_out > 0 {
        lines.push(format!("{left_out} more gaps are not listed"));
    }
    lines.extend(view.newer_timelines.iter().map(|timeline| format!("timeline {timeline} is newer than the server's")));
    if let Some(lag) = view.lag_segments {
        lines.push(format!("the archive is {} behind the server", count(usize::try_from(lag).unwrap_or(usize::MAX), "segment")));
    }
    if let Some(contents) = &view.contents {
        lines.push(format!(
            "read: {} proven, {} damaged, {} not verified",
            contents.proven_segments, contents.damaged_segments, contents.not_verified_segments
        ));
    }
    lines.push(describe_size(size));
    lines.push(format!("{} needed segments are there, {} are missing", view.present_segments, view.missing_segments));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use stillframe_core::flows::{BackupKind, SizeSource};
    use stillframe_core::postgres::WalRange;

    use super::*;

    fn range(first: u64, last: u64) -> WalRange {
        WalRange { timeline: TimelineId::FIRST, first, last }
    }

    /// Of an archive without backups, in which these are missing.
    fn report(missing: Vec<WalRange>) -> VerifyReport {
        VerifyReport {
            segment_size: SegmentSizeFound { size: WalSegmentSize::DEFAULT, source: SizeSource::Backup },
            needed: Vec::new(),
            present: 0,
            missing,
            harmless: Vec::new(),
            backups: Vec::new(),
            increments: Vec::new(),
            histories: Vec::new(),
            newer_timelines: Vec::new(),
            lag: None,
            contents: None,
            unreadable: Vec::new(),
        }
    }

    #[test]
    fn people_see_what_is_missing_what_is_no_alarm_and_how_much_there_is() {
        let report = VerifyReport {
            needed: vec![range(5, 9)],
            present: 4,
            harmless: vec![range(2, 3)],
            backups: vec![BackupCheck {
                name: "sf-20261121T083214Z-9k3m2p7x".to_owned(),
                kind: BackupKind::Snapshot,
                range: Some(range(5, 5)),
                kept: None,
                external: None,
                segment_size: WalSegmentSize::DEFAULT,
                missing: Vec::new(),
            }],
            lag: Some(1),
            ..report(vec![range(7, 7)])
        };
        let view = view(&report);
        assert_eq!(
            describe(&view, report.segment_size),
            "needed on timeline 1: 000000010000000000000005 … 000000010000000000000009 (5)\n\
             backup sf-20261121T083214Z-9k3m2p7x: whole\n\
             missing: 000000010000000000000007\n\
             no alarm, no backup can reach it: gap 000000010000000000000002 … 000000010000000000000003 (2)\n\
             the archive is 1 segment behind the server\n\
             segment size 16.0 MiB (from the newest backup)\n\
             4 needed segments are there, 1 are missing"
        );
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((json["is_whole"].as_bool(), json["missing_segments"].as_u64()), (Some(false), Some(1)));
        assert_eq!(json["problems"][0]["file"], "000000010000000000000007");
    }

    #[test]
    fn without_a_backup_nothing_is_called_whole_and_people_read_why() {
        let report = report(Vec::new());
        let view = view(&report);
        let text = describe(&view, report.segment_size);
        assert!(text.starts_with("there is no backup, and so nothing to verify against\n"), "{text}");
        assert!(!view.is_whole);
    }

    #[test]
    fn a_long_list_is_cut_off_and_says_so() {
        let report = report((0..5_000).map(|number| range(number * 2, number * 2)).collect());
        let view = view(&report);
        assert_eq!((view.missing.len(), view.missing_left_out, view.missing_segments), (1_000, 4_000, 5_000));
        assert_eq!((view.problems.len(), view.problems_left_out), (1_000, 4_000));
    }
}
