use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use stillframe_core::provider::ProviderName;

use super::{Bundled, ConfigError, Origin, ProviderConfig, bundled, fill, read_all};

/// `policy.cases.toml` of a plugin: what its policy must allow and must refuse.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    section: Map<String, Value>,
    cases: Cases,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    allowed: Vec<Vec<String>>,
    refused: Vec<Vec<String>>,
}

/// The table that stands beside the policy. A provider without one is not bundled by this test.
fn table(bundled: &Bundled) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(bundled.name).join("policy.cases.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}` is missing: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// Whether a bundled provider may run this command with the section of its table.
fn allows(bundled: &Bundled, section: &Map<String, Value>, command: &[String]) -> bool {
    let (program, arguments) = command.split_first().expect("a row begins with the program");
    let policy = bundled.policy().unwrap();
    let mut section = section.clone();
    fill(&mut section, policy.defaults());
    let grants = policy.resolve(&section).unwrap_or_else(|error| panic!("{}: {error}", bundled.name));
    grants.command.is_some_and(|grant| grant.allows(program, arguments).is_ok())
}

#[test]
fn every_bundled_policy_allows_and_refuses_what_its_table_says() {
    assert!(!bundled().is_empty());
    for bundled in bundled() {
        let Table { section, cases } = table(bundled);
        assert!(!cases.refused.is_empty(), "{} refuses nothing", bundled.name);
        for row in &cases.allowed {
            assert!(allows(bundled, &section, row), "{} must allow {row:?}", bundled.name);
        }
        for row in &cases.refused {
            assert!(!allows(bundled, &section, row), "{} must refuse {row:?}", bundled.name);
        }
    }
}

#[test]
fn every_bundled_policy_explains_itself() {
    for bundled in bundled() {
        let policy = bundled.policy().unwrap();
        let mut section = table(bundled).section;
        fill(&mut section, policy.defaults());
        let grants = policy.resolve(&section).unwrap();
        let lines = grants.command.iter().flat_map(stillframe_runtime::policy::CommandGrant::explain);
        for line in lines {
            assert!(!line.contains('$') && !line.contains("<>"), "{}: {line}", bundled.name);
        }
    }
}

fn read(text: &str) -> Result<ProviderConfig, ConfigError> {
    let table: toml::Table = text.parse().unwrap();
    let Some(toml::Value::Table(sections)) = table.get("provider").cloned() else { panic!("{text}") };
    let mut providers = read_all(Path::new("/stillframe.toml"), sections)?;
    let name = providers.keys().next().cloned().unwrap();
    Ok(providers.remove(&name).unwrap())
}

#[track_caller]
fn assert_invalid(text: &str, key: &str, reason: &str) {
    let error = read(text).unwrap_err();
    let ConfigError::Invalid { key: found, origin: Origin::File(_), reason: told } = &error else { panic!("{text}: {error}") };
    assert!(found == key && told.contains(reason), "{text}: `{found}`: {told}");
}

#[test]
fn hardlink_is_granted_its_root_and_nothing_else() {
    let settings = read("[provider.hardlink]\nroot = \"/srv\"").unwrap().settings;
    let tree = settings.grants.tree.unwrap();
    assert_eq!(tree.roots, [("snapshots".to_owned(), "/srv".into())].into());
    assert!(tree.read_data && tree.write_restore);
    assert!(settings.grants.command.is_none() && settings.grants.aws.is_none() && settings.grants.http.is_none());
    assert!(settings.grants.restore_below.is_empty() && settings.command_prefix.is_empty());
    assert_eq!(Value::Object(settings.config), json!({ "root": "/srv" }));
}

#[test]
fn a_missing_key_of_a_policy_is_named() {
    assert_invalid("[provider.hardlink]", "provider.hardlink.root", "it is missing: name the directory for the snapshots");
    assert_invalid("[provider.hardlink]\nroot = \"srv\"", "provider.hardlink.root", "it must be an absolute path");
    assert_invalid("[provider.other]\nplugin = \"hardlink\"", "provider.other.root", "it is missing");
}

#[test]
fn what_the_operator_writes_replaces_the_default_of_that_capability() {
    let text = "[provider.hardlink]\nroot = \"/srv\"\n[provider.hardlink.grants]\nrestore_below = \"/mnt\"\n\
                [provider.hardlink.grants.tree]\nroots = { snapshots = \"$root\", second = \"/x\" }\n";
    let grants = read(text).unwrap().settings.grants;
    let tree = grants.tree.unwrap();
    assert_eq!(tree.roots.len(), 2);
    assert!(!tree.read_data && !tree.write_restore, "nothing of the default is left");
    assert_eq!(grants.restore_below, [Path::new("/mnt")]);
}

#[test]
fn a_grant_of_the_operator_is_checked_like_any_other() {
    let acme = "[provider.acme]\ncomponent = \"/acme.wasm\"\npool = \"tank\"\n";
    let program = format!("{acme}[provider.acme.grants.command.zfs]\npath = \"/sbin/zfs\"\n");
    let grants = read(&format!("{program}allow = [[\"list\", \"{{under:$pool}}\"]]")).unwrap().settings.grants;
    assert!(grants.command.unwrap().allows("zfs", &["list".to_owned(), "tank/pg".to_owned()]).is_ok());
    let place = "provider.acme.grants.command.zfs.allow[0]";
    assert_invalid(&format!("{program}allow = [[\"{{nmae}}\"]]"), place, "there is no placeholder `{nmae}`");
    assert_invalid(&format!("{program}allow = [[\"{{under:$pol}}\"]]"), "provider.acme.pol", "it is missing");
    assert_invalid(&format!("{program}alow = [[]]"), "provider.acme", "unknown field `alow`");
    assert_invalid(&format!("{acme}grants = {{ command = true }}"), "provider.acme", "in `grants.command`");
    let defaults = format!("{acme}[provider.acme.grants.defaults]\npool = \"tank\"\n");
    assert_invalid(&defaults, "provider.acme.grants.defaults", "only a bundled provider has defaults");
}

#[test]
fn a_prefix_begins_with_an_absolute_path() {
    let with = |prefix: &str| format!("[provider.hardlink]\nroot = \"/srv\"\ncommand_prefix = {prefix}\n");
    let settings = read(&with("[\"/usr/bin/sudo\", \"-n\"]")).unwrap().settings;
    assert_eq!(settings.command_prefix, ["/usr/bin/sudo", "-n"]);
    assert!(!settings.config.contains_key("command_prefix"), "it is no business of the provider's");
    for (prefix, reason) in
        [("[\"sudo\"]", "not an absolute path"), ("[\"/sudo\", \"\"]", "empty"), ("[\"/sudo\", \"a\\nb\"]", "control")]
    {
        assert_invalid(&with(prefix), "provider.hardlink.command_prefix", reason);
    }
}

#[test]
fn defaults_fill_what_the_operator_left_out() {
    let Value::Object(defaults) = json!({ "mount_root": "/run/x", "size": 3 }) else { unreachable!() };
    let Value::Object(mut section) = json!({ "mount_root": "/mnt" }) else { unreachable!() };
    fill(&mut section, &defaults);
    assert_eq!(Value::Object(section), json!({ "mount_root": "/mnt", "size": 3 }));
}

#[test]
fn the_name_of_every_bundled_provider_is_one() {
    for bundled in bundled() {
        assert!(ProviderName::try_from(bundled.name.to_owned()).is_ok(), "{}", bundled.name);
    }
}
