//! Policies of providers: a policy in TOML, and behind a line `%%` a program and its arguments, a line each.
//!
//! Whether a rule allows a command is decided here a second time, in the slow and plain way of trying everything; a policy that
//! allows more than it says would let a provider out of its sandbox.

mod plain;

use serde_json::{Map, Value, json};
use stillframe_runtime::policy::{AwsGrant, CommandGrant, HttpGrant, Policy};

use crate::Verdict;
use crate::input::Input;
use crate::terminal::assert_harmless;

/// Arguments, and bytes of one, up to which everything is tried.
const MAX_ARGUMENTS: usize = 6;
const MAX_BYTES: usize = 80;

/// A policy that is accepted can be explained, and allows what its patterns say and nothing else.
pub fn target(data: &[u8]) -> Verdict {
    let (policy, command) = Input::new(data).parts();
    let text = String::from_utf8_lossy(policy);
    let Ok(policy) = Policy::parse(&text) else { return Verdict::Refused };
    let section = section(policy.defaults());
    let Ok(grants) = policy.resolve(&section) else { return Verdict::Refused };
    assert!(grants.restore_below.iter().all(|path| path.is_absolute() && path.parent().is_some()), "everything is for restores");
    let command_words = grants.command.as_ref().map(CommandGrant::explain);
    let explained = [command_words, grants.aws.as_ref().map(AwsGrant::explain), grants.http.as_ref().map(HttpGrant::explain)];
    for line in explained.into_iter().flatten().flatten() {
        assert_harmless("a policy in words", &line);
    }
    if let Some(grant) = &grants.command {
        let mut lines = Input::new(command);
        let program = lines.text().into_owned();
        let arguments: Vec<String> = lines.rest_text().lines().map(str::to_owned).collect();
        let allowed = grant.allows(&program, &arguments);
        match &allowed {
            Ok(_) => arguments.iter().for_each(|argument| assert_harmless("an argument that is allowed", argument)),
            Err(denial) => assert_harmless("a denial", &denial.to_string()),
        }
        if arguments.len() <= MAX_ARGUMENTS && arguments.iter().all(|argument| argument.len() <= MAX_BYTES) {
            let expected = plain::allows(&text, &section, &program, &arguments);
            assert_eq!(allowed.is_ok(), expected, "`{program}` with {arguments:?}");
        }
    }
    Verdict::Accepted
}

/// What an operator wrote for the bundled providers, all in one.
fn section(defaults: &Map<String, Value>) -> Map<String, Value> {
    let written = json!({
        "datasets": ["tank/pg", "fast/ts"],
        "clones": ["tank/stillframe"],
        "volume_groups": ["vg-a", "vg1"],
        "mount_root": "/run/stillframe/mnt",
        "root": "/srv/snapshots",
        "region": "eu-central-1",
        "empty": [],
    });
    let Value::Object(mut section) = written else { return Map::new() };
    for (key, value) in defaults {
        section.entry(key.clone()).or_insert_with(|| value.clone());
    }
    section
}
