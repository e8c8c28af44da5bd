//! Secrets stay where the operator put them: not in process lists, output, logs, `config show`, nor in anything that is stored.
//!
//! A [`Case`] is a way to give secrets to the binary. The cases of one kind go through every command at its most talkative, through
//! what can be made to fail, and then all that was said, run or written is searched.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stillframe_tests::{
    Account, AgeKey, BUCKET, CommandLines, ConfigFile, Dialect, Finished, ObjectStoreServer, OwnServer, Precondition,
    ScratchDirectory, Site, Stillframe, file_name, set_mode,
};

/// No part of it is a word that could appear otherwise.
const SECRET: &str = "kLr7-9dQwXz";
/// The same for what is wrong.
const WRONG: &str = "zVb3-5mTyPq";
/// Of a session that somebody else has opened.
const TOKEN: &str = "hGt4-8nRcWk";
/// In the form of an Azure key.
const AZURE_KEY: &str = "cUo2K3BxWmZ0ZDlqdEx2TjVyUXc4SGE3";
/// No file of this name is archived.
const ABSENT: &str = "0000000100000000000000FF";
/// The name of all that the operator wrote, and may read.
const CONFIGURATION: &str = "stillframe.toml";

/// Secrets, and the binary that knows them.
struct Case {
    what: &'static str,
    stillframe: Stillframe,
    secrets: Vec<String>,
    /// Whether commands succeed with it; what is wrong must not be shown either.
    works: bool,
}

impl Case {
    fn new(what: &'static str, stillframe: Stillframe, secrets: &[&str], works: bool) -> Self {
        Self { what, stillframe, secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(), works }
    }
}

/// Every command of daily work.
fn daily_work(site: &Site, segment: &Path) -> Vec<Vec<String>> {
    let (segment, target, name) = (segment.display(), site.place("fetched").display().to_string(), file_name(segment));
    let commands = [
        "config show".to_owned(),
        "store create".to_owned(),
        "snapshot-push --provider hardlink".to_owned(),
        "backup-list".to_owned(),
        "backup-show LATEST".to_owned(),
        "backup-mark LATEST".to_owned(),
        format!("wal-push {segment}"),
        format!("wal-fetch {name} {target}"),
        format!("wal-fetch {ABSENT} {target}"),
        format!("snapshot-fetch {} LATEST --archiving off", site.place("restored").display()),
        "wal-show".to_owned(),
        "wal-verify --deep".to_owned(),
        "delete retain 1".to_owned(),
        "delete --confirm garbage".to_owned(),
        "provider inspect hardlink".to_owned(),
    ];
    commands.iter().map(|command| command.split(' ').map(str::to_owned).collect()).collect()
}

/// Runs these, as talkative as can be.
fn run(site: &Site, stillframe: &Stillframe, commands: &[Vec<String>], options: &[&str]) -> Vec<(String, Finished)> {
    let run = |command: &Vec<String>| {
        let all: Vec<&str> = ["-vv"].iter().chain(options).copied().chain(command.iter().map(String::as_str)).collect();
        let finished = (all.join(" "), stillframe.run(&all));
        let _not_made = fs::remove_dir_all(site.place("restored"));
        finished
    };
    commands.iter().map(run).collect()
}

/// The same with everything in its way that a test can put there; for a store in a directory.
fn trouble(site: &Site, stillframe: &Stillframe, commands: &[Vec<String>]) -> Vec<(String, Finished)> {
    let (store, away) = (site.place("store"), site.place("away"));
    set_mode(&store, 0o000);
    let mut finished = run(site, stillframe, commands, &[]);
    set_mode(&store, 0o750);
    fs::rename(&store, &away).unwrap();
    // `store create` would make a new one.
    fs::write(&store, "").unwrap();
    finished.extend(run(site, stillframe, commands, &[]));
    fs::remove_file(&store).unwrap();
    fs::rename(&away, &store).unwrap();
    finished
}

/// Files below a directory that hold one of these texts. At this, an unoptimised test is slow and `grep` is not.
fn holding(directory: &Path, texts: &BTreeSet<String>) -> Vec<PathBuf> {
    let scratch = ScratchDirectory::create();
    let list = scratch.join("texts");
    fs::write(&list, texts.iter().map(String::as_str).collect::<Vec<_>>().join("\n")).unwrap();
    let mut grep = Command::new("grep");
    grep.args(["--recursive", "--text", "--fixed-strings", "--files-with-matches", "--file"]).arg(&list);
    grep.arg(directory).env("LC_ALL", "C");
    let output = grep.output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    // What is fetched ahead comes and goes.
    assert!(complaints.lines().all(|line| line.ends_with("No such file or directory")), "grep: {complaints}");
    String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
}

/// Uses the secrets in every way, and searches; `proof` is a command that succeeds with those that work, and with no others.
#[track_caller]
fn assert_kept(site: &Site, segment: &Path, cases: &[Case], proof: &str, elsewhere: impl FnOnce() -> Vec<(String, Vec<u8>)>) {
    let secrets: BTreeSet<String> = cases.iter().flat_map(|case| case.secrets.iter().cloned()).collect();
    let processes = CommandLines::watch(secrets.iter().cloned().collect());
    let (mut leaks, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let all = daily_work(site, segment);
    let is_essential =
        |command: &&Vec<String>| ["config show", "wal-push", proof, ABSENT].iter().any(|text| command.join(" ").contains(text));
    let essential: Vec<_> = all.iter().filter(is_essential).cloned().collect();
    for case in cases {
        // Where a secret came from makes no difference behind the configuration: the first that works and the first that does not go
        // through everything.
        let is_first = seen.insert(case.works);
        let mut finished = run(site, &case.stillframe, if is_first { &all } else { &essential }, &[]);
        let (_, proved) = finished.iter().find(|(command, _)| command.contains(proof)).unwrap();
        assert_eq!(proved.is_success(), case.works, "{}: {proved}", case.what);
        if is_first {
            finished.extend(run(site, &case.stillframe, &all, &["--json"]));
        }
        if is_first && case.works && site.place("store").is_dir() {
            finished.extend(trouble(site, &case.stillframe, &all));
        }
        assert!(finished.iter().any(|(_, finished)| !finished.is_success()), "{}: nothing failed", case.what);
        let shows = finished.iter().filter(|(_, finished)| secrets.iter().any(|secret| finished.says(secret)));
        leaks.extend(shows.map(|(command, _)| format!("{}: `{command}` shows it", case.what)));
    }
    leaks.extend(processes.found().into_iter().map(|line| format!("the process list: {line}")));
    let (allowed, forbidden): (Vec<_>, Vec<_>) =
        holding(site.directory.path(), &secrets).into_iter().partition(|path| path.ends_with(CONFIGURATION));
    assert!(!allowed.is_empty(), "the search finds what is there");
    leaks.extend(forbidden.into_iter().map(|path| format!("the file {}", path.display())));
    let texts = elsewhere().into_iter().chain([("the server's log".to_owned(), site.cluster.log().into_bytes())]);
    let holds = |bytes: &[u8]| secrets.iter().any(|secret| String::from_utf8_lossy(bytes).contains(secret));
    leaks.extend(texts.filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name));
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Writes what only the operator and the binary may read, in a directory of its own.
fn operators_file(site: &Site, directory: &str, text: &str) -> String {
    let path = site.place(directory).join(CONFIGURATION);
    Account::unprivileged().create_directory(path.parent().unwrap());
    Account::unprivileged().write(&path, text);
    set_mode(&path, 0o600);
    path.display().to_string()
}

/// Passwords in connection strings, in each form that one may have, and beside them.
fn passwords(site: &Site) -> Vec<Case> {
    let port = site.cluster.port();
    let plain = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let mut cases = Vec::new();
    for (password, works) in [(SECRET, true), (WRONG, false)] {
        let keywords = format!("{plain} password={password}");
        let in_the_file = site.configured(|config| config.value("cluster", "conninfo", keywords));
        cases.push(Case::new("a password in the file", in_the_file, &[password], works));
        let uri = format!("postgresql://postgres:{password}@127.0.0.1:{port}/postgres");
        let variable = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", uri);
        cases.push(Case::new("a password in a variable", variable, &[password], works));
        let beside = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", &plain);
        cases.push(Case::new("PGPASSWORD", beside.clone().env("PGPASSWORD", password), &[password], works));
        let passfile = operators_file(site, &format!("passfile-{works}"), &format!("*:*:*:*:{password}\n"));
        cases.push(Case::new("a password file", beside.env("PGPASSFILE", passfile), &[password], works));
    }
    cases
}

#[test]
fn no_password_is_shown_run_or_stored() {
    let site = Site::with_small_segments().start();
    site.cluster.sql(&format!("SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD '{SECRET}'"));
    let segment = site.archived_segment();
    // The socket stays open to the harness; the binary is told to come over the loopback interface.
    site.cluster.write_hba("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    assert_kept(&site, &segment, &passwords(&site), "snapshot-push", Vec::new);
}

/// Fails soon, so that a test of failures does.
fn impatient(config: ConfigFile) -> ConfigFile {
    config.value("store", "max_attempts", 1).value("store", "timeout_secs", 1)
}

/// A shared credentials file of S3.
fn credentials(access_key: &str, secret_key: &str, token: &str) -> String {
    format!("[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\naws_session_token = {token}\n")
}

#[test]
fn no_key_of_an_object_store_is_shown_run_or_stored() {
    // Ours lets everybody in and its bucket can be searched; moto refuses what is wrong.
    let (ours, moto) = (OwnServer::start(Dialect::S3, Precondition::Honoured), ObjectStoreServer::moto_that_checks_signatures());
    let builder = Site::with_small_segments().value("store", "url", format!("s3://{BUCKET}/an/archive"));
    let builder = builder.value("store", "endpoint", ours.endpoint()).variable("AWS_EC2_METADATA_DISABLED", "true");
    let builder = builder.variable("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").variable("AWS_SECRET_ACCESS_KEY", SECRET);
    let site = builder.variable("AWS_SESSION_TOKEN", TOKEN).start();
    let segment = site.archived_segment();
    let with_file = |directory: &str, text: &str| {
        let file = operators_file(&site, directory, text);
        move |config: ConfigFile| impatient(config).value("store", "credentials_file", file)
    };
    let (right, wrong) = (credentials("AKIDEXAMPLE", SECRET, TOKEN), credentials(moto.access_key(), WRONG, TOKEN));
    let by_file = site.configured(with_file("credentials", &right));
    let refused = with_file("wrong-credentials", &wrong);
    let refused = site.configured(|config| refused(config).value("store", "endpoint", moto.endpoint()));
    let nobody = site.configured(|config| impatient(config).value("store", "endpoint", "http://127.0.0.1:9"));
    let azure = site.configured(|config| {
        let config = impatient(config).value("store", "url", format!("az://{BUCKET}/archive")).value("store", "account", "account");
        config.value("store", "endpoint", "http://127.0.0.1:9/account")
    });
    let no_key = format!("{SECRET}=!");
    let signature = format!("sv=2024-01-01&sig={SECRET}");
    let cases = [
        Case::new("keys in variables", site.stillframe.clone(), &[SECRET, TOKEN], true),
        Case::new("keys in a file", by_file, &[SECRET, TOKEN], true),
        Case::new("keys that are refused", refused, &[WRONG, TOKEN], false),
        Case::new("nobody at the endpoint", nobody, &[SECRET, TOKEN], false),
        Case::new("a key of Azure", azure.clone().env("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY), &[AZURE_KEY], false),
        Case::new("no key of Azure", azure.clone().env("AZURE_STORAGE_ACCOUNT_KEY", no_key), &[SECRET], false),
        Case::new("a signature of Azure", azure.env("AZURE_STORAGE_SAS_KEY", signature), &[SECRET], false),
    ];
    assert_kept(&site, &segment, &cases, "snapshot-push", || {
        let objects = ours.objects();
        assert!(objects.keys().any(|name| name.contains("snapshots_001")), "a catalog was searched: {:?}", objects.keys());
        objects.into_iter().map(|(name, body)| (format!("the object {name}"), body)).collect()
    });
}

#[test]
fn no_private_key_of_an_archive_is_shown_run_or_stored() {
    let (key, stranger) = (AgeKey::generate(), AgeKey::generate());
    let site = Site::with_small_segments().value("archive", "recipients", vec![key.recipient.clone()]).start();
    let segment = site.archived_segment();
    let by_file = |directory: &str, text: &str| {
        let file = operators_file(&site, directory, text);
        site.configured(|config| config.value("archive", "identity_file", file))
    };
    let by_command = |program: &str, directory: &str| {
        let command = vec![program.to_owned(), operators_file(&site, directory, &key.identity)];
        site.configured(|config| config.value("archive", "identity_command", command))
    };
    let mut misspelt = key.identity.clone();
    misspelt.truncate(misspelt.len() - 1);
    let quoted = format!("'{}'", key.identity);
    let cases = [
        Case::new("a key in a file", by_file("identity", &key.identity), &[&key.identity], true),
        Case::new("a key from a command", by_command("/bin/cat", "secret"), &[&key.identity], true),
        Case::new("the key of a stranger", by_file("stranger", &stranger.identity), &[&stranger.identity], false),
        Case::new("a misspelt key", by_file("misspelt", &misspelt), &[&misspelt], false),
        Case::new("a quoted key", by_file("quoted", &quoted), &[&key.identity], false),
        // It complains of the file with the words that are in it.
        Case::new("a command that fails", by_command("/bin/sh", "script"), &[&key.identity], false),
    ];
    assert_kept(&site, &segment, &cases, &format!("wal-fetch {}", file_name(&segment)), Vec::new);
}

#[test]
fn a_secret_in_a_configuration_that_cannot_be_understood_is_not_shown() {
    let scratch = ScratchDirectory::create();
    let key = AgeKey::generate().identity;
    let texts = [
        format!("[cluster]\nconninfo = \"host=a password={SECRET}\n"),
        format!("[cluster]\nconninfo = host=a password={SECRET}\n"),
        format!("[cluster]\nconninfo = [\"password={SECRET}\"]\n"),
        format!("[cluster]\nconninfo = {{ password = \"{SECRET}\" }}\n"),
        format!("[cluster]\npassword = \"{SECRET}\"\n"),
        format!("[cluster]\nconninfo = \"a\"\nconninfo = \"password={SECRET}\"\n"),
        format!("[cluster.conninfo]\npassword = \"{SECRET}\"\n"),
        format!("[store]\nurl = \"s3://AKIDEXAMPLE:{SECRET}@bucket/prefix\"\n"),
        format!("[store]\nsecret_access_key = \"{SECRET}\"\n"),
        format!("password={SECRET}\n"),
        format!("[archive]\nrecipients = [\"{key}\"]\n"),
        format!("[archive]\nidentity_file = \"{key}\"\n"),
        format!("[archive]\nidentity_command = \"{key}\"\n"),
        format!("[archive]\nidentity = \"{key}\"\n"),
    ];
    for text in &texts {
        let path = scratch.join("broken.toml");
        Account::unprivileged().write(&path, text);
        for command in [&["-vv", "config", "show"][..], &["-vv", "--json", "config", "show"], &["-vv", "backup-list"]] {
            let finished = Stillframe::new(&path).run(command);
            assert!(!finished.is_success() || command.contains(&"show"), "{text}: {finished}");
            assert!(!finished.says(SECRET) && !finished.says(&key), "{text}{finished}");
        }
    }
}

#[test]
fn a_secret_in_a_file_of_credentials_that_cannot_be_understood_is_not_shown() {
    let scratch = ScratchDirectory::create();
    let (config, file) = (scratch.join(CONFIGURATION), scratch.join("credentials"));
    let service_account = |private_key: &str| {
        format!(
            "{{\"type\": \"service_account\", \"client_email\": \"a@b.c\", \"private_key_id\": \"1\", \"private_key\": {private_key}}}"
        )
    };
    let files = [
        ("s3", format!("[default]\naws_access_key_id = A\naws_secret_access_key {SECRET}\n")),
        ("s3", format!("[default\naws_access_key_id = A\naws_secret_access_key = {SECRET}\n")),
        ("s3", format!("aws_access_key_id = A\naws_secret_access_key = {SECRET}\n")),
        ("s3", SECRET.to_owned()),
        ("gs", format!("\"{SECRET}\"")),
        ("gs", format!("{{\"private_key\": \"{SECRET}\"")),
        ("gs", format!("{{\"private_key\": \"{SECRET}\"}}")),
        ("gs", service_account(&format!("\"{SECRET}\""))),
        ("gs", service_account(&format!("[\"{SECRET}\"]"))),
        ("gs", service_account(&format!("{{\"{SECRET}\": 1}}"))),
        ("gs", service_account(&format!("\"-----BEGIN PRIVATE KEY-----\\n{SECRET}\\n-----END PRIVATE KEY-----\""))),
    ];
    for (scheme, text) in &files {
        Account::unprivileged().write(&file, text);
        let written =
            ConfigFile::new().value("cluster", "name", "main").value("store", "url", format!("{scheme}://{BUCKET}/archive"));
        let written = impatient(written).value("store", "endpoint", "http://127.0.0.1:9");
        Account::unprivileged().write(&config, written.value("store", "credentials_file", file.display().to_string()).text());
        for command in [&["-vv", "store", "create"][..], &["-vv", "--json", "backup-list"]] {
            let finished = Stillframe::new(&config).env("AWS_EC2_METADATA_DISABLED", "true").run(command);
            assert!(!finished.is_success() && !finished.says(SECRET), "{text}\n{finished}");
        }
    }
}

/// The search of the process list must be able to find something.
#[test]
fn a_secret_in_a_process_list_would_be_found() {
    let processes = CommandLines::watch(vec![SECRET.to_owned()]);
    let mut careless = Command::new("sh").args(["-c", "read line", SECRET]).stdin(Stdio::piped()).spawn().unwrap();
    let found = processes.found();
    drop(careless.stdin.take());
    careless.wait().unwrap();
    assert!(found.iter().any(|line| line.contains(SECRET)), "{found:?}");
}
