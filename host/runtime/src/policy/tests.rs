use std::path::Path;

use serde_json::{Map, Value, json};

use super::{CommandDenial, Policy, PolicyError};
use crate::settings::Grants;

const POLICY: &str = r#"
restore_below = "$mount_root"

[defaults]
mount_root = "/run/stillframe/mnt"

[tree]
roots = { snapshots = "$root" }
read_data = true

[command.zfs]
path = ["/usr/sbin/zfs", "/sbin/zfs"]
timeout_secs = 30
allow = [
  ["snapshot", "-ostillframe:{name}={text}...?", "{under:$datasets}@{name}..."],
  ["destroy", "{under:$datasets}@{name}"],
]

[command.sync]
path = "/bin/sync"
stdin = true
max_output_kib = 4
allow = [[]]
"#;

fn section(value: Value) -> Map<String, Value> {
    let Value::Object(mut section) = value else { panic!("{value}") };
    for (key, value) in Policy::parse(POLICY).unwrap().defaults() {
        section.entry(key.clone()).or_insert(value.clone());
    }
    section
}

fn granted() -> Grants {
    Policy::parse(POLICY).unwrap().resolve(&section(json!({ "root": "/srv", "datasets": ["tank/pg"] }))).unwrap()
}

fn denial(program: &str, arguments: &[&str]) -> CommandDenial {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    granted().command.unwrap().allows(program, &arguments).unwrap_err()
}

#[test]
fn the_values_of_the_section_are_put_in() {
    let grants = granted();
    let tree = grants.tree.unwrap();
    assert_eq!(tree.roots["snapshots"], Path::new("/srv"));
    assert!(tree.read_data && !tree.write_restore);
    assert_eq!(grants.restore_below, [Path::new("/run/stillframe/mnt")]);
    let arguments = ["destroy".to_owned(), "tank/pg/wal@x".to_owned()];
    assert!(grants.command.unwrap().allows("zfs", &arguments).is_ok());
    assert!(grants.aws.is_none() && grants.http.is_none());
}

#[test]
fn a_key_that_is_missing_or_does_not_fit_is_named() {
    let policy = Policy::parse(POLICY).unwrap();
    for (value, key, reason) in [
        (json!({ "datasets": "tank" }), "root", "it is missing: name the directory for the snapshots"),
        (json!({ "root": "srv", "datasets": "tank" }), "root", "it must be an absolute path"),
        (json!({ "root": "/srv/../x", "datasets": "tank" }), "root", "it must be an absolute path"),
        (json!({ "root": "/srv" }), "datasets", "it is missing: set it to a name of letters"),
        (json!({ "root": "/srv", "datasets": "-r" }), "datasets", "begins with `-`"),
        (json!({ "root": "/srv", "datasets": "tank", "mount_root": "mnt" }), "mount_root", "it must be an absolute path"),
    ] {
        let error = policy.resolve(&section(value)).unwrap_err();
        assert!(
            matches!(&error, PolicyError::Key { key: found, reason: told } if found == key && told.contains(reason)),
            "{error}"
        );
    }
}

#[test]
fn a_denial_names_program_arguments_and_the_key_to_change() {
    let text = denial("zfs", &["destroy", "-r", "tank", "a b\u{1b}[2J"]).to_string();
    assert!(
        text.starts_with("no rule of `command.zfs.allow` matches `zfs destroy -r tank 'a b\\u{1b}[2J'`: to allow it"),
        "{text}"
    );
    let text = denial("zpool", &["destroy"]).to_string();
    assert!(
        text.starts_with("the program `zpool` is not granted: add it as `command.zpool` to the grants, which have `sync`, `zfs`"),
        "{text}"
    );
    let text = denial("/usr/sbin/zfs", &["list"]).to_string();
    assert!(text.contains("the program `/usr/sbin/zfs` is not granted"), "{text}");
    let text = denial("zfs", &["x".repeat(30_000).as_str(); 20]).to_string();
    assert!(text.len() < 700, "{}", text.len());
}

#[test]
fn too_many_and_too_large_arguments_are_refused_before_they_are_matched() {
    let large = "x".repeat((32 << 10) + 1);
    let half = "x".repeat(32 << 10);
    for (arguments, reason) in [
        (vec!["x"; 257], "there are 257, and 256 are allowed"),
        (vec![large.as_str()], "one has 32769 bytes, and 32768 are allowed"),
        (vec![half.as_str(); 33], "together they have more than 1048576 bytes"),
    ] {
        let denial = denial("zfs", &arguments);
        assert!(matches!(&denial, CommandDenial::TooLarge { reason: told, .. } if told == reason), "{denial}");
    }
}

#[test]
fn input_is_for_those_programs_that_may_have_it() {
    let grants = granted().command.unwrap();
    assert!(grants.allows("sync", &[]).unwrap().allows_stdin("sync").is_ok());
    let zfs = grants.allows("zfs", &["destroy".to_owned(), "tank/pg@x".to_owned()]).unwrap();
    assert!(zfs.allows_stdin("zfs").unwrap_err().to_string().contains("set `command.zfs.stdin = true`"));
}

#[test]
fn explains_itself_program_by_program_and_rule_by_rule() {
    assert_eq!(
        granted().command.unwrap().explain(),
        [
            "run `/bin/sync` (60 s, 4 KiB of output, with input), by 1 rule:",
            "1. `sync`",
            "run `/usr/sbin/zfs` or `/sbin/zfs` (30 s, 1024 KiB of output), by 2 rules:",
            "1. `zfs snapshot [-ostillframe:<name>=<text>…] <tank/pg or below>@<name>…`",
            "2. `zfs destroy <tank/pg or below>@<name>`",
        ]
    );
}

#[test]
fn a_rule_that_needs_a_value_of_an_empty_list_is_none() {
    let grants =
        Policy::parse(POLICY).unwrap().resolve(&section(json!({ "root": "/srv", "datasets": [] }))).unwrap().command.unwrap();
    assert!(grants.allows("zfs", &["destroy".to_owned(), "tank/pg@x".to_owned()]).is_err());
    assert!(grants.explain().iter().any(|line| line.ends_with("by 0 rules:")), "{:?}", grants.explain());
}

#[test]
fn what_the_operator_writes_replaces_a_capability_as_a_whole() {
    let operators = Policy::parse("[command.true]\npath = \"/bin/true\"\nallow = [[]]\n").unwrap();
    let both = Policy::parse(POLICY).unwrap().replaced_by(operators);
    let grants = both.resolve(&section(json!({ "root": "/srv" }))).unwrap();
    let command = grants.command.unwrap();
    assert!(command.allows("true", &[]).is_ok());
    assert!(matches!(command.allows("zfs", &[]), Err(CommandDenial::Program { .. })), "no program of the default is left");
    assert!(grants.tree.unwrap().read_data, "what the operator did not write stays");
}

#[test]
fn what_holds_more_than_restores_is_no_place_for_them() {
    let policy = Policy::parse(POLICY).unwrap();
    let with = |root: &str| policy.resolve(&section(json!({ "root": "/srv", "datasets": "tank", "mount_root": root })));
    for root in ["/", "//", "/.", "/run", "/run/", "/var/./lib", "/tmp"] {
        let error = with(root).unwrap_err();
        let told =
            matches!(&error, PolicyError::Key { key, reason } if key == "mount_root" && reason.contains("a directory below it"));
        assert!(told, "{root}: {error}");
    }
    for root in ["", "mnt", "./mnt", "/mnt/../etc", "-/mnt"] {
        assert!(matches!(with(root), Err(PolicyError::Key { key, .. }) if key == "mount_root"), "{root}");
    }
    for root in ["/mnt", "/run/stillframe/mnt", "/tmp/one"] {
        assert_eq!(with(root).unwrap().restore_below, [Path::new(root)]);
    }
    let several = Policy::parse("restore_below = [\"$roots\", \"/\"]").unwrap();
    let error = several.resolve(&section(json!({ "roots": ["/mnt", "/etc"] }))).unwrap_err();
    assert!(matches!(&error, PolicyError::Key { key, reason } if key == "roots" && reason.starts_with("`/etc`")), "{error}");
    let error = several.resolve(&section(json!({ "roots": [] }))).unwrap_err();
    assert!(matches!(&error, PolicyError::Rule { place, .. } if place == "restore_below"), "{error}");
}

#[test]
fn a_policy_that_cannot_be_read_names_the_place() {
    for (text, place, reason) in [
        ("[command.x]\npath = \"x\"\nallow = [[]]", "command.x.path", "`x` is not an absolute path"),
        ("[command.x]\npath = []\nallow = [[]]", "command.x.path", "names no file"),
        ("[command.x]\npath = \"/x\"\nallow = []", "command.x.allow", "could never run"),
        ("[command.x]\npath = \"/x\"\nallow = [[], [\"{nmae}\"]]", "command.x.allow[1]", "there is no placeholder `{nmae}`"),
        ("[command.x]\npath = \"/x\"\ntimeout_secs = 0\nallow = [[]]", "command.x.timeout_secs", "not from 1 to 86400"),
        ("[command.x]\npath = \"/x\"\nmax_output_kib = 99999\nallow = [[]]", "command.x.max_output_kib", "not from 1 to 16384"),
        ("[command.\"x y\"]\npath = \"/x\"\nallow = [[]]", "command.x y", "the name of a program"),
        ("restore_below = \"x\"", "restore_below", "`x` must be an absolute path"),
        ("[tree]\nroots = { a = \"x\" }", "tree.roots.a", "`x` must be an absolute path"),
    ] {
        let error = Policy::parse(text).unwrap().resolve(&Map::new()).unwrap_err();
        assert!(
            matches!(&error, PolicyError::Rule { place: found, reason: told } if found == place && told.contains(reason)),
            "{error}"
        );
    }
    for (text, reason) in [
        ("[tree]\nread_date = true", "unknown field `read_date`"),
        ("[comand.x]\n", "unknown field `comand`"),
        ("[command.x]\npath = 3\nallow = [[]]", "an absolute path, or a list of them"),
        ("[command.x]\npath = \"/x\"\n", "missing field `allow`"),
        ("[command.x]\npath = \"/x\"\nallow = [\"list\"]", "sequence"),
        ("[", "policy.toml"),
    ] {
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}
