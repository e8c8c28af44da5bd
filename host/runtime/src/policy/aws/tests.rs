//! The table of attempts to get more out of `aws` than the policy gives.

use serde_json::json;

use super::permit::Asked;
use super::{AwsGrant, AwsPolicy};
use crate::policy::{Keys, PolicyError};

const POLICY: &str = r#"
region = "$region"
endpoint = "$endpoint"
allow = [
  "ec2:Describe*",
  "ec2:CreateSnapshots",
  { action = "ec2:CreateTags", when = { "ResourceId.*" = "snap-{name}", "Tag.*.Key" = "stillframe-{name}" } },
  { action = "ec2:DeleteSnapshot", when = { "SnapshotId" = "snap-{name}" } },
  { action = "ec2:DeleteSnapshot", when = { "SnapshotId" = "{one:vol-x|vol-y}" } },
]
"#;

fn policy(text: &str) -> AwsPolicy {
    toml::from_str(text).unwrap()
}

fn resolved(text: &str, section: &serde_json::Value) -> Result<AwsGrant, PolicyError> {
    policy(text).resolve(&Keys::new(section.as_object().unwrap()))
}

fn grant() -> AwsGrant {
    resolved(POLICY, &json!({ "region": ["eu-central-1", "eu-west-1"] })).unwrap()
}

fn refusal(service: &str, action: &str, region: Option<&str>, params: &[(&str, &str)]) -> Option<String> {
    let params: Vec<_> = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    grant().permit(&Asked { service, action, region, params: Some(&params) }).err()
}

#[test]
fn allows_what_a_rule_names_and_what_begins_as_it_says() {
    for action in ["DescribeVolumes", "DescribeSnapshots", "Describe", "CreateSnapshots"] {
        assert_eq!(refusal("ec2", action, None, &[("VolumeId.1", "vol-1")]), None);
    }
    let tags = [("ResourceId.1", "snap-1"), ("ResourceId.2", "snap-2"), ("Tag.1.Key", "stillframe-owner"), ("Tag.1.Value", "x y")];
    assert_eq!(refusal("ec2", "CreateTags", None, &tags), None);
}

#[test]
fn refuses_every_other_action() {
    for (service, action) in [
        ("ec2", "DeleteVolume"),
        ("ec2", "CreateSnapshot"),
        ("ec2", "CreateSnapshotsX"),
        ("ec2", "describeVolumes"),
        ("ec2", "XDescribeVolumes"),
        ("ec2", ""),
        ("ec2", "Describe*"),
        ("ec2", "DescribeVolumes&Action=DeleteVolume"),
        ("ec2", "Describe\u{e9}"),
        ("s3", "DescribeVolumes"),
        ("EC2", "DescribeVolumes"),
        ("ec2.evil", "DescribeVolumes"),
        ("ec2/evil", "DescribeVolumes"),
        ("ec2:443", "DescribeVolumes"),
        ("evil.example#", "DescribeVolumes"),
        ("ec2@evil", "DescribeVolumes"),
        ("", "DescribeVolumes"),
        ("iam", "CreateUser"),
    ] {
        let reason = refusal(service, action, None, &[]).unwrap_or_else(|| panic!("{service}:{action} is allowed"));
        assert!(reason.starts_with('`') || reason.starts_with("no rule of the policy allows `"), "{reason}");
    }
}

#[test]
fn goes_to_granted_regions_alone_and_to_the_first_when_none_is_named() {
    let grant = grant();
    let region = |region| grant.permit(&Asked { service: "ec2", action: "DescribeVolumes", region, params: Some(&[]) });
    assert_eq!(region(None), Ok("eu-central-1"));
    assert_eq!(region(Some("eu-west-1")), Ok("eu-west-1"));
    for other in ["us-east-1", "", "eu-west-1.evil.example", "EU-WEST-1", "eu-west-1/"] {
        assert!(region(Some(other)).unwrap_err().contains("is not granted"), "{other}");
    }
}

#[test]
fn looks_at_every_parameter_whose_name_fits() {
    for params in [
        &[("ResourceId.1", "snap-1"), ("ResourceId.2", "vol-1")][..],
        &[("ResourceId.1", "vol-1")],
        &[("resourceid.1", "vol-1")],
        &[("RESOURCEID.1", "vol-1")],
        &[("ResourceId.1.x", "vol-1")],
        &[("ResourceId.1", "snap-1"), ("ResourceId.1", "vol-1")],
        &[("ResourceId.1", "snap-1 vol-1")],
        &[("ResourceId.1", "snap-1&ResourceId.2=vol-1")],
        &[("ResourceId.1", "")],
        &[("Tag.1.Key", "Name")],
    ] {
        let reason = refusal("ec2", "CreateTags", None, params).unwrap_or_else(|| panic!("{params:?} is allowed"));
        assert!(reason.starts_with("the policy allows `ec2:CreateTags` with `ResourceId.*` only as `snap-<name>`"), "{reason}");
    }
    // Any of several rules is enough.
    assert_eq!(refusal("ec2", "DeleteSnapshot", None, &[("SnapshotId", "vol-y")]), None);
    assert!(refusal("ec2", "DeleteSnapshot", None, &[("SnapshotId", "vol-z")]).is_some());
}

#[test]
fn a_rule_that_looks_at_parameters_allows_no_request_in_json() {
    let grant = grant();
    let asked = |action| grant.permit(&Asked { service: "ec2", action, region: None, params: None });
    assert!(asked("CreateSnapshots").is_ok());
    assert!(asked("CreateTags").unwrap_err().contains("JSON"));
}

#[test]
fn parameters_that_are_the_hosts_own_or_no_names_are_refused() {
    for name in [
        "Action",
        "Version",
        "action",
        "VERSION",
        "AWSAccessKeyId",
        "Signature",
        "SecurityToken",
        "",
        "a b",
        "a&b",
        "a=b",
        ".SnapshotId",
        "SnapshotId.",
        "Tag..Key",
        "\u{e9}",
    ] {
        assert!(refusal("ec2", "DescribeVolumes", None, &[("VolumeId.1", "x"), (name, "x")]).is_some(), "{name}");
    }
    assert!(refusal("ec2", "DescribeVolumes", None, &[(&"x".repeat(257), "x")]).is_some());
    assert!(refusal("ec2", "DescribeVolumes", None, &vec![("VolumeId.1", "x"); 10_001]).is_some());
}

#[test]
fn an_endpoint_is_that_of_the_region_unless_the_operator_names_one() {
    let with = |section| resolved(POLICY, &section).unwrap();
    assert_eq!(grant().base_url("ec2", "eu-west-1"), "https://ec2.eu-west-1.amazonaws.com");
    assert_eq!(with(json!({ "region": "cn-north-1" })).base_url("ec2", "cn-north-1"), "https://ec2.cn-north-1.amazonaws.com.cn");
    let own = with(json!({ "region": "eu-west-1", "endpoint": "http://127.0.0.1:5000/" }));
    assert_eq!(own.base_url("ec2", "eu-west-1"), "http://127.0.0.1:5000");
}

#[test]
fn refuses_a_policy_that_cannot_work_and_names_the_place() {
    let section = json!({ "region": "eu-west-1", "bad": "eu.west/1", "number": 3, "empty": [] });
    for (text, place) in [
        (
            r#"region = "$region"
            allow = ["Describe*"]"#,
            "aws.allow[0]",
        ),
        (
            r#"region = "$region"
            allow = ["ec2:Describe*", "*:Describe*"]"#,
            "aws.allow[1]",
        ),
        (
            r#"region = "$region"
            allow = ["ec2:*Volumes"]"#,
            "aws.allow[0]",
        ),
        (
            r#"region = "$region"
            allow = ["ec2:"]"#,
            "aws.allow[0]",
        ),
        (
            r#"region = "$region"
            allow = [{ action = "ec2:X", when = { "A" = "{name}..." } }]"#,
            "aws.allow[0].when.A",
        ),
        (
            r#"region = "$region"
            allow = [{ action = "ec2:X", when = { "A b" = "{name}" } }]"#,
            "aws.allow[0].when",
        ),
        ("allow = []", "aws.region"),
        ("region = []", "aws.region"),
        (r#"region = "eu.west/1""#, "aws.region"),
        (r#"region = "$bad""#, "bad"),
        (r#"region = "$number""#, "number"),
        (r#"region = "$empty""#, "empty"),
        (r#"region = "$missing""#, "missing"),
        (
            r#"region = "$region"
            endpoint = "$bad""#,
            "bad",
        ),
        (
            r#"region = "$region"
            endpoint = "https://me:hunter2@h""#,
            "aws.endpoint",
        ),
        (
            r#"region = "$region"
            endpoint = "https://h/path""#,
            "aws.endpoint",
        ),
        (
            r#"region = "$region"
            endpoint = "https://ec2.example\n.evil.example""#,
            "aws.endpoint",
        ),
        (
            r#"region = "$region"
            endpoint = "https://ec2.\u0435xample""#,
            "aws.endpoint",
        ),
        (
            r#"region = "$region"
            endpoint = "https:evil.example""#,
            "aws.endpoint",
        ),
        (
            r#"region = "$region"
            profile = "a\u001b[2K""#,
            "aws.profile",
        ),
        (
            r#"region = "$region"
            credentials_file = "relative""#,
            "aws.credentials_file",
        ),
        (r#"region = "$region""#, "aws.allow"),
    ] {
        let error = resolved(text, &section).unwrap_err();
        let (PolicyError::Key { key: found, .. } | PolicyError::Rule { place: found, .. }) = &error;
        assert_eq!(found, place, "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert!(toml::from_str::<AwsPolicy>("regions = []").is_err(), "an unknown key");
}

#[test]
fn says_in_words_what_it_allows() {
    let section = json!({ "region": ["eu-central-1", "eu-west-1"] });
    let with_identity = format!("{POLICY}\nprofile = \"backup\"\nrole_arn = \"arn:aws:iam::1:role/x\"");
    assert_eq!(
        resolved(&with_identity, &section).unwrap().explain(),
        [
            "call `ec2:Describe*` in `eu-central-1`, `eu-west-1`",
            "call `ec2:CreateSnapshots` in `eu-central-1`, `eu-west-1`",
            "call `ec2:CreateTags` with `ResourceId.*` only as `snap-<name>` and `Tag.*.Key` only as `stillframe-<name>` in \
             `eu-central-1`, `eu-west-1`",
            "call `ec2:DeleteSnapshot` with `SnapshotId` only as `snap-<name>` in `eu-central-1`, `eu-west-1`",
            "call `ec2:DeleteSnapshot` with `SnapshotId` only as `<vol-x|vol-y>` in `eu-central-1`, `eu-west-1`",
            "sign with the profile `backup`, in the role `arn:aws:iam::1:role/x`; the provider sees neither keys nor signatures",
        ]
    );
}

#[test]
fn says_that_an_endpoint_is_not_encrypted() {
    let explained =
        |endpoint: &str| resolved(POLICY, &json!({ "region": "eu-west-1", "endpoint": endpoint })).unwrap().explain().remove(0);
    assert_eq!(explained("https://ec2.example"), "call `ec2:Describe*` at `https://ec2.example`, signed for `eu-west-1`");
    assert_eq!(
        explained("http://ec2.example"),
        "call `ec2:Describe*` at `http://ec2.example`, unencrypted, signed for `eu-west-1`"
    );
}

#[test]
fn who_names_a_profile_alone_keeps_the_rules_of_the_provider() {
    let section = json!({ "region": "eu-west-1" });
    let keys = section.as_object().unwrap();
    let bundled = policy(POLICY);
    let own = policy("profile = \"backup\"").or(&bundled).resolve(&Keys::new(keys)).unwrap();
    assert_eq!(own.allow, bundled.resolve(&Keys::new(keys)).unwrap().allow);
    assert_eq!(own.identity().profile.as_deref(), Some("backup"));
    let other_rules = policy("allow = [\"ec2:DescribeVolumes\"]").or(&bundled).resolve(&Keys::new(keys)).unwrap();
    assert_eq!(other_rules.allow.len(), 1, "a list of rules replaces the other as a whole");
}
