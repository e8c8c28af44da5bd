//! From a provider's request to a signed one: body, headers, Signature Version 4.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_types::body::SdkBody;
use url::{Url, form_urlencoded};

use crate::bindings::stillframe::provider::aws::{JsonPayload, Payload, QueryPayload, Request};

/// What this program calls itself.
const USER_AGENT: &str = concat!("stillframe/", env!("CARGO_PKG_VERSION"));

/// Bytes of a version or of a target's prefix.
const MAX_WORD_BYTES: usize = 128;

/// A request that only lacks its signature.
pub(super) struct Draft {
    pub(super) url: Url,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Draft {
    /// Writes the body and the headers of the protocol.
    pub(super) fn new(base_url: &str, request: &Request) -> Result<Self, String> {
        let url = Url::parse(base_url).map_err(|error| format!("there is no such address: {error}"))?;
        let (content_type, body, target) = match &request.payload {
            Payload::Query(query) => ("application/x-www-form-urlencoded; charset=utf-8", form(&request.action, query)?, None),
            Payload::Json(json) => ("application/x-amz-json-1.1", object(json)?, Some(target(&request.action, json)?)),
        };
        let mut headers = vec![("content-type", content_type.to_owned()), ("user-agent", USER_AGENT.to_owned())];
        headers.extend(target.map(|target| ("x-amz-target", target)));
        Ok(Self { url, headers, body })
    }

    /// The signed request, and its signature.
    pub(super) fn sign(&self, keys: &Credentials, region: &str, service: &str) -> Result<(http::Request<SdkBody>, String), String> {
        // Details of a failure could hold what is signed.
        let unsigned = || "the request cannot be signed".to_owned();
        let identity = Identity::from(keys.clone());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| unsigned())?
            .into();
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let signable = SignableRequest::new("POST", self.url.as_str(), headers, SignableBody::Bytes(self.body.as_bytes()));
        let signed = tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
            signable.and_then(|signable| sign(signable, &params))
        });
        let (instructions, signature) = signed.map_err(|_| unsigned())?.into_parts();
        let mut request = http::Request::post(self.url.as_str());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(SdkBody::from(self.body.as_str())).map_err(|_| unsigned())?;
        instructions.apply_to_request_http1x(&mut request);
        Ok((request, signature))
    }
}

fn form(action: &str, query: &QueryPayload) -> Result<String, String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", word("the version", &query.version)?);
    for (name, value) in &query.params {
        form.append_pair(name, value);
    }
    Ok(form.finish())
}

fn object(json: &JsonPayload) -> Result<String, String> {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&json.body) {
        Ok(_) => Ok(json.body.clone()),
        Err(_) => Err("the body is no JSON object".to_owned()),
    }
}

fn target(action: &str, json: &JsonPayload) -> Result<String, String> {
    Ok(format!("{}.{action}", word("the target", &json.target)?))
}

fn word<'a>(what: &str, text: &'a str) -> Result<&'a str, String> {
    // Without a dot: in a target it stands before the action, and who splits there would find another one than the policy has judged.
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if text.is_empty() || text.len() > MAX_WORD_BYTES || !text.bytes().all(is_fine) {
        return Err(format!("{what} is no word of letters, digits, `_` and `-`"));
    }
    Ok(text)
}
