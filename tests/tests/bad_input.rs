//! What people, scripts and disks get wrong: one clear error, the right exit code, nothing changed and nothing leaked.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use stillframe_tests::{Account, Finished, ScratchDirectory, Site, Stillframe, tested_major};

/// A name that no backup has.
const ABSENT: &str = "sf-20200101T000000Z-00000000";
/// A password that must never appear.
const SECRET: &str = "hunter2-is-a-secret";

/// A configuration file with this text; nothing that it names exists.
fn configured(scratch: &ScratchDirectory, text: &str) -> Stillframe {
    let path = scratch.join("stillframe.toml");
    Account::unprivileged().write(&path, text);
    Stillframe::new(path)
}

/// The smallest text that is complete, with a store that does not exist.
fn complete(scratch: &ScratchDirectory) -> String {
    let place = |name: &str| scratch.join(name).display().to_string();
    format!(
        "[cluster]\nname = \"main\"\npgdata = \"{}\"\n[store]\nurl = \"file://{}\"\n[provider.hardlink]\nroot = \"{}\"\n",
        place("data"),
        place("store"),
        place("snapshots")
    )
}

#[track_caller]
fn assert_error(finished: &Finished, code: i32, error: &str, hint: &str) {
    assert_eq!(finished.code(), Some(code), "{finished}");
    let line = |prefix: &str| finished.stderr.lines().find(|line| line.starts_with(prefix)).unwrap_or_default();
    assert!(line("error: ").contains(error), "`{error}` is missing: {finished}");
    assert!(line("hint: ").contains(hint), "`{hint}` is missing in the hint: {finished}");
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let scratch = ScratchDirectory::create();
    for (text, key, nearest) in [
        ("[cluster]\nnmae = \"main\"\n", "`cluster.nmae`", "`cluster.name`"),
        ("[stroe]\nurl = \"file:///x\"\n", "`stroe`", "`store`"),
        ("[backup]\narchive_timeout_sec = 3\n", "`backup.archive_timeout_sec`", "`backup.archive_timeout_secs`"),
    ] {
        for command in ["backup-list", "snapshot-push", "wal-push"] {
            let arguments = [command, "/pg_wal/000000010000000000000001"];
            let arguments = &arguments[..if command == "wal-push" { 2 } else { 1 }];
            let finished = configured(&scratch, text).run(arguments);
            assert_error(&finished, 3, key, nearest);
            assert!(finished.stderr.contains("stillframe.toml"), "it says where: {finished}");
        }
    }
    let variable = configured(&scratch, &complete(&scratch)).env("STILLFRAME_CLUSTER_NMAE", "x").run(["config", "show"]);
    assert_error(&variable, 3, "STILLFRAME_CLUSTER_NMAE", "STILLFRAME_CLUSTER_NAME");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let scratch = ScratchDirectory::create();
    let stillframe = configured(&scratch, &complete(&scratch));
    for arguments in [
        vec!["backup-list", "--nonsense"],
        vec!["--cofnig", "x", "backup-list"],
        vec!["backup-lits"],
        vec![],
        vec!["delete"],
        vec!["delete", "retain"],
        vec!["delete", "retain", "many"],
        vec!["delete", "retain", "-1"],
        vec!["delete", "before", "yesterday or so"],
        vec!["snapshot-push", "--add-user-data", "no json"],
        vec!["snapshot-fetch"],
        vec!["snapshot-fetch", "/x", "--target-lsn", "nowhere"],
        vec!["snapshot-fetch", "/x", "--target-xid", "1", "--target-immediate"],
        vec!["snapshot-fetch", "/x", "--tablespace-mapping", "/only-one"],
    ] {
        let finished = stillframe.run(&arguments);
        assert_eq!(finished.code(), Some(2), "{arguments:?}: {finished}");
        assert!(!finished.stderr.is_empty() && finished.stdout.is_empty(), "{arguments:?}: {finished}");
    }
}

#[test]
fn a_text_that_is_no_name_of_a_backup_is_a_usage_error_wherever_one_is_expected() {
    let site = Site::start(tested_major());
    site.backup(&[]);
    let before = site.everything();
    let place = site.place("restored").display().to_string();
    for name in [
        "",
        "x",
        "LATEST ",
        "../../etc",
        "sf-20200101T000000Z-0000000l",
        "sf-20200101T000000Z-00000000/..",
        "base_00000001000000000000002",
    ] {
        for arguments in [
            vec!["backup-show", name],
            vec!["backup-mark", name],
            vec!["backup-lock", name, "--release"],
            vec!["delete", "target", name, "--confirm"],
            vec!["delete", "before", name, "--confirm"],
        ] {
            let finished = site.stillframe.run(&arguments);
            assert_eq!(finished.code(), Some(2), "{arguments:?}: {finished}");
        }
        // Nearly everything is a name that a restore point may bear: what is none is bad usage, and what is one is not there.
        let finished = site.stillframe.run(["snapshot-fetch", &place, name]);
        let is_refused = finished.stderr.contains("holds neither a backup nor a restore point");
        assert!(finished.code() == Some(2) || finished.code() == Some(4) && is_refused, "{name:?}: {finished}");
    }
    for arguments in [
        vec!["backup-show", ABSENT],
        vec!["backup-mark", ABSENT],
        vec!["backup-lock", ABSENT, "--release"],
        vec!["delete", "target", ABSENT, "--confirm"],
        vec!["delete", "before", ABSENT, "--confirm"],
        vec!["delete", "retain", "1", "--after", ABSENT, "--confirm"],
        vec!["snapshot-fetch", &place, ABSENT],
    ] {
        assert_error(&site.stillframe.run(&arguments), 4, &format!("`{ABSENT}`"), "stillframe backup-list");
    }
    assert_eq!(site.everything(), before);
    assert!(!site.place("restored").exists());
}

#[test]
fn an_unknown_provider_is_refused_with_those_that_there_are() {
    let site = Site::start(tested_major());
    let before = site.everything();
    assert_error(&site.stillframe.run(["snapshot-push", "--provider", "hardlnik"]), 3, "no provider `hardlnik`", "hardlink");
    let default = site.configured(|config| config.value("backup", "provider", "zfs")).run(["snapshot-push"]);
    assert_error(&default, 3, "no provider `zfs`", "hardlink");
    let unbundled = site.configured(|config| config.value("provider.hardlnik", "root", "/x")).run(["snapshot-push"]);
    assert_error(&unbundled, 3, "no provider `hardlnik` is bundled; did you mean `hardlink`?", "");
    assert_eq!(site.everything(), before);
}

#[test]
fn a_missing_store_is_refused_with_the_command_that_creates_one_and_is_never_created_in_passing() {
    let scratch = ScratchDirectory::create();
    let stillframe = configured(&scratch, &complete(&scratch));
    for is_empty_directory in [false, true] {
        if is_empty_directory {
            Account::unprivileged().create_directory(&scratch.join("store"));
        }
        for arguments in [
            vec!["backup-list"],
            vec!["backup-show", ABSENT],
            vec!["snapshot-push"],
            vec!["snapshot-fetch", "/nowhere/at/all"],
            vec!["delete", "everything", "--confirm"],
            vec!["wal-push", "/pg_wal/000000010000000000000001"],
        ] {
            let finished = stillframe.run(&arguments);
            assert_error(&finished, 3, "store", "stillframe store create");
        }
        assert_eq!(scratch.join("store").exists(), is_empty_directory);
        assert!(!is_empty_directory || fs::read_dir(scratch.join("store")).unwrap().next().is_none());
    }
}

/// The damage that is done to a sentinel, and the exit code that it gives.
fn damages(body: &[u8], other: &str) -> Vec<(&'static str, Vec<u8>, i32)> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let sentinel: Value = serde_json::from_slice(body).unwrap();
    let with = |key: &str, value: Value| {
        let mut changed = sentinel.clone();
        assert_ne!(changed[key], value);
        changed[key] = value;
        // What is wrong is the value, and not that it was changed.
        changed.as_object_mut().unwrap().remove("checksum");
        changed.to_string().into_bytes()
    };
    vec![
        ("a later format version", with("format_version", 3.into()), 3),
        ("cut off", text[..text.len() / 2].into(), 6),
        ("empty", Vec::new(), 6),
        ("no JSON", b"<html>404</html>".to_vec(), 6),
        ("another backup's name", with("Name", other.into()), 6),
        ("no position", with("LSN", "nowhere".into()), 6),
        ("stops before it starts", with("FinishLSN", "0/1".into()), 6),
        ("a field from the future", with("Surprise", 1.into()), 6),
        ("one digit is another", text.replacen("\"LSN\": ", "\"LSN\": 1", 1).into(), 6),
    ]
}

#[test]
fn a_damaged_sentinel_stops_every_deletion_and_hides_no_other_backup() {
    let site = Site::start(tested_major());
    let names = [site.backup(&[]), site.backup(&[]), site.backup(&[])];
    site.switch_wal();
    let sentinel = site.place("store/main/snapshots_001").join(&names[1]).join("sentinel.json");
    let whole = fs::read(&sentinel).unwrap();
    for (number, (damage, body, code)) in damages(&whole, &names[0]).into_iter().enumerate() {
        fs::write(&sentinel, body).unwrap();
        let before = site.everything();
        let listed = site.stillframe.run(["backup-list"]);
        assert_error(&listed, code, &names[1], "");
        assert!(listed.stderr.contains("hint: "), "{damage}: {listed}");
        assert!(listed.stdout.contains(&names[0]) && listed.stdout.contains(&names[2]), "{damage}: {listed}");
        assert!(!listed.stdout.contains(&names[1]), "{damage}: {listed}");
        let rules: [&[&str]; 6] = [
            &["retain", "1"],
            &["before", &names[2]],
            &["target", &names[0]],
            &["target", &names[1]],
            &["everything"],
            &["garbage"],
        ];
        for rule in rules {
            for confirm in [None, Some("--confirm")] {
                let refused = site.stillframe.run(["delete"].iter().chain(rule).copied().chain(confirm));
                assert_error(&refused, code, &names[1], "");
                assert!(refused.stdout.is_empty(), "{damage}: no plan on a partial view: {refused}");
            }
        }
        let place = format!("damaged{number}");
        let refused = site.fetch(&place, &[&names[1]]);
        assert!(matches!(refused.code(), Some(3 | 4 | 6)), "{damage}: {refused}");
        assert!(refused.stderr.contains(&names[1]) && !site.place(&place).exists(), "{damage}: {refused}");
        assert_eq!(site.everything(), before, "{damage}");
    }
    // The damage of the last round is still there.
    for name in [&names[0], &names[2]] {
        let finished = site.fetch(&format!("restored-{name}"), &[name, "--archiving", "off"]);
        assert!(finished.is_success(), "{finished}");
    }
    fs::write(&sentinel, whole).unwrap();
    assert_eq!(site.backups().len(), names.len());
}

#[test]
fn a_foreign_object_in_the_catalog_stops_every_deletion() {
    let site = Site::start(tested_major());
    let name = site.backup(&[]);
    for foreign in
        [PathBuf::from("notes.txt"), PathBuf::from(&name).join("sentinel.json.bak"), PathBuf::from("base_1/sentinel.json")]
    {
        let path = site.place("store/main/snapshots_001").join(&foreign);
        Account::unprivileged().create_directory(path.parent().unwrap());
        Account::unprivileged().write(&path, "{}");
        let before = site.everything();
        let key = format!("main/snapshots_001/{}", foreign.display());
        assert_error(&site.stillframe.run(["backup-list"]), 6, &key, &key);
        assert_error(&site.stillframe.run(["delete", "everything", "--confirm"]), 6, &key, &key);
        assert_eq!(site.everything(), before);
        fs::remove_file(path).unwrap();
    }
    assert_eq!(site.backups(), [name]);
}

/// The one JSON document of standard output.
#[track_caller]
fn document(what: &str, finished: &Finished) -> Value {
    let parsed = serde_json::from_str(&finished.stdout);
    parsed.unwrap_or_else(|error| panic!("{what}: standard output is not one JSON document: {error}: {finished}"))
}

#[test]
fn an_error_in_json_is_one_document_that_says_what_the_text_says() {
    let site = Site::start(tested_major());
    site.backup(&[]);
    let scratch = ScratchDirectory::create();
    let nowhere = configured(&scratch, &complete(&scratch));
    for (stillframe, arguments, code, class) in [
        (&nowhere, vec!["backup-list"], 3, "config"),
        (&nowhere, vec!["snapshot-push"], 3, "config"),
        (&site.stillframe, vec!["backup-show", ABSENT], 4, "refused"),
        (&site.stillframe, vec!["delete", "target", ABSENT], 4, "refused"),
        (&site.stillframe, vec!["delete", "retain", "0"], 2, "usage"),
        (&site.stillframe, vec!["snapshot-push", "--provider", "zfs"], 3, "config"),
    ] {
        let what = format!("{arguments:?}");
        let finished = stillframe.run(["--json"].into_iter().chain(arguments));
        let json = document(&what, &finished);
        assert_eq!(finished.code(), Some(code), "{finished}");
        assert_eq!((&json["format_version"], &json["error"]["class"]), (&1.into(), &class.into()), "{finished}");
        let message = json["error"]["message"].as_str().unwrap();
        assert!(finished.stderr.contains(&format!("error: {message}")), "{finished}");
        let hint = json["error"]["hint"].as_str().unwrap_or_default();
        assert!(finished.stderr.contains(hint), "{finished}");
    }
}

#[test]
fn a_result_with_an_error_is_still_one_json_document() {
    let site = Site::start(tested_major());
    let names = [site.backup(&[]), site.backup(&[])];
    site.switch_wal();
    let broken = site.configured(|config| {
        config.value("provider.hardlink", "component", "/nonexistent.wasm").value("provider.hardlink", "sha256", "0".repeat(64))
    });
    let deleted = broken.run(["--json", "delete", "retain", "1", "--confirm"]);
    assert_eq!(deleted.code(), Some(3), "{deleted}");
    let json = document("delete", &deleted);
    assert!(json.to_string().contains("cannot be loaded"), "{json}");

    fs::write(site.place("store/main/snapshots_001").join(&names[0]).join("sentinel.json"), "{").unwrap();
    let listed = site.stillframe.run(["--json", "backup-list"]);
    assert_eq!(listed.code(), Some(6), "{listed}");
    let json = document("backup-list", &listed);
    assert_eq!(json["backups"][0]["backup_name"], names[1].as_str());
    assert!(json["unreadable"][0].as_str().unwrap().contains(&names[0]), "{json}");
}

#[track_caller]
fn assert_no_secret(what: &str, finished: &Finished) {
    assert!(!finished.says(SECRET), "{what}: the password is shown: {finished}");
}

#[test]
fn a_password_never_appears() {
    let site = Site::start(tested_major());
    site.cluster.sql("SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD 'the right one'");
    site.cluster.write_hba("local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n");
    let (socket, port) = (site.cluster.socket_directory().display().to_string(), site.cluster.port());
    let keywords = format!("host={socket} port={port} user=postgres dbname=postgres");
    let cases = [
        ("a keyword", format!("{keywords} password={SECRET}")),
        ("a quoted keyword", format!("{keywords} password = '{SECRET} and more'")),
        ("the middle", format!("password={SECRET} {keywords}")),
        ("a URI", format!("postgresql://postgres:{SECRET}@127.0.0.1:{port}/postgres")),
        ("a parameter of a URI", format!("postgresql://127.0.0.1:{port}/postgres?user=postgres&password={SECRET}")),
        ("quotes without an end", format!("{keywords} password='{SECRET}")),
        ("a value with a space", format!("{keywords} password=a {SECRET}")),
        ("a URI without a host", format!("postgresql://postgres:{SECRET}@[::1/postgres")),
        ("a URI with a wrong escape", format!("postgresql://postgres:{SECRET}%zz@127.0.0.1/postgres")),
        ("a URI without a slash", format!("postgres:postgres:{SECRET}@127.0.0.1")),
    ];
    let mut leaks = Vec::new();
    for (what, conninfo) in cases {
        let stillframe = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", &conninfo);
        let primary = site.configured(|config| {
            config.value("cluster", "conninfo", conninfo.as_str()).value("cluster", "primary_conninfo", conninfo.as_str())
        });
        for stillframe in [&stillframe, &primary] {
            let pushed = stillframe.run(["-vv", "--json", "snapshot-push", "--provider", "hardlink"]);
            assert_eq!(pushed.code(), Some(3), "{what}: {pushed}");
            let text = stillframe.succeed(["config", "show"]);
            let json = stillframe.succeed(["--json", "-vv", "config", "show"]);
            assert!(text.stdout.contains("cluster.conninfo"), "{text}");
            let all = [("snapshot-push", pushed), ("config show", text), ("config show in JSON", json)];
            let shows = all.iter().filter(|(_, finished)| finished.says(SECRET));
            leaks.extend(shows.map(|(command, _)| format!("{command}: {what}")));
        }
    }
    leaks.dedup();
    assert!(leaks.is_empty(), "the password is shown by {leaks:#?}");
    let variable = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", &keywords).env("PGPASSWORD", SECRET);
    let finished = variable.run(["-vv", "snapshot-push", "--provider", "hardlink"]);
    assert_eq!(finished.code(), Some(3), "{finished}");
    assert!(finished.stderr.contains("password authentication failed"), "it did try: {finished}");
    assert_no_secret("PGPASSWORD", &finished);
    assert_no_secret("PGPASSWORD", &variable.succeed(["config", "show"]));
    // The right password lets in, and does not end up in the catalog either.
    let right = format!("{keywords} password='the right one'");
    let stillframe = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", right);
    let finished = stillframe.succeed(["-vv", "snapshot-push", "--provider", "hardlink"]);
    let stored = site.everything().into_iter().filter(|(path, _)| path.starts_with(site.place("store/main/snapshots_001")));
    let texts = stored.map(|(_, body)| String::from_utf8(body).unwrap()).chain([finished.stdout, finished.stderr]);
    for text in texts {
        assert!(!text.contains("the right one"), "{text}");
    }
}

/// Lower case has another length in bytes: a search in one and a cut in the other would panic, or show a password.
#[test]
fn a_connection_string_of_any_letters_can_be_shown() {
    let scratch = ScratchDirectory::create();
    for letters in ["İİİİİİİİİİİİİİİİİİ", "KKKKKKKKKKKKKKKKKK", "ẞẞẞẞẞẞẞẞẞ"] {
        let conninfo = format!("user={letters} password={SECRET}");
        let stillframe = configured(&scratch, &complete(&scratch)).env("STILLFRAME_CLUSTER_CONNINFO", conninfo);
        let shown = stillframe.run(["config", "show"]);
        assert_eq!(shown.code(), Some(0), "{shown}");
        assert_no_secret(letters, &shown);
    }
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

#[test]
fn every_command_has_its_help_without_any_configuration() {
    let stillframe = Stillframe::without_config();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = open.pop() {
        seen += 1;
        let finished = stillframe.run(path.iter().map(String::as_str).chain(["--help"]));
        assert_eq!(finished.code(), Some(0), "{path:?}: {finished}");
        assert!(finished.stdout.contains("Usage: ") && finished.stderr.is_empty(), "{path:?}: {finished}");
        open.extend(commands(&finished.stdout).into_iter().map(|name| path.iter().cloned().chain([name]).collect()));
    }
    assert!(seen > 15, "only {seen} commands were found");
    assert_eq!(stillframe.run(["--version"]).code(), Some(0));
}
