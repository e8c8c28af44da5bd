//! `snapshot-push --external-archive` with real servers: WAL that another tool keeps is proven where it lies, and never touched.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::PathBuf;

use stillframe_tests::{Account, BUCKET, Cluster, Finished, ObjectStoreServer, Site, files, majors, tested_major};

/// How WAL-G's objects are made and read by tools that people have.
#[derive(Debug, Clone, Copy)]
enum Form {
    Zstd,
    Lz4,
    Plain,
}

impl Form {
    /// Writes `%p` to this path, and reads it from there to `%p`.
    fn commands(self, path: &str) -> (String, String) {
        // Beside the directory, where nobody takes it for an object.
        let part = path.replace("/wal_005/", "/part-");
        let (write, suffix, read) = match self {
            Self::Zstd => (format!("zstd -q -f %p -o {part}"), ".zst", "zstd -d -q -f"),
            Self::Lz4 => (format!("lz4 -q -f %p {part}"), ".lz4", "lz4 -d -q -f"),
            Self::Plain => (format!("cp %p {part}"), "", "cp"),
        };
        let to = if matches!(self, Self::Zstd) { "-o %p" } else { "%p" };
        (format!("{write} && mv {part} {path}{suffix}"), format!("{read} {path}{suffix} {to}"))
    }
}

/// An installation whose server archives with a command of its own, and what `[external_archive]` says.
fn site(major: u32, archive_command: impl FnOnce(&Site) -> String, settings: &[(&str, &str)]) -> Site {
    let mut site = Site::builder(major).value("backup", "archive_timeout_secs", 5).start();
    let place = walg(&site).join("wal_005");
    Account::unprivileged().create_directory(&walg(&site));
    Account::unprivileged().create_directory(&place);
    let command = archive_command(&site);
    site.cluster.append_setting("archive_command", &command);
    site.cluster.reload();
    site.cluster.wait_until(&format!("SELECT current_setting('archive_command') = $${command}$$"));
    let url = format!("file://{}", walg(&site).display());
    let settings: Vec<(String, String)> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), value.replace("PLACE", &url))).collect();
    site.reconfigure(|config| {
        settings.into_iter().fold(config, |config, (key, value)| config.value("external_archive", &key, value))
    });
    site.cluster.sql("CREATE TABLE history AS SELECT 'before the backup' AS what FROM generate_series(1, 1000)");
    // A tool that has archived nothing yet proves nothing.
    let file = site.cluster.switch_wal();
    site.cluster.wait_until(&format!("SELECT last_archived_wal >= '{file}' FROM pg_stat_archiver"));
    site
}

/// The versions whose recovery settings differ.
const MAJORS: [u32; 4] = [10, 11, 15, 18];

const WAL_G: [(&str, &str); 2] = [("kind", "wal-g"), ("url", "PLACE")];

fn walg(site: &Site) -> PathBuf {
    site.place("walg")
}

/// Where the WAL file of `%f` lies.
fn object(site: &Site) -> String {
    walg(site).join("wal_005/%f").display().to_string()
}

fn push(site: &Site, arguments: &[&str]) -> Finished {
    let all = ["--json", "snapshot-push", "--provider", "hardlink", "--external-archive"];
    site.stillframe.run([&all, arguments].concat())
}

#[track_caller]
fn pushed(site: &Site, arguments: &[&str]) -> String {
    let finished = push(site, arguments);
    assert!(finished.is_success(), "{finished}");
    finished.json()["backup_name"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_nothing_is_left(site: &Site) {
    assert!(site.snapshots().is_empty() && site.backups().is_empty() && site.intents().is_empty());
}

fn counts(cluster: &Cluster) -> Vec<String> {
    let rows = cluster.sql("SELECT what || ': ' || count(*) FROM history GROUP BY what ORDER BY what");
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

#[test]
fn wal_that_wal_g_keeps_is_proven_there_and_restored_with_the_command_of_its_tool() {
    let forms = [Form::Lz4, Form::Plain, Form::Zstd];
    for (major, form) in majors(&MAJORS).into_iter().zip(forms.into_iter().cycle()) {
        let site = site(major, |site| form.commands(&object(site)).0, &WAL_G);
        let name = pushed(&site, &[]);
        let shown = site.show(&name);
        let external = &shown["external_archive"];
        assert_eq!((&external["kind"], &external["proof"]), (&"wal-g".into(), &"contents".into()), "{major}: {shown}");
        assert_eq!(external["place"], format!("file://{}", walg(&site).display()));
        assert!(site.archived().is_empty(), "our own archive has no part in it");

        site.cluster.sql("INSERT INTO history SELECT 'before the target' FROM generate_series(1, 50)");
        site.cluster.sql("SELECT pg_create_restore_point('the target')");
        site.cluster.sql("INSERT INTO history SELECT 'after the target' FROM generate_series(1, 5)");
        let file = site.cluster.switch_wal();
        site.cluster.wait_until(&format!("SELECT last_archived_wal >= '{file}' FROM pg_stat_archiver"));
        let refused = site.fetch("restored", &[&name]);
        assert_eq!(refused.code(), Some(4), "{refused}");
        assert!(
            refused.stderr.contains("is kept by WAL-G in file://") && refused.stderr.contains("--restore-command"),
            "{refused}"
        );
        assert!(!site.place("restored").exists());

        let command = form.commands(&object(&site)).1;
        let target = ["--target-name", "the target", "--target-action", "promote", "--archiving", "off"];
        let arguments = [&[name.as_str(), "--restore-command", &command][..], &target].concat();
        let restored = site.restore("restored", &arguments);
        assert_eq!(counts(&restored), ["before the backup: 1000", "before the target: 50"], "PostgreSQL {major}, {form:?}");
        let early = site.fetch("early", &[&name, "--restore-command", &command, "--target-lsn", "0/1"]);
        assert_eq!(early.code(), Some(4), "what lies before its end is known here as well: {early}");
    }
}

#[test]
fn wal_that_wal_g_keeps_on_s3_is_proven_there_and_no_secret_is_recorded() {
    let server = ObjectStoreServer::moto();
    let url = format!("{}/{BUCKET}/walg/main/wal_005/%f", server.endpoint());
    let credentials = server.credentials_file().display().to_string();
    let settings = [
        ("kind", "wal-g"),
        ("url", &*format!("s3://{BUCKET}/walg/main")),
        ("endpoint", server.endpoint()),
        ("credentials_file", &credentials),
    ];
    let site = site(tested_major(), |_| format!("curl -sf -H 'x-amz-acl: public-read' -T %p {url}"), &settings);
    let name = pushed(&site, &[]);
    let shown = site.show(&name);
    assert_eq!(shown["external_archive"]["proof"], "contents", "{shown}");
    assert!(shown["external_archive"]["place"].as_str().unwrap().starts_with(&format!("s3://{BUCKET}/walg/main")), "{shown}");
    for (path, content) in site.everything() {
        let text = String::from_utf8_lossy(&content).into_owned();
        assert!(!text.contains(server.secret_key()) && !text.contains(server.access_key()), "{}", path.display());
    }
    let command = format!("curl -sf -o %p {url}");
    let restored =
        site.restore("restored", &[&name, "--restore-command", &command, "--target-immediate", "--target-action", "promote"]);
    assert_eq!(counts(&restored), ["before the backup: 1000"]);
}

#[test]
fn what_cannot_be_proven_is_refused_unless_told_otherwise_and_then_recorded() {
    // It says that it has archived, and has not.
    let site = site(tested_major(), |_| "true".to_owned(), &WAL_G);
    let refused = push(&site, &[]);
    assert_eq!(refused.code(), Some(3), "a place without any WAL proves nothing: {refused}");
    assert!(refused.stderr.contains("it holds no WAL"), "{refused}");
    assert_nothing_is_left(&site);
    Account::unprivileged().write(&walg(&site).join("wal_005/000000010000000000000001.zst"), "another one");
    let refused = push(&site, &[]);
    assert_eq!(refused.code(), Some(5), "{refused}");
    assert!(refused.stderr.contains("is not in the archive after 5 s"), "{refused}");
    assert_nothing_is_left(&site);

    let name = pushed(&site, &["--unproven"]);
    assert_eq!(site.show(&name)["external_archive"]["proof"], "unproven");
    assert!(site.stillframe.succeed(["backup-show", &name]).stdout.contains("not proven"));
}

#[test]
fn an_object_that_wal_g_has_encrypted_is_no_proof() {
    let site = site(tested_major(), |site| format!("head -c 100000 /dev/urandom > {}.lz4", object(site)), &WAL_G);
    let refused = push(&site, &[]);
    assert_eq!(refused.code(), Some(6), "{refused}");
    assert_nothing_is_left(&site);
    let name = pushed(&site, &["--unproven"]);
    assert_eq!(site.show(&name)["external_archive"]["proof"], "unproven");
}

#[test]
fn a_segment_of_another_name_or_cluster_is_refused_whatever_the_operator_says() {
    let other = Cluster::builder(tested_major()).fresh_initdb().start();
    let file = other.switch_wal();
    let foreign = fs::read(other.data_directory().join("pg_wal").join(file)).unwrap();
    let archive_the_same = |site: &Site| {
        Account::unprivileged().write(&site.place("foreign"), &foreign);
        format!("cp {} {}", site.place("foreign").display(), object(site))
    };
    let site = site(tested_major(), archive_the_same, &WAL_G);
    for arguments in [&[][..], &["--unproven"]] {
        let refused = push(&site, arguments);
        assert!([Some(4), Some(6)].contains(&refused.code()), "{arguments:?}: {refused}");
        assert_nothing_is_left(&site);
    }
}

#[test]
fn another_tool_is_believed_by_the_word_of_the_archiver_only_and_that_is_said() {
    let site = site(tested_major(), |site| format!("cp %p {}", object(site)), &[("kind", "other")]);
    let name = pushed(&site, &[]);
    let external = site.show(&name)["external_archive"].clone();
    assert_eq!((&external["kind"], &external["proof"]), (&"other".into(), &"archiver".into()), "{external}");
    assert!(site.stillframe.succeed(["backup-show", &name]).stdout.contains("by the word of the server's archiver only"));
    let command = format!("cp {} %p", object(&site));
    let restored = site.restore("restored", &[&name, "--restore-command", &command, "--archiving", "off"]);
    assert_eq!(counts(&restored), ["before the backup: 1000"]);

    site.cluster.append_setting("archive_command", "false");
    site.cluster.reload();
    site.cluster.wait_until("SELECT current_setting('archive_command') = 'false'");
    let refused = push(&site, &[]);
    assert_eq!(refused.code(), Some(5), "{refused}");
    assert_eq!(site.backups(), [name], "{refused}");
}

#[test]
fn nothing_is_deleted_in_the_foreign_archive_and_what_is_said_of_such_a_backup_is_true() {
    let mut site = site(tested_major(), |site| Form::Zstd.commands(&object(site)).0, &WAL_G);
    site.name_programs_of_drills();
    let name = pushed(&site, &[]);
    let window = site.stillframe.run(["--json", "window"]);
    assert_eq!(window.code(), Some(1), "nothing can be recovered from what is here: {window}");
    assert_eq!(window.json()["unusable_backups"][0]["reason"], "external-archive", "{window}");
    let answer = site.stillframe.run(["can-restore", &name, "--target-immediate"]);
    assert!(answer.says("kept by WAL-G"), "{answer}");
    let elsewhere = site.configured(|config| config.value("external_archive", "url", "file:///nowhere"));
    let verified = elsewhere.run(["wal-verify"]);
    assert_eq!(verified.code(), Some(3), "another place is not the one that was recorded: {verified}");
    assert!(verified.says("its WAL is kept by WAL-G") && verified.says("was not verified"), "{verified}");
    let directory = site.place("d").display().to_string();
    let drilled = site.stillframe.run(["drill", &name, "--directory", &directory]);
    assert_eq!(drilled.code(), Some(4), "{drilled}");
    assert!(site.show(&name)["drill"].is_null(), "it is no verdict");

    let before: Vec<(PathBuf, Vec<u8>)> =
        files(&walg(&site)).into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    site.stillframe.succeed(["delete", "everything", "--confirm"]);
    site.stillframe.succeed(["reconcile"]);
    assert_nothing_is_left(&site);
    let after: Vec<(PathBuf, Vec<u8>)> =
        files(&walg(&site)).into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    assert!(before.len() > 1 && after.starts_with(&before), "what was there is there");
}

#[test]
fn the_wal_of_a_backup_is_verified_where_wal_g_keeps_it() {
    let site = site(tested_major(), |site| Form::Zstd.commands(&object(site)).0, &WAL_G);
    let name = pushed(&site, &[]);
    let by_name = site.stillframe.succeed(["wal-verify"]);
    assert!(by_name.stdout.contains("its own segments are there"), "{by_name}");
    let read = site.stillframe.succeed(["wal-verify", "--deep"]);
    assert!(read.stdout.contains("its own segments were read there"), "{read}");
    let checked = site.stillframe.run(["--json", "check", "--no-round-trip", "--provider", "hardlink"]).json();
    let wal = |checked: &serde_json::Value| {
        let findings = checked["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["subject"] == "wal").unwrap()["verdict"].clone()
    };
    assert_eq!(wal(&checked), "ok", "{checked}");

    let segment = site.show(&name)["first_wal_file"].as_str().unwrap().to_owned();
    let object = walg(&site).join("wal_005").join(format!("{segment}.zst"));
    let body = fs::read(&object).unwrap();
    Account::unprivileged().write(&object, &body[..body.len() / 2]);
    site.stillframe.succeed(["wal-verify"]);
    let damaged = site.stillframe.run(["wal-verify", "--deep"]);
    assert_eq!(damaged.code(), Some(6), "{damaged}");
    assert!(damaged.stdout.contains("what is there is damaged"), "{damaged}");
    fs::remove_file(&object).unwrap();
    for depth in [&["wal-verify"][..], &["wal-verify", "--deep"]] {
        let missing = site.stillframe.run(depth);
        assert_eq!(missing.code(), Some(4), "{missing}");
        assert!(missing.stdout.contains(&format!("missing there: {segment}")), "{missing}");
    }
    let checked = site.stillframe.run(["--json", "check", "--no-round-trip", "--provider", "hardlink"]).json();
    assert_ne!(wal(&checked), "ok", "{checked}");
}

#[test]
fn a_segment_that_is_still_being_written_is_waited_for() {
    let slowly = |site: &Site| {
        let object = object(site);
        format!(
            "zstd -q -f %p -o {object}.all && head -c 200 {object}.all > {object}.zst && sleep 2 && mv {object}.all {object}.zst"
        )
    };
    let site = site(tested_major(), slowly, &WAL_G);
    let name = pushed(&site, &[]);
    assert_eq!(site.show(&name)["external_archive"]["proof"], "contents");
}

#[test]
fn words_that_contradict_each_other_are_refused() {
    let site = site(tested_major(), |site| Form::Plain.commands(&object(site)).0, &WAL_G);
    for arguments in [&["--cold"][..], &["--cold", "--unproven"]] {
        assert_eq!(push(&site, arguments).code(), Some(2), "{arguments:?}");
    }
    assert_eq!(site.stillframe.run(["snapshot-push", "--unproven"]).code(), Some(2));
    let nameless = Site::start(tested_major());
    let refused = nameless.stillframe.run(["snapshot-push", "--external-archive"]);
    assert_eq!(refused.code(), Some(3), "{refused}");
    assert!(refused.stderr.contains("external_archive.kind"), "{refused}");
    assert_nothing_is_left(&site);
}
