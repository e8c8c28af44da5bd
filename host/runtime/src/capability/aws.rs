//! `aws`: signed calls of the actions that the operator granted.
//!
//! The policy is asked first, then the credentials, then the service. One attempt each: how often and when to repeat depends on
//! what the action does, and only the provider knows that. The answer is given as it is, with one exception: should it repeat
//! what must not be known (a service that refuses a signature quotes the session token), that is taken out.

mod keys;
mod sign;
mod veil;

use std::sync::Arc;

use stillframe_core::provider::ProviderName;

use crate::bindings::stillframe::provider::aws::{AwsError, Host, Payload, Request, Response};
use crate::capability::OFF;
use crate::outbound::{self, Answer, Outbound};
use crate::policy::aws::{Asked, AwsGrant};
use crate::state::State;

use keys::Keys;
use sign::Draft;
use veil::Veil;

pub use keys::CredentialSource;

/// Bytes of a request's id: real ones have 36, and a header may hold anything.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// What the calls of one provider share: made once, when it is loaded.
pub(crate) struct AwsAccess {
    grant: AwsGrant,
    keys: Keys,
    outbound: Outbound,
}

impl AwsAccess {
    /// Prepares nothing that costs time: most calls never use it.
    pub(crate) fn new(grant: AwsGrant, source: Option<Arc<dyn CredentialSource>>) -> Self {
        let keys = Keys::new(source, grant.identity().clone(), grant.first_region().to_owned());
        Self { grant, keys, outbound: Outbound::new(None) }
    }

    async fn call(&self, provider: &ProviderName, request: &Request) -> Result<Response, AwsError> {
        let params = match &request.payload {
            Payload::Query(query) => Some(query.params.as_slice()),
            Payload::Json(_) => None,
        };
        let (service, action) = (request.service.as_str(), request.action.as_str());
        let asked = Asked { service, action, region: request.region.as_deref(), params };
        let region = self.grant.permit(&asked).map_err(AwsError::Denied)?;
        let draft = Draft::new(&self.grant.base_url(service, region), request).map_err(AwsError::Failed)?;
        let keys = self.keys.current().await.map_err(AwsError::NoCredentials)?;
        let (signed, signature) = draft.sign(&keys, region, service).map_err(AwsError::Failed)?;
        let veil = Veil::new(&keys, &signature);
        let answer =
            self.outbound.send(&draft.url, signed).await.map_err(|error| AwsError::Failed(veil.over(&error.to_string())))?;
        if matches!(answer.status, 401 | 403) {
            // They may have been exchanged; the provider's next attempt asks the source again.
            self.keys.forget().await;
        }
        let response = response(answer, &veil)?;
        let (provider, status) = (provider.as_str(), response.status);
        tracing::debug!(provider, service, action, region, status, request_id = response.request_id, "AWS answered");
        Ok(response)
    }
}

fn response(answer: Answer, veil: &Veil) -> Result<Response, AwsError> {
    let Answer { status, headers, body } = answer;
    let body = String::from_utf8(body).map_err(|_| AwsError::Failed("the answer is no text in UTF-8".to_owned()))?;
    let id = headers.into_iter().find(|(name, _)| name == "x-amzn-requestid").map(|(_, id)| veil.over(&id));
    let request_id = id.filter(|id| id.len() <= MAX_REQUEST_ID_BYTES && id.bytes().all(|byte| byte.is_ascii_graphic()));
    Ok(Response { status, request_id, body: veil.over(&body) })
}

impl Host for State {
    async fn call(&mut self, request: Request) -> wasmtime::Result<Result<Response, AwsError>> {
        // Copies: what an instance owns cannot be lent to a future that may move to another thread.
        let (shared, provider) = (self.access.clone(), self.provider.clone());
        let Some(access) = shared.as_ref().and_then(|access| access.aws.as_ref()) else {
            return Ok(Err(AwsError::Denied(OFF.to_owned())));
        };
        let wait = outbound::wait(request.timeout_ms, self.deadline.remaining());
        Ok(match outbound::within(wait, access.call(&provider, &request)).await {
            Ok(answer) => answer,
            Err(outbound::TooLate) => Err(AwsError::TimedOut),
        })
    }
}
