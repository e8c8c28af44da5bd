//! What the provider says about itself, and its checks.

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{Error, Features, Provider, parse_config};

use super::{ZfsProvider, changes, config, defaults, pools};
use crate::{Config, rights};

#[test]
fn the_schema_has_exactly_the_keys_that_are_read() {
    let info = <ZfsProvider as Provider<FakeHost>>::describe();
    let schema: serde_json::Value = serde_json::from_str(&info.config_schema).unwrap();
    let documented: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let Err(Error::Invalid(argument)) = parse_config::<Config>(r#"{"datasetz":[]}"#) else { panic!("accepted") };
    assert_eq!(argument.field, "datasetz");
    let read: Vec<&str> = argument.message.split('`').skip(3).step_by(2).collect();
    let sorted = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(sorted(read), sorted(documented));
    let Err(Error::Invalid(missing)) = parse_config::<Config>("{}") else { panic!("accepted") };
    assert_eq!(schema["required"], serde_json::json!([missing.field]));
    let least = config(r#"{"datasets":["tank/pg"]}"#);
    assert_eq!(schema["properties"]["mount_root"]["default"], serde_json::json!(least.mount_root));
    assert!(info.features.contains(Features::ATOMIC_GROUP | Features::ISOLATED | Features::RESTORE | Features::LOCK));
    assert_eq!(info.needs.iter().map(|need| need.capability.as_str()).collect::<Vec<_>>(), ["command"]);
}

#[test]
fn a_check_changes_nothing_and_names_what_may_surprise() {
    let (fake, host) = pools();
    let warnings = ZfsProvider::check(&host, &defaults()).unwrap();
    assert!(matches!(&warnings[..], [warning] if warning.contains("pool by pool")), "{warnings:?}");
    let one_pool = config(r#"{"datasets":["tank/pg","tank/wal"]}"#);
    let warnings = ZfsProvider::check(&host, &one_pool).unwrap();
    assert!(matches!(&warnings[..], [warning] if warning.contains("cannot be restored")), "{warnings:?}");
    let whole = config(r#"{"datasets":["tank"],"clones":["tank/pg"]}"#);
    assert!(ZfsProvider::check(&host, &whole).unwrap().is_empty());
    fake.state(|state| {
        let dataset = state.datasets.get_mut("tank/pg").unwrap();
        dataset.local.insert("sync".to_owned(), "disabled".to_owned());
        dataset.is_locked_away = true;
    });
    let warnings = ZfsProvider::check(&host, &one_pool).unwrap().join("\n");
    assert!(warnings.contains("sync=disabled") && warnings.contains("key of `tank/pg` is not loaded"), "{warnings}");
    assert!(changes(&host).is_empty());
}

#[test]
fn a_check_names_the_key_whose_dataset_is_not_there() {
    let (_, host) = pools();
    for (json, field) in [
        (r#"{"datasets":["tank/pg","tank/absent"]}"#, "datasets"),
        (r#"{"datasets":["tank/pg"],"clones":["tank/absent"]}"#, "clones"),
    ] {
        let Err(Error::Invalid(argument)) = ZfsProvider::check(&host, &config(json)) else { panic!("{json}") };
        assert_eq!(argument.field, field);
        assert!(argument.message.contains("tank/absent"), "{}", argument.message);
    }
}

#[test]
fn missing_rights_are_named_with_the_command_unless_zfs_runs_as_root() {
    let (fake, host) = pools();
    let one_pool = config(r#"{"datasets":["tank/pg"],"clones":["tank/stillframe"]}"#);
    assert!(ZfsProvider::check(&host, &one_pool).unwrap().is_empty());
    let delegate = |rights: &[&str]| {
        let rights = rights.iter().map(|right| (*right).to_owned()).collect();
        fake.state(|state| state.rights = Some([("tank".to_owned(), rights)].into()));
    };
    delegate(&["snapshot", "destroy", "mount", "userprop"]);
    let warnings = ZfsProvider::check(&host, &one_pool).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("`hold`, `release`") && warnings[0].contains("zfs allow -u USER"), "{warnings:?}");
    delegate(rights::BACKUP);
    assert!(ZfsProvider::check(&host, &one_pool).unwrap().is_empty());
    assert!(host.messages().iter().any(|(_, text)| text.contains("a restore needs `command_prefix`")));
}
