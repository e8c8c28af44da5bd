//! `snapshot-push` of real standbys: with the session on them, and with the session on their primary.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use stillframe_tests::{Cluster, Session, Site, StandbyHost, StopMode, majors, table_checksums, tested_major};

/// Where backup mode is.
const SESSIONS: [&str; 2] = ["server", "primary"];

/// The oldest and the newest version, the last with `recovery.conf` being the second, and the one with new names of functions.
const MAJORS: [u32; 4] = [10, 11, 15, 18];

/// Options of a restore that is compared with its original.
const TO_THE_AGREED_POINT: [&str; 6] = ["--target-name", "the agreed point", "--target-action", "promote", "--archiving", "off"];

/// Tables that are written to in several ways, in two databases.
fn fill(primary: &Cluster) {
    primary.sql("CREATE DATABASE other");
    let other = Session::open(&primary.conninfo().replace("dbname=postgres", "dbname=other")).unwrap();
    for session in [&primary.session(), &other] {
        session.sql(
            "CREATE TABLE grown (id int, filling text);
             CREATE TABLE changed (id int PRIMARY KEY, number int) WITH (fillfactor = 50);
             INSERT INTO changed SELECT i, 0 FROM generate_series(1, 5000) AS i;
             CREATE TABLE \"odd 'name\" AS SELECT i, repeat(md5(i::text), 200) AS wide FROM generate_series(1, 200) AS i;
             CREATE UNLOGGED TABLE forgotten AS SELECT 1 AS one",
        );
    }
}

/// Does something while the primary is written to in both databases.
fn under_load<Done>(primary: &Cluster, act: impl FnOnce() -> Done) -> Done {
    let is_over = AtomicBool::new(false);
    let write = |database: &str| {
        let session = Session::open(&primary.conninfo().replace("dbname=postgres", &format!("dbname={database}"))).unwrap();
        for round in 0u32.. {
            if is_over.load(Ordering::SeqCst) {
                return;
            }
            session.sql(&format!(
                "INSERT INTO grown SELECT i, repeat('x', 300) FROM generate_series(1, 200) AS i;
                 UPDATE changed SET number = number + 1 WHERE id % 17 = {round} % 17;
                 DELETE FROM grown WHERE id = {round} % 200;
                 DROP TABLE IF EXISTS made_{place}; CREATE TABLE made_{place} AS SELECT {round} AS round",
                place = round % 3
            ));
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write("postgres"));
        scope.spawn(|| write("other"));
        let done = act();
        is_over.store(true, Ordering::SeqCst);
        done
    })
}

/// Names this moment, and says what the primary holds at it; afterwards it holds something else.
#[track_caller]
fn agree(site: &Site) -> BTreeMap<String, String> {
    let agreed = table_checksums(&site.cluster);
    site.cluster.sql("SELECT pg_create_restore_point('the agreed point'); UPDATE changed SET number = -1");
    site.switch_wal();
    assert_ne!(table_checksums(&site.cluster), agreed);
    agreed
}

/// Restores a backup to the named moment, and compares every table.
#[track_caller]
fn assert_restores(site: &Site, backup: &str, place: &str, agreed: &BTreeMap<String, String>) {
    let restored = site.restore(place, &[&[backup], &TO_THE_AGREED_POINT[..]].concat());
    assert_eq!(&table_checksums(&restored), agreed, "{backup} is not what the primary had");
}

/// What must hold after a push ended without a backup, wherever its sessions were.
#[track_caller]
fn assert_clean(site: &Site, standby: &StandbyHost) {
    site.wait_until_no_session_is_left();
    standby.cluster.wait_until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'stillframe'");
    assert!(site.backups().is_empty(), "there is a sentinel");
    assert!(site.intents().is_empty(), "there is an intent");
    assert!(site.snapshots().is_empty(), "there is a snapshot: {:?}", site.snapshots());
}

/// Makes the cut last: a thousand files more have to be copied.
fn slow_the_cut(cluster: &Cluster) {
    let directory = cluster.data_directory().join("many");
    stillframe_tests::Account::unprivileged().create_directory(&directory);
    for number in 0..4000 {
        stillframe_tests::Account::unprivileged().write(&directory.join(number.to_string()), "x");
    }
}

/// Takes a backup, and does something in the middle of its cut.
#[track_caller]
fn push_and_in_the_middle(standby: &StandbyHost, session: &str, act: impl FnOnce()) -> stillframe_tests::Finished {
    slow_the_cut(&standby.cluster);
    let mut running = standby.spawn_push(session);
    running.wait_for_stderr("cutting");
    running.pause();
    act();
    running.resume();
    running.wait()
}

#[test]
fn a_backup_of_a_standby_under_load_restores_to_what_the_primary_had_wherever_the_session_was() {
    for major in majors(&MAJORS) {
        let site = Site::start(major);
        fill(&site.cluster);
        let standby = StandbyHost::start(&site, &site.cluster);
        let backups = under_load(&site.cluster, || SESSIONS.map(|session| standby.backup(session)));
        let agreed = agree(&site);
        for (session, backup) in SESSIONS.iter().zip(&backups) {
            let shown = site.show(backup);
            assert_eq!(shown["from_standby"], true, "PostgreSQL {major}");
            let says_standby = shown["backup_label"].as_str().unwrap().contains("BACKUP FROM: standby");
            assert_eq!(says_standby, *session == "server", "PostgreSQL {major}: {shown}");
            assert_eq!(shown["session_on_primary"], *session == "primary");
            assert_restores(&site, backup, session, &agreed);
        }
    }
}

#[test]
fn an_idle_primary_ends_the_segment_whatever_archive_mode_its_standby_has() {
    for mode in ["off", "on", "always"] {
        let site = Site::start(tested_major());
        fill(&site.cluster);
        let standby = StandbyHost::start_with(&site, &site.cluster, &[("archive_mode", mode)], |config| config);
        standby.catch_up(&site.cluster);
        for session in SESSIONS {
            let backup = standby.backup(session);
            let last = site.show(&backup)["last_wal_file"].as_str().unwrap().to_owned();
            assert!(site.archived().contains(&last), "archive_mode = {mode}, session on the {session}: {last}");
        }
        let agreed = agree(&site);
        for backup in site.backups() {
            assert_restores(&site, &backup, &backup, &agreed);
        }
    }
}

#[test]
fn a_standby_may_archive_for_a_primary_that_does_not() {
    let site = Site::builder(tested_major()).cluster(|cluster| cluster.setting("archive_timeout", "0")).start();
    fill(&site.cluster);
    let standby = StandbyHost::start_with(&site, &site.cluster, &[("archive_mode", "always")], |config| config);
    let mut site = site;
    site.cluster.append_setting("archive_mode", "off");
    site.cluster.restart();
    standby.cluster.wait_until("SELECT count(*) = 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'");
    for session in SESSIONS {
        standby.backup(session);
    }
    assert_eq!(site.backups().len(), 2);
}

#[test]
fn without_a_primary_to_ask_an_idle_one_ends_the_wait_with_the_missing_file_and_the_setting() {
    for mode in ["off", "on", "always"] {
        let site = Site::start(tested_major());
        let standby = StandbyHost::start_with(&site, &site.cluster, &[("archive_mode", mode)], |config| {
            config.value("cluster", "primary_conninfo", "").value("backup", "archive_timeout_secs", 2)
        });
        // The segment that the standby was made with has ended.
        site.cluster.sql("CREATE TABLE written AS SELECT 1 AS one; CHECKPOINT");
        standby.catch_up(&site.cluster);
        let finished = standby.push("server");
        assert_eq!(finished.code(), Some(5), "archive_mode = {mode}: {finished}");
        let segment = site.cluster.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
        assert!(finished.stderr.contains(&format!("`{segment}` is not in the archive after 2 s")), "{finished}");
        assert!(finished.stderr.contains("hint:") && finished.stderr.contains("primary_conninfo"), "{finished}");
        assert_clean(&site, &standby);
    }
}

#[test]
fn a_promotion_in_the_middle_aborts_and_undoes() {
    for session in SESSIONS {
        let site = Site::start(tested_major());
        let standby = StandbyHost::start(&site, &site.cluster);
        let finished = push_and_in_the_middle(&standby, session, || {
            standby.cluster.promote();
            standby.cluster.wait_until_recovered();
        });
        assert_eq!(finished.code(), Some(5), "session on the {session}: {finished}");
        assert!(finished.stderr.contains("was promoted during the backup: it was on timeline 1 and is on 2"), "{finished}");
        assert_clean(&site, &standby);
    }
}

#[test]
fn a_primary_that_dies_in_the_middle_aborts_and_undoes() {
    let mut site = Site::start(tested_major());
    let standby = StandbyHost::start(&site, &site.cluster);
    let finished = push_and_in_the_middle(&standby, "primary", || site.cluster.stop(StopMode::Immediate));
    assert_eq!(finished.code(), Some(5), "{finished}");
    site.cluster.start();
    assert_clean(&site, &standby);
}

#[test]
fn a_standby_that_stands_still_is_waited_for_until_the_deadline_and_never_cut_before() {
    let site = Site::start(tested_major());
    let standby = StandbyHost::start_with(&site, &site.cluster, &[], |config| config.value("backup", "cut_timeout_secs", 3));
    standby.catch_up(&site.cluster);
    standby.cluster.sql("SELECT pg_wal_replay_pause()");
    site.cluster.sql("CREATE TABLE behind AS SELECT 1 AS one");
    let finished = standby.push("primary");
    assert_eq!(finished.code(), Some(5), "{finished}");
    assert!(finished.stderr.contains("has not reached the start of the backup within 3 s"), "{finished}");
    assert!(finished.stderr.contains("is replay paused or delayed"), "{finished}");
    assert!(!finished.stderr.contains("cutting"), "{finished}");
    assert_clean(&site, &standby);
    // It goes on in time.
    let mut running = standby.spawn_push("primary");
    running.wait_for_stderr("waiting until the standby");
    standby.cluster.sql("SELECT pg_wal_replay_resume()");
    let finished = running.wait();
    assert!(finished.is_success(), "{finished}");
}

#[test]
fn two_backups_from_one_restartpoint_are_two_backups() {
    let mut site = Site::with_small_segments().start();
    fill(&site.cluster);
    let standby = StandbyHost::start(&site, &site.cluster);
    site.cluster.sql("CHECKPOINT");
    standby.catch_up(&site.cluster);
    let first = standby.backup("server");
    site.cluster.sql("UPDATE changed SET number = 7");
    site.switch_wal();
    standby.catch_up(&site.cluster);
    let second = standby.backup("server");
    let shown = [&first, &second].map(|name| site.show(name));
    assert_eq!(shown[0]["start_lsn"], shown[1]["start_lsn"], "there was no restartpoint between them");
    assert_ne!(shown[0]["finish_lsn"], shown[1]["finish_lsn"]);
    assert_eq!(site.backups(), [first.clone(), second.clone()]);
    let agreed = agree(&site);
    assert_restores(&site, &first, "first", &agreed);
    assert_restores(&site, &second, "second", &agreed);
    site.release("first");
    site.release("second");
    let needed = site.wal_needed_by(&[&second], &[]);
    site.stillframe.succeed(["delete", "target", &first, "--confirm"]);
    assert_eq!(site.backups(), std::slice::from_ref(&second));
    assert!(needed.is_subset(&site.archived()), "the WAL of the other one is there");
    assert_eq!(site.snapshots().len(), 1);
    assert_restores(&site, &second, "again", &agreed);
    site.cluster.stop(StopMode::Fast);
}

#[test]
fn a_standby_of_a_standby_is_backed_up_like_any_other() {
    let site = Site::start(tested_major());
    fill(&site.cluster);
    let middle = StandbyHost::start(&site, &site.cluster);
    middle.catch_up(&site.cluster);
    let last = StandbyHost::start(&site, &middle.cluster);
    last.catch_up(&site.cluster);
    let upstream = last.cluster.value("SELECT conninfo FROM pg_stat_wal_receiver");
    assert!(upstream.contains(&middle.cluster.port().to_string()), "{upstream}");
    let backups = under_load(&site.cluster, || SESSIONS.map(|session| last.backup(session)));
    let agreed = agree(&site);
    for (session, backup) in SESSIONS.iter().zip(&backups) {
        assert_restores(&site, backup, session, &agreed);
    }
    // Its upstream is no primary: nothing could be started or ended there.
    let by_the_middle = last.stillframe.clone().env("STILLFRAME_CLUSTER_PRIMARY_CONNINFO", middle.cluster.conninfo());
    for session in SESSIONS {
        let refused = by_the_middle.run(["snapshot-push", "--session", session]);
        assert_eq!(refused.code(), Some(3), "{refused}");
        assert!(refused.stderr.contains("is itself a standby") && refused.stderr.contains("hint:"), "{refused}");
    }
}

#[test]
fn backups_of_a_standby_pass_their_drill() {
    let mut site = Site::start(tested_major());
    fill(&site.cluster);
    let directory = site.place("d").display().to_string();
    site.reconfigure(|config| config.value("drill", "directory", directory));
    site.name_programs_of_drills();
    let standby = StandbyHost::start(&site, &site.cluster);
    for session in SESSIONS {
        let backup = standby.backup(session);
        let drilled = site.stillframe.succeed(["--json", "drill", &backup]);
        assert_eq!(drilled.json()["outcome"], "proven", "session on the {session}: {drilled}");
    }
}

#[test]
fn a_killed_push_with_its_session_on_the_primary_is_finished_by_reconcile() {
    let site = Site::start(tested_major());
    fill(&site.cluster);
    let standby = StandbyHost::start(&site, &site.cluster);
    let first = standby.backup("primary");
    let mut running = standby.spawn_push("primary");
    running.wait_for_stderr("waiting for the WAL");
    running.kill9();
    running.wait();
    let agreed = agree(&site);
    let finished = standby.stillframe.run(["reconcile", "--confirm"]);
    assert!(finished.is_success(), "{finished}");
    let backups = site.backups();
    assert_eq!(backups.len(), 2, "{finished}");
    let finished = backups.iter().find(|name| **name != first).unwrap();
    assert_eq!(site.show(finished)["session_on_primary"], true);
    assert_restores(&site, finished, "finished", &agreed);
}

#[test]
fn a_primary_without_full_page_writes_is_an_error_in_the_words_of_the_server_with_what_to_do() {
    let site = Site::start(tested_major());
    fill(&site.cluster);
    let standby = StandbyHost::start(&site, &site.cluster);
    let finished = push_and_in_the_middle(&standby, "server", || {
        site.cluster.append_setting("full_page_writes", "off");
        site.cluster.reload();
        site.cluster.wait_until("SELECT setting = 'off' FROM pg_settings WHERE name = 'full_page_writes'");
        site.cluster.sql("UPDATE changed SET number = 5; CHECKPOINT; UPDATE changed SET number = 6");
        standby.catch_up(&site.cluster);
    });
    let refused = standby.push("server");
    for (finished, when) in [(finished, "during online backup"), (refused, "since last restartpoint")] {
        assert_eq!(finished.code(), Some(4), "{finished}");
        assert!(finished.stderr.contains("full_page_writes=off"), "{finished}");
        assert!(finished.stderr.contains(when), "{finished}");
        // "primary" from 13 on, "master" before.
        assert!(finished.stderr.contains("hint:") && finished.stderr.contains("CHECKPOINT on the "), "{finished}");
    }
    assert_clean(&site, &standby);
}

#[test]
fn what_is_no_pair_of_standby_and_primary_is_refused_and_nothing_is_written_there() {
    let site = Site::start(tested_major());
    let standby = StandbyHost::start(&site, &site.cluster);
    let foreign = Cluster::builder(tested_major()).fresh_initdb().start();
    let position = foreign.value("SELECT pg_current_wal_insert_lsn()");
    let by_foreign = standby.stillframe.clone().env("STILLFRAME_CLUSTER_PRIMARY_CONNINFO", foreign.conninfo());
    for session in SESSIONS {
        let refused = by_foreign.run(["snapshot-push", "--session", session]);
        assert_eq!(refused.code(), Some(3), "{refused}");
        assert!(refused.stderr.contains("of the cluster"), "{refused}");
    }
    assert_eq!(foreign.value("SELECT pg_current_wal_insert_lsn()"), position);
    // A primary has no primary: it needs none for its own session, and is none to cut a standby by.
    let on_primary = site.configured(|config| config.value("cluster", "primary_conninfo", "host=/nowhere port=1"));
    on_primary.succeed(["snapshot-push"]);
    let refused = site.configured(|config| config).run(["snapshot-push", "--session", "primary"]);
    assert_eq!(refused.code(), Some(3), "{refused}");
    assert!(refused.stderr.contains("cluster.primary_conninfo"), "{refused}");
    let itself = site.configured(|config| config.value("cluster", "primary_conninfo", site.cluster.conninfo()));
    let refused = itself.run(["snapshot-push", "--session", "primary"]);
    assert!(refused.stderr.contains("is not a standby") && refused.stderr.contains("--session server"), "{refused}");
}

#[test]
fn a_change_of_the_timeline_that_a_standby_follows_aborts_and_undoes() {
    let site = Site::start(tested_major());
    let middle = StandbyHost::start(&site, &site.cluster);
    middle.catch_up(&site.cluster);
    let last = StandbyHost::start(&site, &middle.cluster);
    last.catch_up(&site.cluster);
    let finished = push_and_in_the_middle(&last, "server", || {
        middle.cluster.promote();
        middle.cluster.wait_until_recovered();
        middle.cluster.sql("CREATE TABLE on_another_timeline AS SELECT 1 AS one; CHECKPOINT");
        last.catch_up(&middle.cluster);
        last.cluster.sql("CHECKPOINT");
    });
    assert_eq!(last.cluster.value("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(finished.code(), Some(5), "{finished}");
    assert!(finished.stderr.contains("it was on timeline 1 and is on 2"), "{finished}");
    assert_clean(&site, &last);
}

#[test]
fn check_and_config_show_tell_of_the_primary_of_a_standby() {
    let site = Site::start(tested_major());
    site.switch_wal();
    let standby = StandbyHost::start_with(&site, &site.cluster, &[("archive_mode", "off")], |config| config);
    standby.catch_up(&site.cluster);
    let finding = |finished: &stillframe_tests::Finished, subject: &str| {
        let findings = finished.json()["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["subject"] == subject).unwrap_or_else(|| panic!("{subject}: {finished}"))
    };
    let checked = standby.stillframe.run(["--json", "check"]);
    for subject in ["server", "primary", "archiving", "round-trip", "paths", "provider"] {
        assert_eq!(finding(&checked, subject)["verdict"], "ok", "{subject}: {checked}");
    }
    let unnamed = standby.stillframe.clone().env("STILLFRAME_CLUSTER_PRIMARY_CONNINFO", "").run(["--json", "check"]);
    assert_eq!(finding(&unnamed, "primary")["verdict"], "warning", "{unnamed}");
    assert!(finding(&unnamed, "primary")["hint"].as_str().unwrap().contains("primary_conninfo"));
    assert_eq!(finding(&unnamed, "round-trip")["verdict"], "skipped", "{unnamed}");
    let shown = standby.stillframe.clone().env("STILLFRAME_BACKUP_SESSION", "primary");
    let text = shown.succeed(["config", "show"]).stdout;
    let line = text.lines().find(|line| line.contains("backup.session")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("primary") && line.contains("STILLFRAME_BACKUP_SESSION"), "{line}");
    let pushed = shown.succeed(["--json", "snapshot-push"]).json();
    assert_eq!(pushed["session_on_primary"], true, "the variable counts without a flag");
}

#[test]
fn the_grants_of_a_backup_suffice_on_standby_and_primary() {
    for major in majors(&[12, 15]) {
        let site = Site::start(major);
        site.cluster.sql("CREATE ROLE backup LOGIN");
        let standby = StandbyHost::start(&site, &site.cluster);
        let as_backup = |cluster: &Cluster| cluster.conninfo().replace("user=postgres", "user=backup");
        let stillframe = standby
            .stillframe
            .clone()
            .env("STILLFRAME_CLUSTER_CONNINFO", as_backup(&standby.cluster))
            .env("STILLFRAME_CLUSTER_PRIMARY_CONNINFO", as_backup(&site.cluster));
        let refused = stillframe.run(["snapshot-push"]);
        assert_eq!(refused.code(), Some(3), "PostgreSQL {major}: {refused}");
        let hint = refused.stderr.lines().find_map(|line| line.strip_prefix("hint: run as a superuser: ")).expect("a hint");
        site.cluster.sql(hint);
        standby.catch_up(&site.cluster);
        for session in SESSIONS {
            stillframe.succeed(["snapshot-push", "--session", session]);
        }
    }
}
