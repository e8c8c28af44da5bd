//! Measures a plan of retention from within, for `cargo xtask bench`.
//!
//! `plan BACKUPS SEGMENTS`: prints the processor time of the plan and of a sort of the segments' names, in nanoseconds, the peak of
//! memory in KiB, and how many backups and files go. The peak is that of the whole process, with the catalog and the listing that
//! the plan is made of.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails must fail loudly")]

use std::fs;
use std::time::Duration;

use jiff::SignedDuration;
use stillframe_core::catalog::{
    ArchivedFile, Backup, BackupLock, CatalogContents, DrillOutcome, DrillRecord, Permanence, WalGContents,
};
use stillframe_core::postgres::{Lsn, TimelineHistory, TimelineId, WalFileName, WalSegment, WalSegmentSize};
use stillframe_core::provider::LockMode;
use stillframe_core::retention::{Ancestry, Holdings, RetentionPolicy, RetentionRule, plan};
use stillframe_core::store::Key;
use stillframe_core::testing::published_backup;

const SIZE: WalSegmentSize = WalSegmentSize::SMALLEST;

/// Backups between two failovers.
const PER_TIMELINE: u32 = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let ["plan", backups, segments] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        // What `cargo bench` runs without arguments.
        return;
    };
    let (backups, segments): (u32, u64) = (backups.parse().unwrap(), segments.parse().unwrap());
    let holdings = holdings(backups, segments);
    let now = holdings.contents.backups.last().unwrap().sentinel.finished_at + SignedDuration::from_hours(1);
    let begun = processor_time();
    let plan = plan(&RetentionRule::Policy(policy()), holdings, now).unwrap();
    let planned = processor_time() - begun;
    let peak = peak_memory();
    let mut names = names_in_no_order(segments);
    let begun = processor_time();
    names.sort_unstable();
    let sorting = processor_time() - begun;
    println!("{planned}\n{sorting}\n{peak}\n{}\n{}", plan.removed_backups().count(), plan.removed_wal().count());
}

/// Every rule at once.
fn policy() -> RetentionPolicy {
    let days = |number: u64| Some(Duration::from_hours(24 * number));
    RetentionPolicy {
        window: days(30),
        standalone: days(60),
        daily: Some(90),
        weekly: Some(52),
        monthly: Some(24),
        yearly: Some(5),
        minimum: 10,
        ..RetentionPolicy::default()
    }
}

/// Hourly backups with a failover now and then, and all WAL since the first.
fn holdings(backups: u32, segments: u64) -> Holdings {
    let apart = segments / u64::from(backups);
    let timeline_of = |number: u32| TimelineId::new(number / PER_TIMELINE + 1).unwrap();
    let begin = |number: u32| u64::from(number) * apart * SIZE.bytes();
    let catalog: Vec<Backup> = (0..backups).map(|number| backup(number, timeline_of(number), begin(number))).collect();
    let mut histories = vec![(TimelineId::FIRST, TimelineHistory::root(TimelineId::FIRST))];
    let mut lines: Vec<String> = Vec::new();
    for number in 1..backups.div_ceil(PER_TIMELINE) {
        lines.push(format!("{number}\t{}\tfailover", Lsn(begin(number * PER_TIMELINE))));
        let timeline = TimelineId::new(number + 1).unwrap();
        histories.push((timeline, TimelineHistory::parse(timeline, &lines.join("\n")).unwrap()));
    }
    let mut files = Vec::with_capacity(usize::try_from(segments).unwrap());
    for number in 0..segments {
        let timeline = timeline_of(u32::try_from(number / apart).unwrap().min(backups - 1));
        files.push(file(WalSegment { timeline, number }.file_name(SIZE)));
    }
    let histories_archived = histories.iter().skip(1).map(|(timeline, _)| file(WalFileName::History { timeline: *timeline }));
    files.extend(histories_archived.collect::<Vec<_>>());
    files.sort_by_key(|file| file.name.order());
    let contents = CatalogContents { backups: catalog, ..CatalogContents::default() };
    Holdings { contents, restores: Vec::new(), files, ancestry: Ancestry::new(histories), walg: WalGContents::default() }
}

fn names_in_no_order(segments: u64) -> Vec<String> {
    // A multiplication by an odd number puts them out of order.
    let number = |place: u64| place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let segment = |place| WalSegment { timeline: TimelineId::FIRST, number: number(place) };
    (0..segments).map(|place| segment(place).file_name(SIZE).to_string()).collect()
}

fn backup(number: u32, timeline: TimelineId, begin: u64) -> Backup {
    let mut backup = published_backup(number);
    let sentinel = &mut backup.sentinel;
    (sentinel.timeline, sentinel.start_lsn, sentinel.stop_lsn) = (timeline, Lsn(begin + 0x28), Lsn(begin + 3 * SIZE.bytes()));
    if number.is_multiple_of(200) {
        backup.permanence = Permanence::Permanent;
    }
    if number.is_multiple_of(150) {
        backup.lock = Some(BackupLock { mode: LockMode::Compliance, until: jiff::Timestamp::MAX });
    }
    if number.is_multiple_of(700) {
        backup.drill = Some(DrillRecord {
            outcome: DrillOutcome::Proven,
            at: backup.sentinel.finished_at,
            hostname: "db2".to_owned(),
            target: "the end".to_owned(),
            reached: None,
            restore_time: Duration::ZERO,
            recovery_time: Duration::ZERO,
            checks: Vec::new(),
        });
    }
    backup
}

fn file(name: WalFileName) -> ArchivedFile {
    ArchivedFile { name, key: Key::parse(&format!("main/wal_005/{name}.zst")).unwrap(), size_bytes: 1 << 20 }
}

/// What this thread has used, in nanoseconds.
fn processor_time() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_ascii_whitespace().next().unwrap().parse().unwrap()
}

/// The most memory that this process has had, in KiB.
fn peak_memory() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
