use std::path::Path;

use stillframe_core::error::Classify;

use super::{Config, ConfigError, Origin, Variables};

const SMALLEST: &str = r#"
[cluster]
name = "main"
pgdata = "/var/lib/postgresql/15/main"
[store]
url = "file:///var/lib/stillframe/store"
[provider.hardlink]
root = "/var/lib/stillframe/snapshots"
"#;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stillframe.toml");
    std::fs::write(&path, text).unwrap();
    let variables: Variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(Some(&path), &variables)
}

fn refusal(text: &str) -> (String, String) {
    let error = load(text, &[]).unwrap_err();
    (error.to_string(), error.hint().unwrap_or_default())
}

#[test]
fn the_smallest_configuration_works() {
    let config = load(SMALLEST, &[]).unwrap();
    assert_eq!(config.cluster.as_str(), "main");
    assert_eq!(config.providers.len(), 1);
    assert_eq!(config.values["backup.checkpoint"].origin, Origin::Default);
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let (message, hint) = refusal("[cluster]\nnmae = \"main\"\n");
    assert!(message.contains("`cluster.nmae`"), "{message}");
    assert!(hint.contains("`cluster.name`"), "{hint}");
    let (message, hint) = refusal("[sotre]\nurl = \"file:///x\"\n");
    assert!(message.contains("`sotre`") && hint.contains("`store`"), "{message} {hint}");
    let error = load(SMALLEST, &[("STILLFRAME_CLUSTER_NMAE", "x")]).unwrap_err();
    assert!(error.hint().unwrap().contains("STILLFRAME_CLUSTER_NAME"), "{error}");
}

#[test]
fn variables_overrule_the_file_and_say_so() {
    let config = load(SMALLEST, &[("STILLFRAME_CLUSTER_NAME", "other"), ("PGDATA", "/elsewhere")]).unwrap();
    assert_eq!(config.cluster.as_str(), "other");
    assert_eq!(config.values["cluster.name"].origin, Origin::Variable("STILLFRAME_CLUSTER_NAME".to_owned()));
    assert_eq!(config.pgdata.as_deref(), Some(Path::new("/var/lib/postgresql/15/main")), "PGDATA only fills a gap");
}

#[test]
fn a_missing_key_says_how_to_set_it() {
    let (message, hint) = refusal("[store]\nurl = \"file:///x\"\n");
    assert!(message.contains("`cluster.name`"), "{message}");
    assert!(hint.contains("[cluster]") && hint.contains("STILLFRAME_CLUSTER_NAME"), "{hint}");
}

#[test]
fn refuses_values_that_cannot_be() {
    for (text, key) in [
        ("[cluster]\nname = \"a/b\"\n[store]\nurl = \"file:///x\"\n", "cluster.name"),
        ("[cluster]\nname = \"a\"\npgdata = \"relative\"\n[store]\nurl = \"file:///x\"\n", "cluster.pgdata"),
        ("[cluster]\nname = [1]\n", "cluster.name"),
        ("cluster = 1\n", "cluster"),
        ("[cluster]\nname = \"a\"\n[store]\nurl = \"file:///x\"\n[backup]\ncut_timeout_secs = 0\n", "backup.cut_timeout_secs"),
        ("[provider.hardlink]\n", "provider.hardlink.root"),
        ("[provider.hardlink]\nroot = \"x\"\n", "provider.hardlink.root"),
        ("[provider.hardlink]\nroot = \"/x\"\nsha256 = \"zz\"\n", "provider.hardlink"),
        ("[provider.acme]\nroot = \"/x\"\n", "provider.acme"),
        ("[provider.acme]\ncomponent = \"acme.wasm\"\n", "provider.acme.component"),
        ("[provider.Acme]\ncomponent = \"/acme.wasm\"\n", "provider.Acme"),
        ("[provider.acme]\ncomponent = \"/acme.wasm\"\ngrants = { aws = true }\n", "provider.acme"),
    ] {
        let (message, _) = refusal(text);
        assert!(message.contains(&format!("`{key}`")), "{text}: {message}");
    }
    let (message, _) = refusal("[cluster\n");
    assert!(message.contains("TOML"), "{message}");
}

#[test]
fn a_bundled_provider_gets_the_narrowest_grant_that_works() {
    let config = load(SMALLEST, &[]).unwrap();
    let provider = config.providers.values().next().unwrap();
    let grant = provider.settings.grants.tree.clone().unwrap();
    assert_eq!(grant.roots.len(), 1);
    assert_eq!(grant.roots["snapshots"], Path::new("/var/lib/stillframe/snapshots"));
    assert!(grant.read_data && grant.write_restore);
}

#[test]
fn a_foreign_provider_is_granted_nothing_by_itself() {
    let text = format!("{SMALLEST}\n[provider.acme]\ncomponent = \"/acme.wasm\"\nsize = 3\n");
    let config = load(&text, &[]).unwrap();
    let acme = config.providers.iter().find(|(name, _)| name.as_str() == "acme").unwrap().1;
    assert_eq!(acme.settings.grants.tree, None);
    assert_eq!(acme.settings.config["size"], 3);
}
