//! What the provider says about itself, and its configuration.

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{Error, Features, Provider, parse_config};

use super::{Lvm, config, defaults};
use crate::Config;
use crate::config::{ClassicSize, Mode};

#[test]
fn the_schema_has_exactly_the_keys_that_are_read() {
    let info = <Lvm as Provider<FakeHost>>::describe();
    let schema: serde_json::Value = serde_json::from_str(&info.config_schema).unwrap();
    let documented: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let Err(Error::Invalid(argument)) = parse_config::<Config>(r#"{"mod":"auto"}"#) else { panic!("accepted") };
    assert_eq!(argument.field, "mod");
    let read: Vec<&str> = argument.message.split('`').skip(3).step_by(2).collect();
    let sorted = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(sorted(read), sorted(documented));
    for mode in schema["properties"]["mode"]["enum"].as_array().unwrap() {
        config(&format!(r#"{{"volume_groups":["vg0"],"mode":{mode}}}"#));
    }
    assert!(info.features.contains(Features::ISOLATED | Features::RESTORE | Features::IMMEDIATE));
    assert!(!info.features.contains(Features::ATOMIC_GROUP) && !info.features.contains(Features::LOCK));
    assert_eq!(info.needs.iter().map(|need| need.capability.as_str()).collect::<Vec<_>>(), ["command"]);
}

#[test]
fn the_defaults_are_those_that_are_documented() {
    let (info, read) = (<Lvm as Provider<FakeHost>>::describe(), defaults());
    let schema: serde_json::Value = serde_json::from_str(&info.config_schema).unwrap();
    let default = |key: &str| schema["properties"][key]["default"].clone();
    assert_eq!((default("mode"), read.mode), ("auto".into(), Mode::Auto));
    assert_eq!(parse_config::<ClassicSize>(&default("classic_size").to_string()).unwrap(), read.classic_size);
    assert_eq!(default("full_percent").as_u64().map(|percent| percent * 100), Some(read.full_percent.hundredths().into()));
    assert_eq!(default("mount_root"), read.mount_root.as_str());
    assert!(include_str!("../../policy.toml").contains(&format!("mount_root = \"{}\"", read.mount_root.as_str())));
}

#[test]
fn a_wrong_value_is_named_by_its_key() {
    for (key, value) in [
        ("volume_groups", "[]"),
        ("volume_groups", r#"["vg 0"]"#),
        ("volume_groups", r#"["-vg"]"#),
        ("volume_groups", r#"[".."]"#),
        ("volume_groups", r#"["vg0/pg"]"#),
        ("mode", r#""fast""#),
        ("classic_size", r#""20""#),
        ("classic_size", r#""20%FREE""#),
        ("classic_size", r#""0%ORIGIN""#),
        ("classic_size", r#""0G""#),
        ("classic_size", r#""-1G""#),
        ("classic_size", r#""99999999999999T""#),
        ("full_percent", "0"),
        ("full_percent", "101"),
        ("mount_root", r#""mnt""#),
        ("mount_root", r#""/mnt/../etc""#),
        ("mount_root", r#""/mnt/""#),
        ("mount_root", r#""/""#),
    ] {
        let groups = if key == "volume_groups" { "" } else { r#""volume_groups":["vg0"],"# };
        let json = format!(r#"{{{groups}"{key}":{value}}}"#);
        let Err(Error::Invalid(argument)) = parse_config::<Config>(&json) else { panic!("{json} was accepted") };
        assert_eq!(argument.field, key, "{json}: {}", argument.message);
    }
    assert!(
        parse_config::<Config>("{}")
            .is_err_and(|error| matches!(error, Error::Invalid(argument) if argument.field == "volume_groups"))
    );
}

#[test]
fn a_size_is_a_share_of_the_origin_or_bytes() {
    let size = |text: &str| config(&format!(r#"{{"volume_groups":["vg0"],"classic_size":"{text}"}}"#)).classic_size;
    for (text, bytes) in [("20%ORIGIN", 20_000), ("150%ORIGIN", 150_000), ("3M", 3 << 20), ("10G", 10 << 30), ("2T", 2 << 40)] {
        assert_eq!(size(text).bytes(100_000), bytes, "{text}");
    }
}

#[test]
fn the_policy_names_no_point_in_what_is_mounted() {
    // A path further below a point may lead through a symbolic link of the restored cluster to the live one.
    let policy = include_str!("../../policy.toml");
    assert!(!policy.contains("{below:"));
    let rules = |rule: &str| policy.lines().filter(|line| line.contains(rule)).count();
    assert_eq!((rules("{one:$mount_root}/{name}/{number}\""), rules("$mount_root}")), (4, 4));
}
