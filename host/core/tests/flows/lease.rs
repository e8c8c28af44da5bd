//! The lease on fakes: one holder at a time, whatever clocks say and wherever a process dies, and nothing deleted without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use stillframe_core::catalog::{ClusterName, Layout, Lease, LeaseError, LeaseRequest, Permanence};
use stillframe_core::error::{Classify, ErrorClass};
use stillframe_core::flows::{DeleteError, Ports, PushError, apply_delete, plan_delete, snapshot_push};
use stillframe_core::postgres::Lsn;
use stillframe_core::retention::RetentionRule;
use stillframe_core::store::{Key, Store};
use stillframe_core::testing::{FaultyStore, InjectedFault, ManualClock, MemoryStore, ProviderCall, WatchedStore, Watcher, When};

use crate::hooked_store::{Operation, hooked};
use crate::house::{House, lease_request, segment, segment_key, start_of_time};

/// The term, as the holders write it.
const TERM: Duration = Duration::from_mins(1);

fn layout() -> Layout {
    Layout::new(ClusterName::try_from("main".to_owned()).unwrap())
}

/// A clock of a host, so many hours ahead.
fn clock(hours: u64) -> ManualClock {
    ManualClock::new(start_of_time() + Duration::from_hours(hours))
}

fn request(process_id: u32, deadline: Duration) -> LeaseRequest {
    LeaseRequest { process_id, deadline, ..lease_request("delete") }
}

fn long() -> Duration {
    Duration::from_mins(10)
}

async fn lease_keys(store: &MemoryStore) -> Vec<String> {
    let entries = store.list_page("main/lease_001/", None, 100).await.unwrap();
    entries.into_iter().map(|entry| entry.key.file_name().trim_start_matches('0').to_owned()).collect()
}

/// Another host has taken the lease over, as it does when it has seen nothing of the holder for the term.
async fn take_over(store: &MemoryStore) {
    let newest = store.list_page("main/lease_001/", None, 100).await.unwrap().pop().unwrap().key;
    let token: u64 = newest.file_name().trim_end_matches(".json").parse().unwrap();
    let record = store.get(&newest).await.unwrap().unwrap();
    store.put(&Key::parse(&format!("main/lease_001/{:020}.json", token + 1)).unwrap(), record).await.unwrap();
}

#[tokio::test]
async fn of_many_that_want_it_one_at_a_time_has_it_and_each_gets_it() {
    let store = Arc::new(MemoryStore::default());
    let (holders, turns) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut racers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (store, holders, turns) = (store.clone(), holders.clone(), turns.clone());
        racers.spawn(async move {
            let (layout, clock) = (layout(), clock(u64::from(number)));
            let store = yielding(&store, u64::from(number));
            let lease = Lease::acquire(&store, &layout, &clock, &request(number, Duration::from_hours(1))).await.unwrap();
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold the lease");
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            lease.prove().await.unwrap();
            holders.fetch_sub(1, Ordering::SeqCst);
            turns.fetch_add(1, Ordering::SeqCst);
            lease.release().await;
        });
    }
    while let Some(result) = racers.join_next().await {
        result.unwrap();
    }
    assert_eq!(turns.load(Ordering::SeqCst), 20);
    assert_eq!(lease_keys(&store).await, ["20.json"], "no token is given twice, and old ones are removed");
}

#[tokio::test]
async fn a_dead_holder_is_waited_for_the_whole_term_by_the_time_of_the_waiter_whatever_the_clocks_say() {
    for (ours, theirs) in [(0, 0), (0, 9), (9, 0)] {
        let (store, layout) = (MemoryStore::default(), layout());
        let dead = clock(ours);
        drop(Lease::acquire(&store, &layout, &dead, &request(1, long())).await.unwrap());
        // A clock that jumps is no time that has passed.
        dead.advance(Duration::from_hours(24));
        let later = clock(theirs);
        let error = Lease::acquire(&store, &layout, &later, &request(2, Duration::from_secs(50))).await.err().unwrap();
        assert!(matches!(&error, LeaseError::Held { holder: Some(holder), .. } if holder.process_id == 1), "{error}");
        assert_eq!(error.class(), ErrorClass::Transient);
        assert!(error.to_string().contains("process 1 on `db1`"), "{error}");
        let begun = stillframe_core::clock::Clock::now(&later);
        drop(Lease::acquire(&store, &layout, &later, &request(2, long())).await.unwrap());
        let waited = Duration::try_from(stillframe_core::clock::Clock::now(&later).duration_since(begun)).unwrap();
        assert!((TERM..TERM + Duration::from_secs(5)).contains(&waited), "{waited:?}");
    }
}

#[tokio::test]
async fn a_holder_that_is_known_to_have_ended_is_not_waited_for_and_one_that_runs_is() {
    let space = |text: &str| Some(text.to_owned());
    let ended = {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    };
    for (holder, among, is_waited_for) in [
        (ended, space("here"), false),
        (ended, space("elsewhere"), true),
        (ended, None, true),
        (std::process::id(), space("here"), true),
    ] {
        let (store, layout, clock) = (MemoryStore::default(), layout(), clock(0));
        let dead = LeaseRequest { process_space: among.clone(), ..request(holder, long()) };
        drop(Lease::acquire(&store, &layout, &clock, &dead).await.unwrap());
        let next = LeaseRequest { process_space: space("here"), ..request(2, Duration::ZERO) };
        let taken = Lease::acquire(&store, &layout, &clock, &next).await;
        assert_eq!(taken.is_err(), is_waited_for, "{holder} {among:?}");
    }
}

#[tokio::test]
async fn a_holder_that_renews_is_not_taken_for_dead() {
    let (store, layout) = (MemoryStore::default(), layout());
    let (holders_clock, waiters_clock) = (clock(0), clock(0));
    let lease = Lease::acquire(&store, &layout, &holders_clock, &request(1, long())).await.unwrap();
    let is_over = tokio::sync::Notify::new();
    let holder = lease.during(is_over.notified());
    let waiter = async {
        let refused = Lease::acquire(&store, &layout, &waiters_clock, &request(2, Duration::from_mins(5))).await;
        is_over.notify_one();
        refused
    };
    let (held, refused) = tokio::join!(holder, waiter);
    held.unwrap();
    assert!(matches!(refused.err().unwrap(), LeaseError::Held { .. }));
    lease.prove().await.unwrap();
    lease.release().await;
    drop(Lease::acquire(&store, &layout, &waiters_clock, &request(2, Duration::ZERO)).await.unwrap());
}

#[tokio::test]
async fn a_holder_that_slept_through_its_term_has_lost_the_lease_and_one_that_was_overtaken_finds_it() {
    let (store, layout, clock) = (MemoryStore::default(), layout(), clock(0));
    let slept = Lease::acquire(&store, &layout, &clock, &request(1, long())).await.unwrap();
    clock.advance(TERM);
    assert!(matches!(slept.prove().await, Err(LeaseError::Expired { .. })));
    slept.release().await;
    let overtaken = Lease::acquire(&store, &layout, &clock, &request(1, long())).await.unwrap();
    overtaken.prove().await.unwrap();
    take_over(&store).await;
    let error = overtaken.prove().await.unwrap_err();
    assert!(matches!(error, LeaseError::Lost { token: 2, highest: Some(3) }), "{error}");
    assert_eq!(error.class(), ErrorClass::Transient);
    let work = overtaken.during(std::future::pending::<()>()).await;
    assert!(matches!(work, Err(LeaseError::Lost { .. })), "the work is dropped");
}

#[tokio::test]
async fn a_holder_that_wakes_up_while_it_is_taken_over_stops_before_its_successor_begins() {
    let (store, layout, holders_clock) = (MemoryStore::default(), layout(), clock(0));
    let holder = Lease::acquire(&store, &layout, &holders_clock, &request(1, long())).await.unwrap();
    // The waiter has decided; the holder proves its lease just before the new token is there.
    let wakes_up = async {
        holders_clock.advance(TERM / 2);
        holder.prove().await.unwrap();
    };
    let hooked = hooked(&store, Operation::PutIfAbsent, "002.json", wakes_up);
    let waiters_clock = clock(0);
    let begun = stillframe_core::clock::Clock::now(&waiters_clock);
    drop(Lease::acquire(&hooked, &layout, &waiters_clock, &request(2, long())).await.unwrap());
    let waited = Duration::try_from(stillframe_core::clock::Clock::now(&waiters_clock).duration_since(begun)).unwrap();
    assert!(waited >= TERM * 2, "it has waited for another term: {waited:?}");
    drop(hooked);
    assert!(matches!(holder.prove().await, Err(LeaseError::Lost { .. })));
}

#[tokio::test]
async fn after_a_crash_at_any_write_the_next_one_gets_the_lease() {
    // First write, renewal, release; then of a second life the removal of the older record as well.
    async fn live(store: &dyn Store, clock: &ManualClock) -> Result<(), LeaseError> {
        let layout = layout();
        let lease = Lease::acquire(store, &layout, clock, &request(1, Duration::ZERO)).await?;
        clock.advance(TERM / 2);
        lease.prove().await?;
        lease.release().await;
        Ok(())
    }
    let writes = {
        let (store, clock) = (MemoryStore::default(), clock(0));
        live(&store, &clock).await.unwrap();
        let store = FaultyStore::new(&store, None);
        live(&store, &clock).await.unwrap();
        store.writes()
    };
    assert_eq!(writes, 4);
    for number in 0..writes {
        for when in [When::Before, When::After] {
            let (store, clock) = (MemoryStore::default(), clock(0));
            live(&store, &clock).await.unwrap();
            let _ = live(&FaultyStore::new(&store, Some((number, when))), &clock).await;
            let layout = layout();
            let next = Lease::acquire(&store, &layout, &clock, &request(2, long())).await.unwrap();
            next.prove().await.unwrap();
            next.release().await;
            assert_eq!(lease_keys(&store).await.len(), 1, "write {number} {when:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_lease_of_this_version_stops_everybody() {
    let (store, layout, clock) = (MemoryStore::default(), layout(), clock(0));
    let bodies = [("00000000000000000007.json", "{}"), ("00000000000000000007.json", "{\"format_version\": 9}"), ("7.json", "")];
    for (file, body) in bodies {
        let key = Key::parse(&format!("main/lease_001/{file}")).unwrap();
        store.put(&key, body.into()).await.unwrap();
        let error = Lease::acquire(&store, &layout, &clock, &request(1, long())).await.err().unwrap();
        assert!(matches!(error.class(), ErrorClass::Corrupt | ErrorClass::Config) && error.hint().is_some(), "{error}");
        store.delete(&key).await.unwrap();
    }
}

/// Two backups at 10 and 20, WAL from 1 to 30.
async fn house() -> House {
    let house = House::new().await;
    house.archive(&(1..=30).collect::<Vec<_>>()).await;
    house.backup_at(1, 10, Permanence::Ordinary).await;
    house.backup_at(2, 20, Permanence::Ordinary).await;
    house
}

#[tokio::test]
async fn a_deletion_that_lost_its_lease_deletes_nothing_more() {
    let everything = RetentionRule::Everything;
    // Before the first step that counts, before a snapshot goes, and in the middle of the WAL.
    for (before, suffix) in [(Operation::Get, "mark.json"), (Operation::PutIfAbsent, "condemned.json")] {
        let house = house().await;
        let plan = plan_delete(&house.ports(&house.store), &everything).await.unwrap();
        let store = hooked(&house.store, before, suffix, take_over(&house.store));
        let report = apply_delete(&house.ports(&store), &everything, &plan, &lease_request("delete")).await;
        drop(store);
        let (_, error) = report.failures.last().unwrap();
        assert!(matches!(error, DeleteError::Lease(LeaseError::Lost { .. })), "{suffix}: {error}");
        assert_eq!(house.provider().handles().len(), 2, "{suffix}");
        assert!(!house.provider().calls().contains(&ProviderCall::Delete), "{suffix}");
        assert!(house.archived().await.len() >= 30, "{suffix}");
        house.assert_invariants(suffix).await;
    }
    let house = house().await;
    let plan = plan_delete(&house.ports(&house.store), &everything).await.unwrap();
    let suspended = async {
        house.clock.advance(TERM);
        take_over(&house.store).await;
    };
    let store = hooked(&house.store, Operation::Delete, "0000000000000005.zst", suspended);
    let report = apply_delete(&house.ports(&store), &everything, &plan, &lease_request("delete")).await;
    drop(store);
    assert_eq!(report.wal.last(), Some(&segment(5)), "the step that had begun is the last");
    assert!(matches!(report.failures.last().unwrap().1, DeleteError::Lease(LeaseError::Expired { .. })));
    assert_eq!(house.archived().await.len(), 25);
}

#[tokio::test]
async fn a_plan_takes_no_lease_and_neither_does_nothing_to_do() {
    let house = house().await;
    let before = house.store.snapshot();
    let keep_all = RetentionRule::Retain { count: 2, after: None };
    plan_delete(&house.ports(&house.store), &RetentionRule::Everything).await.unwrap();
    assert_eq!(house.store.snapshot(), before);
    let garbage = plan_delete(&house.ports(&house.store), &keep_all).await.unwrap();
    apply_delete(&house.ports(&house.store), &keep_all, &garbage, &lease_request("delete")).await.into_result().unwrap();
    let (before, nothing) = (house.store.snapshot(), plan_delete(&house.ports(&house.store), &keep_all).await.unwrap());
    assert!(nothing.is_empty());
    apply_delete(&house.ports(&house.store), &keep_all, &nothing, &lease_request("delete")).await.into_result().unwrap();
    assert_eq!(house.store.snapshot(), before);
}

#[tokio::test]
async fn what_the_operator_saw_goes_only_if_the_rule_still_says_so() {
    let house = house().await;
    let ports = house.ports(&house.store);
    let rule = RetentionRule::Retain { count: 1, after: None };
    let plan = plan_delete(&ports, &rule).await.unwrap();
    // Another run removes the newer one, which makes the older one the last.
    let newer = house.contents().await.backups[1].sentinel.name.clone();
    let target = RetentionRule::Target(newer);
    let other = plan_delete(&ports, &target).await.unwrap();
    apply_delete(&ports, &target, &other, &lease_request("delete")).await.into_result().unwrap();
    let report = apply_delete(&ports, &rule, &plan, &lease_request("delete")).await;
    assert_eq!(report.spared.len(), 1);
    assert_eq!(house.contents().await.backups.len(), 1, "the last one stays");
}

#[tokio::test]
async fn a_backup_waits_for_a_deletion_no_longer_than_its_deadline_and_leaves_nothing() {
    let house = house().await;
    let other = clock(0);
    let deletion = Lease::acquire(&house.store, &house.layout, &other, &request(7, long())).await.unwrap();
    let before = house.store.snapshot();
    let mut push = house.request(3);
    push.lease.deadline = Duration::from_secs(30);
    let error = house.push(&push).await.unwrap_err();
    assert!(matches!(error, PushError::Lease(LeaseError::Held { .. })), "{error}");
    assert_eq!(error.class(), ErrorClass::Transient);
    assert!(error.hint().unwrap().contains("falls free"));
    assert_eq!(house.store.snapshot(), before);
    deletion.release().await;
    house.push(&push).await.unwrap();
}

#[tokio::test]
async fn a_long_backup_keeps_nobody_from_deleting() {
    let house = house().await;
    let garbage = async {
        let ports = house.ports(&house.store);
        let rule = RetentionRule::Retain { count: 1, after: None };
        let plan = plan_delete(&ports, &rule).await.unwrap();
        let at_once = LeaseRequest { deadline: Duration::ZERO, ..lease_request("delete") };
        apply_delete(&ports, &rule, &plan, &at_once).await.into_result().map_err(|(_, error)| error).unwrap();
    };
    let store = hooked(&house.store, Operation::PutIfAbsent, "sentinel.json", garbage);
    snapshot_push(&house.ports(&store), house.server(), &house.request(3), std::future::pending()).await.unwrap();
}

#[tokio::test]
async fn a_backup_whose_lease_was_lost_before_its_intent_was_written_is_not_begun() {
    let house = house().await;
    let store = hooked(&house.store, Operation::PutIfAbsent, "intent.json", take_over(&house.store));
    let ports = house.ports(&store);
    let error = snapshot_push(&ports, house.server(), &house.request(3), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, PushError::Lease(LeaseError::Lost { .. })), "{error}");
    drop(store);
    assert!(house.contents().await.intents.is_empty());
    assert!(!house.provider().handles().iter().any(|handle| handle.contains(house.request(3).name.as_str())));
}

/// At every operation others go first, by the dice.
struct Dice(AtomicU64);

fn yielding(inner: &MemoryStore, seed: u64) -> WatchedStore<'_, Dice> {
    WatchedStore::new(inner, Dice(AtomicU64::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)))
}

#[async_trait]
impl Watcher for Dice {
    async fn before(&self, _: Operation, _: &str) -> Result<(), InjectedFault> {
        let thrown = self.0.load(Ordering::SeqCst).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.store(thrown, Ordering::SeqCst);
        for _ in 0..(thrown >> 33) % 4 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn everything_beside_a_backup_that_begins_at_any_instant_loses_nothing() {
    let (mut published, mut refused) = (0, 0);
    for seed in 0..100_u64 {
        let house = House::new().await;
        house.archive(&(1..=30).collect::<Vec<_>>()).await;
        house.backup_at(1, 10, Permanence::Ordinary).await;
        house.server.change(|facts| facts.wal_position = Lsn((30 << 20) + 0x28));
        let store = yielding(&house.store, seed);
        // Two hosts: the time that one waits is no time of the other.
        let other_clock = clock(0);
        let (push_waits, delete_waits) = if seed % 2 == 0 { (seed, 0) } else { (0, seed) };
        let push = async {
            for _ in 0..push_waits {
                tokio::task::yield_now().await;
            }
            let ports = Ports { clock: &other_clock, ..house.ports(&store) };
            snapshot_push(&ports, house.server(), &house.request(2), std::future::pending()).await
        };
        let delete = async {
            for _ in 0..delete_waits {
                tokio::task::yield_now().await;
            }
            let rule = RetentionRule::Everything;
            let ports = house.ports(&store);
            let plan = plan_delete(&ports, &rule).await.unwrap();
            apply_delete(&ports, &rule, &plan, &lease_request("delete")).await
        };
        let (pushed, report) = tokio::join!(push, delete);
        house.assert_invariants(&format!("seed {seed}")).await;
        // The archive does not get the segment a second time here: a backup that comes later finds it missing, and says so.
        match pushed {
            Ok(backup) => {
                published += 1;
                let kept = house.store.head(&segment_key(30)).await.unwrap().is_some();
                let is_listed = house.contents().await.find(&backup.sentinel.name).is_some();
                assert!(kept || !is_listed, "protected_wal_present: seed {seed}: {:?}", report.failures);
            }
            Err(PushError::NotArchived { .. }) => refused += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    assert!(published > 5 && refused > 5, "both orders were tried: {published} {refused}");
}

#[tokio::test]
async fn a_deletion_that_was_suspended_loses_nothing_of_a_backup_that_began_meanwhile() {
    let house = House::new().await;
    house.archive(&(1..=30).collect::<Vec<_>>()).await;
    house.backup_at(1, 10, Permanence::Ordinary).await;
    house.server.change(|facts| facts.wal_position = Lsn((30 << 20) + 0x28));
    let rule = RetentionRule::Everything;
    let plan = plan_delete(&house.ports(&house.store), &rule).await.unwrap();
    // The first WAL file is about to go when the whole process stops, while another one goes on: a thread that waits for another.
    let push = async {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(house.push(&house.request(2))).unwrap();
            });
        });
    };
    let store = hooked(&house.store, Operation::Delete, "0000000000000001.zst", push);
    let report = apply_delete(&house.ports(&store), &rule, &plan, &lease_request("delete")).await;
    drop(store);
    assert!(matches!(report.failures.last().unwrap().1, DeleteError::Lease(_)));
    assert!(house.archived().await.contains(&segment(30).to_string()));
    assert_eq!(house.contents().await.backups.len(), 1);
    house.assert_invariants("suspended").await;
}
