//! A plan grows with what it is about, and not with the product of it.

use std::time::Duration;

use stillframe_core::retention::{RetentionPolicy, RetentionRule, plan};

use crate::world::{Event, Traits, World};

/// Every file against every backup would be 80 million comparisons, each many times what a look-up costs: minutes without optimisation.
#[test]
fn thousands_of_backups_and_timelines_take_no_quadratic_time() {
    let backup = || Event::Backup { hours: 1, segments: 1, traits: Traits { state: 2, ..Traits::default() } };
    let events: Vec<Event> = (0..4_000)
        .flat_map(|number| {
            let fork = (number % 20 == 19).then_some(Event::Failover);
            [Some(backup()), Some(Event::Work { hours: 3, segments: 3 }), fork].into_iter().flatten()
        })
        .collect();
    let world = World::live(&events);
    assert!(world.files.len() > 20_000 && world.histories.len() == 201, "{} files", world.files.len());
    let days = |number: u64| Some(Duration::from_hours(24 * number));
    let policy = RetentionPolicy { window: days(30), standalone: days(90), daily: Some(400), ..RetentionPolicy::default() };
    let plan = plan(&RetentionRule::Policy(policy), world.holdings(), world.now).unwrap();
    assert!(plan.standalone_backups().count() > 100 && plan.removed_wal().count() > 10_000);
}
