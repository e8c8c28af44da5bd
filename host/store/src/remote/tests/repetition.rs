//! What is repeated, how often and after how long, and what a repetition must not believe.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use stillframe_core::clock::Clock as _;
use stillframe_core::error::{Classify as _, ErrorClass};
use stillframe_core::store::PutOutcome;
use stillframe_core::testing::ManualClock;

use super::scripted::{ScriptedWire, Strikes, broken};
use crate::remote::retrying::Retrying;
use crate::remote::{Answer, Fault, Wire as _};

const START: Timestamp = Timestamp::UNIX_EPOCH;

fn retrying(wire: &ScriptedWire, max_attempts: u32) -> (Retrying, ManualClock) {
    let clock = ManualClock::new(START);
    let retrying = Retrying::new(Box::new(wire.clone()), max_attempts.try_into().unwrap(), Box::new(clock.clone()));
    (retrying, clock)
}

fn forbidden() -> Fault {
    Fault::Refused { answer: Answer::new(403, Some("AccessDenied"), None, None) }
}

#[tokio::test]
async fn every_operation_is_repeated_as_often_as_allowed_and_no_more() {
    for (attempts, faults, succeeds) in [(1, 1, false), (5, 4, true), (5, 5, false)] {
        for operation in 0..6 {
            let wire = ScriptedWire::default();
            let (retrying, _) = retrying(&wire, attempts);
            for _ in 0..faults {
                wire.fail(Strikes::Before, broken());
            }
            let outcome = match operation {
                0 => retrying.get("x").await.map(|_| ()),
                1 => retrying.put("x", Bytes::new()).await,
                2 => retrying.put_if_absent("x", Bytes::new()).await.map(|_| ()),
                3 => retrying.head("x").await.map(|_| ()),
                4 => retrying.delete("x").await,
                _ => retrying.list("x", None, 1).await.map(|_| ()),
            };
            assert_eq!(outcome.is_ok(), succeeds, "operation {operation}, {faults} faults of {attempts} attempts");
            let requests = if succeeds { faults + 1 } else { attempts as usize };
            assert_eq!(wire.take_requests().len(), requests);
        }
    }
}

#[tokio::test]
async fn a_fault_that_stays_is_not_repeated_even_after_one_that_passes() {
    let wire = ScriptedWire::default();
    let (retrying, _) = retrying(&wire, 5);
    wire.fail(Strikes::Before, broken());
    wire.fail(Strikes::Before, forbidden());
    assert_eq!(retrying.get("x").await.unwrap_err().class(), ErrorClass::Config);
    assert_eq!(wire.take_requests().len(), 2);
}

#[tokio::test]
async fn pauses_are_bounded_and_drawn_at_random() {
    let mut totals = Vec::new();
    for _ in 0..20 {
        let wire = ScriptedWire::default();
        let (retrying, clock) = retrying(&wire, 12);
        for _ in 0..12 {
            wire.fail(Strikes::Before, broken());
        }
        retrying.get("x").await.unwrap_err();
        totals.push(clock.now().duration_since(START).unsigned_abs());
    }
    // 0.2, 0.4, … 12.8 s, and then 20 s each time.
    let bound = Duration::from_millis(200 + 400 + 800 + 1_600 + 3_200 + 6_400 + 12_800) + 4 * Duration::from_secs(20);
    assert!(totals.iter().all(|total| *total <= bound), "{totals:?}");
    assert!(totals.iter().any(|total| *total > bound / 10), "{totals:?}");
    totals.dedup();
    assert!(totals.len() > 1, "hosts that failed together come back together");
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_a_creation() {
    let wire = ScriptedWire::default();
    let (retrying, _) = retrying(&wire, 5);
    wire.fail(Strikes::After, broken());
    assert_eq!(retrying.put_if_absent("x", Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::Created);
    assert_eq!(wire.take_requests(), ["put-if-absent x", "put-if-absent x", "get x"]);
}

#[tokio::test]
async fn a_creation_that_came_too_late_is_none() {
    let wire = ScriptedWire::default().holding("x", b"theirs");
    let (retrying, _) = retrying(&wire, 5);
    wire.fail(Strikes::Before, broken());
    assert_eq!(retrying.put_if_absent("x", Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::AlreadyExists);
    // Without a loss nobody compares: equal bytes may be somebody else's.
    wire.take_requests();
    assert_eq!(retrying.put_if_absent("x", Bytes::from_static(b"theirs")).await.unwrap(), PutOutcome::AlreadyExists);
    assert_eq!(wire.take_requests(), ["put-if-absent x"]);
}

#[tokio::test]
async fn a_comparison_that_fails_is_repeated_and_decides_nothing() {
    let wire = ScriptedWire::default();
    let (retrying, _) = retrying(&wire, 5);
    wire.fail(Strikes::After, broken());
    wire.fail(Strikes::Before, broken());
    wire.fail(Strikes::Before, broken());
    assert_eq!(retrying.put_if_absent("x", Bytes::from_static(b"mine")).await.unwrap(), PutOutcome::Created);
    assert_eq!(wire.with(|state| state.objects.len()), 1);
}
