//! An object store of our own, in memory: what S3 and Google's XML interface have in common, with honesty as a setting.
//!
//! It exists for what no real server that runs here does on demand: conditional writes that look first and write then, and Google's
//! `x-goog-if-generation-match`. It checks no signatures.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::BUCKET;
use crate::http::{self, Request};
use crate::listener::Listener;

/// How long a server that looks before it writes leaves the gap open for a second writer.
const GAP: Duration = Duration::from_millis(100);

/// Whose interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// S3: `If-None-Match: *`.
    S3,
    /// Google: `x-goog-if-generation-match: 0`.
    Google,
}

/// How it treats the precondition of a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// As it must.
    Honoured,
    /// As if it were not there.
    Ignored,
    /// It looks, and writes a moment later; a writer alone sees nothing wrong.
    Racing,
}

/// The server; it runs while the value lives.
#[derive(Debug)]
pub struct OwnServer {
    objects: Arc<Objects>,
    listener: Listener,
}

#[derive(Debug)]
struct Objects {
    dialect: Dialect,
    precondition: Precondition,
    by_name: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Told when a writer has looked and found nothing.
    has_looked: Notify,
}

impl OwnServer {
    /// Starts an empty one.
    pub fn start(dialect: Dialect, precondition: Precondition) -> Self {
        let objects = Arc::new(Objects { dialect, precondition, by_name: Mutex::default(), has_looked: Notify::new() });
        let shared = Arc::clone(&objects);
        let listener = Listener::start("", move |stream| serve(stream, Arc::clone(&shared)));
        Self { objects, listener }
    }

    /// Base URL of the server.
    pub fn endpoint(&self) -> &str {
        self.listener.endpoint()
    }

    /// All objects, by their names.
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.objects.by_name.lock().unwrap().clone()
    }

    /// Puts an object there that nobody has sent.
    pub fn put(&self, name: &str, body: &[u8]) {
        self.objects.by_name.lock().unwrap().insert(name.to_owned(), body.to_vec());
    }

    /// Names of all objects.
    pub fn names(&self) -> Vec<String> {
        self.objects.by_name.lock().unwrap().keys().cloned().collect()
    }
}

async fn serve(mut client: TcpStream, objects: Arc<Objects>) {
    let Some(request) = http::read(&mut client).await else { return };
    let path = request.path();
    let name = path.strip_prefix(&format!("/{BUCKET}")).map(|rest| rest.trim_start_matches('/').to_owned());
    let answer = match (name, request.method.as_str()) {
        (None, _) => http::refusal(404, "NoSuchBucket"),
        (Some(name), "GET") if name.is_empty() => objects.list(&request),
        (Some(name), "GET" | "HEAD") => objects.read(&name, request.method == "HEAD"),
        (Some(name), "PUT") => objects.write(name, request).await,
        (Some(name), "DELETE") => objects.delete(&name),
        _ => http::refusal(501, "NotImplemented"),
    };
    let _gone = client.write_all(&answer).await;
}

const OBJECT_HEADERS: [(&str, &str); 3] =
    [("etag", "\"1\""), ("last-modified", "Sat, 21 Nov 2026 12:00:00 GMT"), ("x-goog-generation", "1")];

impl Objects {
    fn read(&self, name: &str, is_head: bool) -> Vec<u8> {
        let objects = self.by_name.lock().unwrap();
        let Some(body) = objects.get(name) else {
            return if is_head { http::answer(404, &[], b"") } else { http::refusal(404, "NoSuchKey") };
        };
        let length = body.len().to_string();
        let headers = [OBJECT_HEADERS.as_slice(), &[("content-length", length.as_str())]].concat();
        http::answer(200, &headers, if is_head { b"" } else { body })
    }

    async fn write(&self, name: String, request: Request) -> Vec<u8> {
        let has_condition = match self.dialect {
            Dialect::S3 => request.header("if-none-match") == Some("*"),
            Dialect::Google => request.header("x-goog-if-generation-match") == Some("0"),
        };
        if has_condition && self.precondition != Precondition::Ignored {
            if self.by_name.lock().unwrap().contains_key(&name) {
                return http::refusal(412, "PreconditionFailed");
            }
            if self.precondition == Precondition::Racing {
                self.has_looked.notify_waiters();
                let _nobody_else = tokio::time::timeout(GAP, self.has_looked.notified()).await;
            }
        }
        let mut objects = self.by_name.lock().unwrap();
        // Between the look above and this lock there was no pause, and one thread serves all.
        objects.insert(name, request.body);
        http::answer(200, &OBJECT_HEADERS, b"")
    }

    fn delete(&self, name: &str) -> Vec<u8> {
        match (self.by_name.lock().unwrap().remove(name), self.dialect) {
            (None, Dialect::Google) => http::refusal(404, "NoSuchKey"),
            _ => http::answer(204, &[], b""),
        }
    }

    fn list(&self, request: &Request) -> Vec<u8> {
        let prefix = request.parameter("prefix").unwrap_or_default();
        let limit = request.parameter("max-keys").and_then(|text| text.parse().ok()).unwrap_or(1_000).min(1_000);
        let after = request.parameter("continuation-token").or_else(|| request.parameter("start-after")).unwrap_or_default();
        let objects = self.by_name.lock().unwrap();
        let mut found = objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > after);
        let page: Vec<_> = found.by_ref().take(limit).collect();
        let is_truncated = found.next().is_some();
        let mut text =
            format!("<?xml version=\"1.0\"?><ListBucketResult><Name>{BUCKET}</Name><IsTruncated>{is_truncated}</IsTruncated>");
        let _infallible = write!(text, "<KeyCount>{}</KeyCount>", page.len());
        for (name, body) in &page {
            let _infallible = write!(
                text,
                "<Contents><Key>{}</Key><Size>{}</Size><ETag>\"1\"</ETag><LastModified>2026-11-21T12:00:00.000Z</LastModified></Contents>",
                escaped(name),
                body.len()
            );
        }
        if let Some((last, _)) = page.last().filter(|_| is_truncated) {
            let _infallible = write!(text, "<NextContinuationToken>{}</NextContinuationToken>", escaped(last));
        }
        text.push_str("</ListBucketResult>");
        http::answer(200, &[("content-type", "application/xml")], text.as_bytes())
    }
}

/// A text in XML, as S3 writes the names of objects: control characters as references, although XML forbids them.
fn escaped(text: &str) -> String {
    let letter = |letter: char| match letter {
        '&' | '<' | '>' | '"' => format!("&#{};", u32::from(letter)),
        letter if letter.is_control() => format!("&#x{:x};", u32::from(letter)),
        letter => letter.to_string(),
    };
    text.chars().map(letter).collect()
}
