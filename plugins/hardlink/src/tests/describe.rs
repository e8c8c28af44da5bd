//! What the provider says about itself, and its checks.

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{Error, Features, Provider, parse_config};

use super::{Hardlink, config, cp_al, create, defaults, host};
use crate::Config;

#[test]
fn the_schema_has_exactly_the_keys_that_are_read() {
    let info = <Hardlink as Provider<FakeHost>>::describe();
    let schema: serde_json::Value = serde_json::from_str(&info.config_schema).unwrap();
    let documented: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let Err(Error::Invalid(argument)) = parse_config::<Config>(r#"{"metod":"auto"}"#) else { panic!("accepted") };
    assert_eq!(argument.field, "metod");
    let read: Vec<&str> = argument.message.split('`').skip(3).step_by(2).collect();
    let sorted = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(sorted(read), sorted(documented));
    for method in schema["properties"]["method"]["enum"].as_array().unwrap() {
        config(&format!(r#"{{"method":{method}}}"#));
    }
    assert!(info.features.contains(Features::ISOLATED | Features::RESTORE) && !info.features.contains(Features::ATOMIC_GROUP));
    assert_eq!(info.needs.iter().map(|need| need.capability.as_str()).collect::<Vec<_>>(), ["tree"]);
}

#[test]
fn a_check_changes_nothing() {
    let host = host();
    let warnings = Hardlink::check(&host, &defaults()).unwrap();
    assert!(warnings.iter().any(|warning| warning.contains("cannot share extents")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("made by the first backup")), "{warnings:?}");
    assert!(host.paths("snapshots").is_empty());
    create(&host, "b1").unwrap();
    host.set_reflink("snapshots");
    host.forget_calls();
    assert!(Hardlink::check(&host, &defaults()).unwrap().is_empty());
    assert_eq!(host.calls(), ["tree.roots", "tree.read-file snapshots:stillframe-snapshots.json"]);
    assert!(Hardlink::check(&host, &cp_al()).unwrap()[0].contains("no real snapshot"));
}

#[test]
fn a_check_names_the_key_that_is_wrong() {
    let field = |host: &FakeHost, settings: &str| match Hardlink::check(host, &config(settings)) {
        Err(Error::Invalid(argument)) => argument.field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(&host(), r#"{"method":"cp-al"}"#), "method");
    assert_eq!(field(&host(), r#"{"method":"reflink"}"#), "method");
    let without = host();
    without.remove_root("snapshots");
    assert_eq!(field(&without, "{}"), "root");
    without.add_source("snapshots");
    assert_eq!(field(&without, "{}"), "root");
}
