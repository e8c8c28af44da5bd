//! One connection: who it is, what it asks, what it is answered.
//!
//! Like WAL-G's daemon it answers any number of checks and then one request, and closes: PostgreSQL's library opens a connection for
//! each file. What cannot be understood is answered as an error and closed.
//!
//! A request is worked on only while its client waits: of one that has died nothing may get a name any more, since its server may
//! have been started again and have asked for another file in the same place.
//!
//! A request names a file and no server. So nothing is done for a client before it has shown that it means ours: our own by its
//! check, others by working in our data directory, as PostgreSQL and what it starts do.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::check::DirectoryId;
use super::protocol::{HEAD_BYTES, Reply, Request, body_length};
use super::service::Service;
use super::socket::is_trusted;

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a request to be answered.
    pub request: Duration,
    /// For a message to arrive whole, and for an answer to be taken.
    pub message: Duration,
    /// Between two messages. A client that keeps a connection open must not keep one of the few for ever.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: Duration::from_mins(2), message: Duration::from_secs(10), idle: Duration::from_mins(5) }
    }
}

/// Serves one connection to its end; refuses it without a slot. Once `ending` is true, no further message is waited for.
pub(super) async fn serve(
    mut stream: UnixStream,
    service: Arc<dyn Service>,
    limits: Limits,
    slot: Option<OwnedSemaphorePermit>,
    mut ending: watch::Receiver<bool>,
) {
    if slot.is_none() {
        tracing::warn!("too many connections; one is refused");
        return answer(&mut stream, limits, Reply::Failed).await;
    }
    if !is_trusted(&stream).unwrap_or(false) {
        tracing::warn!("a connection of another user is refused");
        return answer(&mut stream, limits, Reply::Failed).await;
    }
    let mut standing = Standing::Unknown;
    loop {
        let request = match next(&mut stream, limits, &mut ending).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(reason) => {
                tracing::warn!(reason, "a connection is closed");
                return answer(&mut stream, limits, Reply::Failed).await;
            }
        };
        let is_last = !matches!(request, Request::Check(_));
        if is_last && !is_ours(&stream, &*service, standing) {
            return answer(&mut stream, limits, Reply::Failed).await;
        }
        let reply = tokio::select! {
            // The client is looked at before every step of the work.
            biased;
            () = gone(&stream) => return tracing::debug!("a client does not wait any more; what it asked for is dropped"),
            reply = timeout(limits.request, handle(&*service, request, &mut standing)) => reply.unwrap_or_else(|_| {
                tracing::error!("a request is abandoned after {} seconds", limits.request.as_secs());
                Reply::Failed
            }),
        };
        answer(&mut stream, limits, reply).await;
        if is_last {
            return;
        }
    }
}

/// What a connection has shown by checks of our client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// There was none.
    Unknown,
    /// The last one was of a client that we serve.
    Proven,
    /// The last one was of a client that we do not serve.
    Refused,
}

/// Whether the other end means the server that we serve.
fn is_ours(stream: &UnixStream, service: &dyn Service, standing: Standing) -> bool {
    match standing {
        Standing::Proven => true,
        Standing::Refused => false,
        Standing::Unknown => {
            // Who waits for an answer lives, so nobody else has its process id.
            let process_id = stream.peer_cred().ok().and_then(|peer| peer.pid());
            let working = process_id.and_then(|id| DirectoryId::of(&PathBuf::from(format!("/proc/{id}/cwd"))).ok());
            let is_ours = working.is_some_and(|directory| service.is_home(directory));
            if !is_ours {
                tracing::error!(
                    process_id,
                    hint = "a server is served by the daemon of its own data directory; elsewhere, use `wal-push` and `wal-fetch`",
                    "a client that works outside of the data directory, or cannot be looked at, is refused"
                );
            }
            is_ours
        }
    }
}

/// The next message; none when there will be no more.
async fn next(stream: &mut UnixStream, limits: Limits, ending: &mut watch::Receiver<bool>) -> Result<Option<Request>, String> {
    let mut head = [0; HEAD_BYTES];
    let first = tokio::select! {
        first = timeout(limits.idle, stream.read(&mut head[..1])) => first,
        _ = ending.wait_for(|ending| *ending) => return Ok(None),
    };
    match first {
        Err(_) | Ok(Ok(0)) => return Ok(None),
        Ok(Err(error)) => return Err(error.to_string()),
        Ok(Ok(_)) => {}
    }
    let rest = async {
        stream.read_exact(&mut head[1..]).await.map_err(|error| error.to_string())?;
        let mut body = vec![0; body_length(head).map_err(|error| error.to_string())?];
        stream.read_exact(&mut body).await.map_err(|error| error.to_string())?;
        Request::parse(head, &body).map_err(|error| error.to_string())
    };
    let request = timeout(limits.message, rest).await.map_err(|_| "its message does not arrive".to_owned())?;
    request.map(Some)
}

async fn handle(service: &dyn Service, request: Request, standing: &mut Standing) -> Reply {
    match request {
        // That we live, and no more: it is asked from anywhere.
        Request::Check(None) => Reply::Done,
        Request::Check(Some(check)) => {
            let reply = service.check(check);
            *standing = if reply == Reply::Serving { Standing::Proven } else { Standing::Refused };
            reply
        }
        Request::Push(name) => service.push(&name).await,
        Request::Fetch(name, destination) => service.fetch(&name, &destination).await,
    }
}

/// Waits until the other end has closed the connection, or its half of it: it has died, or takes no interest in the answer.
async fn gone(stream: &UnixStream) {
    std::future::poll_fn(|context| poll_gone(stream, context)).await;
}

/// The kernel is asked each time: the runtime may know of a file that is ready before it knows of a client that died earlier.
fn poll_gone(stream: &UnixStream, context: &mut Context<'_>) -> Poll<()> {
    while !is_closed(stream) {
        match stream.poll_read_ready(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => break,
            // More has arrived, which is not read now: what comes after it must wake us nevertheless.
            Poll::Ready(Ok(())) => drop(stream.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()))),
        }
    }
    Poll::Ready(())
}

/// Whether the other end will write no more, whatever of it has not been read yet. What cannot be looked at is not worked for.
fn is_closed(stream: &UnixStream) -> bool {
    let mut looked_at = [PollFd::new(stream, PollFlags::RDHUP)];
    !matches!(poll(&mut looked_at, Some(&Timespec::default())), Ok(0))
}

/// A client that has gone away will ask again.
async fn answer(stream: &mut UnixStream, limits: Limits, reply: Reply) {
    let written = timeout(limits.message, stream.write_all(&[reply.to_byte()])).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::debug!("a client did not wait for its answer");
    }
}
