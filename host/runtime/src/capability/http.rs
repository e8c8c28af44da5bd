//! `http`: requests to the addresses that the operator granted.
//!
//! The policy is asked first, then the credential is read, then the service is asked, once. A redirect is an answer like any other:
//! should the provider follow it, that is a request of its own, which the policy judges anew. What the answer gives back of a
//! credential does not reach the provider.

mod headers;

use std::path::Path;

use aws_smithy_types::body::SdkBody;
use http::HeaderValue;
use http::header::ACCEPT_ENCODING;
use stillframe_core::provider::ProviderName;

use crate::bindings::stillframe::provider::http::{Host, HttpError, Request, Response};
use crate::capability::OFF;
use crate::capability::secret::Secret;
use crate::outbound::{self, Answer, Outbound};
use crate::policy::HttpGrant;
use crate::state::State;

/// Bytes of a request's body.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Status of an answer that holds a part of what was asked for.
const PARTIAL: u16 = 206;

/// What the calls of one provider share: made once, when it is loaded.
pub(crate) struct HttpAccess {
    grant: HttpGrant,
    outbound: Outbound,
}

/// What a credential adds to one request.
#[derive(Debug)]
struct Added {
    name: String,
    secret: Secret,
}

impl HttpAccess {
    /// Prepares nothing that costs time: most calls never use it.
    pub(crate) fn new(grant: HttpGrant) -> Self {
        let outbound = Outbound::new(grant.ca_cert_file().map(Path::to_owned));
        Self { grant, outbound }
    }

    async fn send(&self, provider: &ProviderName, request: Request) -> Result<Response, HttpError> {
        let url = self.grant.permit(&request.method, &request.url).map_err(HttpError::Denied)?;
        headers::check(&request.headers, &self.grant).map_err(HttpError::Denied)?;
        let body = request.body.unwrap_or_default();
        if body.len() > MAX_BODY_BYTES {
            return Err(HttpError::Failed(format!("the body is larger than {} MiB", MAX_BODY_BYTES >> 20)));
        }
        let invalid = |_| HttpError::Failed("the request cannot be expressed".to_owned());
        let mut builder = http::Request::builder().method(request.method.as_str()).uri(url.as_str());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        // A server may compress unless it is told otherwise.
        let mut outgoing = builder.header(ACCEPT_ENCODING, "identity").body(SdkBody::from(body)).map_err(invalid)?;
        let added = match request.credential {
            Some(name) => Some(self.add(name, &url, &mut outgoing)?),
            None => None,
        };
        let answer = self.outbound.send(&url, outgoing).await.map_err(|error| HttpError::Failed(error.to_string()))?;
        let (provider, method, status) = (provider.as_str(), request.method.as_str(), answer.status);
        tracing::debug!(provider, method, host = url.authority(), path = url.path(), status, "a service answered");
        response(answer, added.as_ref())
    }

    /// Adds the header, if the credential is for this address.
    fn add(&self, name: String, url: &url::Url, outgoing: &mut http::Request<SdkBody>) -> Result<Added, HttpError> {
        let credential = self.grant.credential(&name, url).map_err(HttpError::Denied)?;
        let secret = credential.read().map_err(HttpError::Failed)?;
        let unfit = || HttpError::Failed(format!("the credential `{name}` does not fit its header"));
        let header = http::HeaderName::try_from(credential.header()).map_err(|_| unfit())?;
        let mut value = HeaderValue::try_from(format!("{}{secret}", credential.prefix())).map_err(|_| unfit())?;
        value.set_sensitive(true);
        outgoing.headers_mut().insert(header, value);
        Ok(Added { name, secret: Secret::new(&secret) })
    }
}

fn response(answer: Answer, added: Option<&Added>) -> Result<Response, HttpError> {
    let Answer { status, mut headers, body } = answer;
    if let Some(Added { name, secret }) = added {
        if status == PARTIAL || headers.iter().any(|(name, value)| headers::is_encoding(name, value)) {
            return Err(HttpError::Failed(format!(
                "the answer is compressed or a part of one, and could hide the credential `{name}`; it is withheld"
            )));
        }
        if secret.is_in(&body) {
            return Err(HttpError::Failed(format!("the answer repeats the credential `{name}`, and is withheld")));
        }
        headers.retain(|(_, value)| !secret.is_in(value.as_bytes()));
    }
    headers.retain(|(name, _)| !headers::carries_credentials(name));
    Ok(Response { status, headers, body })
}

impl Host for State {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpError>> {
        // Copies: what an instance owns cannot be lent to a future that may move to another thread.
        let (shared, provider) = (self.access.clone(), self.provider.clone());
        let Some(access) = shared.as_ref().and_then(|access| access.http.as_ref()) else {
            return Ok(Err(HttpError::Denied(OFF.to_owned())));
        };
        let wait = outbound::wait(request.timeout_ms, self.deadline.remaining());
        Ok(match outbound::within(wait, access.send(&provider, request)).await {
            Ok(answer) => answer,
            Err(outbound::TooLate) => Err(HttpError::TimedOut),
        })
    }
}
