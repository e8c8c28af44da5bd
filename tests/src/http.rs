//! As much HTTP/1.1 as the servers of the harness need: whole requests, answers with a length, one request per connection.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream as BlockingStream;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait of one request of the harness.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest head of a request.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A request, read as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query, decoded.
    pub(crate) fn path(&self) -> String {
        decoded(self.target.split('?').next().unwrap_or_default())
    }

    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| decoded(&value.replace('+', " ")))
    }

    /// As it goes on to another server, which is told to end the connection after its answer.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "connection" && name != "expect") {
            let _infallible = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("connection: close\r\n\r\n");
        [text.as_bytes(), &self.body].concat()
    }
}

/// Reads one request; none when the client closed the connection instead.
pub(crate) async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > MAX_HEAD_BYTES || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, target) = (first.next()?, first.next()?);
    let pair = |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let headers = lines.filter_map(pair).collect();
    let mut request = Request { method, target, headers, body: bytes[end + 4..].to_vec() };
    if request.header("expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    let length: usize = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or_default();
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(request)
}

/// An answer with headers of ours, which ends the connection.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Answer\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _infallible = write!(text, "{name}: {value}\r\n");
    }
    // An answer to HEAD names the length of the body that it does not have.
    if !headers.iter().any(|(name, _)| *name == "content-length") && status != 204 {
        let _infallible = write!(text, "content-length: {}\r\n", body.len());
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// A refusal with this code, as S3 writes it.
pub(crate) fn refusal(status: u16, code: &str) -> Vec<u8> {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>told by the test</Message></Error>");
    answer(status, &[("content-type", "application/xml"), ("x-amz-request-id", "TEST")], text.as_bytes())
}

/// Sends one request of the harness itself; returns the status and the body as text.
pub(crate) fn request(endpoint: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let host = endpoint.trim_start_matches("http://");
    let mut stream = BlockingStream::connect(host).unwrap_or_else(|error| panic!("cannot connect to {endpoint}: {error}"));
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).unwrap();
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        let _infallible = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    stream.write_all(&[text.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status.unwrap_or_else(|| panic!("no HTTP answer of {endpoint}: {answer}")), body)
}

/// With percent signs in place of everything that is not a letter or a digit.
pub(crate) fn encoded(text: &str) -> String {
    let byte = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(byte).collect()
}

/// Without percent signs.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let hexadecimal = others.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        if let (b'%', Some(byte)) = (first, hexadecimal) {
            bytes.push(byte);
            rest = &others[2..];
        } else {
            bytes.push(*first);
            rest = others;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
