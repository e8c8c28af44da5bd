//! The owner's end of the socket: takes requests of its own user, and answers them line by line.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::protocol::{MAX_REQUEST_BYTES, Message, Request, to_line};
use crate::daemon::{SocketError, is_trusted};

/// How long a request may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clients that wait to be heard.
const WAITING: usize = 16;

/// The pause after the system has refused a connection for want of something: it would refuse the next at once.
const BREATH: Duration = Duration::from_millis(100);

/// Somebody who has asked for something.
pub struct Client {
    /// What for.
    pub request: Request,
    stream: UnixStream,
}

impl Client {
    /// Tells it what happened. One that has gone away will ask again.
    pub async fn tell(&mut self, message: &Message) {
        let told = timeout(PATIENCE, self.stream.write_all(&to_line(message))).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!("a client did not wait for its answer");
        }
    }
}

/// Listens from here on. Who may make this socket has the lock of its session: what is there was left by a dead owner.
pub fn listen(path: &Path) -> Result<mpsc::Receiver<Client>, SocketError> {
    let failed = |source| SocketError::Failed { path: path.to_owned(), source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // The directory is closed to others before the mode of the socket is.
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
    let (sender, clients) = mpsc::channel(WAITING);
    tokio::spawn(accept(listener, sender));
    Ok(clients)
}

async fn accept(listener: UnixListener, clients: mpsc::Sender<Client>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(hear(stream, clients.clone()))),
            Err(error) => {
                tracing::warn!(%error, "a connection is not accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn hear(mut stream: UnixStream, clients: mpsc::Sender<Client>) {
    if !is_trusted(&stream).unwrap_or(false) {
        return tracing::warn!("a connection of another user is refused");
    }
    let mut line = Vec::new();
    let heard = async {
        let mut reader = BufReader::new((&mut stream).take(MAX_REQUEST_BYTES));
        reader.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        serde_json::from_slice(&line).map_err(|error| error.to_string())
    };
    match timeout(PATIENCE, heard).await {
        // The owner has ended when nobody takes it.
        Ok(Ok(request)) => drop(clients.send(Client { request, stream }).await),
        Ok(Err(reason)) => tracing::warn!(reason, "a request is not understood"),
        Err(_) => tracing::warn!("a request does not arrive"),
    }
}
