//! Requests of crate `object_store`, through our own client.
//!
//! The crate calls every 404 an absent object and every 409 an existing one. A missing bucket is neither, so a refusal is read here
//! first: only what names the object goes on as an answer, everything else becomes a fault with its code. The kinds of errors are for
//! the crate's own repetition, which is off.

use async_trait::async_trait;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use serde_json::Value;
use thiserror::Error;

use crate::remote::{Answer, Reason};

/// Longest refusal that is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// Codes with which a server says that exactly this object is absent, or is there.
const CODES_ABOUT_THE_OBJECT: [&str; 4] = ["NoSuchKey", "BlobNotFound", "BlobAlreadyExists", "ConditionNotMet"];

/// A refusal on its way through the crate.
#[derive(Debug, Error)]
#[error("the server answered {0}")]
pub(super) struct Refusal(pub(super) Answer);

/// Makes the crate use our client.
#[derive(Debug, Clone)]
pub(super) struct Bridge(pub(super) SharedHttpConnector);

impl HttpConnector for Bridge {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Bridge {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_head = request.method() == ::http::Method::HEAD;
        let request =
            request.map(SdkBody::from_body_1_x).try_into().map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let answer = self.0.call(request).await.map_err(|error| HttpError::new(HttpErrorKind::Connect, error))?;
        let answer = answer.try_into_http1x().map_err(|error| HttpError::new(HttpErrorKind::Decode, error))?;
        let (head, body) = answer.into_parts();
        let broken = |error: BoxError| HttpError::new(HttpErrorKind::Interrupted, Reason::of(error.as_ref()));
        if head.status.is_success() {
            return Ok(::http::Response::from_parts(head, HttpResponseBody::new(body.map_err(broken))));
        }
        let text = Limited::new(body, MAX_REFUSAL_BYTES).collect().await.map_err(broken)?.to_bytes();
        let answer = refusal(&head, &text);
        // An answer to HEAD has no body; Azure repeats its code in a header, Google says nothing.
        let is_about_the_object = CODES_ABOUT_THE_OBJECT.contains(&answer.code.as_str()) || (is_head && answer.code.is_empty());
        match head.status.as_u16() {
            404 | 409 if is_about_the_object => {}
            412 => {}
            _ => return Err(HttpError::new(HttpErrorKind::Unknown, Refusal(answer))),
        }
        Ok(::http::Response::from_parts(head, text.into()))
    }
}

/// Code and message, of XML as both stores write it or of JSON: as token services do, and as Google where an error is an object.
fn refusal(head: &::http::response::Parts, body: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(body);
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
    };
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let property = |pointers: &[&str]| pointers.iter().find_map(|pointer| json.pointer(pointer).and_then(Value::as_str));
    let code = header("x-ms-error-code").or_else(|| element("Code"));
    let code = code.or_else(|| property(&["/error", "/error/errors/0/reason", "/error/code", "/error/status"]));
    let message = element("Message").or_else(|| property(&["/error_description", "/error/message"]));
    Answer::new(head.status.as_u16(), code, message, header("x-ms-request-id").or_else(|| header("x-guploader-uploadid")))
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn reads_code_and_message_whatever_the_server_writes() {
        let google = r#"{"error": {"code": 403, "message": "no \"storage.objects.get\" here", "errors": [{"message": "m", "reason": "forbidden"}]}}"#;
        let newer = r#"{"error": {"code": 403, "message": "caller lacks a right", "status": "PERMISSION_DENIED"}}"#;
        let token = r#"{"error": "invalid_grant", "error_description": "bad \"jwt\""}"#;
        let xml = "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        for (body, expected) in [
            (google, ["forbidden", "no \"storage.objects.get\" here"]),
            (newer, ["PERMISSION_DENIED", "caller lacks a right"]),
            (token, ["invalid_grant", "bad \"jwt\""]),
            (xml, ["AccessDenied", "no"]),
        ] {
            let (head, ()) = ::http::Response::builder().status(403).body(()).unwrap().into_parts();
            let answer = refusal(&head, body.as_bytes());
            assert_eq!(answer.code, expected[0], "{body}");
            assert!(answer.to_string().contains(expected[1]), "{answer}");
        }
    }

    #[test]
    fn what_is_no_refusal_of_a_store_has_no_code() {
        for body in ["", "<html>no</html>", "{\"error\": 7}", "[]", "{\"error\": {\"code\": 500}}"] {
            let (head, ()) = ::http::Response::builder().status(500).body(()).unwrap().into_parts();
            assert_eq!(refusal(&head, body.as_bytes()).code, "", "{body}");
        }
    }
}
