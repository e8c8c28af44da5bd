//! What the provider says about itself, and its checks.

use stillframe_sdk::testing::FakeHost;
use stillframe_sdk::{Error, Features, Provider, parse_config};

use super::cloud::Mishap;
use super::{Cloud, Ebs, config, defaults, with_set};
use crate::Config;

#[test]
fn the_schema_has_exactly_the_keys_that_are_read() {
    let info = <Ebs as Provider<FakeHost>>::describe();
    let schema: serde_json::Value = serde_json::from_str(&info.config_schema).unwrap();
    let documented: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    let Err(Error::Invalid(argument)) = parse_config::<Config>(r#"{"regon":"x"}"#) else { panic!("accepted") };
    assert_eq!(argument.field, "regon");
    let read: Vec<&str> = argument.message.split('`').skip(3).step_by(2).collect();
    let sorted = |mut keys: Vec<&str>| {
        keys.sort_unstable();
        keys.join(" ")
    };
    assert_eq!(sorted(read), sorted(documented));
    let Err(Error::Invalid(argument)) = parse_config::<Config>("{}") else { panic!("accepted") };
    assert_eq!(argument.field, "region");
    assert!(info.features.contains(Features::ATOMIC_GROUP | Features::RESTORE | Features::LOCK));
    assert_eq!(info.needs.iter().map(|need| need.capability.as_str()).collect::<Vec<_>>(), ["aws", "command"]);
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused_by_its_key() {
    let host = Cloud::default().host();
    for (settings, field) in [
        (r#"{"region":"EU Central"}"#, "region"),
        (r#"{"region":"eu-central-1","instance_id":"web"}"#, "instance_id"),
        (r#"{"region":"eu-central-1","mount_root":"run"}"#, "mount_root"),
        (r#"{"region":"eu-central-1","mount_root":"/run/../etc"}"#, "mount_root"),
        (r#"{"region":"eu-central-1","attach_devices":["sdf"]}"#, "attach_devices"),
        (r#"{"region":"eu-central-1","devices":{"/dev/sdf":"/etc/passwd"}}"#, "devices"),
        (r#"{"region":"eu-central-1","cool_off_hours":73}"#, "cool_off_hours"),
        (r#"{"region":"eu-central-1","tags":{"aws:x":"1"}}"#, "tags"),
        (r#"{"region":"eu-central-1","tags":{"stillframe:token":"1"}}"#, "tags"),
    ] {
        let answer = Ebs::check(&host, &config(settings));
        assert!(matches!(&answer, Err(Error::Invalid(argument)) if argument.field == field), "{settings}: {answer:?}");
    }
    assert!(host.calls().is_empty());
}

#[test]
fn a_check_changes_nothing_and_asks_for_every_right_that_it_can() {
    let cloud = Cloud::default();
    let (host, _) = with_set(&cloud);
    let before = cloud.world(|world| (world.requests.len(), world.volumes.len(), world.snapshots.len()));
    assert_eq!(Ebs::check(&host, &defaults()), Ok(Vec::new()));
    assert_eq!((cloud.world(|world| (world.volumes.len(), world.snapshots.len()))), (before.1, before.2));
    let asked = cloud.world(|world| world.requests.split_off(before.0));
    for (action, params) in &asked {
        assert_eq!(params.get("DryRun").map(String::as_str), (!action.starts_with("Describe")).then_some("true"), "{action}");
    }
    let dry: Vec<&str> = asked.iter().map(|(action, _)| action.as_str()).filter(|action| !action.starts_with("Describe")).collect();
    assert_eq!(dry, ["CreateSnapshots", "CreateSnapshot", "DeleteSnapshot", "LockSnapshot", "CreateVolume"]);
}

#[test]
fn nothing_destructive_is_asked_of_a_service_that_only_imitates_amazons() {
    let cloud = Cloud::default();
    let (host, _) = with_set(&cloud);
    Ebs::check(&host, &config(r#"{"region":"eu-central-1","endpoint":"http://127.0.0.1:5555"}"#)).unwrap();
    assert!(!cloud.actions().contains(&"DeleteSnapshot".to_owned()));
}

#[test]
fn a_missing_right_is_named() {
    for action in ["CreateSnapshots", "CreateSnapshot", "DeleteSnapshot", "DescribeSnapshots"] {
        let cloud = Cloud::default();
        let (host, _) = with_set(&cloud);
        cloud.mishap(action, Mishap::Refused(403, "UnauthorizedOperation"));
        let answer = Ebs::check(&host, &defaults());
        assert!(matches!(&answer, Err(Error::Denied(text)) if text.contains(action)), "{action}: {answer:?}");
    }
    for (action, word) in [("LockSnapshot", "locks"), ("CreateVolume", "restores")] {
        let cloud = Cloud::default();
        let (host, _) = with_set(&cloud);
        cloud.mishap(action, Mishap::Refused(403, "UnauthorizedOperation"));
        let warnings = Ebs::check(&host, &defaults()).unwrap();
        assert!(warnings[0].contains(word) && warnings[0].contains(action), "{warnings:?}");
    }
}

#[test]
fn a_service_that_passes_over_dry_runs_is_found_out() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.world(|world| world.ignores_dry_run = true);
    assert!(matches!(Ebs::check(&host, &defaults()), Err(Error::Internal(text)) if text.contains("DryRun")));
}

#[test]
fn a_host_that_is_no_instance_is_warned_and_a_wrong_one_refused() {
    let cloud = Cloud::default();
    let host = cloud.host();
    cloud.world(|world| world.is_xen = true);
    let warnings = Ebs::check(&host, &defaults()).unwrap();
    assert!(warnings[0].contains("instance_id") || warnings[0].contains("instance is not known"), "{warnings:?}");
    let wrong = config(r#"{"region":"eu-central-1","instance_id":"i-0000000000000000f"}"#);
    assert!(matches!(Ebs::check(&host, &wrong), Err(Error::Invalid(argument)) if argument.field == "instance_id"));
}
