//! Serves one request: faults first, then the signature, then the action.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::actions;
use super::call::Call;
use super::faults::Fault;
use super::refusal::Refusal;
use super::{REGION, Shared};
use crate::http::{self, Request};

/// The only action of STS, which answers in a way of its own.
const CALLER: &str = "GetCallerIdentity";

/// A request that was made, and how it was answered.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `CreateSnapshots`.
    pub action: String,
    /// The parameters, without action and version.
    pub parameters: BTreeMap<String, String>,
    /// The code of the error that was answered; none after a success, be its answer lost or not.
    pub error: Option<String>,
}

/// Serves one connection, which has one request.
pub(super) async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let Some(request) = http::read(&mut client).await else { return };
    let call = read(&request);
    let fault = call.as_ref().ok().and_then(|call| shared.faults.lock().unwrap().take(call));
    match &fault {
        Some(Fault::Reset) => return,
        Some(Fault::Slow(duration)) => tokio::time::sleep(*duration).await,
        _ => {}
    }
    let (status, document, request_id) = answer(&shared, &request, call, fault.as_ref());
    match fault {
        Some(Fault::LostAnswer) => return,
        Some(Fault::NoAnswer) => {
            // Until the client gives up and closes.
            let mut rest = Vec::new();
            let _gone = client.read_to_end(&mut rest).await;
            return;
        }
        _ => {}
    }
    let headers = [("content-type", "text/xml;charset=UTF-8"), ("x-amzn-requestid", request_id.as_str())];
    let _gone = client.write_all(&http::answer(status, &headers, document.as_bytes())).await;
}

fn read(request: &Request) -> Result<Call, Refusal> {
    let query = request.target.split_once('?').map(|(_, query)| query);
    match request.method.as_str() {
        "POST" => Call::read(&String::from_utf8_lossy(&request.body)),
        "GET" => Call::read(query.unwrap_or_default()),
        other => Err(Refusal::new("UnsupportedOperation", format!("The method {other} is not supported.")).with_status(405)),
    }
}

fn service_of(call: &Call) -> &'static str {
    if call.action == CALLER { "sts" } else { "ec2" }
}

/// Status, document and request id.
fn answer(shared: &Shared, request: &Request, call: Result<Call, Refusal>, fault: Option<&Fault>) -> (u16, String, String) {
    let outcome = match (&call, refused_by(fault, request)) {
        (_, Some(refusal)) => Err(refusal),
        (Ok(call), None) => shared
            .credentials
            .check(request, service_of(call), REGION, Timestamp::now())
            .and_then(|()| actions::perform(&mut shared.cloud.lock().unwrap(), call, fault == Some(&Fault::Partial))),
        (Err(refusal), None) => Err(refusal.clone()),
    };
    let mut seen = shared.seen.lock().unwrap();
    let request_id = format!("{:08x}-0000-4000-8000-000000000000", seen.len() + 1);
    let (action, parameters) = call.map_or_else(|_| Default::default(), |call| (call.action, call.parameters));
    let error = outcome.as_ref().err().map(|refusal| refusal.code.clone());
    seen.push(Seen { action: action.clone(), parameters, error });
    match outcome {
        Ok(xml) if action == CALLER => (200, xml.answer_of_sts(&action, &request_id), request_id),
        Ok(xml) => (200, xml.answer(&action, &request_id), request_id),
        Err(refusal) => (refusal.status, refusal.document(&request_id), request_id),
    }
}

/// Faults that are an answer of their own, and for which nothing is done.
fn refused_by(fault: Option<&Fault>, request: &Request) -> Option<Refusal> {
    match fault? {
        Fault::Throttled => Some(Refusal::new("RequestLimitExceeded", "Request limit exceeded.").with_status(503)),
        Fault::Internal => Some(Refusal::new("InternalError", "An internal error has occurred").with_status(500)),
        Fault::Refused(status, code) => Some(Refusal::new(code, "told by the test").with_status(*status)),
        Fault::Echo => {
            let quoted = ["x-amz-security-token", "authorization"].map(|name| request.header(name).unwrap_or_default()).join(" ");
            Some(Refusal::new("AuthFailure", format!("not with {quoted}")).with_status(401))
        }
        Fault::Reset | Fault::Slow(_) | Fault::LostAnswer | Fault::NoAnswer | Fault::Partial => None,
    }
}
