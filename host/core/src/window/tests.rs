//! The window and the answers, compared with a server that replays one segment after the other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::catalog::BackupName;
use crate::data_directory::{RecoveryTarget, TargetTimeline};
use crate::postgres::{Fork, Lsn, SystemIdentifier, TimelineHistory, TimelineId, WalRange, WalSegmentSize};

const SIZE: WalSegmentSize = WalSegmentSize::SMALLEST;
const BYTES: u64 = 1 << 20;

fn timeline(number: u32) -> TimelineId {
    TimelineId::new(number).unwrap()
}

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap()
}

/// A position in quarters of segments.
fn quarter(quarters: u64) -> Lsn {
    Lsn(quarters * (BYTES / 4))
}

fn range(number: u32, first: u64, last: u64) -> WalRange {
    WalRange { timeline: timeline(number), first, last }
}

fn backup(seed: u8, on: u32, start: u64, stop: u64) -> WindowBackup {
    WindowBackup {
        name: BackupName::new(at(0), [seed; 5]),
        timeline: timeline(on),
        start: quarter(start),
        stop: quarter(stop),
        started_at: at(i64::from(seed)),
        finished_at: at(i64::from(seed)),
        segment_size: SIZE,
        system_identifier: SystemIdentifier(7),
        standing: Standing::Good,
        keeps_wal: false,
        points: Vec::new(),
    }
}

fn wal(origin: TimelineOrigin, numbers: impl IntoIterator<Item = u64>) -> TimelineWal {
    TimelineWal { origin, numbers: numbers.into_iter().collect() }
}

fn known(number: u32, forks: &[(u32, u64)]) -> TimelineOrigin {
    let lines: Vec<String> = forks.iter().map(|(of, at)| format!("{of}\t{}\tx", quarter(*at))).collect();
    TimelineOrigin::Known(TimelineHistory::parse(timeline(number), &lines.join("\n")).unwrap())
}

fn input(backups: Vec<WindowBackup>, timelines: impl IntoIterator<Item = (u32, TimelineWal)>) -> WindowInput {
    let timelines = timelines.into_iter().map(|(number, wal)| (timeline(number), wal)).collect();
    WindowInput { segment_size: SIZE, backups, timelines }
}

fn first(numbers: impl IntoIterator<Item = u64>) -> (u32, TimelineWal) {
    (1, wal(TimelineOrigin::First, numbers))
}

/// Timeline, beginning and end of each interval, in quarters of segments.
fn spans(window: &Window) -> Vec<(u32, u64, u64)> {
    let quarters = |point: Point| point.lsn.0 / (BYTES / 4);
    window.intervals.iter().map(|it| (it.timeline.get(), quarters(it.from), quarters(it.to))).collect()
}

fn ask<'a>(target: &'a RecoveryTarget, backup: WantedBackup<'a>) -> Question<'a> {
    Question { target, timeline: TargetTimeline::Latest, backup, now: at(10_000) }
}

#[test]
fn a_backup_reaches_from_its_end_to_the_end_of_the_archive() {
    let input = input(vec![backup(1, 1, 9, 10)], [first(2..=5)]);
    let window = calculate(&input);
    assert_eq!(spans(&window), [(1, 10, 24)]);
    let interval = &window.intervals[0];
    assert_eq!((interval.ends_because.clone(), interval.from.time, interval.backups), (IntervalEnd::ArchiveEnds, Some(at(1)), 1));
    assert_eq!(window.gaps, [Gap { timeline: timeline(1), from: quarter(8), to: quarter(10), reasons: vec![GapReason::NoBackup] }]);
}

#[test]
fn a_missing_segment_ends_an_interval_and_the_next_backup_begins_another() {
    let input = input(vec![backup(1, 1, 9, 10), backup(2, 1, 25, 26)], [first([2, 3, 6, 7])]);
    let window = calculate(&input);
    assert_eq!(spans(&window), [(1, 10, 16), (1, 26, 32)]);
    assert_eq!(window.intervals[0].ends_because, IntervalEnd::Missing(vec![range(1, 4, 5)]));
    assert_eq!(window.gaps[1].reasons, [GapReason::Missing(vec![range(1, 4, 5)]), GapReason::NoBackup]);
    let target = RecoveryTarget::Lsn(quarter(18));
    let refusal = can_restore(&input, &ask(&target, WantedBackup::Automatic)).unwrap_err();
    let expected =
        Refusal::WalMissing { name: input.backups[0].name.clone(), missing: vec![range(1, 4, 4)], end: Some(quarter(16)) };
    assert_eq!(refusal, expected);
}

#[test]
fn a_backup_whose_own_wal_is_missing_is_named_in_the_gap() {
    let input = input(vec![backup(1, 1, 9, 14)], [first([2, 4, 5])]);
    let window = calculate(&input);
    assert_eq!(spans(&window), []);
    assert_eq!(window.unusable[0].reason, Unusable::WalMissing(vec![range(1, 3, 3)]));
    let reasons = &window.gaps[0].reasons;
    assert_eq!(reasons[..2], [GapReason::Missing(vec![range(1, 3, 3)]), GapReason::Backup(window.unusable[0].clone())]);
}

#[test]
fn backups_that_are_no_good_reach_nothing_and_the_reason_is_told() {
    let of = |standing: Standing| WindowBackup { standing, ..backup(1, 1, 9, 10) };
    let cases = [
        (of(Standing::Condemned), Unusable::Condemned),
        (of(Standing::Failed("lost".to_owned())), Unusable::Failed("lost".to_owned())),
        (of(Standing::NotReady), Unusable::NotReady),
        (WindowBackup { segment_size: WalSegmentSize::DEFAULT, ..backup(1, 1, 9, 10) }, Unusable::OtherSegmentSize),
    ];
    for (bad, reason) in cases {
        let window = calculate(&input(vec![bad], [first(2..=5)]));
        assert_eq!(spans(&window), [], "{reason:?}");
        assert_eq!(window.unusable[0].reason, reason);
        assert!(window.gaps[0].reasons.contains(&GapReason::Backup(window.unusable[0].clone())), "{reason:?}");
    }
    let other = WindowBackup { system_identifier: SystemIdentifier(8), ..backup(1, 1, 9, 10) };
    let window = calculate(&input(vec![other, backup(2, 1, 13, 14)], [first(2..=5)]));
    assert_eq!((spans(&window), &window.unusable[0].reason), (vec![(1, 14, 24)], &Unusable::OtherCluster(SystemIdentifier(8))));
}

#[test]
fn a_backup_that_stands_alone_is_one_position_and_no_base() {
    let alone = WindowBackup { standing: Standing::Standalone, ..backup(1, 1, 9, 10) };
    let input = input(vec![alone.clone(), backup(2, 1, 17, 18)], [first(2..=5)]);
    let window = calculate(&input);
    assert_eq!(spans(&window), [(1, 10, 10), (1, 18, 24)]);
    assert_eq!(window.intervals[0].ends_because, IntervalEnd::Standalone);
    let named = WantedBackup::Named(&alone.name);
    let route = can_restore(&input, &ask(&RecoveryTarget::Immediate, named)).unwrap();
    assert_eq!(route.replay, [range(1, 2, 2)]);
    for target in [RecoveryTarget::EndOfWal, RecoveryTarget::Lsn(quarter(11)), RecoveryTarget::Time(at(2))] {
        assert_eq!(can_restore(&input, &ask(&target, named)).unwrap_err(), Refusal::Standalone(alone.name.clone()), "{target:?}");
    }
    let before = RecoveryTarget::Lsn(quarter(12));
    assert!(can_restore(&input, &ask(&before, WantedBackup::Automatic)).is_err());
}

#[test]
fn a_promotion_continues_on_the_child_and_the_parent_ends_where_it_was_left() {
    // The parent has archived a `.partial` of segment 4 and no more.
    let two = (2, wal(known(2, &[(1, 18)]), 4..=6));
    let input = input(vec![backup(1, 1, 9, 10)], [first(2..=3), two]);
    let window = calculate(&input);
    assert_eq!(spans(&window), [(1, 10, 18), (2, 18, 28)]);
    assert_eq!(window.intervals[0].ends_because, IntervalEnd::LeftBy(timeline(2)));
    assert_eq!((window.intervals[0].followed, window.intervals[1].followed), (timeline(2), timeline(2)));
    let target = RecoveryTarget::Lsn(quarter(21));
    let route = can_restore(&input, &ask(&target, WantedBackup::Automatic)).unwrap();
    assert_eq!((route.replay, route.end), (vec![range(1, 2, 3), range(2, 4, 5)], quarter(28)));
}

#[test]
fn a_parents_own_segment_leads_to_the_fork_and_no_further() {
    let two = (2, wal(known(2, &[(1, 18)]), 5..=6));
    let input = input(vec![backup(1, 1, 9, 10)], [first(2..=6), two]);
    let window = calculate(&input);
    assert_eq!(spans(&window), [(1, 10, 28)], "the second timeline lacks its first segment");
    assert_eq!(window.gaps.last().unwrap().reasons, [GapReason::Missing(vec![range(2, 4, 4)]), GapReason::NoBackup]);
    let reaches = |quarters| {
        let target = RecoveryTarget::Lsn(quarter(quarters));
        can_restore(&input, &ask(&target, WantedBackup::Automatic))
    };
    assert_eq!(reaches(17).unwrap().replay, [range(1, 2, 4)]);
    let Refusal::WalMissing { missing, end, .. } = reaches(18).unwrap_err() else { panic!() };
    assert_eq!((missing, end), (vec![range(2, 4, 4)], Some(quarter(18))));
}

#[test]
fn a_timeline_without_a_usable_history_is_reached_from_its_own_backups_only() {
    for origin in [TimelineOrigin::Missing, TimelineOrigin::Damaged("x".to_owned()), TimelineOrigin::Unreadable("x".to_owned())] {
        let input = input(vec![backup(1, 1, 9, 10)], [first(2..=5), (2, wal(origin.clone(), 4..=6))]);
        let window = calculate(&input);
        assert_eq!(spans(&window), [(1, 10, 24)]);
        assert_eq!(window.gaps.last().unwrap().reasons, [GapReason::History(origin.clone())]);
        let target = RecoveryTarget::EndOfWal;
        let question = Question { timeline: TargetTimeline::Number(timeline(2)), ..ask(&target, WantedBackup::Automatic) };
        let refusal = can_restore(&input, &question).unwrap_err();
        match origin {
            TimelineOrigin::Missing => assert_eq!(refusal, Refusal::NoSuchTimeline(timeline(2))),
            origin => assert_eq!(refusal, Refusal::History { timeline: timeline(2), origin }),
        }
    }
}

#[test]
fn a_million_segments_and_ten_thousand_backups_take_no_time() {
    let numbers = (0..1_000_000_u64).filter(|number| number % 1_000 != 999);
    let one = |place: u32| {
        let name = BackupName::new(at(i64::from(place)), [u8::try_from(place % 32).unwrap(); 5]);
        let start = u64::from(place) * 400 + 1;
        WindowBackup { name, started_at: at(i64::from(place)), ..backup(0, 1, start, start + 1) }
    };
    let child = (2, wal(known(2, &[(1, 3_999_990)]), 999_997..=1_000_010));
    let input = input((0..10_000).map(one).collect(), [first(numbers), child]);
    let window = calculate(&input);
    assert_eq!(window.intervals.len(), 1_001);
    let target = RecoveryTarget::Lsn(quarter(3_999_999));
    assert!(can_restore(&input, &ask(&target, WantedBackup::Automatic)).is_ok(), "the child holds what the parent lacks");
}

/// Replays along the way to a timeline as PostgreSQL does: gives where it ends.
fn replay(input: &WindowInput, history: &TimelineHistory, start: Lsn) -> Lsn {
    let mut way: Vec<(TimelineId, Lsn, Option<Lsn>)> = Vec::new();
    let mut begin = Lsn(0);
    for Fork { timeline, position } in history.ancestors() {
        way.push((*timeline, begin, Some(*position)));
        begin = *position;
    }
    way.push((history.timeline(), begin, None));
    let (mut number, mut current) = (start.0 / BYTES, TimelineId::FIRST);
    loop {
        // Once a timeline has been entered, older ones are looked at no more.
        let entered = way.iter().rev().filter(|(timeline, begin, _)| *timeline >= current && begin.0 / BYTES <= number);
        let Some((timeline, _, left)) = entered.into_iter().find(|(timeline, ..)| input.numbers(*timeline).contains(&number))
        else {
            return Lsn(number * BYTES);
        };
        match left {
            // Behind it lies what the way never had.
            Some(left) if left.0 < (number + 1) * BYTES => return Lsn(left.0.max(number * BYTES)),
            _ => (number, current) = (number + 1, *timeline),
        }
    }
}

/// Every quarter of a segment, on its timeline, that some recovery goes through or ends at.
fn simulate(input: &WindowInput) -> BTreeSet<(TimelineId, u64)> {
    let mut reached = BTreeSet::new();
    for timeline in input.timelines.keys() {
        let history = input.history(*timeline).unwrap();
        for backup in input.backups.iter().filter(|backup| history.contains(backup.timeline, backup.stop)) {
            let end = replay(input, &history, backup.start);
            if end < backup.stop {
                continue;
            }
            if backup.standing == Standing::Standalone {
                reached.insert((backup.timeline, backup.stop.0 / (BYTES / 4)));
                continue;
            }
            for quarters in backup.stop.0 / (BYTES / 4)..=end.0 / (BYTES / 4) {
                let on = input.timelines.keys().filter(|on| history.contains(**on, quarter(quarters)));
                reached.extend(on.map(|on| (*on, quarters)));
            }
        }
    }
    reached
}

prop_compose! {
    fn any_numbers()(numbers in proptest::collection::btree_set(0u64..12, 0..12), whole in any::<bool>()) -> Vec<u64> {
        if whole { (0..10).collect() } else { numbers.into_iter().collect() }
    }
}

prop_compose! {
    /// Up to four timelines of which each may have left any earlier one, and up to five backups.
    fn any_input()(
        numbers in proptest::collection::vec(any_numbers(), 1..5),
        parents in proptest::collection::vec((0usize..4, 4u64..36), 4),
        backups in proptest::collection::vec((0usize..4, 0u64..30, 1u64..8, any::<bool>()), 1..6),
    ) -> WindowInput {
        let mut histories: Vec<Vec<(u32, u64)>> = vec![Vec::new()];
        for (place, (parent, fork)) in parents.iter().enumerate().take(numbers.len() - 1) {
            let mut forks = histories[parent % (place + 1)].clone();
            let begin = forks.last().map_or(0, |(_, at)| *at);
            forks.push((u32::try_from(parent % (place + 1)).unwrap() + 1, (*fork).max(begin)));
            histories.push(forks);
        }
        let timelines: BTreeMap<TimelineId, TimelineWal> = numbers.into_iter().zip(&histories).zip(1..).map(|((numbers, forks), number)| {
            let origin = if number == 1 { TimelineOrigin::First } else { known(number, forks) };
            (timeline(number), wal(origin, numbers))
        }).collect();
        let count = timelines.len();
        let backups = backups.into_iter().zip(1..).map(|((on, start, length, alone), seed)| {
            let on = on % count;
            let begin = histories[on].last().map_or(0, |(_, at)| *at);
            let standing = if alone { Standing::Standalone } else { Standing::Good };
            let start = start.max(begin);
            WindowBackup { standing, ..backup(seed, u32::try_from(on).unwrap() + 1, start, start + length) }
        }).collect();
        WindowInput { segment_size: SIZE, backups, timelines }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_window_is_what_a_server_could_replay(input in any_input()) {
        let window = calculate(&input);
        let mut found = BTreeSet::new();
        for (on, from, to) in spans(&window) {
            prop_assert!(from <= to);
            found.extend((from..=to).map(|quarters| (timeline(on), quarters)));
        }
        // Of a timeline of which nothing is there, its fork is its parent's.
        let mut reached = simulate(&input);
        let is_there = |on: TimelineId| !input.numbers(on).is_empty() || input.backups.iter().any(|backup| backup.timeline == on);
        reached.retain(|(on, quarters)| {
            let begin = input.history(*on).unwrap().ancestors().last().map(|fork| fork.position);
            is_there(*on) && (begin != Some(quarter(*quarters)) || found.contains(&(*on, *quarters)))
        });
        let begins = |on: TimelineId| input.history(on).unwrap().ancestors().last().map(|fork| fork.position);
        let extra: Vec<_> = found.difference(&simulate(&input)).filter(|(on, quarters)| begins(*on) != Some(quarter(*quarters))).copied().collect();
        prop_assert_eq!(extra, vec![], "{:?}", window);
        // Where nothing of a timeline is archived but a backup that nobody can use, its end is the beginning of the one that left it.
        let is_a_childs = |on: TimelineId, quarters: u64| {
            input.numbers(on).is_empty()
                && found.iter().any(|(child, place)| {
                    let left = input.history(*child).unwrap().ancestors().last().copied();
                    *place == quarters && left.is_some_and(|fork| fork.timeline == on && fork.position == quarter(quarters))
                })
        };
        let lacking: Vec<_> = reached.difference(&found).filter(|(on, quarters)| !is_a_childs(*on, *quarters)).copied().collect();
        prop_assert_eq!(lacking, vec![], "{:?}", window);
        let mut last: Option<(TimelineId, Lsn)> = None;
        for interval in &window.intervals {
            prop_assert!(last.is_none_or(|last| last < (interval.timeline, interval.from.lsn)), "in order, and none touch");
            last = Some((interval.timeline, interval.to.lsn));
        }
        for gap in &window.gaps {
            prop_assert!(!gap.reasons.is_empty());
            prop_assert!(gap.from <= gap.to);
            let touches = |it: &&RecoverableInterval| it.timeline == gap.timeline && it.from.lsn < gap.to && it.to.lsn > gap.from;
            prop_assert_eq!(window.intervals.iter().find(touches), None);
        }
    }

    #[test]
    fn an_answer_is_yes_exactly_where_the_named_backup_replays_to(input in any_input(), quarters in 0u64..52, number in 1u32..5) {
        let number = number % u32::try_from(input.timelines.len()).unwrap() + 1;
        let target = RecoveryTarget::Lsn(quarter(quarters));
        let history = input.history(timeline(number)).unwrap();
        let mut reaching = Vec::new();
        for backup in &input.backups {
            let question = Question {
                timeline: TargetTimeline::Number(timeline(number)),
                ..ask(&target, WantedBackup::Named(&backup.name))
            };
            let answer = can_restore(&input, &question);
            let end = replay(&input, &history, backup.start);
            let expected = backup.standing == Standing::Good
                && history.contains(backup.timeline, backup.stop)
                && end >= backup.stop
                && (backup.stop..end).contains(&quarter(quarters));
            prop_assert_eq!(answer.is_ok(), expected, "{:?} {:?}", answer, end);
            if let Ok(route) = answer {
                prop_assert_eq!(route.end, end);
                // What it would replay is there, in order, without a hole, from the backup's first segment to the target's.
                let segments: Vec<_> = route.replay.iter().flat_map(|range| range.segments()).collect();
                prop_assert!(segments.iter().all(|it| input.numbers(it.timeline).contains(&it.number)));
                let replayed: Vec<u64> = segments.iter().map(|segment| segment.number).collect();
                let last = (quarter(quarters).0 / BYTES).max(backup.wal_range().last);
                prop_assert_eq!(replayed, (backup.start.0 / BYTES..=last).collect::<Vec<_>>());
                reaching.push(backup);
            } else if let Err(Refusal::WalMissing { missing, .. }) = answer {
                prop_assert!(!missing.is_empty());
                prop_assert!(missing.iter().all(|range| range.segments().all(|it| !input.numbers(it.timeline).contains(&it.number))));
            }
        }
        let question = Question { timeline: TargetTimeline::Number(timeline(number)), ..ask(&target, WantedBackup::Automatic) };
        if let Ok(route) = can_restore(&input, &question) {
            let chosen = input.backups.iter().find(|backup| backup.name == route.backup).unwrap();
            prop_assert!(reaching.iter().any(|backup| backup.name == chosen.name));
            // Whatever the clocks said.
            let is_further = |other: &&&WindowBackup| {
                other.timeline == chosen.timeline && (other.start, other.stop) > (chosen.start, chosen.stop)
            };
            prop_assert!(reaching.iter().find(is_further).is_none(), "the newest that reaches it");
        }
    }
}
