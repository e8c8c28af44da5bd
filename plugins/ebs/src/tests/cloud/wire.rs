//! EC2's language: parameters in, XML out.

use std::collections::BTreeMap;

use stillframe_sdk::aws::Response;

use super::Vol;

/// Parameters of a request.
pub(in crate::tests) type Params = BTreeMap<String, String>;

pub(super) fn element(name: &str, inner: &str) -> String {
    let inner = if inner.starts_with('<') { inner.to_owned() } else { inner.replace('&', "&amp;").replace('<', "&lt;") };
    format!("<{name}>{inner}</{name}>")
}

pub(super) fn success(action: &str, body: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\n\
         <requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>{body}</{action}Response>"
    );
    Response { status: 200, request_id: None, body }
}

pub(super) fn error(status: u16, code: &str) -> Response {
    error_with(status, code, "it cannot be done")
}

pub(super) fn error_with(status: u16, code: &str, message: &str) -> Response {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
         </Errors><RequestID>0a1b2c3d-EXAMPLE</RequestID></Response>"
    );
    Response { status, request_id: Some("0a1b2c3d-EXAMPLE".to_owned()), body }
}

pub(super) fn identity(account: &str) -> Response {
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::{account}:user/backup</Arn><UserId>AIDA</UserId><Account>{account}</Account></GetCallerIdentityResult>\
         </GetCallerIdentityResponse>"
    );
    Response { status: 200, request_id: None, body }
}

pub(super) fn tag_set(tags: &BTreeMap<String, String>) -> String {
    let item = |(key, value): (&String, &String)| element("item", &[element("key", key), element("value", value)].concat());
    element("tagSet", &tags.iter().map(item).collect::<String>())
}

pub(super) fn volume(id: &str, vol: &Vol) -> String {
    let status = match (&vol.attached, vol.busy) {
        (Some(_), _) => "in-use",
        (None, 0) if !vol.fails => "available",
        (None, _) => "creating",
    };
    let attachment = vol.attached.as_ref().map(|(instance, device)| {
        let state = if vol.busy > 0 { "attaching" } else { "attached" };
        let fields =
            [element("volumeId", id), element("instanceId", instance), element("device", device), element("status", state)];
        element("item", &fields.concat())
    });
    [
        element("volumeId", id),
        element("size", "10"),
        element("snapshotId", &vol.snapshot),
        element("availabilityZone", "eu-central-1a"),
        element("status", status),
        element("attachmentSet", &attachment.unwrap_or_default()),
        tag_set(&vol.tags),
        element("volumeType", "gp3"),
        element("encrypted", "true"),
    ]
    .concat()
}

/// `key.1`, `key.2`, ...
pub(super) fn list(params: &Params, key: &str) -> Vec<String> {
    (1..).map_while(|number| params.get(&format!("{key}.{number}")).cloned()).collect()
}

pub(super) fn filters(params: &Params) -> Vec<(String, Vec<String>)> {
    (1..)
        .map_while(|number| {
            let name = params.get(&format!("Filter.{number}.Name"))?.clone();
            Some((name, list(params, &format!("Filter.{number}.Value"))))
        })
        .collect()
}

/// The tags of what a request makes, within EC2's bounds.
pub(super) fn tags(params: &Params) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for number in 1.. {
        let tag = |part: &str| params.get(&format!("TagSpecification.1.Tag.{number}.{part}")).cloned();
        let (Some(key), Some(value)) = (tag("Key"), tag("Value")) else { break };
        assert!(key.len() <= 128 && value.len() <= 256 && !key.starts_with("aws:"), "{key}={value}");
        assert_eq!(value.trim(), value, "{key}");
        assert_eq!(tags.insert(key.clone(), value), None, "{key}");
    }
    assert!(tags.len() <= 50, "{tags:?}");
    tags
}
