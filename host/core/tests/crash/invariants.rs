//! What must hold after every run, whatever became of it; and what must hold once a later run has settled everything.

use std::collections::BTreeSet;

use stillframe_core::catalog::{Backup, Catalog, Intent, Permanence};
use stillframe_core::data_directory::{Archiving, Inclusion, RecoverySettings, RecoveryTarget, TargetAction, TargetTimeline};
use stillframe_core::flows::{
    Action, Announcement, BackupSelector, Discrepancy, FetchRequest, Isolation, MissingWal, Precautions, ReleaseHosts,
    ReleaseRequest, RestoreSelector, apply_delete, plan_delete, plan_reconcile, snapshot_fetch, snapshot_release,
};
use stillframe_core::postgres::PgControl;
use stillframe_core::provider::Token;
use stillframe_core::retention::RetentionRule;

use crate::fingerprint::{self, Seen};
use crate::reconcile;
use crate::seams::Seams;
use crate::world::{HOST, WAL, World, lease_request};

thread_local! {
    static PROVEN: Seen = const { Seen::new() };
}

/// The handles of all sets of a backup.
pub(crate) fn handles_of(backup: &Backup) -> impl Iterator<Item = String> {
    backup.sentinel.sets.iter().map(|set| set.snapshot.handle.clone())
}

/// Whether recovery from it goes to its own end only.
fn is_moment(backup: &Backup) -> bool {
    backup.permanence == Permanence::Permanent || backup.is_standalone
}

fn handles(world: &World) -> BTreeSet<String> {
    world.providers.iter().flat_map(|provider| provider.handles()).collect()
}

/// Holds at every moment at which a process may die.
pub(crate) async fn assert_always(world: &World, situation: &str) {
    assert_eq!(world.server.in_backup_mode(), 0, "never_left_in_backup_mode: {situation}");
    let contents = world.contents().await;
    assert!(contents.unreadable.is_empty(), "every_record_is_readable: {situation}: {:?}", contents.unreadable);
    let standing = || contents.backups.iter().filter(|backup| !backup.is_condemned);
    let there = handles(world);

    let published: BTreeSet<String> = standing().flat_map(handles_of).collect();
    assert!(published.is_subset(&there), "sentinel_names_existing_snapshots: {situation}: {published:?} {there:?}");

    let announced =
        |intent: &Intent| intent.requests.iter().map(|request| format!("{}:{}", request.provider, intent.name)).collect::<Vec<_>>();
    let accounted: BTreeSet<String> =
        contents.backups.iter().flat_map(handles_of).chain(contents.intents.iter().flat_map(announced)).collect();
    let accounted: BTreeSet<String> = accounted.union(&world.orphans.lock().unwrap()).cloned().collect();
    assert!(there.is_subset(&accounted), "no_unaccounted_snapshot: {situation}: {there:?} {accounted:?}");

    let recorded: BTreeSet<String> =
        world.restores().await.into_iter().flat_map(|record| record.parts).map(|part| part.token.0).collect();
    for provider in &world.providers {
        let active = provider.active_restores();
        assert!(active.is_subset(&recorded), "no_unaccounted_restore: {situation}: {active:?} {recorded:?}");
    }

    let archived = world.archived().await;
    for backup in standing() {
        let range = backup.sentinel.wal_range();
        let own = u32::try_from(range.first).unwrap()..=u32::try_from(range.last).unwrap();
        // Recovery from an ordinary backup goes on to wherever the archive ends.
        let last = if is_moment(backup) { *own.end() } else { *WAL.end() };
        let missing: Vec<u32> = (*own.start()..=last).filter(|number| !archived.contains(number)).collect();
        assert!(missing.is_empty(), "protected_wal_present: {situation}: {} lacks {missing:?}", backup.sentinel.name);
    }
    for backup in standing().filter(|backup| backup.sentinel.is_cold) {
        let kept = Catalog::new(&*world.store, &world.layout).keeps_wal(&backup.sentinel.name).await.unwrap();
        assert!(kept, "a_cold_backup_has_its_wal: {situation}: {}", backup.sentinel.name);
    }
    for increment in standing().flat_map(|backup| &backup.increments) {
        let needed = increment.replay.iter().flat_map(|range| range.first..=range.last);
        let missing: Vec<u64> = needed.filter(|number| !archived.iter().any(|other| u64::from(*other) == *number)).collect();
        assert!(missing.is_empty(), "a_listed_increment_is_restorable: {situation}: {} lacks {missing:?}", increment.name);
    }
    let strays: Vec<String> = contents.stray_increments.iter().map(|stray| stray.name.to_string()).collect();
    assert!(strays.is_empty(), "no_increment_without_its_parent: {situation}: {strays:?}");
    for name in world.permanent.lock().unwrap().iter() {
        assert!(standing().any(|backup| backup.sentinel.name == *name), "permanent_survives: {situation}");
    }
    assert_never_half_prepared(&world.path("new"), situation);
}

/// A copy that has been sealed starts only with everything that its recovery needs.
fn assert_never_half_prepared(directory: &std::path::Path, situation: &str) {
    let Ok(control) = std::fs::read(directory.join("global/pg_control")) else { return };
    let is_sealed = PgControl::parse(&control).unwrap().is_sealed();
    let has = |file: &str| directory.join(file).is_file();
    let is_labelled = has("backup_label");
    let was_begun = is_sealed || has("recovery.signal") || is_labelled || has("postgresql.auto.conf");
    assert!(!was_begun || is_sealed, "no_server_starts_without_its_label: {situation}");
    let is_complete = has("recovery.signal") && has("tablespace_map") && has("postgresql.auto.conf");
    assert!(!is_labelled || is_complete, "the_label_comes_last: {situation}");
}

/// Settles what was interrupted, by `delete garbage`.
pub(crate) async fn settle(world: &World, situation: &str) {
    let seams = Seams::new(world, None);
    let ports = seams.ports();
    // A storage system that only accepts a deletion finishes it until the next run.
    for _ in 0..2 {
        let plan = plan_delete(&ports, &RetentionRule::Garbage).await.unwrap();
        if plan.is_empty() {
            return;
        }
        let report = apply_delete(&ports, &RetentionRule::Garbage, &plan, &lease_request("delete")).await;
        assert!(report.failures.is_empty(), "{situation}: {:?}", report.failures);
    }
    let plan = plan_delete(&ports, &RetentionRule::Garbage).await.unwrap();
    assert!(plan.is_empty(), "{situation}: there is no end of it: {plan:?}");
}

/// Holds when nothing runs and everything was settled: nothing is left over, and every backup can be restored.
pub(crate) async fn assert_settled(world: &World, situation: &str) {
    assert_always(world, &format!("{situation}: settled")).await;
    let contents = world.contents().await;
    assert!(
        contents.intents.is_empty() && contents.remnants.is_empty(),
        "{situation}: {:?} {:?}",
        contents.intents,
        contents.remnants
    );
    assert!(contents.backups.iter().all(|backup| !backup.is_condemned), "{situation}");
    let published: BTreeSet<String> = contents.backups.iter().flat_map(handles_of).collect();
    assert_eq!(handles(world), published, "converges: {situation}");
    let seams = Seams::new(world, None);
    let plan = plan_reconcile(&seams.ports(), &reconcile::request(world)).await.unwrap();
    // The state of a snapshot that was not waited for waits until somebody looks, and an intent beside its sentinel, which means nothing
    // to any reader, for `reconcile` or a backup that gets the lease at once.
    let may_wait = |finding: &Discrepancy| matches!(finding.action(), Some(Action::RecordState(_) | Action::RemoveIntent(_)));
    assert!(plan.unknown.is_empty() && plan.actions().all(may_wait), "0 orphans: {situation}: {:?}", plan.findings);
    drop(seams);
    // Restoring is most of the work.
    if PROVEN.with(|proven| proven.is_new(fingerprint::of_backups(world, &contents))) {
        for backup in &contents.backups {
            assert_restorable(world, backup, situation).await;
        }
    }
}

/// Restores a backup, and gives the restore back.
async fn assert_restorable(world: &World, backup: &Backup, situation: &str) {
    let directory = tempfile::tempdir_in(world.root()).unwrap();
    let root = directory.path().canonicalize().unwrap();
    let name = &backup.sentinel.name;
    let seams = Seams::new(world, None);
    let token = Token(format!("proof-{name}"));
    let space = world.path("original/space");
    let mut request = FetchRequest {
        destination: root.join("data"),
        selector: BackupSelector::Named(name.clone()),
        tablespace_mapping: vec![(space, root.join("space"))],
        token: token.clone(),
        ..fetch_request()
    };
    if is_moment(backup) {
        request.recovery.target = RecoveryTarget::Immediate;
    }
    let fetched = snapshot_fetch(&seams.ports(), &request, std::future::pending()).await;
    fetched.unwrap_or_else(|error| panic!("published_backup_is_restorable: {situation}: {name}: {error:?}"));
    assert_ready(&root.join("data"), situation);
    let release = ReleaseRequest { restore: RestoreSelector::Token(token), hostname: HOST.to_owned(), hosts: ReleaseHosts::This };
    snapshot_release(&seams.ports(), &release).await.unwrap();
}

/// The copy is one that a server recovers from.
pub(crate) fn assert_ready(directory: &std::path::Path, situation: &str) {
    for file in ["backup_label", "recovery.signal", "tablespace_map", "postgresql.auto.conf", "PG_VERSION"] {
        assert!(directory.join(file).is_file(), "a_success_is_ready_to_recover: {situation}: {file}");
    }
    assert!(!directory.join("global/pg_internal.init").exists(), "{situation}");
    let control = PgControl::parse(&std::fs::read(directory.join("global/pg_control")).unwrap()).unwrap();
    assert!(control.is_sealed(), "no_server_starts_without_its_label: {situation}");
}

pub(crate) fn fetch_request() -> FetchRequest {
    FetchRequest {
        missing_wal: MissingWal::Refused,
        scan: 100,
        destination: "/nowhere".into(),
        selector: BackupSelector::Latest,
        recovery: RecoverySettings {
            restore_command: "true".to_owned(),
            target: RecoveryTarget::EndOfWal,
            inclusive: Inclusion::Inclusive,
            timeline: TargetTimeline::Latest,
            action: TargetAction::Pause,
            archiving: Archiving::Keep,
        },
        tablespace_mapping: Vec::new(),
        wal_directory: None,
        precautions: Precautions::default(),
        isolation: Isolation::Required,
        token: Token("restore".to_owned()),
        announcement: Announcement::Required,
        snapshot_roots: Vec::new(),
        hostname: HOST.to_owned(),
    }
}
