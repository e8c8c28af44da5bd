//! The other records of a catalog, each as it lies in a store: a line with the name of its object, and its content.
//!
//! `intent`, `mark`, `state`, `lock`, `drill`, `standalone` and `condemned` lie beside a sentinel, an `intent` of its own without
//! one; an `increment` is one of a backup that is there; a `restore`, a `claim`, a `lease` and the `identity` are the cluster's.

use std::time::Duration;

use jiff::Timestamp;
use stillframe_core::catalog::{Catalog, CatalogContents, Claims, Increments, Lease, LeaseRequest, Restores};
use stillframe_core::postgres::TimelineId;
use stillframe_core::provider::Token;
use stillframe_core::store::{PutOutcome, Store as _};
use stillframe_core::testing::{ManualClock, MemoryStore, published_backup};

use crate::Verdict;
use crate::input::Input;
use crate::sentinel::intent;
use crate::store::{BACKUP, layout, put, settled};

/// The restore point of all seeds.
const POINT: &str = "before the upgrade";

/// A record is read, or told to be unreadable, and then nothing may be deleted; what was read is written and read again as it was.
pub fn target(data: &[u8]) -> Verdict {
    let mut input = Input::new(data);
    let kind = input.text();
    let content = input.rest();
    match kind.as_ref() {
        "announced" => announced(content),
        "increment" => increment(content),
        "restore" => restore(content),
        "claim" => claim(content),
        "lease" => lease(content),
        "identity" => identity(content),
        "intent" | "mark" | "state" | "lock" | "drill" | "standalone" | "condemned" => beside_a_sentinel(&kind, content),
        _ => Verdict::Refused,
    }
}

fn beside_a_sentinel(kind: &str, content: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    let catalog = Catalog::new(&store, &layout);
    let sentinel = published_backup(7).sentinel;
    let name = &sentinel.name;
    settled(catalog.begin(&intent(&sentinel))).expect("the intent is new");
    settled(catalog.publish(&sentinel)).expect("the backup can be published");
    settled(catalog.remove_intent(name)).expect("a store in memory deletes");
    put(&store, &format!("snapshots_001/{name}/{kind}.json"), content);
    let contents = settled(catalog.contents()).expect("a store in memory can be listed");
    let (backups, unreadable) = (contents.backups.len(), contents.unreadable.len());
    assert_eq!(backups + unreadable, 1, "a backup was passed over");
    let Some(backup) = contents.backups.into_iter().next() else {
        assert!(CatalogContents { unreadable: contents.unreadable, ..CatalogContents::default() }.complete().is_err());
        return Verdict::Refused;
    };
    let _ = (backup.locked_until(Timestamp::MIN), backup.locked_until(Timestamp::MAX), backup.has_failed());
    assert!(backup.is_condemned == (kind == "condemned"), "a mark of deletion is not seen");
    assert!(!backup.is_standalone || kind == "standalone");
    if let Some(drill) = &backup.drill {
        settled(catalog.record_drill(name, drill)).expect("a drill that was read can be written");
    }
    if let Some(lock) = backup.lock {
        settled(catalog.record_lock(name, lock, Timestamp::UNIX_EPOCH)).expect("a lock that was read can be written");
    }
    let again = settled(catalog.contents()).expect("a store in memory can be listed").backups;
    assert_eq!(again.first(), Some(&backup), "a record that is written is read otherwise");
    Verdict::Accepted
}

/// A backup that runs, or was interrupted.
fn announced(content: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    put(&store, &format!("snapshots_001/{BACKUP}/intent.json"), content);
    let contents = settled(Catalog::new(&store, &layout).contents()).expect("a store in memory can be listed");
    assert_eq!(contents.intents.len() + contents.unreadable.len(), 1, "a backup that runs was passed over");
    let Some(intent) = contents.intents.first() else { return Verdict::Refused };
    assert!(intent.name.as_str() == BACKUP && !intent.requests.is_empty(), "an intent that accounts for nothing");
    // Its process is one of another machine here.
    assert!(!intent.is_abandoned(Timestamp::MIN, None) || intent.expires_at == Timestamp::MIN);
    let (other, layout) = (MemoryStore::default(), self::layout());
    let catalog = Catalog::new(&other, &layout);
    settled(catalog.begin(intent)).expect("an intent that was read can be written");
    let again = settled(catalog.contents()).expect("a store in memory can be listed").intents;
    assert_eq!(again.first(), Some(intent), "an intent that is written is read otherwise");
    Verdict::Accepted
}

/// A restore point, of which a listing, a deletion and a restore make what it says.
fn increment(content: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    let increments = Increments::new(&store, &layout);
    let place = increments.key(&POINT.parse().expect("the name is legal"));
    settled(store.put(&place, content.to_vec().into())).expect("a store in memory takes it");
    let (found, unreadable) = settled(increments.all()).expect("a store in memory can be listed");
    assert_eq!(found.len() + unreadable.len(), 1, "an increment was passed over");
    let Some(increment) = found.first() else { return Verdict::Refused };
    assert_eq!(increment.name.as_str(), POINT, "a record of another name was accepted");
    assert!(increment.from <= increment.to, "it ends before it begins");
    assert!(increment.replay.iter().all(|range| range.first <= range.last), "a range of fewer segments than one");
    settled(increments.remove(&increment.name)).expect("a store in memory deletes");
    let written = settled(increments.add(increment)).expect("an increment that was read can be written");
    assert_eq!(written, PutOutcome::Created);
    assert_eq!(settled(increments.all()).expect("a store in memory can be listed").0, found, "an increment is read otherwise");
    Verdict::Accepted
}

fn restore(content: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    // The key of the token in all seeds.
    put(&store, "restores_001/01234567-89abcdef-01234567-89abcdef.json", content);
    let restores = Restores::new(&store, &layout);
    let (records, unreadable) = settled(restores.all()).expect("a store in memory can be listed");
    assert_eq!(records.len() + unreadable.len(), 1, "a restore was passed over");
    let Some(record) = records.first() else { return Verdict::Refused };
    for part in &record.parts {
        assert!(part.handle.is_some() || part.release_handle() == part.token.0);
    }
    assert!(record.directories().all(|directory| directory.elsewhere().is_none_or(|place| *place != directory.asked)));
    settled(restores.update(record)).expect("a record that was read can be written");
    assert_eq!(settled(restores.all()).expect("a store in memory can be listed").0, records, "a restore is read otherwise");
    settled(restores.remove(record)).expect("a store in memory deletes");
    assert!(settled(restores.all()).expect("a store in memory can be listed").0.is_empty(), "a restore cannot be forgotten");
    Verdict::Accepted
}

fn claim(content: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    put(&store, "guard_001/timeline-00000001.json", content);
    let claims = Claims::new(&store, &layout);
    let Ok(Some(claim)) = settled(claims.read(TimelineId::FIRST)) else { return Verdict::Refused };
    assert_eq!(claim.timeline, TimelineId::FIRST, "a claim to another timeline was accepted");
    assert!(claim.place.directory.is(&claim.place.directory));
    settled(claims.replace(&claim)).expect("a claim that was read can be written");
    assert_eq!(settled(claims.read(TimelineId::FIRST)).ok().flatten(), Some(claim), "a claim is read otherwise");
    Verdict::Accepted
}

/// Whoever waits for a lease ends after its own deadline, whatever the holder has written.
fn lease(content: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    put(&store, "lease_001/00000000000000000001.json", content);
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    let request = LeaseRequest {
        host: "db1".to_owned(),
        process_id: 1,
        process_space: None,
        command: "delete".to_owned(),
        deadline: Duration::from_mins(5),
    };
    let taken = settled(Lease::acquire(&store, &layout, &clock, &request));
    let waited = stillframe_core::clock::Clock::now(&clock).as_second();
    assert!(waited <= 60 * 60, "it waited {waited} s with a deadline of 300 s");
    let verdict = Verdict::of(&taken);
    if let Ok(lease) = taken {
        assert!(settled(lease.prove()).is_ok(), "a lease that was taken is not held");
        settled(lease.release());
    }
    verdict
}

fn identity(content: &[u8]) -> Verdict {
    let (store, layout) = (MemoryStore::default(), layout());
    put(&store, "identity.json", content);
    let catalog = Catalog::new(&store, &layout);
    let Ok(Some(found)) = settled(catalog.identity()) else { return Verdict::Refused };
    assert!(!found.as_str().is_empty(), "a catalog without a name");
    let again = settled(catalog.identify(&Token("t".to_owned()))).expect("there is one");
    assert_eq!(again, found, "the name of a catalog changes");
    Verdict::Accepted
}
