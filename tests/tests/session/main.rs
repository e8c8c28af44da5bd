//! Sessions for outside tools: from `begin` to `end` with real servers, and everything that can come between.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

mod publication;
mod strangers;
mod voided;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stillframe_tests::{
    Account, Cluster, Finished, Site, SmallDisk, copy_tree, is_alive, majors, runs_the_binary, tested_major, with_own_mounts,
};

/// The oldest version, the usual one and the newest: their copies differ in how they are started.
const MAJORS: [u32; 3] = [10, 15, 18];
/// Longest wait for what an owner does by itself: its pings are ten seconds apart.
const PATIENCE: Duration = Duration::from_mins(1);

fn site() -> Site {
    let site = Site::with_small_segments().start();
    site.cluster.sql("CREATE TABLE t (i int)");
    site
}

/// Begins a session; gives its id.
#[track_caller]
fn begin(site: &Site, arguments: &[&str]) -> String {
    let begun = site.stillframe.succeed([&["--json", "session", "begin"], arguments].concat()).json();
    begun["session_id"].as_str().unwrap().to_owned()
}

fn end(site: &Site, id: &str, arguments: &[&str]) -> Finished {
    site.stillframe.run([&["session", "end", id], arguments].concat())
}

#[track_caller]
fn status(site: &Site, id: &str) -> Value {
    site.stillframe.run(["--json", "session", "status", id]).json()
}

#[track_caller]
fn state(site: &Site, id: &str) -> String {
    status(site, id)["state"].as_str().unwrap().to_owned()
}

/// Sessions of ours in the server: each holds backup mode.
fn held(site: &Site) -> String {
    site.cluster.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stillframe'")
}

/// The owners of sessions of this installation.
fn owners(site: &Site) -> Vec<u32> {
    let config = site.directory.path().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_owner = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&config) && line.trim_end().ends_with("session own") && runs_the_binary(*pid) && is_alive(*pid)
    };
    processes.filter(is_owner).collect()
}

#[track_caller]
fn kill_owner(site: &Site) {
    let [owner] = owners(site)[..] else { panic!("one owner: {:?}", owners(site)) };
    kill_process(Pid::from_raw(i32::try_from(owner).unwrap()).unwrap(), Signal::KILL).unwrap();
    wait_until("the owner is gone", || !is_alive(owner));
}

#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not so: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn assert_void(site: &Site, id: &str, state: &str) {
    let shown = site.stillframe.run(["--json", "session", "status", id]);
    assert_eq!((shown.json()["state"].as_str(), shown.code()), (Some(state), Some(1)), "{shown}");
    for _ in 0..2 {
        let ended = end(site, id, &[]);
        assert_eq!((ended.code(), ended.stdout.as_str()), (Some(4), ""), "{ended}");
        assert!(ended.says("is void"), "{ended}");
    }
    assert_eq!(site.backups(), [""; 0]);
    assert_eq!(site.intents(), [""; 0], "nothing protects the WAL of a void session");
    site.wait_until_no_session_is_left();
    assert_eq!(owners(site), [0; 0]);
}

/// The label that the catalog has.
fn label_of(site: &Site, name: &str) -> String {
    site.show(name)["backup_label"].as_str().unwrap().to_owned()
}

/// Lets the server archive nothing, or again.
fn break_archiving(site: &Site, is_broken: bool) {
    let command = if is_broken { "false".to_owned() } else { site.stillframe.command_line("wal-push %p") };
    site.cluster.append_setting("archive_command", &command);
    site.cluster.reload();
    site.cluster.wait_until(&format!("SELECT (current_setting('archive_command') = 'false') = {is_broken}"));
}

#[test]
fn begin_prints_the_start_lsn_and_returns_while_a_process_of_its_own_holds_backup_mode() {
    let site = site();
    // This returns when its output is closed: nothing that stays behind may have it open.
    let begun = site.stillframe.succeed(["session", "begin"]);
    let lines: Vec<&str> = begun.stdout.lines().collect();
    let [lsn, id] = lines[..] else { panic!("{begun}") };
    assert_eq!(site.cluster.value(&format!("SELECT '{lsn}'::pg_lsn <= pg_current_wal_lsn()")), "t");
    assert_eq!(id.len(), 32);
    assert_eq!(held(&site), "1");
    let [owner] = owners(&site)[..] else { panic!("one owner") };
    let stat = fs::read_to_string(format!("/proc/{owner}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    assert_eq!(fields[3], owner.to_string(), "it leads a session of its own, which no terminal ends");
    assert_eq!(fs::read_link(format!("/proc/{owner}/cwd")).unwrap(), Path::new("/"));
    let line = String::from_utf8_lossy(&fs::read(format!("/proc/{owner}/cmdline")).unwrap()).into_owned();
    assert!(!line.contains(id), "anybody may read command lines");
    assert_eq!(status(&site, id)["is_held"], true);
    assert_eq!(site.intents().len(), 1);

    let ended = end(&site, id, &["--snapshot-id", "vol-1", "--snapshot-id", "vol-2"]);
    assert!(ended.is_success(), "{ended}");
    let name = site.backups().pop().unwrap();
    assert_eq!(ended.stdout, label_of(&site, &name));
    assert!(ended.stdout.contains(&format!("START WAL LOCATION: {lsn} ")));
    assert_eq!(site.show(&name)["outside"]["snapshot_ids"], serde_json::json!(["vol-1", "vol-2"]));
    assert_eq!((state(&site, id).as_str(), site.intents().len()), ("published", 0));
    site.wait_until_no_session_is_left();
    wait_until("the owner has ended", || owners(&site).is_empty());
    // What others make of such a backup.
    site.stillframe.succeed(["wal-verify", "--deep"]);
    assert!(site.stillframe.succeed(["backup-list"]).says("(outside)"));
    assert_eq!(site.fetch("empty", &[&name]).code(), Some(4), "the outside tool has to restore it");
    let deleted = site.stillframe.succeed(["delete", "target", &name, "--confirm"]);
    assert!(deleted.is_success() && site.backups().is_empty(), "{deleted}");
}

/// What the outside tool has of a server that goes on writing: a copy made in the session.
fn copied(site: &Site, place: &str) -> (PathBuf, String) {
    site.cluster.sql("CREATE TABLE big AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) AS i");
    let id = begin(site, &[]);
    site.cluster.sql("UPDATE big SET text = text || '!' WHERE i % 2 = 0");
    let copy = site.place(place);
    copy_tree(site.cluster.data_directory(), &copy);
    site.cluster.sql("DELETE FROM big WHERE i % 3 = 0; CHECKPOINT");
    let ended = end(site, &id, &["--snapshot-id", "a copy"]);
    assert!(ended.is_success(), "{ended}");
    site.cluster.sql("INSERT INTO big SELECT i, 'after' FROM generate_series(1, 5) AS i");
    site.switch_wal();
    (copy, ended.stdout)
}

const CONTENT: &str = "SELECT count(*) || ' ' || md5(string_agg(i || text, ',' ORDER BY i, text)) FROM big";

fn a_copy_with_the_printed_label_is_the_database(major: u32) {
    let site = Site::start(major);
    let (copy, label) = copied(&site, "copy");
    let expected = site.cluster.value(CONTENT);
    // As an operator does it by hand, from the manual of PostgreSQL.
    fs::remove_file(copy.join("postmaster.pid")).unwrap();
    for entry in fs::read_dir(copy.join("pg_wal")).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        fs::remove_file(entry.path()).unwrap();
    }
    Account::unprivileged().write(&copy.join("backup_label"), &label);
    let restore = format!("restore_command = '{}'\n", site.stillframe.command_line("wal-fetch %f %p").replace('\'', "''"));
    if major >= 12 {
        let settings = fs::read_to_string(copy.join("postgresql.auto.conf")).unwrap();
        Account::unprivileged().write(&copy.join("postgresql.auto.conf"), format!("{settings}\narchive_mode = off\n{restore}"));
        Account::unprivileged().write(&copy.join("recovery.signal"), "");
    } else {
        let settings = fs::read_to_string(copy.join("postgresql.auto.conf")).unwrap();
        Account::unprivileged().write(&copy.join("postgresql.auto.conf"), format!("{settings}\narchive_mode = off\n"));
        Account::unprivileged().write(&copy.join("recovery.conf"), restore);
    }
    let restored = site.recover("copy");
    assert_eq!(restored.value(CONTENT), expected, "PostgreSQL {major}");
}

#[test]
fn a_copy_with_the_printed_label_is_the_database_on_every_version() {
    for major in majors(&MAJORS) {
        a_copy_with_the_printed_label_is_the_database(major);
    }
}

#[test]
fn snapshot_fetch_prepares_the_copy_that_the_outside_tool_has_restored() {
    let site = Site::start(tested_major());
    let _copied = copied(&site, "copy");
    let expected = site.cluster.value(CONTENT);
    let restored = site.restore("copy", &["LATEST", "--archiving", "off", "--target-action", "promote"]);
    assert_eq!(restored.value(CONTENT), expected);
}

#[test]
fn several_sessions_at_once_are_several_backups_and_their_ids_are_unlike() {
    let site = site();
    let ids: Vec<String> = (0..3).map(|_| begin(&site, &[])).collect();
    assert_eq!(held(&site), "3");
    assert_eq!(ids.iter().map(|id| &id[..16]).collect::<BTreeSet<_>>().len(), 3);
    site.stillframe.succeed(["session", "abort", &ids[1]]);
    site.cluster.wait_until("SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'stillframe'");
    for id in [&ids[0], &ids[2]] {
        assert!(end(&site, id, &[]).is_success());
    }
    assert_eq!(site.backups().len(), 2);
    let guess = "0".repeat(32);
    let unknown = end(&site, &guess, &[]);
    assert!(unknown.code() == Some(4) && unknown.stdout.is_empty(), "{unknown}");
    assert!(!site.place("sessions").join(format!("{guess}.lock")).exists(), "a guess leaves nothing");
    let listed = site.stillframe.succeed(["--json", "session", "status"]).json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 3);
}

#[test]
fn a_file_that_holds_the_id_of_a_session_that_is_not_over_is_not_overwritten() {
    let site = site();
    let file = site.place("nightly.id");
    let file = file.to_str().unwrap();
    site.stillframe.succeed(["session", "begin", "--id-file", file]);
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let second = site.stillframe.run(["session", "begin", "--id-file", file]);
    assert!(second.code() == Some(4) && second.says("is not over"), "{second}");
    assert_eq!(held(&site), "1");
    site.stillframe.succeed(["session", "end", "--id-file", file]);
    site.stillframe.succeed(["session", "begin", "--id-file", file]);
    site.stillframe.succeed(["session", "abort", "--id-file", file]);
}

#[test]
fn a_begin_that_fails_says_why_with_its_code_and_leaves_nothing() {
    let site = site();
    site.cluster.append_setting("archive_command", "");
    site.cluster.reload();
    site.cluster.wait_until("SELECT current_setting('archive_command') = ''");
    let failed = site.stillframe.run(["session", "begin"]);
    assert!(failed.code() == Some(3) && failed.says("archive_command = ''") && failed.stdout.is_empty(), "{failed}");
    let json = site.stillframe.run(["--json", "session", "begin"]);
    assert_eq!(json.json()["error"]["class"], "config", "{json}");
    site.wait_until_no_session_is_left();
    assert_eq!((owners(&site).len(), site.intents().len()), (0, 0));
}

#[test]
fn a_begin_that_is_killed_before_it_has_told_the_id_leaves_no_session() {
    let site = site();
    let checkpointer = site.cluster.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
    let signal = |signal| kill_process(Pid::from_raw(checkpointer.parse().unwrap()).unwrap(), signal).unwrap();
    // The server does not come to backup mode as long as nobody writes its checkpoint.
    signal(Signal::STOP);
    let begun = site.stillframe.spawn(["session", "begin"]);
    site.cluster.wait_until(
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'stillframe' AND query LIKE '%backup%' \
         AND state = 'active'",
    );
    begun.kill9();
    drop(begun);
    assert_eq!(owners(&site).len(), 1);
    signal(Signal::CONT);
    wait_until("the owner has ended", || owners(&site).is_empty());
    site.wait_until_no_session_is_left();
    assert_eq!(site.intents(), [""; 0]);
    let listed = site.stillframe.succeed(["--json", "session", "status"]).json();
    assert_eq!(listed["sessions"][0]["state"], "failed", "{listed}");
}

#[test]
fn what_is_left_of_a_killed_owner_in_the_way_of_its_socket_harms_nobody() {
    let site = site();
    let id = begin(&site, &[]);
    kill_owner(&site);
    assert!(site.place("sessions").join(format!("{id}.sock")).exists(), "the dead remove nothing");
    // Another process that got the name of its socket cannot speak for it: the lock is free.
    assert_eq!(end(&site, &id, &[]).code(), Some(4));
    assert_void(&site, &id, "killed");
}

#[test]
fn end_writes_both_files_and_leaves_no_map_of_an_earlier_backup() {
    let site = Site::with_small_segments().cluster(|cluster| cluster.tablespaces(1)).start();
    let output = site.place("output");
    let ended = end(&site, &begin(&site, &[]), &["--output", output.to_str().unwrap()]);
    assert!(ended.is_success(), "{ended}");
    let name = site.backups().pop().unwrap();
    assert_eq!(fs::read_to_string(output.join("backup_label")).unwrap(), ended.stdout);
    let map = fs::read_to_string(output.join("tablespace_map")).unwrap();
    assert!(!map.is_empty() && map == site.show(&name)["tablespace_map"].as_str().unwrap());
    site.cluster.sql("DROP TABLESPACE ts1");
    let ended = end(&site, &begin(&site, &[]), &["--output", output.to_str().unwrap()]);
    assert!(ended.is_success(), "{ended}");
    assert_eq!(fs::read_to_string(output.join("backup_label")).unwrap(), ended.stdout);
    assert!(!output.join("tablespace_map").exists());
}

#[test]
fn a_label_that_cannot_be_written_as_a_whole_is_an_error_and_can_be_had_again() {
    let site = site();
    let id = begin(&site, &[]);
    let line = format!("{} > /dev/full", site.stillframe.command_line(&format!("session end {id}")));
    let mut shell = Command::new("sh");
    let status = Account::unprivileged().run_as(shell.args(["-c", &line]).current_dir("/").stderr(Stdio::null())).status().unwrap();
    assert_eq!(status.code(), Some(5));
    assert_eq!(site.backups().len(), 1, "published all the same: the catalog has the label");
    let again = end(&site, &id, &[]);
    assert!(again.is_success() && again.stdout == label_of(&site, &site.backups()[0]), "{again}");
}

#[test]
fn a_full_disk_under_the_sessions_stops_begin_and_costs_no_label_at_end() {
    with_own_mounts("a_full_disk_under_the_sessions_stops_begin_and_costs_no_label_at_end", || {
        let disk_at = stillframe_tests::ScratchDirectory::create();
        let disk = SmallDisk::mount(&disk_at.join("d"), 1024);
        let sessions = disk.path().join("sessions").display().to_string();
        let site = Site::with_small_segments().value("session", "directory", sessions).start();
        let id = begin(&site, &[]);
        disk.leave(0, 0);
        let full = site.stillframe.run(["session", "begin"]);
        assert!(!full.is_success() && full.stdout.is_empty(), "{full}");
        assert_eq!(held(&site), "1", "the one that runs goes on");
        let ended = end(&site, &id, &[]);
        assert!(ended.is_success() && ended.stdout == label_of(&site, &site.backups()[0]), "{ended}");
        assert_eq!(state(&site, &id), "published", "what could not be recorded, the catalog tells");
        let again = end(&site, &id, &[]);
        assert!(again.is_success() && again.stdout == ended.stdout, "{again}");
    });
}

#[test]
fn a_session_on_a_standby_keeps_its_state_outside_the_database() {
    let site = site();
    let mut standby = Cluster::standby_of(&site.cluster);
    standby.start();
    let place = site.place("standby");
    Account::unprivileged().create_directory(&place);
    let of_standby = site.configured(|config| {
        let config = config.cluster("main", &standby);
        config.value("cluster", "primary_conninfo", site.cluster.conninfo())
    });
    let begun = of_standby.succeed(["--json", "session", "begin"]).json();
    let id = begun["session_id"].as_str().unwrap();
    let ended = of_standby.succeed(["session", "end", id]);
    assert!(ended.stdout.contains("BACKUP FROM: standby"), "{ended}");
    let name = site.backups().pop().unwrap();
    assert_eq!(site.show(&name)["from_standby"], true);
    assert_eq!(label_of(&site, &name), ended.stdout);
}

#[test]
fn a_session_of_another_cluster_is_not_ended() {
    let site = site();
    let id = begin(&site, &[]);
    let other = site.configured(|config| config.value("cluster", "name", "other"));
    other.succeed(["store", "create"]);
    for command in ["end", "abort", "status"] {
        let refused = other.run(["session", command, &id]);
        assert!(refused.code() == Some(4) && refused.stdout.is_empty(), "{command}: {refused}");
    }
    assert_eq!(held(&site), "1");
    assert!(end(&site, &id, &[]).is_success());
}

/// systemd cannot be booted here. This stands in for it: it runs the lines of the units in the book in the order in which systemd
/// runs them, with its socket for notifications. What systemd does with the processes that a line leaves behind, it does not do.
#[test]
fn the_units_of_the_book_hold_backup_mode_for_as_long_as_the_backup_runs() {
    let site = site();
    let id_file = site.place("nightly.id");
    let ready = std::os::unix::net::UnixDatagram::bind(site.place("notify")).unwrap();
    Account::unprivileged().own(&site.place("notify"));
    ready.set_read_timeout(Some(PATIENCE)).unwrap();
    let manager = site.stillframe.clone().env("NOTIFY_SOCKET", site.place("notify"));
    let hold = argument_lines("ExecStart=", "session hold");
    assert_eq!(hold.len(), 1, "{hold:?}");
    let arguments = |line: &str| -> Vec<String> {
        let words = line.split_whitespace().skip_while(|word| *word != "session");
        words
            .map(|word| {
                if word.contains("%i.id") || word.contains("nightly.id") { id_file.display().to_string() } else { word.to_owned() }
            })
            .collect()
    };
    let service = manager.spawn(arguments(&hold[0]));
    let mut word = [0; 64];
    let length = ready.recv(&mut word).unwrap();
    assert_eq!(&word[..length], b"READY=1\n", "what is ordered after the service begins now");
    assert_eq!(held(&site), "1");
    // The backup itself, and then its thaw.
    let end_line = argument_lines("ExecStartPost=", "session end");
    assert_eq!(end_line.len(), 1, "{end_line:?}");
    let mut words = arguments(&end_line[0]);
    let output = words.iter().position(|word| word == "--output").unwrap() + 1;
    words[output] = site.place("output").display().to_string();
    let ended = site.stillframe.run(&words);
    assert!(ended.is_success(), "{ended}");
    assert!(service.wait().is_success(), "the service ends by itself");
    // Always run, and nothing is left to give up.
    let abort_line = argument_lines("ExecStopPost=", "session abort");
    assert_eq!(abort_line.len(), 1, "{abort_line:?}");
    assert_eq!(site.stillframe.run(arguments(&abort_line[0])).code(), Some(4), "which the `-` before it lets pass");
    assert!(abort_line[0].starts_with("ExecStopPost=-"));
    assert_eq!(site.backups().len(), 1);

    // A backup that fails: systemd runs ExecStopPost= only.
    let service = manager.spawn(arguments(&hold[0]));
    ready.recv(&mut word).unwrap();
    site.stillframe.succeed(arguments(&abort_line[0]));
    assert!(service.wait().is_success());
    // The service is stopped from outside.
    let service = manager.spawn(arguments(&hold[0]));
    ready.recv(&mut word).unwrap();
    let id = fs::read_to_string(&id_file).unwrap().trim().to_owned();
    service.terminate();
    assert_eq!(service.wait().code(), Some(4));
    assert_eq!(state(&site, &id), "aborted");
    site.wait_until_no_session_is_left();
}

/// The lines of units in the documentation that begin so and run this.
fn argument_lines(key: &str, command: &str) -> Vec<String> {
    let book = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/session.md")).unwrap();
    book.lines().filter(|line| line.starts_with(key) && line.contains(command)).map(str::to_owned).collect()
}

#[test]
fn nothing_of_the_product_ends_a_backend() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host");
    let sources: Vec<PathBuf> =
        stillframe_tests::files(&host).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    assert!(sources.len() > 100);
    for path in sources.iter().filter(|path| !path.components().any(|part| part.as_os_str() == "tests")) {
        let text = fs::read_to_string(path).unwrap();
        for word in ["pg_terminate_backend", "pg_cancel_backend"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}
