//! Lives of clusters that people know, and what a policy makes of them.

use std::time::Duration;

use stillframe_core::catalog::Backup;
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::retention::{DeletePlan, InvalidPolicy, KeepReason, PlanError, Reason, RetentionPolicy, RetentionRule, plan};

use crate::world::{Event, Traits, World, timeline};

fn days(number: u64) -> Duration {
    Duration::from_hours(24 * number)
}

fn good() -> Traits {
    Traits { state: 2, ..Traits::default() }
}

fn backup(traits: Traits) -> Event {
    Event::Backup { hours: 1, segments: 1, traits }
}

/// A backup at the begin of each of so many days, and three segments of work after it.
fn daily(number: usize) -> Vec<Event> {
    (0..number).flat_map(|_| [backup(good()), Event::Work { hours: 23, segments: 3 }]).collect()
}

fn planned(policy: RetentionPolicy, world: &World) -> DeletePlan {
    plan(&RetentionRule::Policy(policy), world.holdings(), world.now).unwrap()
}

/// Numbers of the backups that stay, and whether each can be rolled forward.
fn kept(plan: &DeletePlan, world: &World) -> Vec<(usize, bool)> {
    let number = |kept: &Backup| world.backups.iter().position(|backup| backup.sentinel.name == kept.sentinel.name).unwrap();
    plan.kept_backups().map(|backup| (number(backup), !backup.is_standalone)).collect()
}

fn reason(plan: &DeletePlan, world: &World, number: usize) -> Reason {
    let name = &world.backups[number].sentinel.name;
    plan.backups.iter().find(|decision| &decision.backup.sentinel.name == name).unwrap().reason.clone()
}

#[test]
fn a_window_keeps_the_backup_that_it_is_reached_from() {
    let world = World::live(&daily(20));
    let plan = planned(RetentionPolicy { window: Some(days(7)), ..RetentionPolicy::default() }, &world);
    // The last seven days begin 7 days before the end; the backup of day 12 had finished by then.
    assert_eq!(kept(&plan, &world), (12..20).map(|number| (number, true)).collect::<Vec<_>>());
    assert_eq!(reason(&plan, &world, 12), Reason::Keep(KeepReason::WindowBase(timeline(1))));
    assert_eq!(reason(&plan, &world, 13), Reason::Keep(KeepReason::InWindow));
    let [interval] = &plan.outlook.after.intervals[..] else { panic!("{:?}", plan.outlook.after) };
    assert_eq!(interval.from.lsn, world.backups[12].sentinel.stop_lsn, "recovery reaches back to its end, and no gap follows");
}

#[test]
fn the_second_tier_keeps_single_moments_with_their_own_wal() {
    let world = World::live(&daily(40));
    let policy = RetentionPolicy { window: Some(days(7)), standalone: Some(days(30)), ..RetentionPolicy::default() };
    let plan = planned(policy, &world);
    let expected: Vec<(usize, bool)> = (10..40).map(|number| (number, number >= 32)).collect();
    assert_eq!(kept(&plan, &world), expected);
    // Each keeps two segments of the five of its day.
    let own: usize = plan.wal.kept().filter(|file| file.name < first_file(&world.backups[32])).count();
    assert_eq!(own, 22 * 2);
}

fn first_file(backup: &Backup) -> stillframe_core::postgres::WalFileName {
    let size = backup.sentinel.segment_size;
    backup.sentinel.wal_range().segments().next().unwrap().file_name(size)
}

#[test]
fn the_calendar_keeps_the_newest_of_each_period_and_pauses_cost_nothing() {
    // From Thursday, 2026-01-01, on; nothing happens in the second half of February.
    let mut events = daily(45);
    events.push(Event::Work { hours: 24 * 14, segments: 0 });
    events.extend(daily(20));
    let world = World::live(&events);
    let policy = RetentionPolicy {
        window: Some(days(1)),
        weekly: Some(4),
        monthly: Some(12),
        yearly: Some(3),
        ..RetentionPolicy::default()
    };
    let plan = planned(policy, &world);
    let dates: Vec<String> = plan.kept_backups().map(|backup| backup.sentinel.started_at.to_string()[..10].to_owned()).collect();
    assert_eq!(
        dates,
        ["2026-01-31", "2026-02-14", "2026-03-01", "2026-03-08", "2026-03-15", "2026-03-19", "2026-03-20"],
        "the ends of January and February, the Sundays, and what the window needs; the newest of its week, month and year is one"
    );
}

#[test]
fn a_failover_in_the_window_costs_neither_side() {
    let mut events = daily(10);
    events.push(Event::Recover { back: 12 });
    events.extend(daily(3));
    let world = World::live(&events);
    let plan = planned(RetentionPolicy { window: Some(days(4)), ..RetentionPolicy::default() }, &world);
    // Timeline 2 left timeline 1 within day 7: the window is reached from 6 or 7 there, and from 8 on what was left.
    assert_eq!(reason(&plan, &world, 8), Reason::Keep(KeepReason::WindowBase(timeline(1))));
    assert_eq!(reason(&plan, &world, 7), Reason::Keep(KeepReason::WindowBase(timeline(2))));
    assert_eq!(kept(&plan, &world).first(), Some(&(7, true)));
}

#[test]
fn after_an_upgrade_the_old_cluster_stays_until_the_new_one_fills_the_window() {
    let mut events = daily(10);
    events.push(Event::Upgrade);
    events.extend(daily(3));
    let mut world = World::live(&events);
    let policy = || RetentionPolicy { window: Some(days(7)), ..RetentionPolicy::default() };
    let first = planned(policy(), &world);
    assert_eq!(kept(&first, &world), (5..13).map(|number| (number, true)).collect::<Vec<_>>());
    events.extend(daily(8));
    world = World::live(&events);
    let second = planned(policy(), &world);
    assert_eq!(kept(&second, &world).first(), Some(&(13, true)), "of the old cluster nothing is left");
}

#[test]
fn clocks_that_jump_take_nothing_and_keep_little() {
    let mut events = daily(10);
    // One backup seems to be of 1970 and one of the future; then the clock is right again.
    events.extend([Event::Clock { off: -400_000 }, backup(good()), Event::Clock { off: 30_000 }, backup(good())]);
    events.push(Event::Clock { off: 0 });
    events.extend(daily(12));
    let world = World::live(&events);
    let plan = planned(RetentionPolicy { window: Some(days(5)), ..RetentionPolicy::default() }, &world);
    assert_eq!(kept(&plan, &world), (18..24).map(|number| (number, true)).collect::<Vec<_>>());
    // While they are in the window, they count as what they are.
    let early = World::live(&events[..24]);
    let plan = planned(RetentionPolicy { window: Some(days(2)), ..RetentionPolicy::default() }, &early);
    assert_eq!(kept(&plan, &early).first(), Some(&(8, true)), "{:?}", kept(&plan, &early));
}

#[test]
fn when_backups_stop_the_last_ones_stay_whatever_their_age() {
    let mut events = daily(10);
    events.push(Event::Work { hours: 24 * 300, segments: 2 });
    let world = World::live(&events);
    let plan = planned(RetentionPolicy { window: Some(days(7)), minimum: 2, ..RetentionPolicy::default() }, &world);
    assert_eq!(kept(&plan, &world), [(8, true), (9, true)]);
    assert_eq!(reason(&plan, &world, 8), Reason::Keep(KeepReason::Minimum(2)));
}

#[test]
fn a_lock_a_mark_and_a_proof_keep_a_backup_and_no_wal_beyond_its_own() {
    let mut events = vec![
        backup(Traits { locked: Some(24 * 365), ..good() }),
        backup(Traits { permanent: true, ..good() }),
        backup(Traits { drill: Some(true), ..good() }),
        backup(Traits { drill: Some(false), ..good() }),
        backup(Traits { locked: Some(24 * 3), ..good() }),
    ];
    events.extend(daily(20));
    let world = World::live(&events);
    let plan = planned(RetentionPolicy { window: Some(days(2)), ..RetentionPolicy::default() }, &world);
    let old: Vec<(usize, bool)> = kept(&plan, &world).into_iter().filter(|(number, _)| *number < 5).collect();
    // A permanent one is not said to stand alone: when it is made ordinary again, it counts again.
    assert_eq!(old, [(0, false), (1, true), (2, false)]);
    assert!(matches!(reason(&plan, &world, 0), Reason::Keep(KeepReason::Locked(_))));
    assert_eq!(reason(&plan, &world, 2), Reason::Keep(KeepReason::LastProven));
    let without = RetentionPolicy { window: Some(days(2)), keep_proven: false, ..RetentionPolicy::default() };
    assert!(!kept(&planned(without, &world), &world).iter().any(|(number, _)| *number == 2));
    // The commands that take by number or age spare it as well; who names it takes it.
    let rule = RetentionRule::Retain { count: 1, after: None };
    let retained = plan_of(&rule, &world);
    assert_eq!(reason(&retained, &world, 2), Reason::Keep(KeepReason::LastProven));
    let named = plan_of(&RetentionRule::Target(world.backups[2].sentinel.name.clone()), &world);
    assert!(!reason(&named, &world, 2).keeps());
}

fn plan_of(rule: &RetentionRule, world: &World) -> DeletePlan {
    plan(rule, world.holdings(), world.now).unwrap()
}

#[test]
fn without_a_first_tier_everything_that_stays_can_be_rolled_forward() {
    let world = World::live(&daily(60));
    let plan = planned(RetentionPolicy { monthly: Some(3), ..RetentionPolicy::default() }, &world);
    assert_eq!(kept(&plan, &world), [(30, true), (58, true), (59, true)]);
    assert!(plan.removed_wal().next().is_some());
    assert!(plan.removed_wal().all(|file| file.name < first_file(&world.backups[30])), "no WAL after the oldest goes");
}

#[test]
fn a_policy_that_contradicts_itself_is_refused_before_anything_is_planned() {
    let world = World::live(&daily(3));
    for (policy, expected) in [
        (RetentionPolicy::default(), InvalidPolicy::NoRule),
        (RetentionPolicy { minimum: 0, window: Some(days(1)), ..RetentionPolicy::default() }, InvalidPolicy::Nothing("minimum")),
        (RetentionPolicy { standalone: Some(days(1)), daily: Some(1), ..RetentionPolicy::default() }, InvalidPolicy::NoFirstTier),
        (
            RetentionPolicy { window: Some(days(2)), standalone: Some(days(2)), ..RetentionPolicy::default() },
            InvalidPolicy::ShortSecondTier,
        ),
        (RetentionPolicy { window: Some(Duration::ZERO), ..RetentionPolicy::default() }, InvalidPolicy::NoTime("window")),
        (
            RetentionPolicy { count: Some(1), minimum: 2, ..RetentionPolicy::default() },
            InvalidPolicy::BelowMinimum { count: 1, minimum: 2 },
        ),
    ] {
        let error = plan(&RetentionRule::Policy(policy), world.holdings(), world.now).unwrap_err();
        assert!(matches!(&error, PlanError::Policy(found) if *found == expected), "{error}");
        assert!(error.class() == ErrorClass::Config && error.hint().is_some());
    }
}
