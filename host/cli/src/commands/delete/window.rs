//! What can be recovered before and after a deletion.

use serde::Serialize;
use stillframe_core::retention::Outlook;
use stillframe_core::window::{IntervalEnd, RecoverableInterval, Window};

use crate::output::count;

#[derive(Serialize)]
pub struct OutlookView {
    before: Vec<IntervalView>,
    after: Vec<IntervalView>,
}

#[derive(Serialize)]
struct IntervalView {
    timeline: u32,
    backup_name: String,
    from_lsn: String,
    from_time: Option<String>,
    to_lsn: String,
}

pub fn view(outlook: &Outlook) -> OutlookView {
    let intervals = |window: &Window| window.intervals.iter().map(interval).collect();
    OutlookView { before: intervals(&outlook.before), after: intervals(&outlook.after) }
}

fn interval(interval: &RecoverableInterval) -> IntervalView {
    IntervalView {
        timeline: interval.timeline.get(),
        backup_name: interval.backup.to_string(),
        from_lsn: interval.from.lsn.to_string(),
        from_time: interval.from.time.map(|time| time.to_string()),
        to_lsn: interval.to.lsn.to_string(),
    }
}

/// One line for each stretch; single moments are as many as backups that stand alone, and are counted.
pub fn describe(outlook: &Outlook) -> String {
    let (before, after) = (lines(&outlook.before), lines(&outlook.after));
    if before == after {
        return format!("recoverable, before and after:\n{before}");
    }
    format!("recoverable now:\n{before}\nrecoverable afterwards:\n{after}")
}

fn lines(window: &Window) -> String {
    let (moments, stretches): (Vec<_>, Vec<_>) =
        window.intervals.iter().partition(|interval| interval.ends_because == IntervalEnd::Standalone);
    let stretch = |interval: &&RecoverableInterval| {
        let RecoverableInterval { timeline, backup, from, to, .. } = interval;
        let since = from.time.map_or_else(String::new, |time| format!(" ({time:.0})"));
        format!("  timeline {timeline}: {}{since} … {}, from backup {backup}", from.lsn, to.lsn)
    };
    let mut lines: Vec<String> = stretches.iter().map(stretch).collect();
    if !moments.is_empty() {
        lines.push(format!("  {}, each to its own end only", count(moments.len(), "standalone backup")));
    }
    if lines.is_empty() { "  nothing".to_owned() } else { lines.join("\n") }
}
