//! What holds of every plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use stillframe_core::catalog::{Backup, BackupName, BackupState, DrillRecord, Intent, Permanence};
use stillframe_core::postgres::{TimelineHistory, TimelineId, WalFileName, WalSegment};
use stillframe_core::retention::{DeletePlan, Reason, RemoveReason, RetentionPolicy, RetentionRule, WalReason, plan};

use crate::model;
use crate::world::{Event, Moment, SIZE, World, events, quiet_events};

fn policies() -> impl Strategy<Value = RetentionPolicy> {
    let count = || prop::option::weighted(0.4, 1usize..5);
    let hours = |range: std::ops::Range<u64>| prop::option::weighted(0.6, range.prop_map(Duration::from_hours));
    let policy = (count(), hours(1..200), hours(1..600), count(), count(), count(), count(), 1usize..4, any::<bool>()).prop_map(
        |(count, window, standalone, daily, weekly, monthly, yearly, minimum, keep_proven)| RetentionPolicy {
            count,
            window,
            standalone,
            daily,
            weekly,
            monthly,
            yearly,
            minimum,
            keep_proven,
        },
    );
    policy.prop_map(|mut policy| {
        policy.count = policy.count.map(|count| count.max(policy.minimum));
        policy.standalone = policy.standalone.filter(|standalone| match policy.window {
            Some(window) => *standalone > window,
            None => policy.count.is_some(),
        });
        if policy.check().is_err() {
            policy.count = Some(policy.minimum);
        }
        policy
    })
}

fn planned(policy: &RetentionPolicy, world: &World) -> DeletePlan {
    plan(&RetentionRule::Policy(policy.clone()), world.holdings(), world.now).unwrap()
}

/// The world after the plan.
fn applied(world: &World, plan: &DeletePlan) -> World {
    let removed: BTreeSet<WalFileName> = plan.removed_wal().map(|file| file.name).collect();
    let mut after = world.clone();
    after.backups = plan.kept_backups().cloned().collect();
    after.files.retain(|file| !removed.contains(file));
    after
}

fn names<'a>(backups: impl Iterator<Item = &'a Backup>) -> BTreeSet<BackupName> {
    backups.map(|backup| backup.sentinel.name.clone()).collect()
}

/// Whether a backup leads to the moment, over WAL that is archived.
fn leads_to(backup: &Backup, moment: &Moment, world: &World) -> bool {
    let it = &backup.sentinel;
    let history = world.histories.get(&moment.timeline).cloned().unwrap_or_else(|| TimelineHistory::root(moment.timeline));
    if it.system_identifier != moment.cluster
        || backup.is_standalone
        || it.finished_at > moment.time
        || it.stop_lsn > moment.lsn
        || !(it.timeline == moment.timeline || history.contains(it.timeline, it.stop_lsn))
    {
        return false;
    }
    let mut way: Vec<(TimelineId, u64)> = history.ancestors().iter().map(|fork| (fork.timeline, fork.position.0)).collect();
    way.push((moment.timeline, moment.lsn.0));
    let first = it.wal_range().first;
    // The segment of a fork is complete only on the newer timeline.
    let last = moment.lsn.0.saturating_sub(1) / SIZE.bytes();
    (first..=last).all(|number| {
        let (timeline, _) = way.iter().find(|(_, end)| number < end / SIZE.bytes()).unwrap_or(&way[way.len() - 1]);
        world.files.contains(&WalSegment { timeline: *timeline, number }.file_name(SIZE))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_policy_keeps_what_brute_force_keeps(events in events(), policy in policies(), unknown in prop::collection::btree_set(2u32..5, 0..2)) {
        let mut world = World::live(&events);
        world.histories.retain(|timeline, _| !unknown.contains(&timeline.get()));
        let plan = planned(&policy, &world);
        let model = model::kept(&policy, &world);
        prop_assert_eq!(names(plan.kept_backups()), model.keys().cloned().collect::<BTreeSet<_>>());

        // Whatever stands alone was not kept for more; and what was kept for more does not.
        for backup in plan.standalone_backups() {
            prop_assert!(!model[&backup.sentinel.name], "{}", backup.sentinel.name);
        }
    }

    #[test]
    fn protected_wal_present_and_nothing_needless(
        events in events(),
        policy in policies(),
        unknown in prop::collection::btree_set(2u32..5, 0..2),
    ) {
        let mut world = World::live(&events);
        world.histories.retain(|timeline, _| !unknown.contains(&timeline.get()));
        let ancestry = world.ancestry();
        let running: Vec<&Intent> = world.intents.iter().filter(|intent| intent.expires_at >= world.now).collect();
        for rule in [RetentionRule::Policy(policy.clone()), RetentionRule::Retain { count: policy.minimum, after: None }, RetentionRule::Garbage] {
            let plan = plan(&rule, world.holdings(), world.now).unwrap();
            let kept: Vec<&Backup> = plan.kept_backups().collect();
            for decision in plan.wal.iter() {
                let needed = model::is_needed(decision.file.name, &kept, &running, &ancestry);
                prop_assert_eq!(decision.kept_for.is_some(), needed, "{:?}: {}", &rule, decision.file.name);
            }
            prop_assert_eq!(plan.wal.iter().count(), world.files.len(), "every file is told of");
            prop_assert_eq!(plan.backups.len(), world.backups.len(), "every backup is told of");
            prop_assert_eq!(plan.bystanders.len() + plan.leftovers.len(), world.intents.len(), "and every one that is not published");
        }
    }

    #[test]
    fn a_plan_that_was_applied_leaves_nothing_to_plan(events in events(), policy in policies()) {
        let world = World::live(&events);
        let first = planned(&policy, &world);
        let after = applied(&world, &first);
        let second = planned(&policy, &after);
        prop_assert!(second.is_empty(), "{:?}", second.backups.iter().map(|it| (&it.backup.sentinel.name, &it.reason, it.becomes_standalone)).collect::<Vec<_>>());
        prop_assert_eq!(&second.outlook.before, &first.outlook.after, "the window is what was promised");
        prop_assert_eq!(first.fingerprint() == second.fingerprint(), first.is_empty(), "plans that take something else have other names");
        prop_assert_eq!(first.fingerprint(), planned(&policy, &world).fingerprint(), "and one that takes the same has the same");
    }

    #[test]
    fn permanent_survives_and_so_do_locked_proven_and_last_ones(events in events(), policy in policies()) {
        let world = World::live(&events);
        let plan = planned(&policy, &world);
        for decision in &plan.backups {
            let (backup, stays) = (&decision.backup, decision.reason.keeps());
            if backup.is_condemned {
                prop_assert_eq!(&decision.reason, &Reason::Remove(RemoveReason::Condemned));
                continue;
            }
            prop_assert!(stays || backup.permanence == Permanence::Ordinary, "permanent_survives");
            prop_assert!(stays || backup.locked_until(world.now).is_none(), "a locked one stays");
            let is_restored = world.restores.iter().any(|record| record.backup == backup.sentinel.name);
            prop_assert!(!is_restored || (stays && !decision.becomes_standalone), "what is restored stays, with all WAL since");
        }
        let good = |backup: &Backup| backup.state == BackupState::Ready && !backup.is_condemned;
        let base = |backup: &Backup| good(backup) && backup.permanence == Permanence::Ordinary && !backup.is_standalone;
        let bases = world.backups.iter().filter(|backup| base(backup)).count();
        let left = plan.kept_backups().filter(|backup| base(backup)).count();
        prop_assert!(left >= bases.min(policy.minimum), "{} of {} are left", left, bases);
        let proven = |backup: &Backup| good(backup) && backup.drill.as_ref().is_some_and(DrillRecord::is_proof);
        if policy.keep_proven && world.backups.iter().any(proven) {
            prop_assert!(plan.kept_backups().any(proven), "the last one that a drill proved");
        }
    }

    #[test]
    fn published_backup_is_restorable_and_every_moment_of_the_window_is(
        events in quiet_events(),
        hours in 1u64..300,
        daily in prop::option::of(1usize..4),
    ) {
        let world = World::live(&events);
        let policy = RetentionPolicy { window: Some(Duration::from_hours(hours)), daily, ..RetentionPolicy::default() };
        let plan = planned(&policy, &world);
        let after = applied(&world, &plan);
        for backup in &after.backups {
            let range = backup.sentinel.wal_range();
            prop_assert!(range.segments().all(|segment| after.files.contains(&segment.file_name(SIZE))), "published_backup_is_restorable");
        }
        for increment in after.backups.iter().flat_map(|backup| &backup.increments) {
            let mut segments = increment.replay.iter().flat_map(|range| range.segments());
            prop_assert!(segments.all(|segment| after.files.contains(&segment.file_name(SIZE))), "and so is each of its increments");
        }
        let since = world.now - jiff::SignedDuration::try_from(Duration::from_hours(hours)).unwrap();
        for moment in world.moments.iter().filter(|moment| moment.time >= since) {
            let before = world.backups.iter().any(|backup| leads_to(backup, moment, &world));
            let still = after.backups.iter().any(|backup| leads_to(backup, moment, &after));
            prop_assert!(still || !before, "{:?}", moment);
        }
    }

    #[test]
    fn of_a_cluster_without_forks_the_newest_stay_whatever_the_clocks_say(
        offs in prop::collection::vec((-3000i64..3000, prop::bool::weighted(0.3)), 1..20),
        count in 1usize..5,
    ) {
        let mut off = 0;
        let events: Vec<Event> = offs
            .iter()
            .flat_map(|(jump, jumps)| {
                off = if *jumps { *jump } else { off };
                let backup = Event::Backup { hours: 1, segments: 1, traits: crate::world::Traits { state: 2, ..Default::default() } };
                [Event::Clock { off }, backup, Event::Work { hours: 20, segments: 1 }]
            })
            .collect();
        let world = World::live(&events);
        let newest: BTreeSet<BackupName> = names(world.backups.iter().rev().take(count));
        let policy = RetentionPolicy { count: Some(count), keep_proven: false, ..RetentionPolicy::default() };
        for rule in [RetentionRule::Policy(policy), RetentionRule::Retain { count, after: None }] {
            let plan = plan(&rule, world.holdings(), world.now).unwrap();
            prop_assert_eq!(&names(plan.kept_backups()), &newest, "{:?}", rule);
        }
    }
}

#[test]
fn the_worlds_are_not_all_alike() {
    // What the properties are about must happen: plans that take, that make stand alone, and reasons of every kind.
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut standalone, mut held_by_an_increment) = (0, 0);
    for _ in 0..400 {
        let events = events().new_tree(&mut runner).unwrap().current();
        let policy = policies().new_tree(&mut runner).unwrap().current();
        let plan = planned(&policy, &World::live(&events));
        standalone += plan.standalone_backups().count();
        let is_held = |reason: &WalReason| matches!(reason, WalReason::PartOfIncrement(_));
        held_by_an_increment += plan.wal.iter().filter(|decision| decision.kept_for.is_some_and(is_held)).count();
        for decision in &plan.backups {
            let word = format!("{:?}", decision.reason);
            *reasons
                .entry(word.split([' ', '{', ')']).next().unwrap().chars().filter(|letter| !letter.is_ascii_digit()).collect())
                .or_default() += 1;
        }
    }
    for wanted in [
        "InWindow",
        "WindowBase",
        "AmongNewest",
        "Minimum",
        "SecondTier",
        "NewestOf",
        "LastProven",
        "Locked",
        "Restored",
        "Permanent",
        "NotReady",
        "TooOld",
        "Failed",
        "Condemned",
    ] {
        assert!(reasons.keys().any(|reason| reason.contains(wanted)), "{wanted}: {reasons:?}");
    }
    assert!(standalone > 50, "{standalone}");
    assert!(held_by_an_increment > 50, "{held_by_an_increment}");
}
