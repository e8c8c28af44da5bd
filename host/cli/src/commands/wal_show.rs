//! `wal-show`: what the archive holds, by timeline.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use stillframe_core::flows::{SegmentSizeFound, SizeSource, TimelineInventory, wal_show};
use stillframe_core::postgres::{WalRange, WalSegmentSize};
use stillframe_core::window::TimelineOrigin;

use super::view::{MAX_LISTED, RangeView};
use crate::common::Common;
use crate::exit::Failure;
use crate::output::{bytes, or_dash, print, table};
use crate::parse;
use crate::wiring::World;

/// Gaps of one timeline that people see.
const MAX_GAPS: usize = 100;

#[derive(Debug, Args)]
pub struct Options {
    /// Segment size in MiB [default: what backups and archived segments say]
    #[arg(long, value_name = "MIB", value_parser = parse::segment_size)]
    segment_size: Option<WalSegmentSize>,
}

#[derive(Serialize)]
struct InventoryView {
    segment_size_bytes: u64,
    segment_size_source: &'static str,
    timelines: Vec<TimelineView>,
    unreadable: Vec<String>,
}

#[derive(Serialize)]
struct TimelineView {
    timeline: u32,
    parent: Option<u32>,
    switch_lsn: Option<String>,
    history: &'static str,
    segments: u64,
    stored_bytes: u64,
    first_wal_file: Option<String>,
    last_wal_file: Option<String>,
    ranges: Vec<RangeView>,
    ranges_left_out: usize,
    missing_segments: u64,
    gaps: Vec<RangeView>,
    gaps_left_out: usize,
    partials: Vec<String>,
    backups: Vec<BackupView>,
}

#[derive(Serialize)]
struct BackupView {
    backup_name: String,
    kind: &'static str,
}

/// Shows.
pub async fn run(common: &Common, options: &Options, json: bool) -> Result<ExitCode, Failure> {
    let world = World::open(common).await?;
    let inventory = wal_show(&world.ports(), options.segment_size).await?;
    let view = InventoryView {
        segment_size_bytes: inventory.segment_size.size.bytes(),
        segment_size_source: inventory.segment_size.source.as_str(),
        timelines: inventory.timelines.iter().map(|timeline| view(timeline, inventory.segment_size.size)).collect(),
        unreadable: inventory.unreadable.iter().map(ToString::to_string).collect(),
    };
    print(json, &view, || describe(&view, inventory.segment_size));
    // What is shown is right; that not every backup is there must not go unnoticed.
    match inventory.unreadable.into_iter().next() {
        Some(error) => Err(Failure::from(error).beside_a_result()),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn view(found: &TimelineInventory, size: WalSegmentSize) -> TimelineView {
    let parent = found.origin.parent();
    let whole = found.ranges.first().zip(found.ranges.last());
    let whole = whole.map(|(first, last)| RangeView::new(WalRange { last: last.last, ..*first }, size));
    let ((ranges, ranges_left_out), (gaps, gaps_left_out)) =
        (RangeView::listed(&found.ranges, size), RangeView::listed(&found.gaps, size));
    TimelineView {
        timeline: found.timeline.get(),
        parent: parent.map(|fork| fork.timeline.get()),
        switch_lsn: parent.map(|fork| fork.position.to_string()),
        history: history(&found.origin),
        segments: found.segments,
        stored_bytes: found.stored_bytes,
        first_wal_file: whole.as_ref().map(|range| range.first.clone()),
        last_wal_file: whole.map(|range| range.last),
        ranges,
        ranges_left_out,
        missing_segments: found.gaps.iter().map(|gap| gap.last - gap.first + 1).sum(),
        gaps,
        gaps_left_out,
        partials: found.partials.iter().map(ToString::to_string).collect(),
        backups: found
            .backups
            .iter()
            .map(|backup| BackupView { backup_name: backup.name.clone(), kind: backup.kind.as_str() })
            .collect(),
    }
}

/// The state of a timeline's history, as JSON names it.
pub fn history(origin: &TimelineOrigin) -> &'static str {
    match origin {
        TimelineOrigin::First => "none",
        TimelineOrigin::Known(_) => "present",
        TimelineOrigin::Missing => "missing",
        TimelineOrigin::Damaged(_) => "damaged",
        TimelineOrigin::Unreadable(_) => "unreadable",
    }
}

/// The segment size, and how it is known, in words.
pub fn describe_size(found: SegmentSizeFound) -> String {
    let source = match found.source {
        SizeSource::Given => "as given".to_owned(),
        SizeSource::Backup => "from the newest backup".to_owned(),
        SizeSource::Header(name) => format!("from the header of {name}"),
        SizeSource::WalGBackups => "from the names of WAL-G's backups".to_owned(),
        SizeSource::Assumed => "assumed: nothing tells it; --segment-size does".to_owned(),
    };
    format!("segment size {} ({source})", bytes(found.size.bytes()))
}

fn describe(view: &InventoryView, size: SegmentSizeFound) -> String {
    if view.timelines.is_empty() {
        return "the archive is empty".to_owned();
    }
    let rows: Vec<Vec<String>> = view.timelines.iter().map(row).collect();
    let header = ["TIMELINE", "PARENT", "SWITCHED AT", "HISTORY", "FIRST", "LAST", "SEGMENTS", "STORED", "GAPS", "BACKUPS"];
    let mut lines = vec![table(&header, &rows), describe_size(size)];
    for timeline in &view.timelines {
        let shown = timeline.gaps.iter().take(MAX_GAPS);
        lines.extend(shown.map(|gap| format!("gap on timeline {}: {}", timeline.timeline, gap.describe())));
        let more = (timeline.gaps.len() + timeline.gaps_left_out).saturating_sub(MAX_GAPS);
        if more > 0 {
            lines.push(format!("{more} more gaps on timeline {}: --json lists the first {MAX_LISTED}", timeline.timeline));
        }
    }
    if view.timelines.iter().any(|timeline| !timeline.gaps.is_empty()) {
        lines.push("which gaps matter: `stillframe wal-verify`".to_owned());
    }
    lines.join("\n")
}

fn row(view: &TimelineView) -> Vec<String> {
    vec![
        view.timeline.to_string(),
        or_dash(view.parent.map(|parent| parent.to_string())),
        or_dash(view.switch_lsn.clone()),
        view.history.to_owned(),
        or_dash(view.first_wal_file.clone()),
        or_dash(view.last_wal_file.clone()),
        view.segments.to_string(),
        bytes(view.stored_bytes),
        view.missing_segments.to_string(),
        view.backups.len().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use stillframe_core::postgres::TimelineId;

    use super::*;

    /// A first timeline with these stretches and gaps.
    fn timeline(ranges: &[(u64, u64)], gaps: &[(u64, u64)]) -> TimelineView {
        let of = |pairs: &[(u64, u64)]| {
            let range = |&(first, last)| WalRange { timeline: TimelineId::FIRST, first, last };
            pairs.iter().map(range).collect()
        };
        let found = TimelineInventory {
            timeline: TimelineId::FIRST,
            origin: TimelineOrigin::First,
            ranges: of(ranges),
            gaps: of(gaps),
            segments: 5,
            partials: Vec::new(),
            stored_bytes: 3 << 20,
            backups: Vec::new(),
        };
        view(&found, WalSegmentSize::DEFAULT)
    }

    fn inventory(timeline: TimelineView) -> InventoryView {
        InventoryView {
            segment_size_bytes: 16 << 20,
            segment_size_source: "assumed",
            timelines: vec![timeline],
            unreadable: Vec::new(),
        }
    }

    const ASSUMED: SegmentSizeFound = SegmentSizeFound { size: WalSegmentSize::DEFAULT, source: SizeSource::Assumed };

    #[test]
    fn people_see_gaps_by_name_and_number_and_how_the_size_is_known() {
        let view = inventory(timeline(&[(1, 2), (5, 7)], &[(3, 4)]));
        assert_eq!(
            describe(&view, ASSUMED),
            "TIMELINE  PARENT  SWITCHED AT  HISTORY  FIRST                     LAST                      SEGMENTS  STORED   GAPS  BACKUPS\n\
             1         -       -            none     000000010000000000000001  000000010000000000000007  5         3.0 MiB  2     0\n\
             segment size 16.0 MiB (assumed: nothing tells it; --segment-size does)\n\
             gap on timeline 1: 000000010000000000000003 … 000000010000000000000004 (2)\n\
             which gaps matter: `stillframe wal-verify`"
        );
    }

    #[test]
    fn an_archive_full_of_holes_is_counted_whole_and_listed_in_part() {
        let odd: Vec<(u64, u64)> = (0..5_000).map(|number| (2 * number + 1, 2 * number + 1)).collect();
        let even: Vec<(u64, u64)> = (1..5_000).map(|number| (2 * number, 2 * number)).collect();
        let view = timeline(&odd, &even);
        assert_eq!((view.ranges.len(), view.ranges_left_out), (1_000, 4_000));
        assert_eq!((view.gaps.len(), view.gaps_left_out, view.missing_segments), (1_000, 3_999, 4_999));
        assert_eq!(view.last_wal_file.as_deref(), Some("00000001000000270000000F"), "the newest, and not the last that is listed");
        let text = describe(&inventory(view), ASSUMED);
        assert!(text.contains("\n4899 more gaps on timeline 1: --json lists the first 1000\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("gap on")).count(), 100);
    }
}
