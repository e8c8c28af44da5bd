//! The table of everything that the provider asks of the host, and that its policy grants no more.
//!
//! The table is a file, so that the host's own tests can hold the policy against it.

use std::collections::BTreeSet;

use stillframe_sdk::{LockMode, Provider};

use super::{Cloud, Ebs, config, defaults, request, restore_request, with_set};

const TABLE: &str = include_str!("calls.txt");
const POLICY: &str = include_str!("../../policy.toml");

/// Every kind of call, once each.
fn calls() -> BTreeSet<String> {
    let cloud = Cloud::default();
    let (host, set) = with_set(&cloud);
    let settings = config(
        r#"{"region":"eu-central-1","volume_type":"io2","iops":4000,"throughput":500,"kms_key_id":"alias/pg","cool_off_hours":1}"#,
    );
    Ebs::check(&host, &settings).unwrap();
    Ebs::list_sets(&host, &settings, "main/74", None).unwrap();
    for number in 2..5 {
        super::create(&host, &format!("b{number}")).unwrap();
    }
    Ebs::list_sets(&host, &settings, "main/74", None).unwrap();
    let mut single = request(&host, "b9", super::paths());
    single.volumes.truncate(1);
    Ebs::create_set(&host, &settings, single).unwrap();
    Ebs::lock_set(&host, &settings, &set.handle, LockMode::Governance, 1_800_000_000_000).unwrap();
    Ebs::unlock_set(&host, &settings, &set.handle).unwrap();
    Ebs::restore_set(&host, &settings, restore_request(&set)).unwrap();
    Ebs::release(&host, &settings, "r-1").unwrap();
    Ebs::delete_set(&host, &settings, &set.handle).unwrap();
    Ebs::lock_set(&host, &settings, &super::by_token(&host, "b2").unwrap().handle, LockMode::Compliance, 1_800_000_000_000)
        .unwrap();
    host.advance_ms(700_000);
    Ebs::delete_set(&host, &defaults(), &set.handle).unwrap();
    cloud.world(|world| {
        let requests = world.requests.iter().map(|(action, params)| {
            let service = if action == "GetCallerIdentity" { "sts" } else { "ec2" };
            let keys: BTreeSet<String> = params.keys().map(|key| numberless(key)).collect();
            format!("aws {service}:{action} {}", keys.into_iter().collect::<Vec<_>>().join(" ")).trim_end().to_owned()
        });
        // The kernel's numbers are chance.
        let programs = world.programs.iter().map(|program| {
            let words = program.split(' ').map(|word| if word.starts_with("/dev/nvme") { "/dev/nvme9n1" } else { word });
            format!("command {}", words.collect::<Vec<_>>().join(" "))
        });
        requests.chain(programs).collect()
    })
}

/// `Filter.1.Value.2` as `Filter.N.Value.N`.
fn numberless(key: &str) -> String {
    key.split('.').map(|part| if part.bytes().all(|byte| byte.is_ascii_digit()) { "N" } else { part }).collect::<Vec<_>>().join(".")
}

#[test]
fn the_table_of_calls_is_complete() {
    let written: Vec<String> = calls().into_iter().collect();
    let table: Vec<&str> = TABLE.lines().collect();
    assert_eq!(table, written, "if this is meant, the table becomes:\n{}\n", written.join("\n"));
}

#[test]
fn the_policy_grants_exactly_the_actions_and_programs_of_the_table() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let used: BTreeSet<String> = TABLE.lines().map(|line| words(line)[1].clone()).collect();
    let granted: BTreeSet<String> = POLICY
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let action = line.split('"').nth(1).filter(|text| text.starts_with("ec2:") || text.starts_with("sts:"));
            let program = line.strip_prefix("[command.").and_then(|rest| rest.strip_suffix(']'));
            action.or(program).map(str::to_owned)
        })
        .collect();
    assert_eq!(granted, used);
}

#[test]
fn the_documented_iam_policy_allows_every_action_and_no_other() {
    let page = include_str!("../../../../docs/providers/ebs.md");
    let policy = page.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    let mut documented = BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let actions = statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
        documented.extend(actions.iter().map(|action| action.as_str().unwrap().to_owned()));
        let is_bound =
            statement["Resource"] != "*" || actions.iter().all(|action| action.as_str().unwrap().starts_with("ec2:Describe"));
        assert!(is_bound, "{statement}");
    }
    // Tagging is part of every request that makes something; the account can be asked without a right.
    assert!(documented.remove("ec2:CreateTags"));
    let used: BTreeSet<String> = TABLE
        .lines()
        .filter_map(|line| line.strip_prefix("aws ec2:"))
        .map(|line| format!("ec2:{}", line.split(' ').next().unwrap()))
        .collect();
    assert_eq!(documented, used);
}
