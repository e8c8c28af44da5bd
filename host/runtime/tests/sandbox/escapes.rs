//! Ways out of a policy for programs. Each row is a claim: what a provider must not get done, with the policy that a provider for
//! ZFS would have. Every row is asked of the policy and, through a component, of the capability.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stillframe_core::provider::Provider;
use stillframe_runtime::policy::Policy;
use stillframe_runtime::{Limits, ProviderSettings};

use crate::harness::{pinned, runner, runtime, settings, whole};

/// Programs that exist everywhere stand for those that would do harm: `echo` for `zfs`.
const POLICY: &str = r#"
[command.zfs]
path = ["/nonexistent/zfs", "/bin/echo"]
allow = [
  ["snapshot", "-ostillframe:{name}={text}...?", "{under:$datasets}@{name}..."],
  ["destroy", "{under:$datasets}@{name}"],
  ["clone", "-omountpoint={below:/run/stillframe/mnt}", "{under:$datasets}@{name}", "{under:$datasets}/{name}-{number}"],
]
[command.shell]
path = "/bin/sh"
max_output_kib = 64
timeout_secs = 60
allow = [["-c", "{one:$script}"]]
[command.cat]
path = "/bin/cat"
stdin = true
allow = [[]]
[command.environment]
path = "/usr/bin/env"
allow = [[]]
[command.open]
path = "$open"
allow = [[]]
[command.absent]
path = ["/nonexistent/a", "/nonexistent/b"]
allow = [[]]
"#;

/// The provider, with a script that it may run and a program that others can write.
fn prepared(script: &str, open: &Path, runs: Value, deadline_secs: u64) -> ProviderSettings {
    let Value::Object(mut config) = json!({ "datasets": ["tank/pg"], "script": script }) else { unreachable!() };
    config.insert("runs".to_owned(), runs);
    let policy = POLICY.replace("$open", open.to_str().unwrap());
    let grants = Policy::parse(&policy).unwrap().resolve(&config).unwrap();
    let limits = Limits { deadline_secs: Some(deadline_secs), ..Limits::default() };
    ProviderSettings { component: pinned(runner()), config, grants, limits, ..settings(&[]) }
}

fn with_script(script: &str, runs: Value) -> ProviderSettings {
    prepared(script, Path::new("/bin/true"), runs, 60)
}

/// How each run ended.
async fn told(settings: ProviderSettings) -> Vec<String> {
    runtime().load(settings).await.unwrap().check().await.unwrap()
}

async fn told_of_script(script: &str) -> String {
    told(with_script(script, json!([{ "program": "shell", "args": ["-c", script] }]))).await.remove(0)
}

const ALLOWED: [&[&str]; 5] = [
    &["snapshot", "tank/pg@sf-1"],
    &["snapshot", "-ostillframe:token=1", "-ostillframe:labels=a b=-r,%", "tank/pg@x", "tank/pg/wal@x"],
    &["destroy", "tank/pg@x"],
    &["destroy", "tank/pg/a/b-c@x:y.z+1"],
    &["clone", "-omountpoint=/run/stillframe/mnt/1/data", "tank/pg@x", "tank/pg/sf-1"],
];

const REFUSED: [&[&str]; 42] = [
    // Another verb, another option, another order.
    &[],
    &[""],
    &["list"],
    &["destroy", "-r", "tank"],
    &["destroy", "-r", "tank/pg@x"],
    &["destroy", "-R", "tank/pg@x"],
    &["destroy", "tank/pg@x", "-r"],
    &["-r", "destroy", "tank/pg@x"],
    &["destroy", "tank/pg@x", "tank/pg@y"],
    &["destroy", "tank/pg@x", ""],
    &["destroy ", "tank/pg@x"],
    &["destroy tank/pg@x"],
    // A dataset in place of a snapshot.
    &["destroy", "tank"],
    &["destroy", "tank/pg"],
    &["destroy", "tank/pg/wal"],
    &["destroy", "tank/pg#x"],
    &["snapshot", "-ostillframe:token=1"],
    // An option in place of a name, or behind it.
    &["destroy", "-r"],
    &["destroy", "tank/pg@-r"],
    &["destroy", "tank/pg/-r@x"],
    &["destroy", "tank/pg@x -r"],
    &["snapshot", "-r", "tank/pg@x"],
    &["snapshot", "-omountpoint=/etc", "tank/pg@x"],
    &["snapshot", "-ostillframe:=x", "tank/pg@x"],
    &["snapshot", "-o", "stillframe:token=1", "tank/pg@x"],
    // Lists and ranges, which zfs itself takes apart.
    &["destroy", "tank/pg@x,y"],
    &["destroy", "tank/pg@x%y"],
    &["destroy", "tank/pg@%"],
    &["destroy", "tank/pg@x@y"],
    &["destroy", "tank/pg@"],
    // Beside the dataset.
    &["destroy", "tank/pgevil@x"],
    &["destroy", "tank/pg/../other@x"],
    &["destroy", "tank/pg/@x"],
    &["destroy", "/tank/pg@x"],
    &["destroy", "TANK/PG@x"],
    // Out of the directory.
    &["clone", "-omountpoint=/run/stillframe/mnt/../../../etc", "tank/pg@x", "tank/pg/sf-1"],
    &["clone", "-omountpoint=/run/stillframe/mnt", "tank/pg@x", "tank/pg/sf-1"],
    &["clone", "-omountpoint=/run/stillframe/mntevil/x", "tank/pg@x", "tank/pg/sf-1"],
    // Characters that end a text elsewhere.
    &["destroy", "tank/pg@x\0"],
    &["destroy", "tank/pg@x\n"],
    &["snapshot", "-ostillframe:token=1\nx", "tank/pg@x"],
    &["destroy", "tank/pg@x\u{202e}"],
];

#[test]
fn the_policy_refuses_every_way_out() {
    let Value::Object(section) = json!({ "datasets": ["tank/pg"], "script": "x" }) else { unreachable!() };
    let grant = Policy::parse(&POLICY.replace("$open", "/bin/true")).unwrap().resolve(&section).unwrap().command.unwrap();
    let allows = |arguments: &[&str]| grant.allows("zfs", &arguments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    for arguments in ALLOWED {
        assert!(allows(arguments).is_ok(), "{arguments:?}");
    }
    for arguments in REFUSED {
        let denial = allows(arguments).unwrap_err().to_string();
        assert!(denial.starts_with("no rule of `command.zfs.allow` matches `zfs"), "{arguments:?}: {denial}");
        assert!(!denial.contains(char::is_control), "{denial:?}");
    }
}

#[tokio::test]
async fn the_capability_refuses_every_way_out() {
    let runs = |table: &[&[&str]]| -> Value { table.iter().map(|args| json!({ "program": "zfs", "args": args })).collect() };
    for (arguments, told) in ALLOWED.iter().zip(told(with_script("x", runs(&ALLOWED))).await) {
        let expected = format!("{}\\n", arguments.join(" "));
        assert!(told.starts_with("ExitStatus::Code(0) truncated=false") && told.contains(&expected), "{arguments:?}: {told}");
    }
    let refused = told(with_script("x", runs(&REFUSED))).await;
    assert_eq!(refused.len(), REFUSED.len());
    for (arguments, told) in REFUSED.iter().zip(refused) {
        assert!(told.starts_with("CommandError::Denied(\"no rule of `command.zfs.allow` matches"), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn a_program_is_known_by_its_name_in_the_policy_alone() {
    for program in ["/bin/echo", "echo", "../zfs", "ZFS", "", "zfs\0", "zfs ", "shell; true"] {
        let told = told(with_script("x", json!([{ "program": program, "args": ["destroy", "tank/pg@x"] }]))).await.remove(0);
        assert!(told.starts_with("CommandError::Denied(\"the program `") && told.contains("is not granted"), "{program:?}: {told}");
    }
}

#[tokio::test]
async fn arguments_have_a_number_and_a_size() {
    let many: Vec<String> = std::iter::once("snapshot".to_owned()).chain((0..256).map(|n| format!("tank/pg@{n}"))).collect();
    let long = format!("-ostillframe:a={}", "x".repeat(32 << 10));
    let runs = json!([{ "program": "zfs", "args": many }, { "program": "zfs", "args": ["snapshot", long, "tank/pg@x"] }]);
    let told = told(with_script("x", runs)).await;
    assert!(told[0].contains("the arguments of `zfs` are too large: there are 257, and 256 are allowed"), "{}", told[0]);
    assert!(told[1].contains("and 32768 are allowed"), "{}", told[1]);
}

#[tokio::test]
async fn input_is_refused_where_the_policy_has_none() {
    let runs = json!([
        { "program": "zfs", "args": ["destroy", "tank/pg@x"], "stdin": "y\n" },
        { "program": "cat", "stdin": "words" },
        { "program": "cat" },
    ]);
    let told = told(with_script("x", runs)).await;
    assert!(told[0].starts_with("CommandError::Denied(\"`zfs` gets no standard input"), "{}", told[0]);
    assert!(told[1].contains("stdout 5: words"), "{}", told[1]);
    assert!(told[2].contains("stdout 0:"), "{}", told[2]);
}

#[tokio::test]
async fn a_program_sees_nothing_of_ours() {
    assert!(std::env::vars().next().is_some(), "this process has an environment");
    let told = told(with_script("x", json!([{ "program": "environment" }]))).await.remove(0);
    assert!(told.contains("stdout 9: LC_ALL=C\\n"), "{told}");
    let told = told_of_script("pwd; cat | wc -c").await;
    assert!(told.contains("stdout 4: /\\n0\\n"), "{told}");
}

#[tokio::test]
async fn a_large_output_is_cut_and_said_to_be_and_the_program_ends() {
    let told = told_of_script("head -c 100000000 /dev/zero | tr '\\0' x; echo done >&2; exit 7").await;
    assert!(told.starts_with("ExitStatus::Code(7) truncated=true stdout 65536: xxx"), "{told}");
    assert!(told.contains("stderr 5: done"), "{told}");
}

#[tokio::test]
async fn an_output_without_end_ends_with_the_time() {
    let script = "while :; do echo x; done";
    let runs = json!([{ "program": "shell", "args": ["-c", script], "timeout_ms": 300 }]);
    assert_eq!(told(with_script(script, runs)).await, ["CommandError::TimedOut"]);
}

#[tokio::test]
async fn a_child_that_keeps_the_output_open_does_not_keep_the_call() {
    let begin = Instant::now();
    // The child ends when its directory is gone.
    let place = tempfile::tempdir().unwrap();
    let told = told_of_script(&format!("while test -e {}; do sleep 1; done & echo started", place.path().display())).await;
    assert!(told.starts_with("ExitStatus::Code(0) truncated=false stdout 8: started"), "{told}");
    assert!(begin.elapsed() < Duration::from_secs(59), "the time of the call is a minute: {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_program_that_others_could_replace_is_not_run() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o777)).unwrap();
    let told = told(prepared("x", &program, json!([{ "program": "open" }]), 60)).await.remove(0);
    assert!(told.starts_with("CommandError::Denied(\"") && told.contains("could be replaced by others"), "{told}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_every_path() {
    let told = told(with_script("x", json!([{ "program": "absent" }]))).await;
    assert_eq!(told, ["CommandError::NotInstalled(\"there is no `/nonexistent/a` and no `/nonexistent/b`\")"]);
}

#[tokio::test]
async fn every_program_is_started_through_the_prefix() {
    let mut settings = with_script("x", json!([{ "program": "zfs", "args": ["destroy", "tank/pg@x"] }]));
    settings.command_prefix = vec!["/bin/echo".to_owned(), "-n".to_owned()];
    let told = told(settings).await.remove(0);
    assert!(told.contains("stdout 27: /bin/echo destroy tank/pg@x stderr"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_deadline_of_a_call_its_program_is_ended_and_the_next_call_waits_for_that() {
    let place = tempfile::tempdir().unwrap();
    let ended = place.path().join("ended");
    // It is told to end after a second, and takes its time.
    let script = format!("trap 'sleep 2; echo > {}; exit' TERM; while :; do sleep 0.1; done", ended.display());
    let runs = json!([{ "program": "shell", "args": ["-c", script] }]);
    let provider = runtime().load(prepared(&script, Path::new("/bin/true"), runs, 1)).await.unwrap();
    let error = provider.check().await.unwrap_err();
    assert!(whole(&error).contains("deadline of 1 s"), "{}", whole(&error));
    assert!(!ended.exists(), "it has not ended yet");
    // The calls after it have a second each as well, and spend it waiting.
    while provider.delete("h").await.is_err() {}
    assert!(ended.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_ends_its_program_and_the_next_call_waits_for_that() {
    let place = tempfile::tempdir().unwrap();
    let (begun, ended) = (place.path().join("begun"), place.path().join("ended"));
    let script =
        format!("trap 'sleep 1; echo > {}; exit' TERM; echo > {}; while :; do sleep 0.1; done", ended.display(), begun.display());
    let runs = json!([{ "program": "shell", "args": ["-c", script] }]);
    let provider = Arc::new(runtime().load(prepared(&script, Path::new("/bin/true"), runs, 60)).await.unwrap());
    let operation = tokio::spawn({
        let provider = Arc::clone(&provider);
        async move { provider.check().await }
    });
    while !begun.exists() {
        assert!(!operation.is_finished(), "the call ended before its program began");
        tokio::task::yield_now().await;
    }
    operation.abort();
    assert!(operation.await.unwrap_err().is_cancelled());
    provider.delete("h").await.unwrap();
    assert!(ended.exists(), "it was asked to end, and waited for");
}

#[tokio::test]
async fn no_program_is_run_while_a_provider_describes_itself() {
    let description = runtime().load(with_script("x", json!([]))).await.unwrap().describe().await.unwrap();
    let denied = r#"CommandError::Denied("every capability is switched off while a provider describes itself")"#;
    assert_eq!(description.summary, denied);
}

#[tokio::test]
async fn a_grant_is_explained_rule_by_rule() {
    let mut settings = with_script("x", json!([]));
    settings.command_prefix = vec!["/usr/bin/sudo".to_owned(), "-n".to_owned()];
    settings.grants.restore_below = vec!["/run/stillframe/mnt".into()];
    let inspection = serde_json::to_value(runtime().inspect(&settings).await.unwrap()).unwrap();
    let granted = inspection["capabilities"][0]["granted"].as_array().unwrap();
    assert!(
        granted.contains(&json!("run `/nonexistent/zfs` or `/bin/echo` (60 s, 1024 KiB of output), by 3 rules:")),
        "{granted:?}"
    );
    assert!(granted.contains(&json!("2. `zfs destroy <tank/pg or below>@<name>`")), "{granted:?}");
    assert_eq!(inspection["command_prefix"], json!(["/usr/bin/sudo", "-n"]));
    assert_eq!(inspection["restore_below"], json!(["/run/stillframe/mnt"]));
    assert_eq!(inspection["problems"], json!([]));
}

#[test]
fn a_table_of_ways_out_is_only_worth_something_if_each_row_is_another() {
    let mut rows: Vec<&[&str]> = REFUSED.into_iter().chain(ALLOWED).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), REFUSED.len() + ALLOWED.len());
}
