//! Stores that lie, on fakes: what was acknowledged is not there, listings lag behind, a bit flips in a record.
//!
//! What could go wrong: a push that reports a backup that nobody can restore; a deletion on a listing in which a backup is missing,
//! or which still shows what is gone; a record that is read and is not true.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stillframe_core::catalog::{Backup, Catalog, CatalogError, LeaseError, Permanence};
use stillframe_core::error::{Classify as _, ErrorClass};
use stillframe_core::flows::{
    DeleteError, PushError, ReconcileRequest, apply_delete, apply_reconcile, backup_mark, plan_delete, plan_reconcile,
    snapshot_push,
};
use stillframe_core::provider::Provider as _;
use stillframe_core::retention::{RetentionPolicy, RetentionRule};
use stillframe_core::store::{Key, ObjectEntry, PutOutcome, Store, StoreError};

use crate::house::{House, lease_request};

/// What it gets wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// It acknowledges a new object whose key ends so, and keeps nothing.
    Loses(&'static str),
    /// It lists no object whose key contains this.
    Hides(&'static str),
    /// It still lists objects that were deleted.
    ShowsDeleted,
}

struct Liar<'a> {
    inner: &'a dyn Store,
    lie: Lie,
    deleted: std::sync::Mutex<Vec<ObjectEntry>>,
}

impl<'a> Liar<'a> {
    fn new(inner: &'a dyn Store, lie: Lie) -> Self {
        Self { inner, lie, deleted: std::sync::Mutex::default() }
    }
}

#[async_trait]
impl Store for Liar<'_> {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(key).await
    }

    async fn put(&self, key: &Key, body: Bytes) -> Result<(), StoreError> {
        self.inner.put(key, body).await
    }

    async fn put_if_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome, StoreError> {
        match self.lie {
            Lie::Loses(suffix) if key.as_str().ends_with(suffix) => Ok(PutOutcome::Created),
            _ => self.inner.put_if_absent(key, body).await,
        }
    }

    async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        if let Some(size_bytes) = self.inner.head(key).await? {
            self.deleted.lock().unwrap().push(ObjectEntry { key: key.clone(), size_bytes });
        }
        self.inner.delete(key).await
    }

    async fn list_page(&self, prefix: &str, after: Option<&Key>, limit: usize) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut page = self.inner.list_page(prefix, after, limit).await?;
        match self.lie {
            Lie::Hides(part) => page.retain(|entry| !entry.key.as_str().contains(part)),
            Lie::ShowsDeleted => {
                let deleted = self.deleted.lock().unwrap();
                page.extend(deleted.iter().filter(|entry| entry.key.as_str().starts_with(prefix)).cloned());
                page.sort_by(|one, other| one.key.cmp(&other.key));
                page.dedup_by(|one, other| one.key == other.key);
            }
            Lie::Loses(_) => {}
        }
        Ok(page)
    }

    async fn prove(&self) -> Result<(), StoreError> {
        self.inner.prove().await
    }
}

fn reconcile_request(house: &House) -> ReconcileRequest {
    ReconcileRequest {
        providers: vec![house.provider().name().clone()],
        clusters: [House::cluster()].into(),
        hostname: "db1".to_owned(),
        process_space: None,
        min_age: Duration::ZERO,
        claimed: std::collections::BTreeSet::new(),
    }
}

#[tokio::test]
async fn a_push_reports_no_backup_that_the_store_has_not_kept() {
    let house = House::new().await;
    let liar = Liar::new(&house.store, Lie::Loses("sentinel.json"));
    let request = house.request(1);
    let error = snapshot_push(&house.ports(&liar), house.server(), &request, std::future::pending()).await.unwrap_err();
    assert!(matches!(error, PushError::Catalog(CatalogError::NotKept { .. })), "{error}");
    assert_eq!(error.class(), ErrorClass::Corrupt);
    assert!(error.hint().unwrap().contains("stillframe check"));
    house.assert_invariants("the sentinel was lost").await;
    assert_eq!((house.contents().await.intents.len(), house.handles().len()), (1, 1), "the intent accounts for the snapshot");

    // An intent that was lost is one that somebody else has removed.
    let liar = Liar::new(&house.store, Lie::Loses("intent.json"));
    let error = snapshot_push(&house.ports(&liar), house.server(), &house.request(2), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, PushError::Catalog(CatalogError::GivenUp { .. })), "{error}");
    assert_eq!(house.handles().len(), 1, "what it had cut is undone");
    house.assert_invariants("the intent was lost").await;
}

/// Two backups, the first of which is marked; WAL from 1 to 30.
async fn full_house() -> (House, Vec<Backup>) {
    let house = House::new().await;
    house.archive(&(1..=30).collect::<Vec<_>>()).await;
    let backups = vec![house.backup_at(1, 10, Permanence::Ordinary).await, house.backup_at(2, 20, Permanence::Ordinary).await];
    backup_mark(&house.ports(&house.store), &backups[0].sentinel.name, Permanence::Permanent).await.unwrap();
    (house, backups)
}

#[tokio::test]
async fn a_backup_whose_sentinel_the_listing_does_not_show_is_no_remnant() {
    for rule in [RetentionRule::Garbage, RetentionRule::Retain { count: 1, after: None }, RetentionRule::Everything] {
        let (house, backups) = full_house().await;
        let liar = Liar::new(&house.store, Lie::Hides("sentinel.json"));
        let ports = house.ports(&liar);
        let plan = plan_delete(&ports, &rule).await.unwrap();
        assert!(plan.leftovers.is_empty(), "{rule:?}: {:?}", plan.leftovers);
        drop(apply_delete(&ports, &rule, &plan, &lease_request("delete")).await);
        let shown = plan_reconcile(&ports, &reconcile_request(&house)).await.unwrap();
        apply_reconcile(&ports, &reconcile_request(&house), &shown, &lease_request("reconcile")).await;
        let left = house.contents().await;
        let permanent = left.find(&backups[0].sentinel.name).unwrap_or_else(|| panic!("{rule:?}: permanent_survives"));
        assert!(!permanent.is_condemned && house.handles().len() == 2, "{rule:?}: {:?}", house.handles());
        assert!(house.archived().await.contains("00000001000000000000000A"), "{rule:?}: protected_wal_present");
        house.assert_invariants(&format!("{rule:?}")).await;
    }
}

#[tokio::test]
async fn where_listings_lag_behind_no_lease_is_held_and_nothing_is_deleted() {
    for hidden in ["/lease_001/", "/"] {
        let (house, _) = full_house().await;
        let rule = RetentionRule::Everything;
        let plan = plan_delete(&house.ports(&house.store), &rule).await.unwrap();
        let (handles, archived) = (house.handles(), house.archived().await);
        let liar = Liar::new(&house.store, Lie::Hides(hidden));
        let report = apply_delete(&house.ports(&liar), &rule, &plan, &lease_request("delete")).await;
        // Where nothing is listed at all, there is nothing to do by the second look.
        let is_lost = |error: &DeleteError| matches!(error, DeleteError::Lease(LeaseError::Lost { .. }));
        assert!(report.failures.iter().all(|(_, error)| is_lost(error)), "{hidden}: {report:?}");
        assert!(hidden == "/" || !report.failures.is_empty(), "{hidden}: {report:?}");
        assert_eq!((house.handles(), house.archived().await), (handles, archived), "{hidden}");
        house.assert_invariants(hidden).await;
    }
}

#[tokio::test]
async fn what_a_listing_still_shows_is_neither_a_backup_nor_wal() {
    let (house, backups) = full_house().await;
    let liar = Liar::new(&house.store, Lie::ShowsDeleted);
    let ports = house.ports(&liar);
    for _ in 0..2 {
        let rule = RetentionRule::Everything;
        let plan = plan_delete(&ports, &rule).await.unwrap();
        apply_delete(&ports, &rule, &plan, &lease_request("delete")).await;
        let shown = Catalog::new(&liar, &house.layout).contents().await.unwrap();
        assert!(shown.find(&backups[1].sentinel.name).is_none(), "it is gone, whatever is listed");
        assert!(shown.unreadable.is_empty(), "{:?}", shown.unreadable);
    }
    house.assert_invariants("ghosts").await;
    // A push beside the ghosts is a backup.
    house.archive(&[20]).await;
    let request = house.request(3);
    snapshot_push(&ports, house.server(), &request, std::future::pending()).await.unwrap();
    assert!(house.contents().await.find(&request.name).is_some());
}

fn every_rule(backups: &[Backup]) -> Vec<RetentionRule> {
    let policy = RetentionPolicy { count: Some(1), ..RetentionPolicy::default() };
    let retain = RetentionRule::Retain { count: 1, after: None };
    let target = RetentionRule::Target(backups[1].sentinel.name.clone());
    vec![retain, target, RetentionRule::Policy(policy), RetentionRule::Garbage, RetentionRule::Everything]
}

/// Nothing is deleted by any rule or by `reconcile`, the record is told of, and the other backup can still be chosen.
async fn assert_fails_closed(house: &House, backups: &[Backup], what: &str) {
    let ports = house.ports(&house.store);
    for rule in every_rule(backups) {
        let error = plan_delete(&ports, &rule).await.unwrap_err();
        assert!(error.to_string().contains("sentinel.json") && error.hint().is_some(), "{what}: {rule:?}: {error}");
    }
    let request = reconcile_request(house);
    let plan = plan_reconcile(&ports, &request).await.unwrap();
    let removes = |action: &str| ["delete", "undo", "forget", "adopt"].contains(&action);
    assert!(plan.actions().all(|finding| finding.action().is_none_or(|action| !removes(action.as_str()))), "{what}: {plan:?}");
    assert!(plan.findings.iter().any(|finding| finding.subject.contains("sentinel.json")), "{what}: it is told of: {plan:?}");
    let contents = house.contents().await;
    assert_eq!(contents.backups.len(), 1, "{what}: {:?}", contents.backups);
}

#[tokio::test]
async fn a_sentinel_with_a_bit_that_flipped_stops_every_deletion_and_keeps_its_snapshot_and_its_wal() {
    let (house, backups) = full_house().await;
    let key = Key::parse(&format!("main/snapshots_001/{}/sentinel.json", backups[1].sentinel.name)).unwrap();
    let body = house.store.get(&key).await.unwrap().unwrap();
    // One bit of every eleventh byte, another one each time.
    for at in (0..body.len()).step_by(11) {
        let mut flipped = body.to_vec();
        flipped[at] ^= 1 << (at % 8);
        house.store.put(&key, flipped.into()).await.unwrap();
        assert_fails_closed(&house, &backups, &format!("byte {at}")).await;
    }
    let future = String::from_utf8(body.to_vec()).unwrap().replacen("\"format_version\": 2", "\"format_version\": 3", 1);
    for (what, damaged) in [("empty", String::new()), ("zeros", "\0".repeat(4096)), ("of a later version", future)] {
        house.store.put(&key, damaged.into()).await.unwrap();
        assert_fails_closed(&house, &backups, what).await;
    }
    house.store.put(&key, body).await.unwrap();
    assert_eq!(house.contents().await.backups.len(), 2, "the test can succeed");
}
