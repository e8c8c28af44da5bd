//! `window`: shows what can be recovered, and why no more.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::flows::{WindowReport, WindowTimes, window};
use stillframe_core::postgres::{Lsn, WalRange, WalSegmentSize};
use stillframe_core::window::{Gap, GapReason, IntervalEnd, Point, RecoverableInterval, TimelineOrigin, Unusable, UnusableBackup};

use super::view::RangeView;
use super::wal_show::{describe_size, history};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{count, print};
use crate::parse;
use crate::wiring::World;

#[derive(Debug, Args)]
#[command(
    after_help = "Every position between the ends of an interval can be recovered to, from the backup that it names. The time of an \
    end is that of the last transaction in the archived WAL, where that can be read here.\n\
    Exit codes: 0 something can be recovered; 1 nothing can; 5 the store failed, nothing is known."
)]
pub struct Options {
    /// Do not read WAL for the times of the ends
    #[arg(long)]
    no_times: bool,
    /// Segment size in MiB [default: what backups and archived segments say]
    #[arg(long, value_name = "MIB", value_parser = parse::segment_size)]
    segment_size: Option<WalSegmentSize>,
}

/// Nothing can be recovered.
pub const NOTHING: u8 = 1;

#[derive(Serialize)]
struct WindowView {
    segment_size_bytes: u64,
    segment_size_source: &'static str,
    intervals: Vec<IntervalView>,
    gaps: Vec<GapView>,
    unusable_backups: Vec<UnusableView>,
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct PointView {
    lsn: String,
    time: Option<String>,
}

#[derive(Serialize)]
struct IntervalView {
    timeline: u32,
    from: PointView,
    to: PointView,
    backup_name: String,
    backups: usize,
    followed_timeline: u32,
    ends_because: &'static str,
    left_by_timeline: Option<u32>,
    missing: Vec<RangeView>,
    missing_left_out: usize,
}

#[derive(Serialize)]
struct GapView {
    timeline: u32,
    from_lsn: String,
    to_lsn: String,
    reasons: Vec<ReasonView>,
}

#[derive(Serialize)]
struct ReasonView {
    reason: &'static str,
    missing: Vec<RangeView>,
    missing_left_out: usize,
    history: Option<&'static str>,
    backup_name: Option<String>,
    detail: Option<String>,
}

#[derive(Serialize)]
struct UnusableView {
    backup_name: String,
    timeline: u32,
    finish_lsn: String,
    reason: &'static str,
    detail: Option<String>,
    missing: Vec<RangeView>,
    missing_left_out: usize,
}

/// Shows it.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let times = if options.no_times { WindowTimes::LeftOut } else { WindowTimes::Read };
    let report = window(&world.ports(), options.segment_size, times).await?;
    let view = view(&report);
    print(json, &view, || describe(&view, &report));
    // Records that cannot be read may be of a backup: their error tells what to do.
    if view.intervals.is_empty()
        && let Some(error) = report.unreadable.into_iter().next()
    {
        return Err(Failure::from(error).beside_a_result());
    }
    Ok(if view.intervals.is_empty() { ExitCode::from(NOTHING) } else { ExitCode::SUCCESS })
}

fn view(report: &WindowReport) -> WindowView {
    let size = report.segment_size.size;
    WindowView {
        segment_size_bytes: size.bytes(),
        segment_size_source: report.segment_size.source.as_str(),
        intervals: report.window.intervals.iter().map(|interval| interval_view(interval, size)).collect(),
        gaps: report.window.gaps.iter().map(|gap| gap_view(gap, size)).collect(),
        unusable_backups: report.window.unusable.iter().map(|backup| unusable_view(backup, size)).collect(),
        unreadable: report.unreadable.iter().map(ToString::to_string).collect(),
    }
}

fn point(point: Point) -> PointView {
    PointView { lsn: point.lsn.to_string(), time: point.time.map(|time| time.to_string()) }
}

fn interval_view(interval: &RecoverableInterval, size: WalSegmentSize) -> IntervalView {
    let (ends_because, missing, left_by_timeline) = match &interval.ends_because {
        IntervalEnd::ArchiveEnds => ("archive-ends", &[][..], None),
        IntervalEnd::Missing(missing) => ("missing", &missing[..], None),
        IntervalEnd::Standalone => ("standalone", &[][..], None),
        IntervalEnd::LeftBy(timeline) => ("left", &[][..], Some(timeline.get())),
    };
    let (missing, missing_left_out) = RangeView::listed(missing, size);
    IntervalView {
        timeline: interval.timeline.get(),
        from: point(interval.from),
        to: point(interval.to),
        backup_name: interval.backup.to_string(),
        backups: interval.backups,
        followed_timeline: interval.followed.get(),
        ends_because,
        left_by_timeline,
        missing,
        missing_left_out,
    }
}

fn gap_view(gap: &Gap, size: WalSegmentSize) -> GapView {
    GapView {
        timeline: gap.timeline.get(),
        from_lsn: gap.from.to_string(),
        to_lsn: gap.to.to_string(),
        reasons: gap.reasons.iter().map(|reason| reason_view(reason, size)).collect(),
    }
}

fn reason_view(reason: &GapReason, size: WalSegmentSize) -> ReasonView {
    let plain =
        |reason| ReasonView { reason, missing: Vec::new(), missing_left_out: 0, history: None, backup_name: None, detail: None };
    match reason {
        GapReason::Missing(ranges) => {
            let (missing, missing_left_out) = RangeView::listed(ranges, size);
            ReasonView { missing, missing_left_out, ..plain("missing") }
        }
        GapReason::NoBackup => plain("no-backup"),
        GapReason::History(origin) => ReasonView { history: Some(history(origin)), ..plain("history") },
        GapReason::Backup(backup) => {
            let (_, detail, _) = unusable(&backup.reason);
            ReasonView { backup_name: Some(backup.name.to_string()), detail, ..plain(unusable(&backup.reason).0) }
        }
    }
}

fn unusable_view(backup: &UnusableBackup, size: WalSegmentSize) -> UnusableView {
    let (reason, detail, missing) = unusable(&backup.reason);
    let (missing, missing_left_out) = RangeView::listed(missing, size);
    UnusableView {
        backup_name: backup.name.to_string(),
        timeline: backup.timeline.get(),
        finish_lsn: backup.stop.to_string(),
        reason,
        detail,
        missing,
        missing_left_out,
    }
}

fn unusable(reason: &Unusable) -> (&'static str, Option<String>, &[WalRange]) {
    match reason {
        Unusable::NotReady => ("not-ready", None, &[]),
        Unusable::Failed(why) => ("failed", Some(why.clone()), &[]),
        Unusable::Condemned => ("condemned", None, &[]),
        Unusable::External(place) => ("external-archive", Some(place.clone()), &[]),
        Unusable::WalMissing(missing) => ("wal-missing", None, missing),
        Unusable::OtherCluster(cluster) => ("other-cluster", Some(cluster.to_string()), &[]),
        Unusable::OtherSegmentSize => ("other-segment-size", None, &[]),
        Unusable::History(origin) => ("history", Some(history(origin).to_owned()), &[]),
    }
}

fn describe(view: &WindowView, report: &WindowReport) -> String {
    let size = report.segment_size.size;
    let mut lines = Vec::new();
    if view.intervals.is_empty() {
        lines.push("nothing can be recovered".to_owned());
    }
    let mut timelines: Vec<u32> =
        view.intervals.iter().map(|it| it.timeline).chain(view.gaps.iter().map(|gap| gap.timeline)).collect();
    timelines.sort_unstable();
    timelines.dedup();
    for timeline in timelines {
        lines.push(format!("timeline {timeline}"));
        let intervals = report.window.intervals.iter().filter(|it| it.timeline.get() == timeline);
        let gaps = report.window.gaps.iter().filter(|gap| gap.timeline.get() == timeline);
        let mut parts: Vec<(Lsn, bool, String)> = intervals.map(|it| (it.from.lsn, true, describe_interval(it, size))).collect();
        parts.extend(gaps.map(|gap| (gap.from, false, describe_gap(gap, size))));
        parts.sort();
        lines.extend(parts.into_iter().map(|(_, _, text)| text));
    }
    let elsewhere = view.unusable_backups.iter().filter(|backup| backup.reason == "other-cluster");
    lines.extend(elsewhere.map(|backup| format!("backup {} is of a cluster that was here before", backup.backup_name)));
    lines.extend(view.unreadable.iter().map(|error| format!("not looked at, since it cannot be read: {error}")));
    lines.push(describe_size(report.segment_size));
    lines.join("\n")
}

fn describe_point(point: Point) -> String {
    point.time.map_or_else(|| point.lsn.to_string(), |time| format!("{} ({time})", point.lsn))
}

fn describe_interval(interval: &RecoverableInterval, size: WalSegmentSize) -> String {
    let end = match &interval.ends_because {
        IntervalEnd::ArchiveEnds => "the archive ends there".to_owned(),
        IntervalEnd::Missing(missing) => format!("missing: {}", describe_ranges(missing, size)),
        IntervalEnd::Standalone => "the backup stands alone".to_owned(),
        IntervalEnd::LeftBy(timeline) => format!("timeline {timeline} left it there"),
    };
    let backups = if interval.backups > 1 { format!(", {} in it", count(interval.backups, "backup")) } else { String::new() };
    format!(
        "  recoverable {} … {}; from backup {}{backups}; {end}",
        describe_point(interval.from),
        describe_point(interval.to),
        interval.backup
    )
}

fn describe_gap(gap: &Gap, size: WalSegmentSize) -> String {
    let reasons: Vec<String> = gap.reasons.iter().map(|reason| describe_reason(reason, size)).collect();
    format!("  not recoverable {} … {}: {}", gap.from, gap.to, reasons.join("; "))
}

fn describe_reason(reason: &GapReason, size: WalSegmentSize) -> String {
    match reason {
        GapReason::Missing(missing) => format!("missing: {}", describe_ranges(missing, size)),
        GapReason::NoBackup => "no backup reaches it".to_owned(),
        GapReason::History(origin) => match origin {
            TimelineOrigin::Damaged(why) => format!("its history is damaged: {why}"),
            TimelineOrigin::Unreadable(why) => format!("its history cannot be read here: {why}"),
            TimelineOrigin::First | TimelineOrigin::Known(_) | TimelineOrigin::Missing => "its history is missing".to_owned(),
        },
        GapReason::Backup(backup) => {
            let why = match &backup.reason {
                Unusable::NotReady => "is not known to be ready".to_owned(),
                Unusable::Failed(why) => format!("failed: {why}"),
                Unusable::Condemned => "is being deleted".to_owned(),
                Unusable::External(place) => format!("has its WAL in another archive, which is not looked at: {place}"),
                Unusable::WalMissing(missing) => format!("lacks WAL of its own: {}", describe_ranges(missing, size)),
                Unusable::OtherCluster(cluster) => format!("is of the cluster {cluster}, which was here before"),
                Unusable::OtherSegmentSize => "is of a time when segments had another size".to_owned(),
                Unusable::History(_) => "lies on a timeline whose history does not lead to it".to_owned(),
            };
            format!("backup {} {why}", backup.name)
        }
    }
}

/// More than these are counted only.
const RANGES_IN_A_LINE: usize = 5;

/// Stretches in words.
pub fn describe_ranges(ranges: &[WalRange], size: WalSegmentSize) -> String {
    let named: Vec<String> = ranges.iter().take(RANGES_IN_A_LINE).map(|range| RangeView::new(*range, size).describe()).collect();
    let more = ranges.len().saturating_sub(RANGES_IN_A_LINE);
    if more == 0 { named.join(", ") } else { format!("{} and {more} more stretches", named.join(", ")) }
}

#[cfg(test)]
mod tests {
    use stillframe_core::flows::{SegmentSizeFound, SizeSource};
    use stillframe_core::postgres::TimelineId;
    use stillframe_core::window::Window;

    use super::*;

    #[test]
    fn people_see_intervals_and_gaps_in_order_and_why() {
        let missing = vec![WalRange { timeline: TimelineId::FIRST, first: 7, last: 7 }];
        let at = |number: u64| Lsn(number << 24);
        let interval = RecoverableInterval {
            timeline: TimelineId::FIRST,
            backup: "sf-20261121T083214Z-9k3m2p7x".to_owned().try_into().unwrap(),
            backups: 2,
            from: Point { lsn: Lsn(0x0400_0028), time: Some("2026-11-21T08:32:14Z".parse().unwrap()) },
            to: Point { lsn: at(7), time: None },
            followed: TimelineId::FIRST,
            ends_because: IntervalEnd::Missing(missing.clone()),
        };
        let gap = |from, to, reasons| Gap { timeline: TimelineId::FIRST, from, to, reasons };
        let report = WindowReport {
            segment_size: SegmentSizeFound { size: WalSegmentSize::DEFAULT, source: SizeSource::Backup },
            window: Window {
                gaps: vec![
                    gap(at(2), Lsn(0x0400_0028), vec![GapReason::NoBackup]),
                    gap(at(7), at(9), vec![GapReason::Missing(missing), GapReason::NoBackup]),
                ],
                intervals: vec![interval],
                unusable: Vec::new(),
            },
            unreadable: Vec::new(),
        };
        let view = view(&report);
        assert_eq!(
            describe(&view, &report),
            "timeline 1\n  \
               not recoverable 0/2000000 … 0/4000028: no backup reaches it\n  \
               recoverable 0/4000028 (2026-11-21T08:32:14Z) … 0/7000000; from backup sf-20261121T083214Z-9k3m2p7x, 2 backups in it; \
               missing: 000000010000000000000007\n  \
               not recoverable 0/7000000 … 0/9000000: missing: 000000010000000000000007; no backup reaches it\n\
             segment size 16.0 MiB (from the newest backup)"
        );
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["intervals"][0]["ends_because"], "missing");
        assert_eq!(json["gaps"][1]["reasons"][0]["missing"][0]["first"], "000000010000000000000007");
    }
}
