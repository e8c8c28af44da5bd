//! Secrets stay where the operator put them: not in process lists, output, logs, `config show`, nor in anything that is stored.
//!
//! A [`Case`] is an installation that holds secrets of one kind. Every case goes through every command at its most talkative,
//! through all that can be made to fail, and then all that was said, run or written is searched.
#![allow(missing_docs, reason = "a test crate has no readers of its documentation")]
#![allow(clippy::unwrap_used, reason = "a test panics with what is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stillframe_tests::{Account, CommandLines, ConfigFile, Finished, Site, Stillframe, file_name, files, set_mode};

/// No part of it is a word that could appear otherwise.
const SECRET: &str = "kLr7-9dQwXz";
/// The same for what is wrong.
const WRONG: &str = "zVb3-5mTyPq";
/// What the operator wrote, and may read.
const CONFIGURATION: &str = "stillframe.toml";

/// An installation that holds secrets, and the binary that knows them.
struct Case {
    kind: &'static str,
    stillframe: Stillframe,
    secrets: Vec<String>,
    /// Whether commands succeed with it; what is wrong must not be shown either.
    works: bool,
}

impl Case {
    fn new(kind: &'static str, stillframe: Stillframe, secrets: &[&str], works: bool) -> Self {
        Self { kind, stillframe, secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(), works }
    }
}

/// Every command of daily work, as talkative as can be.
fn work(site: &Site, stillframe: &Stillframe, segment: &Path, options: &[&str]) -> Vec<(String, Finished)> {
    let name = file_name(segment);
    let (target, restored) = (site.place("fetched").display().to_string(), site.place("restored").display().to_string());
    let commands: [&[&str]; 13] = [
        &["config", "show"],
        &["store", "create"],
        &["snapshot-push", "--provider", "hardlink"],
        &["backup-list"],
        &["backup-show", "LATEST"],
        &["backup-mark", "LATEST"],
        &["wal-push", segment.to_str().unwrap()],
        &["wal-fetch", name, &target],
        &["wal-fetch", "0000000100000000000000FF", &target],
        &["snapshot-fetch", &restored, "LATEST", "--archiving", "off"],
        &["delete", "retain", "1"],
        &["delete", "--confirm", "garbage"],
        &["provider", "inspect", "hardlink"],
    ];
    let run = |command: &&[&str]| {
        let all: Vec<&str> = options.iter().chain(*command).copied().collect();
        let finished = (all.join(" "), stillframe.run(&all));
        let _not_made = fs::remove_dir_all(&restored);
        finished
    };
    commands.iter().map(run).collect()
}

/// The same with everything in its way that a test can put there.
fn trouble(site: &Site, stillframe: &Stillframe, segment: &Path) -> Vec<(String, Finished)> {
    let mut finished = Vec::new();
    let mut during = |what: &str| {
        let outcomes = work(site, stillframe, segment, &["-vv"]).into_iter();
        finished.extend(outcomes.map(|(command, finished)| (format!("{what}: {command}"), finished)));
    };
    let (store, away) = (site.place("store"), site.place("away"));
    set_mode(&store, 0o000);
    during("an unreadable store");
    set_mode(&store, 0o750);
    fs::rename(&store, &away).unwrap();
    // `store create` would make a new one.
    fs::write(&store, "").unwrap();
    during("a store that is a file");
    fs::remove_file(&store).unwrap();
    fs::rename(&away, &store).unwrap();
    finished
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// A server that lets in with a password only, and a segment of it that is archived.
fn site() -> (Site, PathBuf) {
    let site = Site::start(15);
    site.cluster.sql(&format!("SET password_encryption = 'scram-sha-256'; ALTER ROLE postgres PASSWORD '{SECRET}'"));
    let segment = site.archived_segment();
    // The socket stays open to the harness; the binary is told to come over the loopback interface.
    site.cluster.write_hba("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
    (site, segment)
}

/// The passwords of connection strings, in each form that one may have.
fn passwords(site: &Site) -> Vec<Case> {
    let port = site.cluster.port();
    let forms = |password: &str| {
        [
            format!("host=127.0.0.1 port={port} user=postgres dbname=postgres password={password}"),
            format!("postgresql://postgres:{password}@127.0.0.1:{port}/postgres"),
        ]
    };
    let mut cases = Vec::new();
    for (password, works) in [(SECRET, true), (WRONG, false)] {
        let [keywords, uri] = forms(password);
        let change = |config: ConfigFile| config.value("cluster", "conninfo", keywords.as_str());
        cases.push(Case::new("a password in the file", site.configured(change), &[password], works));
        let variable = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", &uri);
        cases.push(Case::new("a password in a variable", variable, &[password], works));
        let plain = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
        let variable = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", &plain).env("PGPASSWORD", password);
        cases.push(Case::new("PGPASSWORD", variable, &[password], works));
        let passfile = site.place(&format!("passfile-{works}"));
        Account::unprivileged().create_directory(&passfile);
        // Its own name is that of what the operator wrote, too.
        let passfile = passfile.join(CONFIGURATION);
        Account::unprivileged().write(&passfile, format!("*:*:*:*:{password}\n"));
        set_mode(&passfile, 0o600);
        let variable = site.stillframe.clone().env("STILLFRAME_CLUSTER_CONNINFO", &plain).env("PGPASSFILE", &passfile);
        cases.push(Case::new("a password file", variable, &[password], works));
    }
    cases
}

#[test]
fn no_secret_of_any_kind_is_shown_run_or_stored() {
    let (site, segment) = site();
    // Object stores and age identities become cases here.
    let cases: Vec<Case> = [passwords(&site)].into_iter().flatten().collect();
    let secrets: BTreeSet<String> = cases.iter().flat_map(|case| case.secrets.iter().cloned()).collect();
    let processes = CommandLines::watch(secrets.iter().cloned().collect());
    let mut leaks = BTreeSet::new();
    for case in &cases {
        let mut finished = work(&site, &case.stillframe, &segment, &["-vv"]);
        let pushed = finished.iter().find(|(command, _)| command.contains("snapshot-push")).unwrap();
        assert_eq!(pushed.1.is_success(), case.works, "{}: {}", case.kind, pushed.1);
        if case.works {
            finished.extend(work(&site, &case.stillframe, &segment, &["-vv", "--json"]));
            finished.extend(trouble(&site, &case.stillframe, &segment));
        }
        assert!(finished.iter().any(|(_, finished)| !finished.is_success()), "{}: nothing failed", case.kind);
        for (command, finished) in &finished {
            if case.secrets.iter().any(|secret| finished.says(secret)) {
                leaks.insert(format!("{}: `{command}` shows it", case.kind));
            }
        }
    }
    leaks.extend(processes.found().into_iter().map(|line| format!("the process list: {line}")));
    let operators = |path: &PathBuf| path.is_symlink() || path.ends_with(CONFIGURATION);
    for path in files(site.directory.path()).into_iter().filter(|path| !operators(path)) {
        let body = fs::read(&path).unwrap_or_default();
        if secrets.iter().any(|secret| holds(&body, secret)) {
            leaks.insert(format!("the file {}", path.display()));
        }
    }
    if secrets.iter().any(|secret| site.cluster.log().contains(secret.as_str())) {
        leaks.insert("the server's log".to_owned());
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[test]
fn a_secret_in_a_file_that_cannot_be_understood_is_not_shown() {
    let (site, _) = site();
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
    ];
    let mut leaks = Vec::new();
    for text in &texts {
        let path = site.place("broken.toml");
        Account::unprivileged().write(&path, text);
        for command in [&["-vv", "config", "show"][..], &["-vv", "--json", "config", "show"], &["-vv", "backup-list"]] {
            let finished = Stillframe::new(&path).run(command);
            assert!(!finished.is_success() || command.contains(&"show"), "{text}: {finished}");
            if finished.says(SECRET) {
                leaks.push(format!("{text}{finished}"));
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
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
