//! Drills on fakes with real directories.
//!
//! What could go wrong: a copy that archives, follows or listens; a tablespace of the living cluster that is written to; a success that was
//! none; a proof that an accident takes away; a server, a clone or a directory that is left; a directory of somebody else that is removed.

use std::path::{Path, PathBuf};

use stillframe_core::catalog::{Catalog, CheckFinding, DrillOutcome};
use stillframe_core::data_directory::{Inclusion, RecoveryTarget, TargetTimeline};
use stillframe_core::error::{Classify as _, ErrorClass};
use stillframe_core::flows::{CheckChoice, DrillError, DrillRequest, DrillTarget, FetchError, drill};
use stillframe_core::postgres::{Lsn, ShutdownMode, ToolEnd};
use stillframe_core::store::Store;
use stillframe_core::testing::{FakeReplay, FaultyStore, ProviderCall, ProviderFailure, When};

use crate::drill_range::{Range, SEGMENT, failure, rooms};
use crate::house::{as_a_process, segment, segment_key};
use crate::snapshot_push::AtPoll;

#[tokio::test]
async fn a_backup_that_recovers_and_passes_is_proven_and_nothing_is_left() {
    let range = Range::new().await;
    let before = range.site.house.store.snapshot();
    let report = range.drill().await.unwrap();
    assert_eq!(report.record.outcome, DrillOutcome::Proven);
    let checks: Vec<(&str, &CheckFinding)> =
        report.record.checks.iter().map(|check| (check.name.as_str(), &check.finding)).collect();
    let passed = &CheckFinding::Passed;
    assert_eq!(checks, [("/etc/drill/1.sql", passed), ("pg_amcheck of app", passed), ("checksums", passed)]);
    assert_eq!(range.recorded().await, Some(report.record));
    assert_eq!(range.programs.stops(), [ShutdownMode::Clean], "the checksums are compared when it is down");
    range.assert_nothing_is_left("after a success").await;
    let after = range.site.house.store.snapshot();
    assert!(before.iter().all(|(key, body)| after.get(key) == Some(body)), "what was there is as it was");
    let new: Vec<String> = after.keys().filter(|key| !before.contains_key(key)).map(|key| key.as_str().to_owned()).collect();
    assert_eq!(new, [format!("main/snapshots_001/{}/drill.json", range.site.backup.sentinel.name)]);
}

#[tokio::test]
async fn the_server_archives_nothing_listens_nowhere_follows_nobody_and_has_only_its_own_directories() {
    let range = Range::new().await;
    let place = range.place();
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = seen.clone();
    range.programs.at_start(move |order| {
        let link = order.data_directory.join("pg_tblspc/16384");
        let wal = order.data_directory.join("pg_wal");
        let settings = std::fs::read_to_string(order.data_directory.join("postgresql.auto.conf")).unwrap();
        told.lock().unwrap().extend([std::fs::read_link(link).unwrap(), std::fs::read_link(wal).unwrap(), settings.into()]);
    });
    range.drill().await.unwrap();
    let order = range.programs.orders().remove(0);
    let room = place.join("drill-0123456789abcdef");
    let value = |name: &str| order.settings.iter().rev().find(|(known, _)| known == name).unwrap().1.clone();
    for (name, expected) in [
        ("archive_mode", "off"),
        ("archive_command", ""),
        ("archive_library", ""),
        ("archive_cleanup_command", ""),
        ("recovery_end_command", ""),
        ("listen_addresses", ""),
        ("primary_conninfo", ""),
        ("primary_slot_name", ""),
        ("external_pid_file", ""),
        ("hot_standby", "on"),
        ("shared_preload_libraries", "needed"),
        ("session_preload_libraries", ""),
        ("max_logical_replication_workers", "0"),
        ("unix_socket_permissions", "0700"),
        ("logging_collector", "off"),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    for name in ["config_file", "hba_file", "ident_file", "unix_socket_directories"] {
        assert!(Path::new(&value(name)).starts_with(&room), "{name}");
    }
    assert_eq!(value("data_directory"), order.data_directory.display().to_string());
    assert!(order.data_directory.starts_with(range.site.mounts()), "where the provider put it, and nowhere near the original");
    assert_ne!(value("port"), "5432");
    let seen = seen.lock().unwrap();
    assert_eq!((&seen[0], &seen[1]), (&room.join("tablespaces/16384"), &room.join("wal")));
    let settings = seen[2].display().to_string();
    assert!(settings.contains("restore_command = 'fetch %f %p'") && settings.contains("archive_mode = 'off'"), "{settings}");
    assert!(!settings.contains("recovery_target_action = 'promote'"), "{settings}");
}

#[tokio::test]
async fn what_the_operator_has_set_in_the_living_cluster_is_not_set_in_the_copy() {
    let range = Range::new().await;
    let cluster = range.site.house.server.facts().system_identifier;
    range.site.house.provider().fill_restores(move |name, path| {
        crate::restore_elsewhere::fill(name, path, cluster);
        std::fs::write(path.join("postgresql.auto.conf"), "archive_library = 'theirs'\nlog_directory = '/live'\n").unwrap();
    });
    let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let told = seen.clone();
    range.programs.at_start(move |order| {
        *told.lock().unwrap() = std::fs::read_to_string(order.data_directory.join("postgresql.auto.conf")).unwrap();
    });
    range.drill().await.unwrap();
    let settings = seen.lock().unwrap().clone();
    assert!(settings.contains("restore_command") && !settings.contains("theirs") && !settings.contains("/live"), "{settings}");
}

#[tokio::test]
async fn a_server_that_is_not_on_its_own_is_stopped_at_once_and_says_nothing_about_the_backup() {
    for (setting, value) in
        [("archive_mode", "always"), ("listen_addresses", "*"), ("data_directory", "/live"), ("primary_conninfo", "host=live")]
    {
        let range = Range::new().await;
        range.programs.report_setting(setting, value);
        let error = range.drill().await.unwrap_err();
        assert!(matches!(&error, DrillError::NotOnItsOwn { setting: found, .. } if found == setting), "{error}");
        assert_eq!(range.recorded().await, None);
        range.assert_nothing_is_left(setting).await;
    }
}

#[tokio::test]
async fn a_recovery_that_did_not_get_to_its_target_is_no_success() {
    let stop = Range::new().await.site.backup.sentinel.stop_lsn;
    let early = Lsn(stop.0 - 1);
    for (replay, words) in [
        (FakeReplay::Pauses(early), "recovery ended at"),
        (FakeReplay::Promotes(early), "recovery ended at"),
        (FakeReplay::Ends("FATAL: recovery ended before its target".to_owned()), "FATAL: recovery ended"),
        (FakeReplay::Hangs, "within 60 s: "),
    ] {
        let range = Range::new().await;
        range.programs.replay(replay.clone());
        let report = range.drill().await.unwrap();
        assert!(failure(&report).contains(words), "{replay:?}: {report:?}");
        assert!(report.record.checks.is_empty(), "nothing is checked that is not recovered");
        assert!(!range.recorded().await.unwrap().is_proof());
        range.assert_nothing_is_left(&format!("{replay:?}")).await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_reach_the_archive_any_more_says_nothing_about_the_backup() {
    let end = |code: u8| {
        format!(
            "FATAL:  could not restore file \"000000010000000000000024\" from archive: child process exited with exit code {code}"
        )
    };
    let range = Range::new().await;
    range.drill().await.unwrap();
    let proven = range.recorded().await;
    assert!(proven.as_ref().unwrap().is_proof());
    range.programs.replay(FakeReplay::Ends(end(205)));
    let error = range.drill().await.unwrap_err();
    assert!(matches!(&error, DrillError::Unreachable(_)) && error.class() == ErrorClass::Transient, "{error}");
    assert_eq!(range.recorded().await, proven, "an outage takes no proof away");
    range.assert_nothing_is_left("the archive went away").await;
    // A segment that is damaged is another matter.
    range.programs.replay(FakeReplay::Ends(end(206)));
    assert!(failure(&range.drill().await.unwrap()).contains("exit code 206"));
}

#[tokio::test]
async fn the_target_is_the_last_record_of_the_archive_and_less_is_a_failure() {
    let range = Range::new().await;
    let mut wal = range.wal();
    for _ in 0..3 {
        wal.write(1, 0, &vec![1; 600_000]);
    }
    let last = wal.write(1, 0, b"last");
    range.archive(&wal).await;
    let report = range.drill().await.unwrap();
    assert_eq!(report.record.outcome, DrillOutcome::Proven);
    assert_eq!(report.record.target, format!("the end of the archive, {last} on timeline 1"));
    assert!(report.record.reached > Some(last));
    range.programs.replay(FakeReplay::Pauses(last));
    let report = range.drill().await.unwrap();
    assert!(failure(&report).contains(&format!("recovery ended at {last}, before the end of the archive")), "{report:?}");
    assert!(!range.recorded().await.unwrap().is_proof(), "an earlier proof is none any more");
}

#[tokio::test]
async fn a_hole_in_the_archive_fails_the_drill_and_one_that_closes_does_not() {
    let range = Range::new().await;
    let mut wal = range.wal();
    for _ in 0..4 {
        wal.write(1, 0, &vec![1; 900_000]);
    }
    range.archive(&wal).await;
    range.site.house.store.delete(&segment_key(SEGMENT + 2)).await.unwrap();
    let report = range.drill().await.unwrap();
    assert!(failure(&report).contains(&segment(SEGMENT + 2).to_string()), "{report:?}");
    assert!(range.programs.orders().is_empty(), "nothing was restored for it");
    range.assert_nothing_is_left("with a hole").await;
    range.archive(&wal).await;
    assert_eq!(range.drill().await.unwrap().record.outcome, DrillOutcome::Proven);
    range.site.house.store.delete(&segment_key(SEGMENT)).await.unwrap();
    let report = range.drill().await.unwrap();
    assert!(failure(&report).contains(&segment(SEGMENT).to_string()), "{report:?}");
}

#[tokio::test]
async fn the_way_through_the_timelines_is_that_of_a_restore() {
    let range = Range::new().await;
    let mut wal = range.wal();
    for _ in 0..4 {
        wal.write(1, 0, &vec![1; 900_000]);
    }
    range.archive(&wal).await;
    // Timeline 2 left before the backup had stopped: from there nothing leads to it.
    range.site.house.put_wal("00000002.history", "1\t0/A00040\tno recovery target specified\n").await;
    let error = range.drill().await.unwrap_err();
    assert!(matches!(error, DrillError::Fetch(FetchError::OtherTimeline { .. })), "{error}");
    assert!(range.programs.orders().is_empty() && range.recorded().await.is_none());
    let current = DrillRequest { timeline: TargetTimeline::Current, ..range.request() };
    assert_eq!(range.drill_as(&current).await.unwrap().record.outcome, DrillOutcome::Proven);

    // It left within the third segment, and its copy of that is not archived: replay ends where it left, before what is behind.
    range.site.house.put_wal("00000002.history", "1\t0/C80000\tno recovery target specified\n").await;
    range.site.house.put_wal("00000002000000000000000D", "").await;
    let report = range.drill().await.unwrap();
    assert!(failure(&report).contains("00000002000000000000000C"), "{report:?}");
}

#[tokio::test]
async fn wal_that_is_torn_in_the_middle_of_the_archive_fails_the_drill() {
    let range = Range::new().await;
    let mut wal = range.wal();
    wal.write(1, 0, &vec![1; 900_000]);
    let torn = wal.write(1, 0, &vec![1; 900_000]);
    wal.damage(torn);
    wal.write(1, 0, &vec![1; 900_000]);
    range.archive(&wal).await;
    let report = range.drill().await.unwrap();
    assert!(failure(&report).contains("the WAL ends at"), "{report:?}");
}

#[tokio::test]
async fn a_tablespace_that_is_made_in_the_wal_is_never_replayed() {
    let range = Range::new().await;
    let mut wal = range.wal();
    wal.write(1, 0, &vec![1; 900_000]);
    let last = wal.write(1, 0, &vec![1; 300_000]);
    let made = wal.tablespace(16_500, "/live/space");
    let behind = wal.write(1, 0, b"behind");
    range.archive(&wal).await;
    let report = range.drill().await.unwrap();
    assert_eq!(report.record.outcome, DrillOutcome::Proven);
    assert!(report.record.target.contains(&last.to_string()), "{report:?}");
    assert!(report.remarks[0].contains("/live/space") && report.remarks[0].contains(&made.to_string()), "{report:?}");
    let started = range.programs.orders().len();
    let moment = "2026-11-21T08:30:00Z".parse().unwrap();
    for target in
        [RecoveryTarget::Lsn(made), RecoveryTarget::Lsn(behind), RecoveryTarget::Name("x".to_owned()), RecoveryTarget::Time(moment)]
    {
        let target = DrillTarget::Given(target, Inclusion::Inclusive);
        let error = range.drill_as(&DrillRequest { target: target.clone(), ..range.request() }).await.unwrap_err();
        assert!(matches!(error, DrillError::TablespaceOutside { .. }), "{target:?}: {error}");
    }
    assert_eq!(range.programs.orders().len(), started, "no server was started");
    for target in [RecoveryTarget::Lsn(last), RecoveryTarget::Immediate] {
        let target = DrillTarget::Given(target, Inclusion::Inclusive);
        range.drill_as(&DrillRequest { target, ..range.request() }).await.unwrap();
    }
    range.assert_nothing_is_left("after all").await;
}

#[tokio::test]
async fn a_tablespace_that_is_made_during_the_backup_refuses_the_drill() {
    let range = Range::new().await;
    let mut wal = range.wal();
    // Two small records bring the third behind the backup's start, and it lies before its stop.
    wal.write(1, 0, b"x");
    wal.tablespace(16_500, "/live/space");
    range.archive(&wal).await;
    for target in [DrillTarget::EndOfArchive, DrillTarget::Given(RecoveryTarget::Immediate, Inclusion::Inclusive)] {
        let error = range.drill_as(&DrillRequest { target, ..range.request() }).await.unwrap_err();
        assert!(matches!(error, DrillError::TablespaceOutside { .. }), "{error}");
    }
    assert!(range.programs.orders().is_empty());
}

#[tokio::test]
async fn a_check_that_fails_fails_the_drill_by_its_name_and_the_others_are_made_all_the_same() {
    let range = Range::new().await;
    range.programs.answer("SELECT true", Ok(vec![vec![vec![Some("f".to_owned())]]]));
    range.programs.end_of("pg_checksums", ToolEnd::Failure("wrong page".to_owned()));
    let report = range.drill().await.unwrap();
    assert_eq!(failure(&report), "these checks failed: `/etc/drill/1.sql`, `checksums`");
    assert_eq!(report.record.checks[1].finding, CheckFinding::Passed);
    assert_eq!(report.record.checks[2].finding, CheckFinding::Failed("wrong page".to_owned()));
    range.programs.answer("SELECT true", Err("relation \"x\" does not exist".to_owned()));
    range.programs.end_of("pg_checksums", ToolEnd::TimedOut);
    let report = range.drill().await.unwrap();
    assert_eq!(failure(&report), "these checks failed: `/etc/drill/1.sql`, `checksums`");
}

#[tokio::test]
async fn what_was_not_checked_is_never_recorded_as_passed() {
    let range = Range::new().await;
    range.programs.without_amcheck();
    range.programs.end_of("pg_checksums", ToolEnd::Missing);
    let report = range.drill().await.unwrap();
    let findings: Vec<&CheckFinding> = report.record.checks.iter().skip(1).map(|check| &check.finding).collect();
    assert!(findings.iter().all(|finding| matches!(finding, CheckFinding::Skipped(_))), "{findings:?}");
    let mut request = range.request();
    request.checks.amcheck = CheckChoice::SwitchedOff;
    request.checks.checksums = CheckChoice::SwitchedOff;
    let report = range.drill_as(&request).await.unwrap();
    let skipped =
        report.record.checks.iter().filter(|check| matches!(&check.finding, CheckFinding::Skipped(why) if why.contains("off")));
    assert_eq!(skipped.count(), 2);
    assert_eq!(range.programs.ran().iter().filter(|run| run.name == "pg_amcheck").count(), 0);
}

/// Each of the first moments, and ever fewer of those that are spent waiting for a thread.
fn after(moment: usize) -> usize {
    moment + 1 + moment / 10
}

#[tokio::test]
async fn an_interruption_at_any_moment_leaves_nothing_and_takes_no_proof_away() {
    let (mut interruptions, mut moment) = (0, 0);
    let proof = {
        let range = Range::new().await;
        range.drill().await.unwrap().record
    };
    loop {
        let range = Range::new().await;
        let (store, layout) = (&range.site.house.store, &range.site.house.layout);
        Catalog::new(store, layout).record_drill(&range.site.backup.sentinel.name, &proof).await.unwrap();
        let ports = range.site.house.ports(store);
        let result = drill(&ports, &range.programs, &range.request(), AtPoll(moment)).await;
        range.assert_nothing_is_left(&format!("moment {moment}")).await;
        match result {
            Err(DrillError::Interrupted) => {
                interruptions += 1;
                assert_eq!(range.recorded().await.as_ref(), Some(&proof), "moment {moment}");
            }
            Ok(report) => {
                assert_eq!(report.record.outcome, DrillOutcome::Proven);
                break;
            }
            Err(error) => panic!("moment {moment}: {error}"),
        }
        moment = after(moment);
    }
    assert!(interruptions > 10, "{interruptions}");
}

#[test]
fn after_a_kill_anywhere_the_next_drill_clears_what_is_left() {
    let (mut left, mut moment) = (0, 0);
    loop {
        let range = as_a_process(Range::new());
        let request = range.request();
        let is_over = as_a_process(async {
            let ports = range.site.house.ports(&range.site.house.store);
            tokio::select! {
                biased;
                () = AtPoll(moment) => false,
                result = drill(&ports, &range.programs, &request, std::future::pending()) => { result.unwrap(); true }
            }
        });
        let rooms_left = rooms(&range.place());
        as_a_process(async {
            let cleared = range.clear().await.unwrap();
            assert_eq!(cleared, rooms_left, "moment {moment}");
            left += cleared.len();
            range.site.assert_nothing(&format!("moment {moment}")).await;
        });
        assert_eq!(rooms(&range.place()), Vec::<PathBuf>::new(), "moment {moment}");
        if let (Some(order), [_]) = (range.programs.orders().first(), rooms_left.as_slice()) {
            let looked = range.programs.abandoned();
            assert_eq!(looked, [(order.data_directory.clone(), order.socket_directory.clone())], "moment {moment}");
        }
        if is_over {
            break;
        }
        moment = after(moment);
    }
    assert!(left > 10, "{left}");
}

#[tokio::test]
async fn a_server_that_does_not_stop_keeps_its_storage_and_the_error_says_so() {
    let range = Range::new().await;
    range.programs.refuse_to_stop();
    let error = range.drill().await.unwrap_err();
    assert!(matches!(error, DrillError::NotCleared { .. }), "{error}");
    assert_eq!(range.site.house.provider().active_restores().len(), 1, "nothing is taken from under it");
    assert_eq!(rooms(&range.place()).len(), 1);
    assert!(range.recorded().await.is_none_or(|record| !record.is_proof()));
}

#[tokio::test]
async fn a_failed_write_never_proves_and_leaves_nothing_that_the_next_drill_does_not_clear() {
    for number in 0.. {
        for when in [When::Before, When::After] {
            let range = Range::new().await;
            range.programs.replay(FakeReplay::Pauses(Lsn(1)));
            let store = FaultyStore::new(&range.site.house.store, Some((number, when)));
            let result = drill(&range.site.house.ports(&store), &range.programs, &range.request(), std::future::pending()).await;
            let situation = format!("write {number} failed {when:?}");
            assert_eq!(range.programs.running(), 0, "{situation}");
            assert!(range.recorded().await.is_none_or(|record| !record.is_proof()), "{situation}");
            range.clear().await.unwrap();
            range.assert_nothing_is_left(&situation).await;
            if store.writes() <= number {
                assert!(result.is_ok() && number > 2);
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_provider_that_fails_just_now_says_nothing_about_the_backup_and_one_without_the_snapshot_does() {
    let range = Range::new().await;
    range.site.house.provider().fail_next(ProviderCall::Restore, ProviderFailure::Error(When::After));
    assert!(matches!(range.drill().await, Err(DrillError::Fetch(_))));
    assert_eq!(range.recorded().await, None);
    range.assert_nothing_is_left("the provider failed").await;
    for volume in ["data", "tablespace-16384"] {
        range.site.house.provider().hide_volume(volume);
    }
    let report = range.drill().await.unwrap();
    assert!(failure(&report).contains("no snapshot"), "{report:?}");
    assert!(!range.recorded().await.unwrap().is_proof());
}

#[tokio::test]
async fn no_drill_is_held_in_a_living_cluster_or_among_snapshots() {
    let range = Range::new().await;
    let inside = |directory: PathBuf| DrillRequest { directory, ..range.request() };
    let living = range.site.path("living");
    std::fs::create_dir_all(&living).unwrap();
    std::os::unix::fs::symlink(&living, range.site.path("alias")).unwrap();
    let mut requests = vec![inside(range.site.path("original/data/drill")), inside(range.site.path("original/space"))];
    requests.push(DrillRequest { live: vec![living.clone()], ..inside(range.site.path("alias/drill")) });
    requests.push(DrillRequest { snapshot_roots: vec![living.clone()], ..inside(living.join("drill")) });
    for request in requests {
        let error = range.drill_as(&request).await.unwrap_err();
        assert!(matches!(error, DrillError::InsideCluster { .. }), "{error}");
        assert!(!request.directory.join(".stillframe-drill.lock").exists());
    }
}
