//! A provider that makes the calls of its configuration, tells how each ended, and then looks for secrets in its own memory.
//!
//! What it looks for comes with every byte raised by one, and is compared byte by byte: its memory never holds it unless
//! something else has put it there. It looks right after each call, before anything can be overwritten.

#![cfg(target_family = "wasm")]

mod memory;

use serde::Deserialize;
use stillframe_sdk::aws::{self, Aws, JsonPayload, Payload, QueryPayload};
use stillframe_sdk::http::{self, Http};
use stillframe_sdk::{
    CreateRequest, DataPath, Deletion, Error, Features, Host, Provider, ProviderInfo, Sandbox, SetPage, SetReference, SnapshotSet,
    Volume,
};

/// Characters of a body that are told.
const TOLD: usize = 2_000;

/// Makes calls.
#[derive(Debug, Clone, Copy)]
pub struct Caller;

stillframe_sdk::export_provider!(Caller);

/// What to do.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    #[serde(default)]
    calls: Vec<Call>,
    /// What to look for, each byte raised by one.
    #[serde(default)]
    raised: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Call {
    Query(Query),
    Json(Json),
    Http(Request),
}

#[derive(Debug, Clone, Deserialize)]
struct Query {
    service: String,
    region: Option<String>,
    action: String,
    version: Option<String>,
    #[serde(default)]
    params: Vec<(String, String)>,
    timeout_ms: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
struct Json {
    service: String,
    action: String,
    target: String,
    body: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
    credential: Option<String>,
    timeout_ms: Option<u32>,
}

impl<H: Host + Aws + Http> Provider<H> for Caller {
    type Config = Config;

    /// Tries what it must not have here, and tells in its summary how that ended.
    fn describe() -> ProviderInfo {
        let query = Query {
            service: "ec2".to_owned(),
            region: None,
            action: "DescribeVolumes".to_owned(),
            version: None,
            params: Vec::new(),
            timeout_ms: None,
        };
        let request = Request {
            method: "GET".to_owned(),
            url: "https://array.example/api/".to_owned(),
            headers: Vec::new(),
            body: None,
            credential: None,
            timeout_ms: None,
        };
        ProviderInfo {
            name: "caller".to_owned(),
            version: "1.0.0".to_owned(),
            summary: format!("{} {}", made(&Sandbox, &Call::Query(query)), made(&Sandbox, &Call::Http(request))),
            features: Features::empty(),
            config_schema: r#"{"type":"object"}"#.to_owned(),
            needs: Vec::new(),
        }
    }

    fn check(host: &H, config: &Config) -> Result<Vec<String>, Error> {
        let told = |call: &Call| {
            let how = made(host, call);
            format!("{how} found: {:?}", memory::count(&config.raised))
        };
        let mut told: Vec<String> = config.calls.iter().map(told).collect();
        if !config.raised.is_empty() {
            told.push(format!("like signatures: {:?}", memory::signatures()));
        }
        Ok(told)
    }

    fn resolve(_: &H, _: &Config, _: Vec<DataPath>) -> Result<Vec<Volume>, Error> {
        Ok(Vec::new())
    }

    fn create_set(_: &H, _: &Config, _: CreateRequest) -> Result<SnapshotSet, Error> {
        Err(Error::Unsupported("creating".to_owned()))
    }

    fn get_set(_: &H, _: &Config, _: SetReference) -> Result<Option<SnapshotSet>, Error> {
        Ok(None)
    }

    fn list_sets(_: &H, _: &Config, _: &str, _: Option<String>) -> Result<SetPage, Error> {
        Ok(SetPage { sets: Vec::new(), next: None })
    }

    fn delete_set(_: &H, _: &Config, _: &str) -> Result<Deletion, Error> {
        Ok(Deletion::Absent)
    }
}

/// Makes one call, and tells how it ended.
fn made(host: &(impl Aws + Http), call: &Call) -> String {
    match call.clone() {
        Call::Query(Query { service, region, action, version, params, timeout_ms }) => {
            let version = version.unwrap_or_else(|| "2016-11-15".to_owned());
            let payload = Payload::Query(QueryPayload { version, params });
            told_of_aws(Aws::call(host, &aws::Request { service, region, action, payload, timeout_ms }))
        }
        Call::Json(Json { service, action, target, body }) => {
            let payload = Payload::Json(JsonPayload { target, body });
            told_of_aws(Aws::call(host, &aws::Request { service, region: None, action, payload, timeout_ms: None }))
        }
        Call::Http(Request { method, url, headers, body, credential, timeout_ms }) => {
            let body = body.map(String::into_bytes);
            match host.send(&http::Request { method, url, headers, body, credential, timeout_ms }) {
                Ok(http::Response { status, headers, body }) => {
                    format!("{status} {headers:?} {} bytes: {}", body.len(), begin(&String::from_utf8_lossy(&body)))
                }
                Err(error) => format!("{error:?}"),
            }
        }
    }
}

fn told_of_aws(answer: Result<aws::Response, aws::AwsError>) -> String {
    match answer {
        Ok(aws::Response { status, request_id, body }) => {
            format!("{status} {request_id:?} {} bytes: {}", body.len(), begin(&body))
        }
        Err(error) => format!("{error:?}"),
    }
}

fn begin(body: &str) -> String {
    body.chars().take(TOLD).collect()
}
