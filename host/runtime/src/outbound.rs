//! Requests to the services that a grant names: one client for `aws` and `http`.
//!
//! An answer is whole and bounded, or an error. Nothing is repeated and no redirect is followed: the provider sees the answer and
//! decides. TLS is rustls with ring and the system's certificates. A proxy of the environment carries `https` alone, which it
//! cannot look into, and never what goes to this machine. What the client's libraries log is dropped: it could be a header.

mod tls;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt as _;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use url::{Host, Url};

use crate::text::clean;

/// Bytes of an answer's body. A full page of EC2's longest listings has less than 2 MiB.
pub(crate) const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Longest time for one request, whatever a provider asks for: services answer within seconds or not at all.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// Bytes of a library's words that are quoted.
const MAX_REASON_BYTES: usize = 512;

/// Where requests go out.
pub(crate) struct Outbound {
    connectors: tls::Connectors,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer, in words without a header or a URL.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(pub(crate) String);

/// There was no answer in time.
#[derive(Debug)]
pub(crate) struct TooLate;

impl Outbound {
    /// Opens nothing yet.
    pub(crate) fn new(ca_cert_file: Option<PathBuf>) -> Self {
        Self { connectors: tls::Connectors::new(ca_cert_file) }
    }

    /// Sends one request and reads its answer to the end.
    pub(crate) async fn send(&self, url: &Url, request: http::Request<SdkBody>) -> Result<Answer, NoAnswer> {
        self.exchange(url, request).with_subscriber(NoSubscriber::default()).await
    }

    async fn exchange(&self, url: &Url, request: http::Request<SdkBody>) -> Result<Answer, NoAnswer> {
        let connector = self.connectors.towards(url)?;
        let has_no_body = request.method() == http::Method::HEAD;
        let request = HttpRequest::try_from(request).map_err(|_| NoAnswer("the request cannot be expressed".to_owned()))?;
        let response = connector.call(request).await;
        let response = response.map_err(|error| NoAnswer(format!("there is no answer: {}", reasons(&error))))?;
        read(response, has_no_body, url.scheme() == "http").await
    }
}

/// How long a request may take: what the provider wants, what the host allows, and what is left of the call.
pub(crate) fn wait(asked_ms: Option<u32>, remaining: Duration) -> Duration {
    asked_ms.map_or(MAX_WAIT, |asked| Duration::from_millis(asked.into())).min(MAX_WAIT).min(remaining)
}

/// Drives a request until it is answered or its time is over.
pub(crate) async fn within<F: Future>(wait: Duration, request: F) -> Result<F::Output, TooLate> {
    tokio::time::timeout(wait, request).await.map_err(|_| TooLate)
}

/// Whether a host is this machine by its name alone.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn read(response: HttpResponse, has_no_body: bool, is_plain: bool) -> Result<Answer, NoAnswer> {
    let status = response.status().as_u16();
    let headers: Vec<(String, String)> =
        response.headers().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let announced = header("content-length").and_then(|length| length.parse::<usize>().ok());
    if !has_no_body && announced.is_some_and(|length| length > MAX_ANSWER_BYTES) {
        return Err(too_large());
    }
    let has_an_end = announced.is_some() || header("transfer-encoding").is_some();
    let mut body = Vec::new();
    let mut rest = response.into_body();
    while let Some(frame) = rest.frame().await {
        let frame = frame.map_err(|error| NoAnswer(format!("the answer broke off: {}", reasons(error.as_ref()))))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if body.len() + bytes.len() > MAX_ANSWER_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&bytes);
    }
    // TLS says where a connection ends; without it, an answer that ends with the connection may be half of one.
    if is_plain && !has_an_end && !body.is_empty() {
        return Err(NoAnswer("the answer does not say where it ends, so that it may be half of one".to_owned()));
    }
    Ok(Answer { status, headers, body })
}

fn too_large() -> NoAnswer {
    NoAnswer(format!("the answer is larger than {} MiB", MAX_ANSWER_BYTES >> 20))
}

/// An error and its causes.
fn reasons(error: &(dyn Error + 'static)) -> String {
    let mut words = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if words.last() != Some(&text) {
            words.push(text);
        }
        cause = error.source();
    }
    clean(&words.join(": "), MAX_REASON_BYTES)
}

impl fmt::Debug for Outbound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Outbound").finish_non_exhaustive()
    }
}
